"""The command line: names, refusals before any work, options from a probe's fields."""

import re
import shutil
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from probes import PROBES

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def call(*words):
    from probes.__main__ import app

    result = CliRunner().invoke(app, list(words))
    return result.exit_code, ESCAPES.sub("", result.output + result.stderr)


def test_help_imports_nothing_heavy():
    """What makes help fast; the time itself is printed by the benchmark of imports."""
    code = (
        "import sys; from probes.__main__ import app; app(['--help'], standalone_mode=False); "
        "heavy = {'torch', 'numpy', 'matplotlib', 'pandas', 'rich'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_list_names_every_probe_task_and_organism():
    code, text = call("list")
    assert code == 0
    for name in ("early_answering", "arith/pool", "gsm8k", "swapped-sft-pool:1"):
        assert name in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("probe", "faithfulness", "base"), "known: accuracy"),
        (("probe", "corruption", "bse"), "No model is called 'bse'"),
        (("probe", "corruption", "base", "--task", "arith/pol"), "arith/pool"),
        (("probe", "corruption", "base", "--writer", "gpt"), "known: gold, base, post"),
        (("probe", "corruption", "base", "--set", "evry=1"), "Its settings: every_step"),
        (("probe", "corruption", "base", "--set", "every_step=7"), "takes true or false"),
        (("report", "no-such-run"), "no-such-run"),
        (("train", "bse"), "swapped-sft-pool"),
    ],
)
def test_unknown_names_list_the_known_ones_and_exit_with_2(words, told, tmp_path):
    out = [] if words[0] in {"report", "train"} else ["--out", str(tmp_path / "run")]
    code, text = call(*words, *out)
    assert code == 2
    assert told in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("probe", "text", "value"),
    [
        ("corruption", "every_step=false", False),
        ("path_masks", "n_sink=2", 2),
        ("hybrid", "doses=0.5,1", (0.5, 1.0)),
        ("hybrid", "layer=none", None),
        ("hybrid", "layer=2", 2),
        ("direction_by_corruption", "operator=ablate", "ablate"),
    ],
)
def test_settings_take_the_types_of_the_fields(probe, text, value):
    from probes.settings import parse_settings

    assert parse_settings(probe, [text]) == ((text.partition("=")[0], value),)


@pytest.mark.parametrize("probe", PROBES)
def test_every_setting_of_every_probe_can_be_set_to_its_default(probe):
    from probes import find_probe
    from probes.settings import parse_settings, setting_types

    made = find_probe(probe)()
    for name in setting_types(probe):
        value = getattr(made, name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        ((_, read),) = parse_settings(probe, [f"{name}={text}"])
        assert read == value and type(read) is type(value)


def test_a_short_command_is_the_probe_with_the_same_defaults(monkeypatch):
    from probes.cli import runs

    asked = []
    monkeypatch.setattr(runs, "_run", lambda *words: asked.append(words))
    for short, (target, _) in runs.SHORT.items():
        assert call(short, "base", "grpo")[0] == 0
        assert call("probe", target, "base", "grpo")[0] == 0
        assert asked[-1] == asked[-2]


def test_a_run_folder_that_cannot_be_written_is_refused_before_work(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    started = time.monotonic()
    code, text = call("probe", "early_answering", "base", "--n", "2", "--out", str(blocker / "run"))
    assert code == 2
    assert str(blocker) in text
    assert time.monotonic() - started < 60


def test_a_probe_on_one_model_writes_a_report_and_a_second_start_takes_it_up(tmp_path):
    words = ("probe", "early_answering", "base", "--n", "4", "--out", str(tmp_path / "run"))
    first = call(*words)
    page = (tmp_path / "run" / "report.html").read_bytes()
    assert first[0] == 0
    assert "Report:" in first[1]
    assert call(*words) == first
    assert (tmp_path / "run" / "report.html").read_bytes() == page


def test_training_leaves_what_is_there(tmp_path):
    from interp.organisms.zoo import organism_path
    from probes.__main__ import app

    folder = tmp_path
    shutil.copytree(organism_path("base"), folder / "base-s0")
    before = {f: f.stat().st_mtime_ns for f in (folder / "base-s0").iterdir()}
    done = CliRunner().invoke(app, ["train", "base", "--seed", "0", "--keep", "--out", str(folder)])
    assert done.exit_code == 0 and not done.output
    assert before == {f: f.stat().st_mtime_ns for f in (folder / "base-s0").iterdir()}


@pytest.mark.parametrize("keep", [True, False])
def test_training_is_asked_for_what_was_named(tmp_path, monkeypatch, keep):
    from interp.organisms.training import making
    from probes.__main__ import app

    asked = []

    def record(out, **settings):
        asked.append((out, settings))
        return ["a card"]

    monkeypatch.setattr(making, "train_all", record)
    words = ["train", "base", "--seed", "3", "--out", str(tmp_path), *(["--keep"] if keep else [])]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and done.output == "a card\n"
    settings = {"recipes": ["base"], "seeds": [3], "workers": 2, "keep": keep}
    assert asked == [(tmp_path, settings)]


def test_two_runs_never_share_a_default_folder():
    from probes.cli.console import name_folder

    assert name_folder(["base", "grpo"], 1) == name_folder(["base", "grpo"], 1)
    asked = [
        (["base", "grpo"], 1),
        (["base", "grpo"], 2),
        (["base-grpo"], 1),
        (["/a/base", "grpo"], 1),
        (["/b/base", "grpo"], 1),
    ]
    assert len({name_folder(*one) for one in asked}) == len(asked)
