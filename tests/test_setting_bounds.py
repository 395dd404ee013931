"""Settings that a probe cannot work with: one clear line and exit status 2, before any model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from interp.errors import is_about_input
from probes import PROBES, find_probe
from probes.audit.run import AuditSettings
from probes.cli import app
from probes.probe import Probe
from probes.setting_bounds import Bounds, check_settings
from probes.settings import parse_settings, setting_types

NUMBERS = ("nan", "inf", "-inf", "-1", "-0.5", "0", "1e30", "9" * 40, "abc", "", "1.5", "none")
SETTINGS = [(probe, field) for probe in PROBES for field in setting_types(probe)]
NUMERIC = [
    (probe, field)
    for probe, field in SETTINGS
    if {"int", "float"} & set(str(setting_types(probe)[field]).replace("'", " ").split())
    or any(word in str(setting_types(probe)[field]) for word in ("int", "float"))
]


def parse(probe: str, text: str) -> Probe:
    return find_probe(probe)(**dict(parse_settings(probe, [text])))


def numbers_in(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize(("probe", "field"), NUMERIC)
def test_a_number_is_finite_and_in_bounds_or_refused_by_our_own_check(probe: str, field: str):
    """Nothing but a `raise` of ours: no other library's error, and no value that is no number."""
    refused = 0
    for text in NUMBERS:
        try:
            made = parse(probe, f"{field}={text}")
        except ValueError as error:
            assert is_about_input(error), (text, error)
            assert field in str(error) or "alpha" in str(error), error
            refused += 1
        else:
            values = [one for one in numbers_in(getattr(made, field)) if one is not None]
            assert all(math.isfinite(one) and abs(one) <= 1e40 for one in values), text
    assert refused >= 4  # nan, inf, -inf and abc are never a setting


@pytest.mark.parametrize(
    ("probe", "field", "text"),
    [
        ("accuracy", "batch_size", "0"),
        ("early_answering", "min_steps", "-1"),
        ("path_masks", "n_sink", "-1"),
        ("hybrid", "train_share", "1"),
        ("hybrid", "doses", "1,1"),
        ("hybrid", "doses", ""),
        ("hybrid", "window", "0"),
        ("elicitation_methods", "n_samples", "1000000000"),
        ("elicitation_methods", "doses", "1e30"),
        ("sae_features", "n_features", "0"),
        ("direction_by_corruption", "n_random", "-1"),
        ("direction_by_corruption", "dose", "nan"),
        ("pre_existence", "kl_budget", "nan"),
        ("pre_existence", "kl_budget", "-1"),
        ("crosscoding", "steps", "1000000000"),
        ("crosscoding", "k", "0"),
    ],
)
def test_nonsense_ends_in_one_line_before_a_model_is_loaded(probe, field, text, monkeypatch):
    import probes.model_names

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(probes.model_names, "find_model", never)
    found = CliRunner().invoke(app, ["probe", probe, "base:1", "--set", f"{field}={text}"])
    assert found.exit_code == 2
    assert isinstance(found.exception, SystemExit)
    (line,) = found.stderr.strip().splitlines()
    assert line.startswith("posthoc: ") and field in line


@pytest.mark.parametrize("layer", ["99", "-99"])
@pytest.mark.parametrize(
    ("probe", "field"),
    [
        ("hybrid", "layer"),
        ("elicitation_methods", "layer"),
        ("direction_by_corruption", "layer"),
        ("pre_existence", "layers"),
    ],
)
def test_a_layer_that_the_model_lacks_is_refused(probe, field, layer, tmp_path):
    """It used to be taken for the last one by probes that steer."""
    settings = {**find_probe(probe).check_settings, field: layer}
    words = [f"{k}={','.join(map(str, numbers_in(v)))}" for k, v in settings.items()]
    sets = [text for word in words for text in ("--set", word)]
    names = ["base:1", "chain-sft-fresh:1", "--n", "6", "--out", str(tmp_path / "run")]
    found = CliRunner().invoke(app, ["probe", probe, *names, *sets])
    assert found.exit_code == 2 and isinstance(found.exception, SystemExit), found.output
    assert "layer" in found.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("seed", ["-1", str(2**64), "9" * 30, "nan", ""])
def test_seeds_that_no_generator_takes_are_refused(seed: str):
    found = CliRunner().invoke(app, ["probe", "accuracy", "base:1", "--seed", seed])
    assert found.exit_code == 2 and isinstance(found.exception, SystemExit)


@pytest.mark.parametrize("name", PROBES)
def test_defaults_and_the_settings_of_the_check_are_in_bounds(name: str):
    find_probe(name)()
    find_probe(name)(**find_probe(name).check_settings)


def test_settings_of_a_run_in_python_are_checked_too():
    with pytest.raises(ValueError, match="n_sink takes a number from 0"):
        AuditSettings(
            tasks=("arith/fresh",),
            probes=("path_masks",),
            options=(("path_masks", (("n_sink", -3),)),),
        )


def test_bounds_of_a_new_probe_are_the_usual_ones_unless_it_gives_others():
    @dataclass(frozen=True)
    class Settings:
        bounds: ClassVar = {"low": Bounds(-2, 3)}
        low: int = 0
        many: tuple[int, ...] = ()
        is_on: bool = False
        name: str = ""

    check_settings(Settings(low=-2), Settings.bounds)
    check_settings(Settings(many=(1, 2), is_on=True), Settings.bounds)
    for wrong in (Settings(low=4), Settings(many=(0,)), Settings(many=(2, 2))):
        with pytest.raises(ValueError, match="low takes|many takes|many are"):
            check_settings(wrong, Settings.bounds)


def test_more_memory_than_there_is_is_no_mistake_of_ours():
    import torch

    with pytest.raises(RuntimeError) as found:
        torch.empty(10**15)
    assert is_about_input(found.value)
    assert not is_about_input(RuntimeError("shapes do not match"))
