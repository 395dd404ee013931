"""Limits of means and medians of many cells at once, one method for each kind of metric.

Each cell is added up per problem: sums s_p of items and their counts c_p, mean m = sum s / sum c.
The *influence* of problem p is e_p = (s_p - m c_p) / mean c; m has the standard error
sqrt(sum e^2 / (n (n - 1))) (linearisation; with equal counts that of a plain mean). So problems
count, not items, and a ratio of two sums is a mean with its denominators for counts.

**real**. The outer limits of two intervals: Student's, which covers where tails are heavy and
even, and Hall's (1992, Journal of the Royal Statistical Society B 54:221), which takes the skewness
out of t by a monotone transformation; alone it misses in one of ten with heavy even tails, as
Student's does with skew.

**share**. Wilson's interval with an *effective number of problems*: a mean m of numbers from 0 to 1
has the variance f m (1 - m) / n with f at most 1, and n / f takes the place of n. For 0/1 items f
is 1, and for numbers that all lie near 0.011 it is near 0. f is estimated; as far as problems have
one common value (all answers right), it is moved towards 1, since then 2^-k is the chance that k
problems with other values would all have been of the smaller kind. Student's t takes the place of
the normal quantile, with Hall's transformation for what skewness there is beyond that of such a
variance.

**binary**. The same without Student and Hall: for single items Wilson's own interval, with
Poisson's limit where one to three problems differ (Brown, Cai and DasGupta 2001, Statistical
Science 16:101); with several items to a problem the effective number lies between problems and
items.

**difference**. Sums of rises and of falls are shares; their Wilson limits are joined by Newcombe's
square-and-add rule with their correlation (Newcombe 1998, Statistics in Medicine 17:873). The outer
limits of this and of Student's interval are taken, and the larger of two p: Student's and McNemar's
mid-p (Fagerland, Lydersen and Laake 2013) on the effective number (sum |d|)^2 / sum d^2 of problems
that differ.

**skewed**. The median over the problems' means with interpolated order statistics (Hettmansperger
and Sheather 1986; Nyblom 1992, Statistics and Probability Letters 13:345), which covers whatever
the shape, and the mid-p of the sign test, where problems without a difference count against one.

p and interval of a contrast agree: p < .05 exactly where 0 lies outside of the 95 % interval. Where
p is not significant, the interval is moved out to 0; where it holds 0, p is at least that of
`p_by_length`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.stats.kinds import Kind

Row = Float[np.ndarray, " cell"]
Table = Float[np.ndarray, "problem cell"]
ROUNDING = 1e-12
"""Share of the largest number below which a deviation is rounding."""


class Limits(NamedTuple):
    """What is told of each cell."""

    value: Row
    low: Row
    high: Row
    p: Row
    """Two-sided, against 0."""


@dataclass(frozen=True)
class Cells:
    """Cells with equally many problems, one a column, added up per problem."""

    sums: Table
    counts: Table

    @property
    def n(self) -> int:
        """Number of problems."""
        return len(self.sums)

    @cached_property
    def mean(self) -> Row:
        """Sum of the sums over that of the counts."""
        return self.sums.sum(axis=0) / self.counts.sum(axis=0)

    @cached_property
    def influence(self) -> Table:
        """What each problem adds to the mean, times n."""
        size = self.counts.mean(axis=0)
        away = (self.sums - self.mean * self.counts) / size
        # What rounding leaves where all problems are alike is no spread.
        scale = np.abs(self.sums / size).max(axis=0, initial=0.0)
        return np.where(np.abs(away) <= ROUNDING * scale, 0.0, away)

    @cached_property
    def variance(self) -> Row:
        """Of one problem."""
        return np.square(self.influence).sum(axis=0) / (self.n - 1)

    @property
    def error(self) -> Row:
        """Standard error of the mean."""
        return np.sqrt(self.variance / self.n)

    @cached_property
    def skewness(self) -> Row:
        """Of the influence; 0 without spread."""
        cubes = np.power(self.influence, 3).mean(axis=0)
        return _over(cubes, np.square(self.influence).mean(axis=0) ** 1.5)

    @cached_property
    def doubt(self) -> Row:
        """How far unseen problems may differ more than the seen: 1 if all have one value."""
        ordered = np.sort(self.sums / self.counts, axis=0)
        starts = np.diff(ordered, axis=0, prepend=-np.inf) > 0
        place = np.arange(self.n)[:, None]
        since = np.maximum.accumulate(np.where(starts, place, 0), axis=0)
        alike = (place - since + 1).max(axis=0)
        return (alike - 1) / (self.n - 1) * 2.0 ** (alike - self.n)


def limits_of(kind: Kind, cells: Cells, *, level: float, scale: float = 1.0) -> Limits:
    """Values, limits and p of cells that are all of one kind.

    Args:
        kind: Of the metric.
        cells: At least two problems.
        level: Coverage.
        scale: For 'difference': the largest that it can be.
    """
    if kind == "difference":
        found = _difference(cells, level, scale)
    else:
        found = _METHODS[kind](cells, level)
    return agree(found, cells.n, level)


def agree(found: Limits, n: int, level: float) -> Limits:
    """Interval and p of contrasts over n problems, the outer ones where they disagree."""
    is_open = found.p >= 1 - level
    low = np.where(is_open & (found.value > 0), np.minimum(found.low, 0), found.low)
    high = np.where(is_open & (found.value < 0), np.maximum(found.high, 0), found.high)
    by_length = np.maximum(p_by_length(found.value, low, high, n, level), 1 - level)
    holds_zero = (low <= 0) & (high >= 0)
    return Limits(
        found.value, low, high, np.where(holds_zero, np.maximum(found.p, by_length), found.p)
    )


def p_by_length(value: Row, low: Row, high: Row, n: int, level: float) -> Row:
    """The p at which an interval would end at 0, if its length grew with Student's quantile."""
    side = np.where(value > 0, value - low, high - value)
    reach = _over(np.abs(value), side, otherwise=np.inf)
    return np.where(value == 0, 1.0, _two_sided(_student(n, level) * reach, n))


def _over(first: np.ndarray, second: np.ndarray, *, otherwise: float = 0.0) -> np.ndarray:
    """A quotient where the second is not 0."""
    first, second = np.broadcast_arrays(first, second)
    return np.divide(first, second, out=np.full(first.shape, otherwise), where=second != 0)


def _student(n: int, level: float) -> float:
    from scipy.special import stdtrit

    return -float(stdtrit(n - 1, (1 - level) / 2))


def _normal(level: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri((1 - level) / 2))


def _two_sided(t: Row, n: int) -> Row:
    from scipy.special import stdtr

    return np.minimum(1.0, 2 * stdtr(n - 1, -np.abs(t)))


def _untransform(y: Row | float, skewness: Row, n: int) -> Row:
    """The t whose transformation by Hall is y."""
    root = np.sqrt(n)
    # Without skewness the transformation is the identity, and its formula 0 / 0.
    g = np.where(np.abs(skewness) < 1e-6, 1e-6, skewness)
    return 3 * root / g * (np.cbrt(1 + g * (y / root - g / (6 * n))) - 1)


def _transform(t: Row, skewness: Row, n: int) -> Row:
    """Hall's transformation of t: T + g T^2 / 3 sqrt(n) + g^2 T^3 / 27 n + g / 6 sqrt(n)."""
    g, root = skewness, np.sqrt(n)
    return t + g * t**2 / (3 * root) + g**2 * t**3 / (27 * n) + g / (6 * root)


def _real(cells: Cells, level: float) -> Limits:
    m, error, g, n = cells.mean, cells.error, cells.skewness, cells.n
    t = _student(n, level)
    low = m - error * np.maximum(t, _untransform(t, g, n))
    high = m - error * np.minimum(-t, _untransform(-t, g, n))
    ratio = _over(m, error)
    p = np.maximum(_two_sided(ratio, n), _two_sided(_transform(ratio, g, n), n))
    return Limits(m, low, high, np.where(error > 0, p, _without_spread(m, n)))


def _without_spread(value: Row, n: int) -> Row:
    """The p where all problems differ by the same: that of sign flips."""
    return np.where(value == 0, 1.0, 2.0 ** (1 - n))


def _wilson(m: Row, n: Row, z: Row | float) -> tuple[Row, Row]:
    """Wilson's limits of shares m of n problems at the normal quantile z."""
    middle = (m + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(m * (1 - m) / n + z**2 / (4 * n**2))
    # Exactly 0 or 1 there; rounding would leave a limit just beside it.
    return np.where(m <= 0, 0.0, middle - half), np.where(m >= 1, 1.0, middle + half)


def _fraction(cells: Cells, doubt: Row) -> Row:
    """The f in the variance f m (1 - m) / n of a share."""
    f = np.minimum(_over(cells.variance, cells.mean * (1 - cells.mean)), 1.0)
    return np.maximum((1 - doubt) * f + doubt, 1e-12)


def _binary(cells: Cells, level: float) -> Limits:
    from scipy.special import gammaincinv

    m = np.clip(cells.mean, 0.0, 1.0)
    if (cells.counts == 1).all():
        n = np.full(m.shape, float(cells.n))
    else:
        n = np.minimum(cells.n / _fraction(cells, cells.doubt), cells.counts.sum(axis=0))
    low, high = _wilson(m, n, _normal(level))
    few = np.where(n > 50, 3, 2) + 1e-9
    right, wrong = m * n, (1 - m) * n
    # chi^2_{2x} / 2 has the gamma distribution of shape x.
    poisson = [gammaincinv(np.maximum(x, 1e-9), 1 - level) / n for x in (right, wrong)]
    low = np.where((right > 0) & (right <= few), poisson[0], low)
    high = np.where((wrong > 0) & (wrong <= few), 1 - poisson[1], high)
    return Limits(m, low, high, np.full(m.shape, np.nan))


def _share(cells: Cells, level: float) -> Limits:
    m, n, t = np.clip(cells.mean, 0.0, 1.0), cells.n, _student(cells.n, level)
    f = _fraction(cells, cells.doubt)
    # Wilson's interval already has the skewness that goes with its variance.
    own = _over(np.sqrt(f) * (1 - 2 * m), np.sqrt(m * (1 - m)))
    beyond = np.where(cells.variance > 0, cells.skewness - own, 0.0)
    down = np.maximum(t, _untransform(t, beyond, n))
    up = np.maximum(t, -_untransform(-t, beyond, n))
    low, high = _wilson(m, n / f, down)[0], _wilson(m, n / f, up)[1]
    return Limits(m, low, high, np.full(m.shape, np.nan))


def _difference(cells: Cells, level: float, scale: float) -> Limits:
    n, z, t = cells.n, _normal(level), _student(cells.n, level)
    rises = replace(cells, sums=np.maximum(cells.sums, 0) / scale)
    falls = replace(cells, sums=np.maximum(-cells.sums, 0) / scale)
    up, down = (np.clip(one.mean, 0.0, 1.0) for one in (rises, falls))
    up_low, up_high = _wilson(up, n / _fraction(rises, cells.doubt), z)
    down_low, down_high = _wilson(down, n / _fraction(falls, cells.doubt), z)
    together = -(rises.influence * falls.influence).sum(axis=0) / (n - 1)
    r = np.clip(_over(together, np.sqrt(rises.variance * falls.variance)), 0.0, 1.0)
    below = _hypotenuse(up - up_low, down_high - down, r)
    above = _hypotenuse(up_high - up, down - down_low, r)
    m, half = cells.mean, t * cells.error
    low = np.maximum(m - np.maximum(scale * below, half), -scale)
    high = np.minimum(m + np.maximum(scale * above, half), scale)
    by_student = _two_sided(_over(m, cells.error), n)
    by_student = np.where(cells.error > 0, by_student, 0.0)
    return Limits(m, low, high, np.maximum(by_student, _mid_p(cells)))


def _hypotenuse(first: Row, second: Row, against: Row) -> Row:
    """Square-and-add, for two sides whose correlation is minus `against`."""
    return np.sqrt(first**2 + second**2 + 2 * against * first * second)


def _mid_p(cells: Cells) -> Row:
    """McNemar's mid-p; with several items to a problem, or sizes, on the effective numbers."""
    size, squares = np.abs(cells.sums).sum(axis=0), np.square(cells.sums).sum(axis=0)
    fewer = np.minimum(
        np.maximum(cells.sums, 0).sum(axis=0), np.maximum(-cells.sums, 0).sum(axis=0)
    )
    n, k = _over(size**2, squares), _over(fewer * size, squares)
    return np.where(n > 0, np.minimum(1.0, 2 * _mid_binomial(k, n)), 1.0)


def _mid_binomial(k: Row, n: Row) -> Row:
    """P(fewer than k) + P(k) / 2 of n fair coins; k and n may be fractions."""
    from scipy.special import betainc

    at_most = betainc(np.maximum(n - k, 1e-9), k + 1, 0.5)
    fewer = np.where(k > 1e-9, betainc(n - k + 1, np.maximum(k, 1e-9), 0.5), 0.0)
    return (at_most + fewer) / 2


def _skewed(cells: Cells, level: float) -> Limits:
    from scipy.special import bdtr

    n = cells.n
    values = np.sort(cells.sums / cells.counts, axis=0)
    # Coverage of the k-th smallest to the k-th largest.
    ks = np.arange(1, n // 2 + 1)
    covered = 1 - 2 * bdtr(ks - 1, n, 0.5)
    k = int(ks[covered >= level].max(initial=1))
    inner = 1 - 2 * float(bdtr(k, n, 0.5))
    share = min(max((covered[k - 1] - level) / (covered[k - 1] - inner), 0.0), 1.0)
    move = (n - k) * share / (k + (n - 2 * k) * share)
    low = values[k - 1] + move * (values[min(k, n - 1)] - values[k - 1])
    high = values[n - k] + move * (values[max(n - k - 1, 0)] - values[n - k])
    rarer = n - np.maximum((values > 0).sum(axis=0), (values < 0).sum(axis=0))
    p = np.where(
        2 * rarer < n, 2 * _mid_binomial(rarer.astype(float), np.full(rarer.shape, float(n))), 1.0
    )
    return Limits(np.median(values, axis=0), low, high, np.minimum(p, 1.0))


_METHODS: dict[Kind, Callable[[Cells, float], Limits]] = {
    "binary": _binary,
    "share": _share,
    "real": _real,
    "skewed": _skewed,
}
