"""Statistics: means and paired contrasts with intervals from a bootstrap over problems.

**What is resampled.** The independent unit is the *problem*, not the item: twins of one problem, or
several chains for it, stand or fall together. Each cell of a table is first added up per problem
(`Sample`), then problems are drawn with replacement, and the mean is the ratio of the drawn sums
to the drawn counts. Treating 5 items of each of 20 problems as 100 independent items gives
intervals that are too short by up to a factor of the square root of 5.

**Which interval.** The *expanded percentile* interval (Hesterberg 2015, "What Teachers Should Know
About the Bootstrap", section 5.3): quantiles of the resampled means at levels moved outwards by
sqrt(n / (n - 1)) and Student's t. The plain percentile interval is too narrow for few problems
(about 92 % for n = 20), BCa repairs skewness but not that, and the expansion is one line that also
has an exact inverse: the two-sided p of a contrast is the level at which its interval touches 0.

**Where the bootstrap is blind** (`interp.stats.proportion_intervals`). If 100 of 100 answers are
right, every resample says 1.00, and [1.00, 1.00] would be a lie. Items that are 0 or 1, one to a
problem, get Wilson's interval at every rate; with several to a problem they get it while fewer than
`FEW` problems show the rarer value. A mean of items between 0 and 1 that lies near a bound is as
blind: a sample may hold none of the few items that lie far from it. It gets the same interval while
its distance from the bound, added up over problems, is below `FEW`; that is safe, as no such mean
varies more than a share. Differences of two 0/1 items get Newcombe's interval and McNemar's p while
fewer than `FEW` problems leave the commonest difference. Problems, not items, count as n.

**Where few problems carry a difference.** With (sum d^2)^2 / sum d^4 below `CARRIED` and below a
sixth of the problems, a contrast of real numbers hangs on a handful of them, and the bootstrap's p
is too small: for chains read alike but for one problem in a hundred it fell below .05 in 13 % of
exchanged pairs. There p is that of the sign-flip permutation test (Fisher 1935), which is exact
whatever the tails, and the interval holds 0 where that p says so.

**How it stays fast.** Cells with the same number of problems share their resamples, so a whole
table is one matrix product per size. The generator for n problems depends on the seed and n only:
a row does not change when other rows are added to the table.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Num

from interp.stats.proportion_intervals import Interval, few_differences, share_limits

FEW = 5
"""Below this many problems with the rarer value the bootstrap is blind."""
RATIO_PROBLEMS = 60
"""Problems that a ratio needs: with 20 its 95 % interval covered in 86 %, with 60 in 93 %."""
CARRIED = 20
"""Below this effective number of problems p is that of sign flips."""
ROUNDING = 1e-5
"""Differences of two passes in float32 that are none, of the larger number or of 1."""
TAIL = 10
"""Below this many resamples beyond 0, p is read from their spread."""
BLOCK = 4_000_000
"""Resampling weights held in memory at once."""

Kind = Literal["real", "share", "bounded", "difference", "ratio"]


class Estimate(NamedTuple):
    """A mean or a contrast over `n` problems, with its interval."""

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
    kind: Kind
    """'share': every item is 0 or 1; 'bounded': from 0 to 1; 'difference': of two 0/1 items;
    'ratio': of items between -1 and 1 to others, added up in `counts`; 'real': anything else."""
    plus: float = 0.0
    """Share of items that are +1 ('share' and 'difference' only)."""
    minus: float = 0.0
    """Share of items that are -1 ('difference' only)."""

    @property
    def n(self) -> int:
        """Number of problems."""
        return len(self.sums)


def collect(values: Num[np.ndarray, " example"], problems: Sequence[Hashable]) -> Sample:
    """Adds up items per problem.

    Args:
        values: one finite number per item, [example].
        problems: the problem of each item, same length.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    _check(values, problems)
    if not len(values) or values.min() < 0 or values.max() > 1:
        return _sample(values, problems, "real")
    is_share = bool(np.isin(values, (0.0, 1.0)).all())
    return _sample(values, problems, "share" if is_share else "bounded")


def collect_differences(
    values: Num[np.ndarray, " example"], problems: Sequence[Hashable]
) -> Sample:
    """Adds up items that are themselves differences of two numbers, such as a drop, per problem.

    If all are -1, 0 or 1 they are held to be of two 0/1 numbers: an interval may reach below 0
    even where none is -1.

    Args:
        values: one finite number per item, [example].
        problems: the problem of each item, same length.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    _check(values, problems)
    is_of_shares = bool(np.isin(values, (-1.0, 0.0, 1.0)).all()) and len(values) > 0
    return _sample(values, problems, "difference" if is_of_shares else "real")


def collect_pairs(
    first: Num[np.ndarray, " example"],
    second: Num[np.ndarray, " _"],
    problems: Sequence[Hashable],
) -> Sample:
    """Adds up the differences `second - first` of paired items per problem.

    Differences within `ROUNDING` are none: where two models agree, float32 leaves 1e-6, whose signs
    hang on the device and not on the models.

    Args:
        first: one finite number per pair, [example].
        second: its partner, in the same order.
        problems: the problem of each pair.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    if len(first) != len(second):
        raise ValueError(
            f"A paired contrast needs partners in the same order, got {len(first)} and "
            f"{len(second)} values. Drop items without a partner first."
        )
    _check(first, problems)
    _check(second, problems)
    both = bool(np.isin(np.concatenate([first, second]), (0.0, 1.0)).all()) and len(first) > 0
    a, b = first.astype(np.float64), second.astype(np.float64)
    is_rounding = np.abs(b - a) <= ROUNDING * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
    difference = np.where(is_rounding, 0.0, b - a)
    return _sample(difference, problems, "difference" if both else "real")


def _check(values: np.ndarray, problems: Sequence[Hashable]) -> None:
    if len(values) != len(problems):
        raise ValueError(
            f"Every item needs its problem, got {len(values)} values and {len(problems)} problems."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "Statistics take finite numbers only, got NaN or infinity. Drop items that are not "
            "measurable (`values[np.isfinite(values)]`) and report how many there were."
        )


def _sample(values: np.ndarray, problems: Sequence[Hashable], kind: Kind) -> Sample:
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(p, len(numbers)) for p in problems], dtype=np.int64)
    weights = values.astype(np.float64)
    sums = np.bincount(codes, weights=weights, minlength=len(numbers)).astype(np.float64)
    counts = np.bincount(codes, minlength=len(numbers)).astype(np.float64)
    if kind in ("real", "bounded"):
        return Sample(sums, counts, kind)
    return Sample(sums, counts, kind, float((values == 1).mean()), float((values == -1).mean()))


def estimate_all(
    samples: Sequence[Sample], *, seed: int, n_boot: int = 2000, level: float = 0.95
) -> list[Estimate]:
    """Estimates of many cells at once; cells with equally many problems share resamples.

    The generator for cells of n problems is seeded by (seed, n), so that an estimate depends on
    its own sample and the seed alone. The p of a contrast (`collect_pairs`) is two-sided, against
    0; identical sides give exactly 0 with p = 1. Fewer than two problems give a NaN interval.

    Args:
        samples: one per cell.
        seed: source of the resamples.
        n_boot: number of resamples.
        level: coverage of the intervals.
    """
    by_size: dict[int, list[int]] = {}
    for index, sample in enumerate(samples):
        by_size.setdefault(sample.n, []).append(index)
    estimates: dict[int, Estimate] = {}
    for n, members in sorted(by_size.items()):
        for start in range(0, len(members), 1000):
            part = members[start : start + 1000]
            rng = np.random.default_rng((seed, n))
            group = [samples[index] for index in part]
            found = _estimate(group, rng=rng, n_boot=n_boot, level=level)
            estimates.update(zip(part, found, strict=True))
    return [estimates[index] for index in range(len(samples))]


def _estimate(
    samples: Sequence[Sample], *, rng: np.random.Generator, n_boot: int, level: float
) -> list[Estimate]:
    """Estimates of samples that all have the same number of problems."""
    nan = float("nan")
    n = samples[0].n
    if n == 0:
        return [Estimate(nan, nan, nan, 0, nan) for _ in samples]
    sums = np.stack([sample.sums for sample in samples], axis=1)
    counts = np.stack([sample.counts for sample in samples], axis=1)
    values = sums.sum(axis=0) / counts.sum(axis=0)
    if n == 1:
        return [Estimate(float(value), nan, nan, 1, nan) for value in values]
    means = _resampled_means(sums, counts, rng=rng, n_boot=n_boot)
    lows, highs, ps = read_resamples(means, values, n, level=level)
    few = [c for c, one in enumerate(samples) if one.kind == "real" and _is_carried(one.sums)]
    flips = _sign_flip_p(sums[:, few], rng=rng, n_flips=n_boot)
    flipped = dict(zip(few, flips.tolist(), strict=True))
    found: list[Estimate] = []
    for cell, sample in enumerate(samples):
        value = float(values[cell])
        limits = Interval(float(lows[cell]), float(highs[cell]))
        p = float(ps[cell])
        is_near = sample.kind in ("share", "bounded") and n * min(value, 1 - value) < FEW
        if is_near or (sample.kind == "share" and bool((sample.counts == 1).all())):
            limits = share_limits(value * n, n, level=level)
        if sample.kind == "difference" and n * _outside_mode(sample) < FEW:
            limits, p = few_differences(sample.plus, sample.minus, n, level=level)
        if sample.kind == "ratio":
            limits = ratio_limits(sample.sums, sample.counts, limits, level=level)
        if cell in flipped:
            p = flipped[cell]
            if p >= 1 - level and sample.sums.min() < 0:  # its limits are too narrow here, too
                limits = Interval(min(limits.low, 0.0), max(limits.high, 0.0))
        found.append(Estimate(value, *limits, n, p))
    return found


def read_resamples(
    resampled: Float[np.ndarray, "resample cell"],
    values: Float[np.ndarray, " cell"],
    n: int,
    *,
    level: float,
) -> tuple[Float[np.ndarray, " cell"], Float[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
    """Expanded percentile limits and two-sided p against 0.

    Args:
        resampled: the statistic of every cell in every resample.
        values: the statistic itself.
        n: number of problems that were resampled.
        level: coverage of the interval.

    Returns:
        Lower limits, upper limits and p, one for each cell.
    """
    tail = _expanded_tail(n, level)
    lows, highs = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return lows, highs, _two_sided_p(resampled, values, n)


def draw_weights(
    n: int, *, rng: np.random.Generator, n_boot: int
) -> Iterator[Float[np.ndarray, "resample problem"]]:
    """How often each of n problems is drawn in each resample, in blocks of resamples."""
    rows = max(1, BLOCK // n)
    for start in range(0, n_boot, rows):
        size = min(rows, n_boot - start)
        drawn = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n)
        yield counts.reshape(size, n).astype(np.float64)


def _resampled_means(
    sums: Float[np.ndarray, "problem cell"],
    counts: Float[np.ndarray, "problem cell"],
    *,
    rng: np.random.Generator,
    n_boot: int,
) -> Float[np.ndarray, "resample cell"]:
    n = len(sums)
    alone = bool((counts == 1).all())
    return np.concatenate(
        [
            weights @ sums / (n if alone else weights @ counts)
            for weights in draw_weights(n, rng=rng, n_boot=n_boot)
        ]
    )


def _expanded_tail(n: int, level: float) -> float:
    from scipy.special import ndtr, stdtrit

    return float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - level) / 2)))


def _two_sided_p(
    means: Float[np.ndarray, "resample cell"], values: Float[np.ndarray, " cell"], n: int
) -> Float[np.ndarray, " cell"]:
    """The level at which the expanded interval touches 0; resamples at 0 count on both sides.

    Fewer than `TAIL` resamples beyond 0 are too few to count: there the distance from 0 in
    standard deviations of the resamples takes their place, so that p is not bounded by n_boot.
    """
    from scipy.special import ndtri, stdtr

    n_boot = len(means)
    below = 1 + (means <= 0).sum(axis=0)
    above = 1 + (means >= 0).sum(axis=0)
    beyond = np.minimum(np.minimum(below, above), (n_boot + 1) / 2)
    z = ndtri(beyond / (n_boot + 1))
    spread = means.std(axis=0)
    distance = -np.abs(values) / np.where(spread > 0, spread, np.inf)
    z = np.where((beyond <= TAIL) & (spread > 0), np.minimum(distance, ndtri(TAIL / n_boot)), z)
    return np.minimum(1.0, 2 * stdtr(n - 1, z * np.sqrt((n - 1) / n)))


def _is_carried(sums: Float[np.ndarray, " problem"]) -> bool:
    """Whether (sum d^2)^2 / sum d^4 is below `CARRIED` and a sixth of all (normal: a third)."""
    squares = np.square(sums / (np.abs(sums).max() or 1.0))
    return bool(0 < squares.sum() ** 2 < min(CARRIED, len(sums) / 6) * np.square(squares).sum())


def _sign_flip_p(
    sums: Float[np.ndarray, "problem cell"], *, rng: np.random.Generator, n_flips: int
) -> Float[np.ndarray, " cell"]:
    """Share of random sign flips of the problems with totals as far from 0, this one counted."""
    if not sums.size:
        return np.empty(0)
    signs = rng.choice((-1.0, 1.0), size=(n_flips, len(sums)))
    far = np.abs(signs @ sums) >= np.abs(sums.sum(axis=0)) * (1 - 1e-12)
    return (1 + far.sum(axis=0)) / (1 + n_flips)


def ratio_limits(
    over: Float[np.ndarray, " problem"],
    under: Float[np.ndarray, " problem"],
    limits: Interval,
    *,
    level: float,
) -> Interval:
    """Limits of sum(over) / sum(under), widened where a bootstrap is blind to them.

    If numerator and denominator are equal in every problem, every resample says 1. Where fewer than
    `FEW` problems tell the numerator from 0, from the denominator or from its negative, limits
    reach at least as far as Newcombe's of that difference, in units of the denominator.

    Args:
        over: Sums per problem of items between -1 and 1.
        under: Likewise.
        limits: What resamples say.
        level: Coverage.
    """
    scale = max(1.0, float(np.abs(over).max()), float(np.abs(under).max()))
    width, n = float(under.mean()) / scale, len(over)
    low, high = limits
    for at in (-1.0, 0.0, 1.0):
        change = (over - at * under) / scale
        plus, minus = float(np.maximum(change, 0).mean()), float(np.maximum(-change, 0).mean())
        if width and n * min(plus + minus, abs(1 - plus), abs(1 - minus)) < FEW:
            found, _ = few_differences(min(plus, 1.0), min(minus, 1.0), n, level=level)
            ends = sorted((at + found.low / width, at + found.high / width))
            low, high = min(low, ends[0]), max(high, ends[1])
    return Interval(low, high)


def _outside_mode(sample: Sample) -> float:
    """Share of differences that are not the commonest of -1, 0 and 1."""
    return 1 - max(sample.plus, sample.minus, 1 - sample.plus - sample.minus)


def is_too_rare(weights: Float[np.ndarray, " problem"]) -> bool:
    """Whether a ratio with these denominators has too few, or too many zeros, for an interval."""
    return len(weights) < RATIO_PROBLEMS or 2 * int((weights > 0).sum()) < len(weights)


def benjamini_hochberg(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """False-discovery-rate adjusted p (Benjamini and Hochberg 1995); NaN stay NaN, uncounted."""
    q = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
