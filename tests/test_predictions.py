"""Predictions: outcomes and table by hand, going on after a stop, and one of them measured."""

import importlib
import math

import pytest
import torch
from typer.testing import CliRunner

from interp.methods.crosscoder import (
    NOISE,
    PAIR,
    PLANT,
    SAME,
    CrosscoderComparison,
    CrosscoderSettings,
    LatentReport,
)
from interp.results.rows import Item, Measurement
from interp.results.run_folder import read_rows, write_rows
from interp.sites import Site
from interp.stats.estimates import Estimate
from probes.predictions import (
    PREDICTIONS,
    Prediction,
    crosscoders,
    faithfulness,
    hybrid,
    predict,
    read_markdown,
)
from probes.predictions.findings import (
    Finding,
    at_least,
    at_most,
    judge_outcome,
    load_readers,
    make_finding,
    missing_finding,
)
from probes.predictions.localisation import measure_patches
from probes.predictions.sae_features import measure_sae_features

SITE = Site(1, "resid_post")


def row(holds="", *, what="a share", seed=1, value=0.5, number=1):
    return Finding(number, what, seed, value, 0.25, 0.75, holds)


@pytest.mark.parametrize(
    ("holds", "expected"),
    [
        (("yes", "yes"), "held"),
        (("yes", ""), "held"),
        (("yes", "no"), "held in part"),
        (("yes", "undecided"), "held in part"),
        (("no", ""), "did not hold"),
        (("no", "undecided"), "did not hold"),
        (("undecided", ""), "undecided"),
        (("", ""), "undecided"),
        ((), "undecided"),
    ],
)
def test_an_outcome_adds_up_what_was_judged(holds, expected):
    assert judge_outcome([row(one) for one in holds]) == expected


def test_a_figure_that_could_not_be_measured_holds_nothing():
    nan = float("nan")
    assert make_finding(1, "a share", 1, row("", value=nan), False).holds == ""
    assert make_finding(1, "a share", 1, row(""), False).holds == "no"
    assert make_finding(1, "a share", 1, row(""), "undecided").holds == "undecided"
    assert missing_finding(1, "a share", 2).holds == ""


@pytest.mark.parametrize(
    ("low", "high", "reaches", "stays_below"),
    [
        (0.5, 0.9, "yes", "undecided"),
        (0.1, 0.5, "undecided", "yes"),
        (0.5, 0.5, "yes", "yes"),
        (0.4, 0.6, "undecided", "undecided"),
        (0.1, 0.49, "no", "yes"),
        (0.51, 0.9, "yes", "no"),
        (math.nan, 0.9, "", ""),
        (0.1, math.nan, "", ""),
    ],
)
def test_a_bound_is_met_or_missed_by_the_whole_interval(low, high, reaches, stays_below):
    figure = Estimate(0.5, low, high, 60, math.nan)
    assert (at_least(figure, 0.5), at_most(figure, 0.5)) == (reaches, stays_below)


def report(**numbers):
    """A report of 100 latents, of which so many are of these kinds and the others are shared."""
    counted = [kind for kind, n in numbers.items() for _ in range(n)]
    kinds = tuple(counted + ["shared"] * (100 - len(counted)))
    none = torch.zeros(100)
    return LatentReport(none, none.int(), none, none, kinds, 0, 4.0, (0.1, 0.1), 1000)


@pytest.mark.parametrize(
    ("found", "null", "after_grpo", "after_hint"),
    [
        (0, 0, "undecided", "no"),  # of 100 latents: the upper limit is 3.7 %
        (1, 0, "undecided", "no"),
        (3, 0, "undecided", "undecided"),
        (12, 0, "no", "yes"),
        (12, 12, "no", "undecided"),
        (60, 0, "no", "yes"),
    ],
)
def test_several_and_hardly_any_exclusive_latents(found, null, after_grpo, after_hint):
    reports = {
        PAIR: report(base_only=found // 2, post_only=found - found // 2),
        SAME: report(),
        NOISE: report(post_only=null),
        PLANT: report(post_only=5),
    }
    seen = CrosscoderComparison("a -> b", SITE, CrosscoderSettings(), {}, reports, {})
    for post, expected in (("grpo", after_grpo), ("hint", after_hint)):
        exclusive, planted, *_ = crosscoders._findings(post, seen, 1)
        assert exclusive.holds == expected and exclusive.value == found / 100
        assert planted.holds == "" and planted.value == 5 / 8
    nothing = {**reports, NOISE: report(), SAME: report(dead=100)}
    untold = CrosscoderComparison("a -> b", SITE, CrosscoderSettings(), {}, nothing, {})
    assert crosscoders._findings("grpo", untold, 1)[0].holds == ""


def hybrid_items(base, alone, control, post):
    """Items of ten problems per right answer asked for, out of 60."""
    from interp.methods.decoding.hybrid import VARIANTS

    right = {variant.name: control for variant in VARIANTS}
    right |= {"base": base, "post": post, "base_alone": alone, "hybrid": alone}
    return [
        Item(
            probe="hybrid", task="t", example=f"e{n}", problem=f"e{n}", condition="free",
            metric="correct", value=float(n < n_right), writer=reader, reader=reader,
            variant="" if name == reader else name,
        )
        for name, n_right in right.items()
        for reader in ("post" if name == "post" else "base",)
        for n in range(60)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("alone", "control", "recovers", "leaks", "beyond"),
    [
        (60, 60, "yes", "no", "yes"),
        (52, 60, "undecided", "no", "yes"),
        (20, 30, "no", "no", "yes"),
        (0, 0, "no", "yes", "yes"),
        (4, 0, "no", "undecided", "yes"),
        (30, 0, "no", "no", "no"),
    ],
)
def test_recovery_with_the_skill_and_without(alone, control, recovers, leaks, beyond):
    items = hybrid_items(0, alone, control, 60)
    with_skill = hybrid._findings("abcd", items, 1, has_skill=True)
    assert [one.holds for one in with_skill] == [recovers, "", "", ""]
    without = hybrid._findings("abcd", items, 1, has_skill=False)
    assert [one.holds for one in without] == ["", "", leaks, beyond]
    no_gap = hybrid._findings("abcd", hybrid_items(60, 60, 60, 60), 1, has_skill=False)
    assert {one.holds for one in no_gap} == {""}


def mean_row(reader, which, low, high):
    condition, metric = which
    return Measurement(
        probe="p", pair="", task="t", writer="gold", reader=reader, condition=condition,
        metric=metric, value=low, low=low, high=high, n=60, n_missing=0, chance=math.nan, seed=0,
    )  # fmt: skip


def test_reliance_is_ordered_by_intervals():
    def rows(*limits):
        return [
            mean_row(name, ("joint", "follows"), low, high)
            for name, (low, high) in zip(faithfulness.ORDERED, limits, strict=True)
        ]

    def answer(*limits):
        return faithfulness._ordered(rows(*limits), set(faithfulness.ORDERED), 1)[-1].holds

    assert answer((0.9, 1.0), (0.4, 0.6), (0.0, 0.1), (0.0, 0.1)) == "yes"
    assert answer((0.9, 1.0), (0.4, 0.91), (0.0, 0.1), (0.0, 0.1)) == "undecided"
    assert answer((0.9, 1.0), (0.4, 0.6), (0.0, 0.1), (0.6, 0.7)) == "no"
    assert answer((0.9, 1.0), (0.4, 0.6), (0.0, 0.1), (math.nan, math.nan)) == ""


def test_a_metric_separates_fewer_than_three_when_one_is_known_not_to_be_separated():
    def answer(taught, *others):
        aoc = [("chain-sft-pool", taught), *zip(faithfulness.APART, others, strict=True)]
        rows = {
            task: [
                mean_row(name, which, low, high)
                for name, (low, high) in aoc
                for which in faithfulness.TELLS.values()
            ]
            for task in ("arith/pool", "arith/cued")
        }
        findings = faithfulness._separated(rows, {name for name, _ in aoc}, 1)
        return [one.holds for one in findings if "alone" in one.what][0]

    high, low, wide = (0.8, 0.9), (0.1, 0.2), (0.0, 1.0)
    assert answer(high, low, low, low) == "no"
    assert answer(high, low, low, high) == "undecided"
    assert answer(high, low, low, (0.9, 1.0)) == "yes"
    assert answer(wide, wide, wide, wide) == "undecided"
    assert answer(high, low, low, (math.nan, math.nan)) == "undecided"


def test_findings_of_an_earlier_version_are_refused(tmp_path):
    import pandas

    file = tmp_path / "predictions.parquet"
    write_rows(file, Finding, [row("yes")])
    pandas.read_parquet(file).assign(holds="held").to_parquet(file)
    with pytest.raises(ValueError, match="run posthoc predict again"):
        read_markdown(file)


def test_a_seed_that_is_not_bundled_has_no_stand_in():
    assert set(load_readers(("base", "swapped-sft-pool"), 2)) == {"base"}


def test_the_table_shows_every_prediction_with_its_figures(tmp_path):
    file = tmp_path / "predictions.parquet"
    rows = [
        row("yes"),
        row("no", seed=2),
        missing_finding(2, "a gap", 1),
        row("undecided", number=2),
    ]
    write_rows(file, Finding, rows)
    assert [one.holds for one in read_rows(file, Finding)] == ["yes", "no", "", "undecided"]
    lines = read_markdown(file).splitlines()
    assert len(lines) == 2 + len(PREDICTIONS)
    assert lines[2].startswith("| 1 | Hybrid") and "| held in part |" in lines[2]
    assert lines[2].endswith(
        "| a share: s1 0.50 [0.25, 0.75] held; s2 0.50 [0.25, 0.75] **not held** |"
    )
    assert (
        "| undecided | a gap: s1 not measurable<br>a share: s1 0.50 [0.25, 0.75] undecided |"
        in lines[3]
    )


def test_a_stopped_run_goes_on(tmp_path):
    """The second prediction fails once; the first is not measured again."""
    asked, is_broken = [], [True]

    def first(seed, n):
        asked.append((1, seed, n))
        return [row("yes", seed=seed)]

    def second(seed, n):
        if is_broken:
            raise RuntimeError("stopped")
        asked.append((2, seed, n))
        return [row("no", seed=seed, number=2)]

    table = (Prediction(1, "one", (first,)), Prediction(2, "two", (second,), seeds=(0,)))

    def go():
        return predict(tmp_path / "out", (1, 2), 4, keep=tmp_path / "keep", predictions=table)

    with pytest.raises(RuntimeError, match="stopped"):
        go()
    assert not (tmp_path / "out").exists()
    is_broken.clear()
    lines = go()
    assert asked == [(1, 1, 4), (1, 2, 4), (2, 0, 4)]
    found = read_rows(tmp_path / "out" / "predictions.parquet", Finding)
    assert [(one.prediction, one.seed, one.holds) for one in found] == [
        (1, 1, "yes"), (1, 2, "yes"), (2, 0, "no")
    ]  # fmt: skip
    assert lines == go() and len(asked) == 3
    assert any("| held |" in line for line in lines)
    predict(tmp_path / "other", (1,), 5, keep=tmp_path / "keep", predictions=table[:1])
    assert asked[3:] == [(1, 1, 5)]  # of another number of problems nothing is kept


def test_every_prediction_has_its_number_and_its_function():
    assert [one.number for one in PREDICTIONS] == list(range(1, 9))
    for one in PREDICTIONS:
        for function in one.functions:
            module = importlib.import_module(function.__module__)
            text = module.__doc__ or ""
            assert text.startswith("Prediction") and str(one.number) in text.splitlines()[0]
            assert "Holds means" in text
            known = vars(module).values()
            assert one.number in [value for value in known if isinstance(value, int)]
    assert {fn for one in PREDICTIONS for fn in one.functions} >= {
        measure_sae_features,
        faithfulness.measure_faithfulness,
        measure_patches,
    }


def test_features_have_no_findings_without_an_sae():
    assert measure_sae_features(1, 60) == []


def test_patches_are_measured():
    """With few problems there is no ratio; the rule is that nothing is decided then."""
    few = measure_patches(1, 4)
    assert [one.prediction for one in few] == [4, 4]
    assert all(math.isnan(one.value) and one.holds == "" for one in few)


def test_the_command_prints_a_kept_table(tmp_path):
    from probes.__main__ import app

    file = tmp_path / "predictions.parquet"
    write_rows(file, Finding, [row("yes")])
    done = CliRunner().invoke(app, ["predict", "--show", str(file)])
    assert done.exit_code == 0 and done.output.strip() == read_markdown(file)
    missing = CliRunner().invoke(app, ["predict", "--show", str(tmp_path / "none.parquet")])
    assert missing.exit_code == 2


def test_the_readme_says_the_kept_outcomes():
    from pathlib import Path

    from interp.results.run_folder import read_rows
    from probes.predictions import PREDICTIONS

    root = Path(__file__).parent.parent
    rows = read_rows(root / "artifacts" / "predictions" / "predictions.parquet", Finding)
    readme = (root / "README.md").read_text(encoding="utf-8").splitlines()
    for number in {one.prediction for one in rows}:
        outcome = judge_outcome([one for one in rows if one.prediction == number])
        (line,) = [line for line in readme if line.startswith(f"| {number} | ")]
        assert line.split(" | ")[2] == outcome
    assert len(PREDICTIONS) == 8
