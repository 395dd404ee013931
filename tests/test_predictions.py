"""Predictions: outcomes and table by hand, going on after a stop, and one of them measured."""

import math

import pytest
from typer.testing import CliRunner

from interp.runs import read_rows, write_rows
from probes.predictions import PREDICTIONS, Prediction, predict, shown
from probes.predictions.faithfulness import faithfulness
from probes.predictions.features import features
from probes.predictions.finding import Finding, finding, outcome, readers_of, unmeasured
from probes.predictions.places import patches


def row(holds, *, what="a share", seed=1, value=0.5, number=1):
    return Finding(number, what, seed, value, 0.25, 0.75, holds)


@pytest.mark.parametrize(
    ("holds", "expected"),
    [
        ((True, True), "held"),
        ((True, None), "held"),
        ((True, False), "held in part"),
        ((False, None), "did not hold"),
        ((None, None), "undecided"),
        ((), "undecided"),
    ],
)
def test_an_outcome_adds_up_what_could_be_told(holds, expected):
    assert outcome([row(one) for one in holds]) == expected


def test_a_figure_that_could_not_be_measured_holds_nothing():
    nan = float("nan")
    assert finding(1, "a share", 1, row(None, value=nan), False).holds is None
    assert finding(1, "a share", 1, row(None), False).holds is False
    assert unmeasured(1, "a share", 2).holds is None


def test_a_seed_that_is_not_bundled_has_no_stand_in():
    assert set(readers_of(("base", "swapped-sft-pool"), 2)) == {"base"}


def test_the_table_shows_every_prediction_with_its_figures(tmp_path):
    file = tmp_path / "predictions.parquet"
    rows = [row(True), row(False, seed=2), unmeasured(2, "a gap", 1), row(None, number=2)]
    write_rows(file, Finding, rows)
    assert [one.holds for one in read_rows(file, Finding)] == [True, False, None, None]
    lines = shown(file).splitlines()
    assert len(lines) == 2 + len(PREDICTIONS)
    assert lines[2].startswith("| 1 | Hybrid") and "| held in part |" in lines[2]
    assert lines[2].endswith(
        "| a share: s1 0.50 [0.25, 0.75] held; s2 0.50 [0.25, 0.75] **not held** |"
    )
    assert "| undecided | a gap: s1 not measurable<br>a share: s1 0.50 [0.25, 0.75] |" in lines[3]


def test_a_stopped_run_goes_on(tmp_path):
    """The second prediction fails once; the first is not measured again."""
    asked, is_broken = [], [True]

    def first(seed, n):
        asked.append((1, seed, n))
        return [row(True, seed=seed)]

    def second(seed, n):
        if is_broken:
            raise RuntimeError("stopped")
        asked.append((2, seed, n))
        return [row(False, seed=seed, number=2)]

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
        (1, 1, True), (1, 2, True), (2, 0, False)
    ]  # fmt: skip
    assert lines == go() and len(asked) == 3
    assert any("| held |" in line for line in lines)
    with pytest.raises(ValueError, match="n: 4 -> 5"):
        predict(tmp_path / "out", (1,), 5, keep=tmp_path / "keep", predictions=table)


def test_every_prediction_has_its_number_and_its_function():
    import importlib

    assert [one.number for one in PREDICTIONS] == list(range(1, 9))
    for one in PREDICTIONS:
        for function in one.functions:
            module = importlib.import_module(function.__module__)
            text = module.__doc__ or ""
            assert text.startswith("Prediction") and str(one.number) in text.splitlines()[0]
            assert "Holds means" in text
            known = vars(module).values()
            assert one.number in [value for value in known if isinstance(value, int)]
    assert {fn for one in PREDICTIONS for fn in one.functions} >= {features, faithfulness, patches}


def test_features_have_no_findings_without_an_sae():
    assert features(1, 60) == []


def test_patches_are_measured():
    """With few problems there is no ratio; the rule is that nothing is decided then."""
    few = patches(1, 4)
    assert [one.prediction for one in few] == [4, 4]
    assert all(math.isnan(one.value) and one.holds is None for one in few)


def test_the_command_prints_a_kept_table(tmp_path):
    from probes.__main__ import app

    file = tmp_path / "predictions.parquet"
    write_rows(file, Finding, [row(True)])
    done = CliRunner().invoke(app, ["predict", "--show", str(file)])
    assert done.exit_code == 0 and done.output.strip() == shown(file)
    missing = CliRunner().invoke(app, ["predict", "--show", str(tmp_path / "none.parquet")])
    assert missing.exit_code == 2


def test_the_readme_says_the_kept_outcomes():
    from pathlib import Path

    from interp.runs import read_rows
    from probes.predictions import PREDICTIONS
    from probes.predictions.finding import Finding, outcome

    root = Path(__file__).parent.parent
    rows = read_rows(root / "artifacts" / "predictions" / "predictions.parquet", Finding)
    readme = (root / "README.md").read_text(encoding="utf-8").splitlines()
    for number in {one.prediction for one in rows}:
        told = outcome([one for one in rows if one.prediction == number])
        (line,) = [line for line in readme if line.startswith(f"| {number} | ")]
        assert line.split(" | ")[2] == told
    assert len(PREDICTIONS) == 8
