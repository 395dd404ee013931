"""Verdicts from limits: what unrelated scores reach, and when a number is undecided."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from interp.organisms.recipes import RECIPES
from interp.stats.auroc import area_under_curve
from interp.stats.proportion_intervals import Interval
from probes.calibration import agreement as agreement_of
from probes.calibration.agreement import Agreement, Retest, auroc, by_chance, spearman
from probes.calibration.constructs import labels_of
from probes.calibration.nulls import Coverage, Nulls, null_pairs
from probes.calibration.scores import Unit
from probes.calibration.table import EVALUATION, CalibrationRow, cite, judge_all, to_markdown
from probes.calibration.verdicts import BAR, NO, UNDECIDED, YES, find_faults
from probes.probe import Claim

SHARE = Claim("masks", "cot_share", "load_bearing")
DOSE = replace(SHARE, construct="dose", direction=-1)
NAN = float("nan")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Intervals of a bootstrap from a tenth of the resamples."""
    monkeypatch.setattr(agreement_of, "N_BOOT", 200)


def unit(score: float, line: str, label: float, *, seed: int = 3, task: str = "t") -> Unit:
    names = ("e",)
    values, under = np.array([score]), np.ones(1)
    return Unit(line, seed, line, seed < 3, task, float(label), names, names, values, under, 0, 0.0)


def lines_of(scores, labels) -> list[Unit]:
    """Two seeds of each line, whose scores lie close together."""
    return [
        unit(score + 1e-6 * seed, f"r{at}", label, seed=seed)
        for at, (score, label) in enumerate(zip(scores, labels, strict=True))
        for seed in (3, 4)
    ]


@pytest.mark.parametrize(("n", "by_point"), [(2, 1 / 2), (3, 1 / 3), (5, 1 / 10), (8, 2 / 70)])
def test_an_unrelated_score_passes_by_its_point_and_not_by_its_limit(n, by_point):
    """Of 2, 3, 5 and 8 lines; the shares are counted by hand (of 8, 15 of 16 pairs suffice)."""
    labels = np.arange(n) % 2
    g = np.random.default_rng(n)
    drawn = g.random((n, 20_000))
    is_passed = area_under_curve(drawn, labels == 1) >= BAR
    assert is_passed.mean() == pytest.approx(by_point, abs=0.012)
    lows = [auroc(SHARE, lines_of(column, labels)).recipes.low for column in drawn.T[:40]]
    assert not any(low >= BAR for low in lows)  # NaN below six lines: no interval


def test_where_every_pair_is_told_apart_35_lines_of_a_kind_decide():
    def low(n: int) -> float:
        labels = np.repeat([0.0, 1.0], n)
        units = [unit(label, f"r{at}", label) for at, label in enumerate(labels)]
        return auroc(SHARE, units).recipes.low

    assert low(34) < BAR <= low(35)
    assert low(35) == pytest.approx(35 / (35 + 1.959964**2))  # Wilson's limit of 35 of 35


def test_how_often_chance_agrees_as_well_is_that_of_all_orders():
    """One in ten orders of two and three lines, one in 24 of four doses; a tie counts, too."""
    labels = [1.0, 1.0, 0.0, 0.0, 0.0]
    assert by_chance(SHARE, lines_of([5, 4, 3, 2, 1], labels), is_label=True) == pytest.approx(
        1 / 10, abs=0.02
    )
    won = [
        area_under_curve(np.array(order), np.array(labels) == 1) >= 5 / 6
        for order in permutations(range(5))
    ]
    observed = by_chance(SHARE, lines_of([5, 3, 4, 2, 1], labels), is_label=True)
    assert observed == pytest.approx(np.mean(won), abs=0.03)
    doses = [0.0, 0.25, 0.5, 1.0]
    assert by_chance(DOSE, lines_of([4, 3, 2, 1], doses), is_label=False) == pytest.approx(
        1 / 24, abs=0.015
    )
    reverse = [unit(score, f"r{score}", dose) for score, dose in enumerate(doses)]
    assert by_chance(DOSE, reverse, is_label=False) == 1.0
    assert math.isnan(by_chance(SHARE, lines_of([1, 2], [1.0, 1.0]), is_label=True))
    assert math.isnan(by_chance(SHARE, [], is_label=True))


def test_seeds_and_tasks_of_a_line_are_no_further_evidence():
    few = [unit(label, f"r{label}", label) for label in (0.0, 1.0)]
    many = [
        unit(label + seed / 100, f"r{label}", label, seed=seed, task=task)
        for label in (0.0, 1.0)
        for seed in range(3, 13)
        for task in ("t", "u")
    ]
    for units in (few, many):
        assert by_chance(SHARE, units, is_label=True) == pytest.approx(0.5, abs=0.05)
        assert math.isnan(auroc(SHARE, units).recipes.low)  # two lines, whatever their units


@pytest.mark.parametrize("construct", ["load_bearing", "skill", "dose", "pre_existing"])
def test_an_unrelated_score_of_the_present_recipes_is_never_calibrated(construct):
    """One number for each recipe: by chance in 5 % or fewer, and no verdict is `calibrated`."""
    claim, g = replace(SHARE, construct=construct), np.random.default_rng(14)
    labels = {
        (name, task): label
        for name, recipe in RECIPES.items()
        for task, label in labels_of(claim, recipe).items()
    }
    is_label = construct != "dose"
    found: list[float] = []
    for draw in range(60):
        score = dict(zip(RECIPES, g.random(len(RECIPES)), strict=True))
        units = [unit(score[name], name, label, task=t) for (name, t), label in labels.items()]
        found.append(by_chance(claim, units, is_label=is_label))
        if draw < 10:
            agreement = (auroc if is_label else spearman)(claim, units)
            assert not agreement.recipes.low >= BAR
    assert np.mean(np.array(found) <= 0.05) <= 0.12  # of 60, with 5 % expected at most


GOOD = (
    Agreement(1.0, Interval(0.93, 1.0), Interval(0.95, 1.0)),
    Nulls(0.02, 0.05, 60, 40),
    Retest(1.0, 0.1),
    Coverage(0.95, 9, 0.93, 0.92),
    0.0,
)


def judge(**changed) -> tuple[str, str]:
    names = ("agreement", "nulls", "again", "covered", "itself")
    parts = dict(zip(names, GOOD, strict=True)) | changed
    faults = find_faults(SHARE, [unit(1.0, "r", 1.0)], **parts)
    worst = min((f.verdict for f in faults), key=(NO, UNDECIDED).index, default=YES)
    return worst, "; ".join(f.reason for f in faults)


def test_a_criterion_fails_where_its_limits_say_so_and_is_undecided_where_they_do_not():
    assert judge() == (YES, "")
    cases = {
        UNDECIDED: [
            ("agreement", Agreement(1.0, Interval(0.57, 1.0), Interval(0.9, 1.0)), "too few"),
            ("agreement", Agreement(0.8, Interval(0.4, 0.95), Interval(0.5, 0.9)), "AUROC 0.80"),
            ("agreement", Agreement(1.0, Interval(NAN, NAN), Interval(NAN, NAN)), "no interval"),
            ("nulls", Nulls(1 / 3, 0.02, 3, 2), "too few to tell"),
            ("nulls", Nulls(1 / 3, 0.02, 3, 3), "of which 3 are independent"),
            ("nulls", Nulls(NAN, NAN, 0, 0), "no contrast"),
            ("covered", Coverage(NAN, 0, NAN, NAN), "coverage is unknown"),
            ("itself", NAN, "compared with itself"),
        ],
        NO: [
            ("agreement", Agreement(0.5, Interval(0.2, 0.8), Interval(0.3, 0.7)), "below 0.9"),
            ("nulls", Nulls(0.6, 0.02, 47, 30), "60% of 47"),
            ("nulls", Nulls(2 / 3, 0.02, 3, 3), "67% of 3"),  # by chance in 3 (.05 ** 2) = .7 %
            ("covered", Coverage(0.8, 9, 0.7, 0.92), "cover in 80.00%"),
            ("itself", 0.1, "differs from itself by 0.1"),
        ],
    }
    for verdict, of_verdict in cases.items():
        for name, value, words in of_verdict:
            found, reason = judge(**{name: value})
            assert found == verdict and words in reason, (name, value, reason)
    both, reason = judge(agreement=cases[UNDECIDED][0][1], nulls=cases[NO][1][1])
    assert both == NO and reason.startswith("60% of 47")  # what is shown to fail comes first


def test_pairs_of_three_seeds_count_two():
    def of_seed(seed: int) -> Unit:
        values = np.arange(40) % 2 + seed / 100
        names = tuple(map(str, range(40)))
        return replace(
            unit(0.0, "r", 1.0, seed=seed), values=values, under=np.ones(40), examples=names,
            problems=names,
        )  # fmt: skip

    assert null_pairs([of_seed(s) for s in (3, 4, 5)], ("real",))[2:] == (3, 2)
    assert null_pairs([of_seed(s) for s in (3, 4, 5, 6)], ("real",))[2:] == (6, 3)


def test_the_table_and_the_report_say_undecided_and_how_many_recipes_there_are():
    primary = replace(SHARE, is_primary=True)
    rows = judge_all({("path_masks", primary): lines_of([5, 4, 3, 2], [1.0, 1.0, 0.0, 0.0])})
    (row,) = (r for r in rows if r.seeds == EVALUATION)
    assert isinstance(row, CalibrationRow)
    assert (row.verdict, row.n_recipes, row.n_true, row.n_false) == (UNDECIDED, 4, 2, 2)
    table = to_markdown(rows)
    assert (
        "| 8 / 4 recipes (2 true, 2 false) |" in table
        and "| undecided: AUROC 1.00 has no interval" in table
    )
    said = cite(rows, "path_masks")
    assert "an unrelated score agrees as well in 1" in said and "has no interval" in said
