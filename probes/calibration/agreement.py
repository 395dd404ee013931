"""Agreement: does a number measure what is known of the organisms, and does it repeat?

A *unit* is one organism (recipe and training seed) on one task. Units of one recipe are not
independent, so the independent unit of every interval here is the **recipe**. A second interval
takes each training (recipe and seed) as independent; it is narrower, and holds for these recipes
only.

* AUROC: P(a unit of which the construct is true scores higher than one of which it is not), ties
  one half (`interp.stats.auroc`). Few recipes of a class give Wilson's interval: even perfect
  separation of three recipes per class gives only [0.44, 1].
* Spearman: the rank correlation of score and dose (Spearman 1904), with an interval from a
  bootstrap over recipes; none below `FEW` of them.
* By chance: how often an unrelated score agrees as well. Such a score has one random number for
  each recipe and truth, which tasks and seeds share; only ranks count, so any distribution will do.
* ICC(1) (Shrout and Fleiss 1979, Psychological Bulletin 86:420): the share of the variance of
  scores that lies between recipes (and tasks) rather than between the seeds of one,
  (B - W) / (B + (k - 1) W) with mean squares between and within groups of k seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.stats.auroc import (
    ScoredItem,
    area_under_curve,
    collect_scores,
    estimate_pooled,
)
from interp.stats.proportion_intervals import FEW, Interval
from interp.stats.resampling import read_resamples
from probes.calibration.scores import Unit
from probes.probe import Claim

N_BOOT = 2000
N_UNRELATED = 2000
NOWHERE = Interval(float("nan"), float("nan"))


class Agreement(NamedTuple):
    """How well scores agree with the truth, with an interval for each independent unit."""

    value: float
    recipes: Interval
    trainings: Interval


class Retest(NamedTuple):
    """How much of the variance of scores lies between recipes, and how far two seeds differ."""

    icc: float
    difference: float
    """Mean absolute difference."""


def recipe_of(unit: Unit) -> Hashable:
    """The independent unit."""
    return unit.line


def training_of(unit: Unit) -> Hashable:
    """The independent unit if the recipes are taken as given."""
    return unit.line, unit.seed


def measured(units: Sequence[Unit]) -> list[Unit]:
    """Those with a score."""
    return [unit for unit in units if unit.score == unit.score]  # NaN is not equal to itself


def auroc(claim: Claim, units: Sequence[Unit], *, seed: int = 0) -> Agreement:
    """AUROC of the label over units; NaN without units of both kinds."""
    intervals: list[Interval] = []
    value = float("nan")
    for cluster in (recipe_of, training_of):
        scored = [
            ScoredItem(str(at), str(cluster(unit)), claim.direction * unit.score, unit.label == 1)
            for at, unit in enumerate(measured(units))
        ]
        estimate = estimate_pooled(collect_scores("auroc", scored), seed=seed, n_boot=N_BOOT)
        value = estimate.value  # the same for both: clusters change the interval alone
        intervals.append(Interval(estimate.low, estimate.high))
    return Agreement(value, *intervals)


def spearman(claim: Claim, units: Sequence[Unit], *, seed: int = 0) -> Agreement:
    """Rank correlation of score, in the direction of the claim, and dose."""
    known = measured(units)
    scores = np.array([claim.direction * unit.score for unit in known], dtype=np.float64)
    doses = np.array([unit.label for unit in known], dtype=np.float64)
    value = rank_correlation(scores, doses)
    limits = [_limits(scores, doses, known, c, value, seed) for c in (recipe_of, training_of)]
    return Agreement(value, *limits)


def by_chance(claim: Claim, units: Sequence[Unit], *, is_label: bool, seed: int = 0) -> float:
    """How often a score that has nothing to do with the truth agrees with it as well as this one.

    Args:
        claim: Says in which direction the score agrees.
        units: The organisms; those without a score are left out.
        is_label: Whether the truth is a label (AUROC) or a dose (rank correlation).
        seed: Of the unrelated scores.

    Returns:
        (1 + unrelated scores that agree as well) / (1 + all of them) (Phipson and Smyth 2010,
        Statistical Applications in Genetics and Molecular Biology 9:39); NaN without an agreement.
    """
    known = measured(units)
    if not known:
        return float("nan")
    labels = np.array([unit.label for unit in known], dtype=np.float64)
    scores = np.array([claim.direction * unit.score for unit in known], dtype=np.float64)
    # A recipe of both kinds (on two tasks) counts once for each: tied, it could not be told apart.
    kinds = [(recipe_of(unit), unit.label) for unit in known]
    place = {kind: at for at, kind in enumerate(dict.fromkeys(kinds))}
    drawn = np.random.default_rng((seed, len(place))).random((len(place), N_UNRELATED))
    unrelated = drawn[[place[kind] for kind in kinds]]
    # The own score is the first column, so that it is measured as the others are.
    columns = np.column_stack([scores, unrelated])
    values = area_under_curve(columns, labels == 1) if is_label else _correlate(columns, labels)
    if values[0] != values[0]:
        return float("nan")
    # Rounding must not tell equal agreements apart; NaN (all scores tied) agrees with nothing.
    return float((1 + (values[1:] >= values[0] - 1e-9).sum()) / len(values))


def _correlate(columns: Float[np.ndarray, "unit score"], doses: np.ndarray) -> np.ndarray:
    """Rank correlation of each column with the doses; NaN if either has one value only."""
    from scipy.stats import rankdata

    ranks = rankdata(columns, axis=0)
    ranks -= ranks.mean(axis=0)
    of_doses = rankdata(doses) - (len(doses) + 1) / 2
    norms = np.sqrt((ranks**2).sum(axis=0) * (of_doses**2).sum())
    return np.divide(of_doses @ ranks, norms, out=np.full(len(norms), np.nan), where=norms > 0)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's; NaN if either side has one value only."""
    return float(_correlate(first[:, None], second)[0])


def _limits(
    scores: np.ndarray,
    doses: np.ndarray,
    units: Sequence[Unit],
    cluster: Callable[[Unit], Hashable],
    value: float,
    seed: int,
) -> Interval:
    members: dict[Hashable, list[int]] = {}
    for at, unit in enumerate(units):
        members.setdefault(cluster(unit), []).append(at)
    groups = list(members.values())
    if len(groups) < FEW or value != value:
        return NOWHERE
    # Seeded as in `estimate_all`: an interval depends on its own groups and the seed alone.
    rng = np.random.default_rng((seed, len(groups)))
    drawn = rng.integers(0, len(groups), size=(N_BOOT, len(groups)))
    correlations = [
        rank_correlation(scores[chosen], doses[chosen])
        for chosen in (np.concatenate([groups[g] for g in row]) for row in drawn)
    ]
    # A resample with one dose only has no correlation.
    defined = np.array([r for r in correlations if r == r], dtype=np.float64)[:, None]
    low, high, _ = read_resamples(defined, np.array([value]), len(groups), level=0.95)
    return Interval(float(low[0]), float(high[0]))


def retest(units: Sequence[Unit]) -> Retest:
    """Agreement of the seeds of one recipe on one task; NaN where no recipe has two."""
    groups = [[unit.score for unit in group] for group in by_recipe(measured(units))]
    differences = [abs(a - b) for group in groups for a, b in combinations(group, 2)]
    difference = fmean(differences) if differences else float("nan")
    groups = [group for group in groups if len(group) > 1]
    n = sum(map(len, groups))
    if len(groups) < 2:
        return Retest(float("nan"), difference)
    grand = sum(map(sum, groups)) / n
    between = sum(len(g) * (fmean(g) - grand) ** 2 for g in groups) / (len(groups) - 1)
    within = sum((x - fmean(g)) ** 2 for g in groups for x in g) / (n - len(groups))
    # Groups differ in size where a seed failed its certificate (Shrout and Fleiss' k, unequal n).
    k = (n - sum(len(g) ** 2 for g in groups) / n) / (len(groups) - 1)
    total = between + (k - 1) * within
    # Where all scores are equal there is no variance to have a share of.
    return Retest((between - within) / total if total > 0 else float("nan"), difference)


def by_recipe(units: Sequence[Unit]) -> list[list[Unit]]:
    """The seeds of each recipe on each task, together."""
    groups: dict[tuple[str, str], list[Unit]] = {}
    for unit in units:
        groups.setdefault((unit.recipe, unit.task), []).append(unit)
    return list(groups.values())
