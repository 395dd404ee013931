"""What several trainings say of the way of training: seeds as the unit.

Two checkpoints differ by their recipes and by what chance did to each training. An interval over
problems holds for the two checkpoints and says nothing of the next training. With several seeds,
each seed's number, measured on problems of its own, is one observation. These observations are
independent, and their spread holds both kinds of chance: of the training and of the problems. So
the mean over seeds gets Student's t interval with n - 1 degrees of freedom (Student 1908,
Biometrika 6:1), and a contrast 'post - base' the t test of its n paired differences, each between a
post model and the base it was made from.

**Not narrower than the problems allow.** Three numbers may lie close together by accident, or be
equal (three accuracies of 1.00). The sampling error of each is known from its own interval, so each
side of the interval over seeds is at least sqrt(h_1^2 + ... + h_n^2) / n, with h_i how far the
interval of seed i reaches on that side; p is at least the one that belongs to this width.

**Fewer than three seeds give no interval.** With two, the t interval is 12.7 standard errors wide
on each side, and would be taken for a measurement.

**What it rests on.** Numbers that are roughly normal over seeds. A training that succeeds or fails
as a whole is not: three successes in a row say little of how often it fails
(`tests/simulations/seeds.py` prints how often the interval covers for such trainings). Without that
assumption five seeds or fewer cannot show a difference at all: the sign test needs six that agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from interp.stats.proportion_intervals import Interval

MIN_SEEDS = 3
"""Below this many seeds there is no interval."""
NAN = float("nan")
ANY = Interval(-math.inf, math.inf)


class SeedEstimate(NamedTuple):
    """A mean over seeds with its interval, and the two kinds of spread beside each other."""

    value: float
    low: float
    high: float
    n: int
    """Number of seeds."""
    p: float
    """Two-sided p against 0; meaningful for contrasts only."""
    between: float
    """Standard deviation of the numbers over seeds, sampling error of each included."""
    within: float
    """How far the interval of one seed reaches to each side (root mean square)."""


def estimate_over_seeds(
    values: Sequence[float],
    intervals: Sequence[Interval],
    *,
    bounds: Interval = ANY,
    level: float = 0.95,
) -> SeedEstimate:
    """The mean over seeds, its interval and its p.

    Args:
        values: One number for each seed, measured on independently drawn problems.
        intervals: The interval of each, over its problems, at the same level; NaN where it has
            none, which then counts as no sampling error.
        bounds: Between which the true mean is known to lie: 0 and 1 for shares.
        level: Coverage.

    Returns:
        Mean, limits and p; NaN limits and p below `MIN_SEEDS`. p is also NaN if seeds and problems
        all have one value other than 0, for there is no spread to compare it with.

    Raises:
        ValueError: Lengths differ, or a value is not finite.

    Example:
        >>> one = Interval(0.1, 0.3)  # each seed's own interval
        >>> mean = estimate_over_seeds([0.2, 0.3, 0.25], [one, Interval(0.2, 0.4), one])
        >>> print(f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]")
        0.25 [0.13, 0.37]
    """
    x = np.array(values, dtype=np.float64)
    if len(values) != len(intervals) or not np.isfinite(x).all():
        raise ValueError(
            f"every seed has one finite number and one interval, received the values {values} and "
            f"{len(intervals)} intervals. Leave out seeds that could not be measured, and count "
            "them."
        )
    if not len(x):
        return SeedEstimate(NAN, NAN, NAN, 0, NAN, NAN, NAN)
    value, n = float(x.mean()), len(x)
    limits = np.array(intervals, dtype=np.float64)
    below, above = np.nan_to_num(x - limits[:, 0]), np.nan_to_num(limits[:, 1] - x)
    within = math.sqrt(float((below**2 + above**2).mean() / 2))
    if n == 1:
        return SeedEstimate(value, NAN, NAN, 1, NAN, NAN, within)
    between = float(x.std(ddof=1))
    if n < MIN_SEEDS:
        return SeedEstimate(value, NAN, NAN, n, NAN, between, within)
    by_problems = Interval(*(math.sqrt(float((side**2).sum())) / n for side in (below, above)))
    by_seeds = _t_quantile(n, level) * between / math.sqrt(n)
    low = max(value - max(by_seeds, by_problems.low), bounds.low)
    high = min(value + max(by_seeds, by_problems.high), bounds.high)
    p = _p_value(value, between / math.sqrt(n), n, by_problems, level)
    return SeedEstimate(value, low, high, n, p, between, within)


def _p_value(value: float, error: float, n: int, by_problems: Interval, level: float) -> float:
    """The larger p of the t test over seeds and of the problems' part of the interval."""
    from scipy.special import ndtr, ndtri, stdtr

    reach = by_problems.low if value > 0 else by_problems.high
    if value == 0:
        return 1.0
    if error == 0 and reach == 0:
        return NAN
    of_seeds = 2 * float(stdtr(n - 1, -abs(value) / error)) if error else 0.0
    z = -float(ndtri((1 - level) / 2))  # the reach is z standard errors
    of_problems = 2 * float(ndtr(-abs(value) / reach * z)) if reach else 0.0
    return max(of_seeds, of_problems)


def _t_quantile(n: int, level: float) -> float:
    """How many standard errors of the mean of n numbers the interval reaches."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + level) / 2))
