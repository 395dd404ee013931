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
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from interp.stats.estimates import (
    MIN_PROBLEMS,
    Sample,
    collect,
    collect_pairs,
    collect_ratio,
    estimate_all,
    is_too_rare,
)
from interp.stats.kinds import Kind
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
Kinds = tuple[Kind, ...]
"""Of the metric; of a ratio, of its numerator and its denominator."""


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


def null_pairs(units: Sequence[Unit], kinds: Kinds, *, seed: int = 0) -> Nulls:
    """Paired contrasts between the seeds of each recipe, as they are and exchanged.

    Args:
        units: Of one number.
        kinds: Of its metric; of a ratio, of its numerator and its denominator.
        seed: Of the exchanges.
    """
    pairs = [
        pair
        for group in by_recipe(units)
        for a, b in combinations(group, 2)
        if len((pair := _paired(a, b)).problems) >= MIN_PROBLEMS
    ]
    rng = np.random.default_rng(seed)
    exchanged: list[Sample] = []
    for pair in pairs:
        names = sorted(set(pair.problems))
        place = np.array([names.index(problem) for problem in pair.problems])
        for _ in range(N_EXCHANGES):
            # Drawn by problem: twins change sides together, or they would count as independent.
            exchanged += _contrast(pair.exchange(rng.random(len(names))[place] < 0.5), kinds)
    plain = [sample for pair in pairs for sample in _contrast(pair, kinds)]
    n_independent = sum(len(group) - 1 for group in by_recipe(units)) if plain else 0
    shares = _share_significant(plain), _share_significant(exchanged)
    return Nulls(*shares, len(plain), n_independent)


def _share_significant(samples: Sequence[Sample]) -> float:
    p = [one.p for one in estimate_all(samples) if one.p == one.p]  # NaN: too few problems
    return float(np.mean([one < ALPHA for one in p])) if p else NAN


class Pair(NamedTuple):
    """Two units on the first examples that both could measure: values above denominators."""

    first: np.ndarray
    second: np.ndarray
    """[over or under, example]"""
    problems: list[str]

    def exchange(self, is_exchanged: np.ndarray) -> Pair:
        """With the two sides exchanged in some examples."""
        sides = (self.second, self.first), (self.first, self.second)
        first, second = (np.where(is_exchanged, a, b) for a, b in sides)
        return self._replace(first=first, second=second)


def _contrast(pair: Pair, kinds: Kinds) -> list[Sample]:
    """The contrast that a report would make; none of a ratio that would have no value."""
    if len(kinds) == 1:
        return [collect_pairs(pair.first[0], pair.second[0], pair.problems, kinds[0])]
    sides = (pair.first, pair.second)
    first, second = (collect_ratio(side[0], side[1], pair.problems, kinds) for side in sides)
    if is_too_rare(first.counts) or is_too_rare(second.counts):
        return []
    return [replace(second, against=first)]


def _paired(a: Unit, b: Unit) -> Pair:
    """Values of both on the first examples that both could measure, and their problems."""
    place = {example: at for at, example in enumerate(b.examples)}
    both = [(at, place[example]) for at, example in enumerate(a.examples) if example in place]
    both = both[: len(both) // ASKED]
    mine, other = ([pair[side] for pair in both] for side in (0, 1))
    problems = [a.problems[at] for at in mine]
    return Pair(
        np.stack([a.values[mine], a.under[mine]]), np.stack([b.values[other], b.under[other]]),
        problems,
    )  # fmt: skip


def coverage(units: Sequence[Unit], kinds: Kinds, *, seed: int = 0) -> Coverage:
    """How often 95 % intervals contain the mean (or ratio) of the population they are drawn from.

    Args:
        units: Each a population.
        kinds: Of their metric; of a ratio, of its numerator and its denominator.
        seed: Of the samples.
    """
    rng = np.random.default_rng(seed)
    shares: list[float] = []
    least: list[float] = []
    for unit in units:
        drawn = _samples(unit, rng, kinds)
        if drawn:
            estimates = estimate_all(drawn)
            shares.append(float(np.mean([e.low <= unit.score <= e.high for e in estimates])))
            least.append(_attainable(drawn[0], unit.score))
    if not shares:
        return Coverage(NAN, 0, NAN, NAN)
    return Coverage(float(np.mean(shares)), len(shares), min(shares), float(np.mean(least)))


def _attainable(sample: Sample, rate: float) -> float:
    """The smallest sum of binomial probabilities that is at least `LEAST`, likeliest first."""
    # Only a count of 0/1 items, one a problem, is binomial; elsewhere LEAST may be reached.
    if sample.kind != "binary" or (sample.counts != 1).any():
        return LEAST
    from scipy.stats import binom

    total = np.cumsum(np.sort(binom.pmf(np.arange(sample.n + 1), sample.n, rate))[::-1])
    return float(total[np.searchsorted(total, LEAST)])


def _samples(unit: Unit, rng: np.random.Generator, kinds: Kinds) -> list[Sample]:
    """Samples of problems, drawn with replacement; each drawn problem counts as one of its own."""
    members: dict[str, list[int]] = {}
    for at, problem in enumerate(unit.problems):
        members.setdefault(problem, []).append(at)
    groups = list(members.values())
    is_ratio = len(kinds) == 2
    # Fewer problems have no interval, and equal items are always covered.
    if len(groups) < MIN_PROBLEMS * ASKED or (len(set(unit.values)) == 1 and not is_ratio):
        return []
    samples: list[Sample] = []
    for row in rng.integers(0, len(groups), size=(N_SAMPLES, len(groups) // ASKED)):
        at = np.concatenate([groups[g] for g in row])
        problems = np.repeat(np.arange(len(row)), [len(groups[g]) for g in row]).tolist()
        if is_ratio:
            sample = collect_ratio(unit.values[at], unit.under[at], problems, kinds)
            # `summarise` gives no interval to the ratios that are left out here.
            samples += [] if is_too_rare(sample.counts) else [sample]
        else:
            samples.append(collect(unit.values[at], problems, *kinds))
    return samples
