"""Estimates: means and paired contrasts with intervals, clustered by problem.

**What varies.** The independent unit is the *problem*, not the item: twins of one problem, or
several chains for it, tend to be right or wrong together. Each cell of a table is first added up
per problem (`Sample`), and every interval is made from these sums. Treating 5 items of each of 20
problems as 100 independent items gives intervals that are too short by up to a factor of the square
root of 5.

**Which interval.** One method for each kind of metric (`interp.stats.kinds`), chosen before any
value is seen; `interp.stats.mean_limits` has the methods, and `artifacts/statistics/coverage.md`
how often they cover on simulated shapes. Below `MIN_PROBLEMS` problems there is a value and no
interval: nothing that is useful covers there.

**Ratios.** A ratio of two sums over problems, r = sum o_p / sum u_p, is a mean with the
denominators for counts: its interval is that of the kind 'real', from the residuals o_p - r u_p, so
that skewed numerators and denominators are both counted. Limits are widened where numerator and
denominator differ in hardly any problem. A contrast of two ratios over the same problems joins
their limits by the square-and-add rule (Newcombe 1998), with the correlation of their residuals.
Limits end at the bounds that a ratio has by its definition: the share of a part lies between 0 and
1, and the difference of two such shares between -1 and 1.

**How it stays fast.** Cells with the same number of problems are the columns of one array. Nothing
is drawn at random, so a row does not change when others are added to the table.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Num

from interp.stats.kinds import CONTRASTS, EXCESS, Kind, check_kind
from interp.stats.mean_limits import Cells, Limits, limits_of, p_by_length
from interp.stats.proportion_intervals import Interval, newcombe, widen_ratio_limits

MIN_PROBLEMS = 6
"""Below this many problems there is no interval."""
RATIO_PROBLEMS = 20
"""Problems that a ratio needs: with 10 its 95 % interval covered in as few as 82 %."""
CLEAR = 4.0
"""Standard errors between 0 and the mean denominator of a ratio, at least."""
ROUNDING = 1e-5
"""Differences of two passes in float32 that count as 0, relative to the larger number or to 1."""
UNBOUNDED = Interval(-float("inf"), float("inf"))
Method = Kind | Literal["ratio"]


class Estimate(NamedTuple):
    """A mean (of the kind 'skewed' a median) or a contrast over `n` problems, and its interval."""

    value: float
    low: float
    high: float
    n: int
    p: float
    """Two-sided p against 0; meaningful for contrasts only."""


@dataclass(frozen=True)
class Sample:
    """The items of one cell, added up per problem."""

    sums: Float[np.ndarray, " problem"]
    counts: Float[np.ndarray, " problem"]
    """Of a ratio: the sums of the denominator."""
    kind: Method
    is_bounded: bool = False
    """For 'ratio': whether the items above and below lie between -1 and 1."""
    bounds: Interval = UNBOUNDED
    """For 'ratio': between which numbers it lies, by its definition."""
    scale: float = 1.0
    """For 'difference': the largest that it can be."""
    against: Sample | None = None
    """For a contrast of two ratios: the one that is subtracted."""

    @property
    def n(self) -> int:
        """Number of problems."""
        return len(self.sums)


def collect(
    values: Num[np.ndarray, " example"], problems: Sequence[Hashable], kind: Kind
) -> Sample:
    """Adds up items per problem.

    Args:
        values: one finite number per item, [example].
        problems: the problem of each item, same length.
        kind: of the metric.

    Raises:
        ValueError: lengths differ, or a value is not finite, or not of the kind.
    """
    _check(values, problems)
    return _sample(check_kind(values, kind), problems, kind)


def collect_pairs(
    first: Num[np.ndarray, " example"],
    second: Num[np.ndarray, " _"],
    problems: Sequence[Hashable],
    kind: Kind,
) -> Sample:
    """Adds up the differences `second - first` of paired items per problem.

    Differences within `ROUNDING` count as 0: where two models agree, float32 leaves 1e-6, whose
    sign depends on the device and not on the models.

    Args:
        first: one finite number per pair, [example].
        second: its partner, in the same order.
        problems: the problem of each pair.
        kind: of the metric; that of the differences follows (`interp.stats.kinds.CONTRASTS`).

    Raises:
        ValueError: lengths differ, or a value is not finite, or not of the kind.
    """
    if len(first) != len(second):
        raise ValueError(
            f"a paired contrast needs partners in the same order, received {len(first)} and "
            f"{len(second)} values. Drop items without a partner first."
        )
    _check(first, problems)
    _check(second, problems)
    a, b = check_kind(first, kind), check_kind(second, kind)
    is_rounding = np.abs(b - a) <= ROUNDING * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
    return _sample(np.where(is_rounding, 0.0, b - a), problems, CONTRASTS[kind])


def collect_ratio(
    over: Num[np.ndarray, " example"],
    under: Num[np.ndarray, " _"],
    problems: Sequence[Hashable],
    kinds: Sequence[Kind],
    *,
    bounds: Interval = UNBOUNDED,
) -> Sample:
    """The ratio of two sums over the same items.

    Args:
        over: Items of the numerator.
        under: Those of the denominator, in the same order.
        problems: The problem of each.
        kinds: Of the two metrics.
        bounds: The smallest and the largest that the ratio can be, by its definition.

    Raises:
        ValueError: As `collect`.
    """
    above, below = (
        collect(values, problems, kind) for values, kind in zip((over, under), kinds, strict=True)
    )
    is_bounded = not {"real", "skewed"} & set(kinds)
    return Sample(above.sums, below.sums, "ratio", is_bounded, bounds)


def _check(values: np.ndarray, problems: Sequence[Hashable]) -> None:
    if len(values) != len(problems):
        raise ValueError(
            f"every item needs its problem, received {len(values)} values and {len(problems)} "
            "problems"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "statistics take finite numbers only, received NaN or infinity. Drop items that are "
            "not measurable (`values[np.isfinite(values)]`) and report how many there were."
        )


def _sample(values: np.ndarray, problems: Sequence[Hashable], kind: Kind) -> Sample:
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(p, len(numbers)) for p in problems], dtype=np.int64)
    sums = np.bincount(codes, weights=values, minlength=len(numbers)).astype(np.float64)
    counts = np.bincount(codes, minlength=len(numbers)).astype(np.float64)
    return Sample(sums, counts, kind)


def estimate_all(samples: Sequence[Sample], *, level: float = 0.95) -> list[Estimate]:
    """Estimates of many cells at once; those of equally many problems in one array.

    The p of a contrast is two-sided, against 0; identical sides give exactly 0 with p = 1. Fewer
    than `MIN_PROBLEMS` problems give a NaN interval and p.

    Args:
        samples: one per cell.
        level: coverage of the intervals.
    """
    groups: dict[tuple[int, Method, float], list[int]] = {}
    estimates: dict[int, Estimate] = {}
    contrasts = {i: (one.against, one) for i, one in enumerate(samples) if one.against is not None}
    # The square-and-add rule takes the limits as they are; what it makes of them is cut.
    sides = [
        replace(side, against=None, bounds=UNBOUNDED)
        for pair in contrasts.values()
        for side in pair
        if side
    ]
    of_sides = iter(estimate_all(sides, level=level) if sides else ())
    for index, (first, second) in contrasts.items():
        both = next(of_sides), next(of_sides)
        estimates[index] = _contrast_of_ratios(second, first, *both, level)
    for index, sample in enumerate(samples):
        if index not in contrasts:
            groups.setdefault((sample.n, sample.kind, sample.scale), []).append(index)
    for (_, kind, _), members in groups.items():
        for start in range(0, len(members), 1000):  # problems x 1000 cells fit into memory
            part = members[start : start + 1000]
            group = [samples[index] for index in part]
            estimated = _estimate(group, kind, level=level)
            estimates.update(zip(part, estimated, strict=True))
    return [estimates[index] for index in range(len(samples))]


def _estimate(samples: Sequence[Sample], kind: Method, *, level: float) -> list[Estimate]:
    """Estimates of samples of one kind that all have the same number of problems."""
    nan = float("nan")
    n = samples[0].n
    if n == 0:
        return [Estimate(nan, nan, nan, 0, nan) for _ in samples]
    cells = _cells(samples)
    if n < MIN_PROBLEMS:
        each = np.median(cells.sums / cells.counts, axis=0) if kind == "skewed" else cells.mean
        few = [Estimate(float(value), nan, nan, n, nan) for value in each]
        return [_clip(one, sample.bounds) for one, sample in zip(few, samples, strict=True)]
    base: Kind = "real" if kind == "ratio" else kind
    found = limits_of(base, cells, level=level, scale=samples[0].scale)
    estimates = [Estimate(v, low, high, n, p) for v, low, high, p in _rows(found)]
    widened = [
        one._replace(**_widened(sample, one, level)._asdict()) if sample.is_bounded else one
        for sample, one in zip(samples, estimates, strict=True)
    ]
    return [_clip(one, sample.bounds) for one, sample in zip(widened, samples, strict=True)]


def _cells(samples: Sequence[Sample]) -> Cells:
    sums = np.stack([sample.sums for sample in samples], axis=1)
    return Cells(sums, np.stack([sample.counts for sample in samples], axis=1))


def _rows(found: Limits) -> zip[tuple[float, ...]]:
    return zip(*(column.tolist() for column in found), strict=True)


def _widened(sample: Sample, one: Estimate, level: float) -> Interval:
    limits = Interval(one.low, one.high)
    return widen_ratio_limits(sample.sums, sample.counts, limits, level=level)


def _clip(one: Estimate, bounds: Interval) -> Estimate:
    """The estimate with its limits within the bounds, and its value, but for rounding, as well.

    Raises:
        ValueError: The value lies outside, so that these cannot be the bounds.
    """
    if bounds == UNBOUNDED:
        return one
    value, low, high = (min(max(x, bounds.low), bounds.high) for x in one[:3])
    if abs(value - one.value) > EXCESS:
        raise ValueError(
            f"this ratio was declared to lie between {bounds.low:g} and {bounds.high:g}, and it is "
            f"{one.value:g}. Likely a part that is not in the denominator: leave the bound out."
        )
    return one._replace(value=value, low=low, high=high)


def _contrast_of_ratios(
    second: Sample, first: Sample, a: Estimate, b: Estimate, level: float
) -> Estimate:
    """The ratio `second`, estimated as b, less `first`, as a, over the same problems."""
    value, nan = b.value - a.value, float("nan")
    if second.n < MIN_PROBLEMS:
        return Estimate(value, nan, nan, second.n, nan)
    e = _cells([first, second]).influence
    if value == 0 and bool((e[:, 0] == e[:, 1]).all()):  # a model against itself
        return Estimate(0.0, 0.0, 0.0, second.n, 1.0)
    spread = float(np.sqrt(np.square(e).sum(axis=0).prod()))
    r = float(e[:, 0] @ e[:, 1]) / spread if spread else 0.0
    limits = newcombe(
        a.value, Interval(a.low, a.high), b.value, Interval(b.low, b.high), correlation=r
    )
    middle, low, high = (np.array([end]) for end in (value, *limits))
    p = max(float(p_by_length(middle, low, high, second.n, level)[0]), 2.0 ** (1 - second.n))
    ends = Interval(second.bounds.low - first.bounds.high, second.bounds.high - first.bounds.low)
    return _clip(Estimate(value, *limits, second.n, p), ends)


def is_too_rare(weights: Float[np.ndarray, " problem"]) -> bool:
    """Whether these denominators are too few, or their mean too near 0, for a ratio."""
    n = len(weights)
    if n < RATIO_PROBLEMS:
        return True
    return bool(abs(weights.mean()) <= CLEAR * weights.std(ddof=1) / np.sqrt(n))


def benjamini_hochberg(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """False-discovery-rate adjusted p (Benjamini and Hochberg 1995); NaN stay NaN, uncounted."""
    q = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    # The minimum from the largest p downwards: a smaller p never gets a larger q.
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
