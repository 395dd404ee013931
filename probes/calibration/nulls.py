"""Nulls: how often is an effect found where there is none, and do intervals cover?

Three nulls, from the strictest to the one closest to practice:

* *itself*: an organism as both models of a pair. Every difference must be exactly 0.
* *exchanged*: two trainings on the same problems, with labels swapped at random, problem by
  problem. By construction neither side differs from the other, and everything else is as in a real
  contrast. This tests the statistics alone: if p < 0.05 occurs in more than 5 % of these pairs, the
  test is miscalibrated.
* *seeds*: two trainings of one recipe as they are. A difference here is no false alarm of the
  statistics, because the two models do differ; but the recipe does not explain it. A probe that
  finds it often measures the single training more than how it was trained.

Coverage is by simulation: the items of one unit are the whole population, samples of as many
problems as an audit asks are drawn from it *with replacement* (so that the mean of the population
is exactly what is estimated, and its finite size does not matter), and we count the share of the
95 % intervals that contain that mean. Units whose items are all equal are left out: any interval
covers their mean.

Counts of rare events are small, so intervals of a share near 0 or 1 cannot reach every coverage: at
a rate of .005 and 100 problems the counts are 0, 1 and 2 in .61, .30 and .08 of the samples, and an
interval covers in .91 or in .986 of them. The least coverage that is possible without falling below
`LEAST` is reported beside the coverage (`attainable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from interp.stats.estimates import (
    Sample,
    collect,
    collect_differences,
    collect_pairs,
    estimate_all,
    is_too_rare,
)
from probes.calibration.agreement import by_recipe
from probes.calibration.scores import Unit

ALPHA = 0.05
ASKED = 2
"""An audit asks half as many problems by default as are measured here."""
N_EXCHANGES = 20
N_SAMPLES = 1000
LEAST = 0.92
"""Coverage below which 95 % intervals count as too narrow."""
NAN = float("nan")


class Nulls(NamedTuple):
    """Shares of contrasts with p < `ALPHA`."""

    seeds: float
    exchanged: float
    n_pairs: int
    n_independent: int
    """Pairs of which none follows from others: of k seeds k - 1, not k (k - 1) / 2."""


class Coverage(NamedTuple):
    """Share of intervals that contain the truth, over units."""

    share: float
    n_units: int
    worst: float
    """Of a single unit."""
    attainable: float
    """The least that intervals with at least `LEAST` in every unit could have covered."""


def null_pairs(units: Sequence[Unit], *, seed: int = 0) -> Nulls:
    """Paired contrasts between the seeds of each recipe, as they are and exchanged."""
    pairs = [
        pair
        for group in by_recipe(units)
        for a, b in combinations(group, 2)
        if len((pair := _paired(a, b))[0]) > 1
    ]
    # A ratio of means is no mean of paired differences, so `collect_pairs` cannot test it.
    if not pairs or any(set(unit.under) - {1.0} for unit in units):
        return Nulls(NAN, NAN, 0, 0)
    rng = np.random.default_rng(seed)
    exchanged: list[Sample] = []
    for first, second, problems in pairs:
        names = sorted(set(problems))
        place = np.array([names.index(problem) for problem in problems])
        for _ in range(N_EXCHANGES):
            # Drawn by problem: twins change sides together, or they would count as independent.
            is_exchanged = rng.random(len(names))[place] < 0.5
            sides = np.where(is_exchanged, second, first), np.where(is_exchanged, first, second)
            exchanged.append(collect_pairs(*sides, problems))
    plain = [collect_pairs(*pair) for pair in pairs]
    n_independent = sum(len(group) - 1 for group in by_recipe(units))
    shares = _share_significant(plain, seed), _share_significant(exchanged, seed)
    return Nulls(*shares, len(pairs), n_independent)


def _share_significant(samples: Sequence[Sample], seed: int) -> float:
    return float(np.mean([e.p < ALPHA for e in estimate_all(samples, seed=seed)]))


def _paired(a: Unit, b: Unit) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Values of both on the first examples that both could measure, and their problems."""
    other = dict(zip(b.examples, b.values, strict=True))
    both = [
        (value, other[example], problem)
        for example, value, problem in zip(a.examples, a.values, a.problems, strict=True)
        if example in other
    ]
    both = both[: len(both) // ASKED]
    first, second, problems = zip(*both, strict=True) if both else ((), (), ())
    return np.array(first, dtype=np.float64), np.array(second, dtype=np.float64), list(problems)


def coverage(units: Sequence[Unit], *, is_difference: bool = False, seed: int = 0) -> Coverage:
    """How often 95 % intervals contain the mean (or ratio) of the population they are drawn from.

    Args:
        units: Each a population.
        is_difference: Whether the items are differences of two 0/1 numbers.
        seed: Of the samples and of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    shares: list[float] = []
    least: list[float] = []
    for unit in units:
        drawn = _samples(unit, rng, is_difference=is_difference)
        if drawn:
            estimates = estimate_all(drawn, seed=seed)
            shares.append(float(np.mean([e.low <= unit.score <= e.high for e in estimates])))
            least.append(_attainable(drawn[0], unit.score))
    if not shares:
        return Coverage(NAN, 0, NAN, NAN)
    return Coverage(float(np.mean(shares)), len(shares), min(shares), float(np.mean(least)))


def _attainable(sample: Sample, rate: float) -> float:
    """The smallest sum of binomial probabilities that is at least `LEAST`, likeliest first."""
    # Only a count of 0/1 items, one a problem, is binomial; elsewhere LEAST may be reached.
    if sample.kind != "share" or (sample.counts != 1).any():
        return LEAST
    from scipy.stats import binom

    total = np.cumsum(np.sort(binom.pmf(np.arange(sample.n + 1), sample.n, rate))[::-1])
    return float(total[np.searchsorted(total, LEAST)])


def _samples(unit: Unit, rng: np.random.Generator, *, is_difference: bool) -> list[Sample]:
    """Samples of problems, drawn with replacement; each drawn problem counts as one of its own."""
    members: dict[str, list[int]] = {}
    for at, problem in enumerate(unit.problems):
        members.setdefault(problem, []).append(at)
    groups = list(members.values())
    is_ratio = bool(set(unit.under) - {1.0})
    # A sample of fewer than two problems has no interval, and equal items are always covered.
    if len(groups) < 2 * ASKED or (len(set(unit.values)) == 1 and not is_ratio):
        return []
    add_up = collect_differences if is_difference else collect
    samples: list[Sample] = []
    for row in rng.integers(0, len(groups), size=(N_SAMPLES, len(groups) // ASKED)):
        at = np.concatenate([groups[g] for g in row])
        problems = np.repeat(np.arange(len(row)), [len(groups[g]) for g in row]).tolist()
        if not is_ratio:
            samples.append(add_up(unit.values[at], problems))
            continue
        sums = collect(unit.values[at], problems).sums
        weights = collect(unit.under[at], problems).sums
        # `summarise` gives no interval to the ratios that are left out here.
        if not is_too_rare(weights):
            samples.append(Sample(sums, weights, "real"))
    return samples
