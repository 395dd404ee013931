"""Pooled statistics: numbers about all items together, which are no mean of numbers per item.

A probe that asks for a decision has two kinds of items: those that should be flagged (*positive*:
a question without an answer) and those that should not. Each has a score. Two statistics are read
from all of them at once:

* **auroc**: P(a positive scores higher than a negative) + P(equal) / 2, over all pairs of the two
  kinds (Hanley and McNeil 1982, Radiology 143:29): 1/2 by chance, whatever the shares;
* **precision**: sum of the positives' scores over the sum of all scores; with scores of 0 and 1,
  the share of the flagged that should be.

As everywhere, problems are resampled (`interp.stats.estimates`): drawing a problem k times draws
its items k times, and with W_p for how often problem p was drawn the AUROC of a resample is sum_pq
W_p W_q wins_pq / (sum_p W_p n+_p)(sum_q W_q n-_q), with the pairs that are won added up by problem.
Resamples without a positive or a negative (or without a flag) say nothing and are dropped. A
contrast is the difference of two cells in the same resamples.

Where nearly every pair is won no resample differs, and the percentile interval would have no
width. There Wilson's takes its place, with the number of problems for n: the variance of an AUROC A
of independent scores is at most A (1 - A) / min(n+, n-) (Birnbaum and Klose 1957, Annals of
Mathematical Statistics 28:933), which is that of a share of so many problems; for contrasts two of
them are joined by Newcombe's rule.

Example: positives score 0.9 and 0.4, the negative 0.5: one of two pairs is won, AUROC 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from interp.stats.estimates import FEW, Estimate, draw_weights, read_resamples
from interp.stats.proportion_intervals import Interval, wilson

Statistic = Literal["auroc", "precision"]
Weights = Float[np.ndarray, "resample problem"]
Values = Float[np.ndarray, " resample"]
NAN = float("nan")


class ScoredItem(NamedTuple):
    """One item as a pooled statistic sees it."""

    example: str
    problem: str
    score: float
    is_positive: bool


@dataclass(frozen=True)
class ScoredItems:
    """All scores of one cell, with the problem of each as a number from 0."""

    positive: Float[np.ndarray, " positive"]
    negative: Float[np.ndarray, " negative"]
    positive_problem: Int[np.ndarray, " positive"]
    negative_problem: Int[np.ndarray, " negative"]
    n: int
    """Number of problems."""


@dataclass(frozen=True)
class PooledSample:
    """A cell, or two paired cells whose difference (the second minus the first) is wanted."""

    statistic: Statistic
    sides: tuple[ScoredItems, ...]


def collect_scores(statistic: Statistic, *sides: Sequence[ScoredItem]) -> PooledSample:
    """The scores of one cell, or of two with the same examples.

    Args:
        statistic: Which one is wanted.
        sides: The items of each cell; two cells are compared, the second minus the first.

    Raises:
        ValueError: Two cells that do not hold the same examples.
    """
    examples = [sorted(item.example for item in side) for side in sides]
    if any(other != examples[0] for other in examples[1:]):
        raise ValueError(
            "A pooled contrast is paired: both cells hold the same examples, got "
            f"{len(examples[0])} and {len(examples[-1])}. Keep those that both could measure."
        )
    problems = sorted({item.problem for item in sides[0]})
    code = {problem: at for at, problem in enumerate(problems)}
    return PooledSample(statistic, tuple(_scores(side, code) for side in sides))


def _scores(side: Sequence[ScoredItem], code: dict[str, int]) -> ScoredItems:
    def taken(is_positive: bool) -> tuple[np.ndarray, np.ndarray]:
        chosen = [item for item in side if item.is_positive == is_positive]
        scores = np.array([item.score for item in chosen], dtype=np.float64)
        return scores, np.array([code[item.problem] for item in chosen], dtype=np.int64)

    (positive, of_positive), (negative, of_negative) = taken(True), taken(False)
    return ScoredItems(positive, negative, of_positive, of_negative, len(code))


def estimate_pooled(
    sample: PooledSample, *, seed: int, n_boot: int = 2000, level: float = 0.95
) -> Estimate:
    """The statistic of a cell, or the difference of two, with its interval.

    Args:
        sample: From `collect_scores`.
        seed: Of the resamples, which depend on it and the number of problems alone.
        n_boot: Number of resamples.
        level: Coverage of the interval.

    Returns:
        NaN without a positive and a negative (or a flag); no interval for a single problem.
    """
    n, measure = sample.sides[0].n, STATISTICS[sample.statistic]
    sides = [float(measure(side, np.ones((1, n)))[0]) for side in sample.sides] if n else [NAN]
    value = sides[-1] - sides[0] if len(sides) == 2 else sides[0]
    if np.isnan(value) or n < 2:
        return Estimate(value, NAN, NAN, 0 if np.isnan(value) else n, NAN)
    rng = np.random.default_rng((seed, n))
    blocks: list[np.ndarray] = []
    for weights in draw_weights(n, rng=rng, n_boot=n_boot):
        drawn = [measure(side, weights) for side in sample.sides]
        blocks.append(drawn[-1] - drawn[0] if len(drawn) == 2 else drawn[0])
    resampled = np.concatenate(blocks)
    resampled = resampled[~np.isnan(resampled), None]
    if not len(resampled):
        return Estimate(value, NAN, NAN, n, NAN)
    low, high, p = read_resamples(resampled, np.array([value]), n, level=level)
    limits = Interval(float(low[0]), float(high[0]))
    counts = [_n_telling(side, sample.statistic) for side in sample.sides]
    if all(k * min(v, 1 - v) < FEW for k, v in zip(counts, sides, strict=True)):
        limits = _few(sides, counts, level)
    return Estimate(value, *limits, n, float(p[0]))


def _few(values: Sequence[float], counts: Sequence[int], level: float) -> Interval:
    """Wilson's limits, of two sides joined by Newcombe's square-and-add rule."""
    found = [wilson(v * k, k, level=level) for v, k in zip(values, counts, strict=True)]
    if len(values) == 1:
        return found[0]
    (a, b), (first, second) = values, found
    low = b - a - np.hypot(b - second.low, first.high - a)
    high = b - a + np.hypot(second.high - b, a - first.low)
    return Interval(float(low), float(high))


def _n_telling(scores: ScoredItems, statistic: Statistic) -> int:
    """Problems of the rarer kind; for precision, problems with a flag."""
    if statistic == "auroc":
        sides = (scores.positive_problem, scores.negative_problem)
        return min(len(np.unique(problems)) for problems in sides)
    flagged = [
        scores.positive_problem[scores.positive > 0],
        scores.negative_problem[scores.negative > 0],
    ]
    return len(np.unique(np.concatenate(flagged)))


def auroc(scores: ScoredItems, weights: Weights) -> Values:
    """Share of pairs of a positive and a negative that the positive wins; ties count one half."""
    n = scores.n
    wins = np.zeros((n, n))
    for score, problem in zip(scores.positive, scores.positive_problem, strict=True):
        won = (scores.negative < score) + (scores.negative == score) / 2
        wins[problem] += np.bincount(scores.negative_problem, weights=won, minlength=n)
    n_positive = weights @ np.bincount(scores.positive_problem, minlength=n)
    n_negative = weights @ np.bincount(scores.negative_problem, minlength=n)
    return _over(((weights @ wins) * weights).sum(axis=1), n_positive * n_negative)


def precision(scores: ScoredItems, weights: Weights) -> Values:
    """Sum of the positives' scores over the sum of all scores."""
    right = np.bincount(scores.positive_problem, weights=scores.positive, minlength=scores.n)
    false = np.bincount(scores.negative_problem, weights=scores.negative, minlength=scores.n)
    return _over(weights @ right, weights @ (right + false))


def _over(above: Values, below: Values) -> Values:
    """A quotient; NaN where there is nothing below the line."""
    return np.divide(above, below, out=np.full(above.shape, NAN), where=below > 0)


STATISTICS: dict[Statistic, Callable[[ScoredItems, Weights], Values]] = {
    "auroc": auroc,
    "precision": precision,
}
