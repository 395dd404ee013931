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
Resamples without a positive or a negative (or without a flag) have no value and are dropped. A
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
from jaxtyping import Bool, Float, Int, Num

from interp.stats.estimates import MIN_PROBLEMS, Estimate
from interp.stats.mean_limits import Limits, agree
from interp.stats.proportion_intervals import FEW, Interval, newcombe, wilson
from interp.stats.resampling import draw_weights, read_resamples

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


def area_under_curve(
    scores: Num[np.ndarray, "example ..."], is_positive: Bool[np.ndarray, " example"]
) -> Float[np.ndarray, "..."]:
    """P(a positive scores higher than a negative) + P(equal) / 2, without an interval.

    Args:
        scores: One number per example, or a column of them for each of several scorers.
        is_positive: Which examples are positive.

    Returns:
        The area under the ROC curve (Mann-Whitney U over the number of pairs), one for each column;
        NaN if either class is empty.

    Example:
        >>> float(area_under_curve(np.array([0.9, 0.4, 0.5]), np.array([True, True, False])))
        0.5
    """
    from scipy.stats import rankdata

    n_positive = int(is_positive.sum())
    n_pairs = n_positive * (len(is_positive) - n_positive)
    if not n_pairs:
        return np.full(scores.shape[1:], NAN)
    # Average ranks count a tie as one half.
    ranks = rankdata(scores, axis=0)[is_positive].sum(axis=0)
    return np.asarray((ranks - n_positive * (n_positive + 1) / 2) / n_pairs)


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
            "a pooled contrast is paired: both cells hold the same examples, received "
            f"{len(examples[0])} and {len(examples[-1])}. Keep those that both could measure."
        )
    problems = sorted({item.problem for item in sides[0]})
    code = {problem: at for at, problem in enumerate(problems)}
    return PooledSample(statistic, tuple(_scores(side, code) for side in sides))


def _scores(side: Sequence[ScoredItem], code: dict[str, int]) -> ScoredItems:
    def select(is_positive: bool) -> tuple[np.ndarray, np.ndarray]:
        chosen = [item for item in side if item.is_positive == is_positive]
        scores = np.array([item.score for item in chosen], dtype=np.float64)
        return scores, np.array([code[item.problem] for item in chosen], dtype=np.int64)

    (positive, of_positive), (negative, of_negative) = select(True), select(False)
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
        NaN without a positive and a negative (or a flag); no interval below `MIN_PROBLEMS`.
    """
    n, measure = sample.sides[0].n, STATISTICS[sample.statistic]
    # Weight 1 for every problem gives the statistic of the sample itself.
    sides = [float(measure(side, np.ones((1, n)))[0]) for side in sample.sides] if n else [NAN]
    value = sides[-1] - sides[0] if len(sides) == 2 else sides[0]
    if np.isnan(value) or n < MIN_PROBLEMS:
        return Estimate(value, NAN, NAN, 0 if np.isnan(value) else n, NAN)
    rng = np.random.default_rng((seed, n))  # the same resamples for the same n
    blocks: list[np.ndarray] = []
    for weights in draw_weights(n, rng=rng, n_boot=n_boot):
        drawn = [measure(side, weights) for side in sample.sides]
        blocks.append(drawn[-1] - drawn[0] if len(drawn) == 2 else drawn[0])
    resampled = np.concatenate(blocks)
    # A resample without a positive or without a negative has no value.
    resampled = resampled[~np.isnan(resampled), None]
    if not len(resampled):
        return Estimate(value, NAN, NAN, n, NAN)
    low, high, p = read_resamples(resampled, np.array([value]), n, level=level)
    limits = Interval(float(low[0]), float(high[0]))
    counts = [_n_informative(side, sample.statistic) for side in sample.sides]
    # If one of two sides is far from its bounds, resamples differ and can be read.
    if all(k * min(v, 1 - v) < FEW for k, v in zip(counts, sides, strict=True)):
        limits = _wilson_limits(sides, counts, level)
    if len(sides) == 1:
        return Estimate(value, *limits, n, float(p[0]))
    low, high = (np.array([end]) for end in limits)
    found = agree(Limits(np.array([value]), low, high, p), n, level)
    return Estimate(value, float(found.low[0]), float(found.high[0]), n, float(found.p[0]))


def _wilson_limits(values: Sequence[float], counts: Sequence[int], level: float) -> Interval:
    """Wilson's limits of one side; of two, joined by Newcombe's rule."""
    limits = [wilson(v * k, k, level=level) for v, k in zip(values, counts, strict=True)]
    if len(values) == 1:
        return limits[0]
    return newcombe(values[0], limits[0], values[1], limits[1])


def _n_informative(scores: ScoredItems, statistic: Statistic) -> int:
    """Problems of the rarer kind; for precision, problems with a flag."""
    if statistic == "auroc":
        sides = (scores.positive_problem, scores.negative_problem)
        return min(len(np.unique(problems)) for problems in sides)
    flagged = [
        scores.positive_problem[scores.positive > 0],
        scores.negative_problem[scores.negative > 0],
    ]
    return len(np.unique(np.concatenate(flagged)))


def _auroc(scores: ScoredItems, weights: Weights) -> Values:
    """Share of pairs of a positive and a negative that the positive wins; ties count one half."""
    n = scores.n
    wins = np.zeros((n, n))
    for score, problem in zip(scores.positive, scores.positive_problem, strict=True):
        won = (scores.negative < score) + (scores.negative == score) / 2
        wins[problem] += np.bincount(scores.negative_problem, weights=won, minlength=n)
    n_positive = weights @ np.bincount(scores.positive_problem, minlength=n)
    n_negative = weights @ np.bincount(scores.negative_problem, minlength=n)
    return _divide(((weights @ wins) * weights).sum(axis=1), n_positive * n_negative)


def _precision(scores: ScoredItems, weights: Weights) -> Values:
    """Sum of the positives' scores over the sum of all scores."""
    right = np.bincount(scores.positive_problem, weights=scores.positive, minlength=scores.n)
    false = np.bincount(scores.negative_problem, weights=scores.negative, minlength=scores.n)
    return _divide(weights @ right, weights @ (right + false))


def _divide(over: Values, under: Values) -> Values:
    """A quotient; NaN where the denominator is 0."""
    return np.divide(over, under, out=np.full(over.shape, NAN), where=under > 0)


STATISTICS: dict[Statistic, Callable[[ScoredItems, Weights], Values]] = {
    "auroc": _auroc,
    "precision": _precision,
}
