"""Gaps: how much of what post-training gained another method reaches with the base model.

*Gap recovered* is 100 (A_h - A_b) / (A_t - A_b): accuracies of base, hybrid (whatever is judged)
and post (Venhoff et al., arXiv 2510.07364). It is a ratio, and three habits make it mislead:

* Cutting it off at 0 hides that a method made the base worse. Here it is never clipped, in either
  direction, and the three accuracies always come with it.
* With a small gap it means nothing. A gap below 5 points, or whose interval holds 0, is flagged,
  and a gap that resamples do not keep above 0 has no interval of the ratio at all.
* A method that picks among proposals with the post model's help recovers part of any gap. *Excess
  recovery* is GR(method) - max GR(control): each resample chooses the largest control again, so
  that the interval includes the choice.

All is paired: each resample draws problems, and takes base, method, controls and post on the same
problems. Limits are expanded percentiles, widened where the method differs from base, post or a
control on hardly any problem (`widen_ratio_limits`): a method that answers as post does on 60 of 60
problems has 100 % in every resample. Near such a side the limits cover in more than 95 %.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.stats.estimates import (
    MIN_PROBLEMS,
    Estimate,
    collect,
    collect_pairs,
    estimate_all,
)
from interp.stats.proportion_intervals import Interval, widen_ratio_limits
from interp.stats.resampling import draw_weights, read_resamples

SMALL_GAP = 0.05
"""A smaller difference of accuracies is flagged."""


@dataclass(frozen=True)
class Recovery:
    """Gap recovered in per cent, unclipped, with all that it was made of."""

    base: Estimate
    hybrid: Estimate
    post: Estimate
    gap: Estimate
    """A_t - A_b, paired."""
    value: float
    """In per cent; NaN where the gap is 0."""
    low: float
    high: float
    """NaN where resamples of the gap reach 0, or with too few problems for an interval."""
    flag: str
    """Why the ratio should not be read; empty where it may."""


@dataclass(frozen=True)
class Excess:
    """Recovery beyond the best control, in percentage points of the gap."""

    value: float
    low: float
    high: float
    control: str
    """The control that recovered most."""


def recovered(base: float, hybrid: float, post: float) -> float:
    """100 (hybrid - base) / (post - base), unclipped; NaN where there is no gap."""
    return 100 * (hybrid - base) / (post - base) if post != base else float("nan")


def gap_recovered(
    base: Sequence[float],
    hybrid: Sequence[float],
    post: Sequence[float],
    problems: Sequence[Hashable],
    *,
    seed: int,
    n_boot: int = 2000,
    level: float = 0.95,
) -> Recovery:
    """How much of the gap a method recovers.

    Args:
        base: Accuracy of the base on each item, in [0, 1].
        hybrid: Of the method, on the same items.
        post: Of the post-trained model, on the same items.
        problems: The problem of each item: the unit of the bootstrap.
        seed: Of the resamples.
        n_boot: How many.
        level: Coverage.

    Raises:
        ValueError: If the lists differ in length, or a value is not a number from 0 to 1.
    """
    columns = [np.asarray(side, dtype=np.float64) for side in (base, hybrid, post)]
    samples = [collect(side, problems, "share") for side in columns]
    paired = collect_pairs(columns[0], columns[2], problems, "share")
    a_b, a_h, a_t, gap = estimate_all([*samples, paired], level=level)
    means = _resampled(columns, problems, seed=seed, n_boot=n_boot)
    value = recovered(a_b.value, a_h.value, a_t.value)
    ratios = _ratios(means[:, 0], means[:, 1], means[:, 2])
    above = collect_pairs(columns[0], columns[1], problems, "share").sums
    low, high = _limits(ratios, value, means, (above, paired.sums), level)
    return Recovery(a_b, a_h, a_t, gap, value, low, high, _flag(gap))


def excess_recovery(
    base: Sequence[float],
    hybrid: Sequence[float],
    post: Sequence[float],
    controls: Mapping[str, Sequence[float]],
    problems: Sequence[Hashable],
    *,
    seed: int,
    n_boot: int = 2000,
    level: float = 0.95,
) -> Excess:
    """GR(method) - max GR(control), the maximum taken in each resample.

    Args:
        base: As in `gap_recovered`.
        hybrid: As there.
        post: As there.
        controls: Name -> accuracy on each item.
        problems: The problem of each item.
        seed: Of the resamples.
        n_boot: How many.
        level: Coverage.

    Raises:
        ValueError: If there is no control, or as in `gap_recovered`.
    """
    if not controls:
        raise ValueError("excess recovery compares a method with its controls; received no control")
    sides = [base, hybrid, post, *controls.values()]
    columns = [np.asarray(side, dtype=np.float64) for side in sides]
    for side in columns:
        collect(side, problems, "share")  # for its checks alone
    means = _resampled(columns, problems, seed=seed, n_boot=n_boot)
    # Base and post are shared, so where the gap is positive the most accurate control is best.
    b, t, best = means[:, 0], means[:, 2], means[:, 3:].max(axis=1)
    accuracies = {name: float(np.mean(of)) for name, of in zip(controls, columns[3:], strict=True)}
    control = max(accuracies, key=accuracies.__getitem__)
    a_b, a_h, a_t = (float(side.mean()) for side in columns[:3])
    value = recovered(a_b, a_h, a_t) - recovered(a_b, accuracies[control], a_t)
    beyond = _ratios(b, means[:, 1], t) - _ratios(b, best, t)
    chosen = columns[3 + list(controls).index(control)]
    above = collect_pairs(chosen, columns[1], problems, "share").sums
    gap = collect_pairs(columns[0], columns[2], problems, "share").sums
    low, high = _limits(beyond, value, means, (above, gap), level)
    return Excess(value, low, high, control)


def _resampled(
    columns: Sequence[Float[np.ndarray, " item"]],
    problems: Sequence[Hashable],
    *,
    seed: int,
    n_boot: int,
) -> Float[np.ndarray, "resample side"]:
    """Mean of every side in every resample of problems."""
    numbers = {problem: at for at, problem in enumerate(dict.fromkeys(problems))}
    codes = np.array([numbers[problem] for problem in problems], dtype=np.int64)
    counts = np.bincount(codes, minlength=len(numbers)).astype(np.float64)
    sums = np.stack([np.bincount(codes, side, len(numbers)) for side in columns], axis=1)
    rng = np.random.default_rng((seed, len(numbers)))
    blocks = draw_weights(len(numbers), rng=rng, n_boot=n_boot)
    return np.concatenate([(w @ sums) / (w @ counts)[:, None] for w in blocks])


def _ratios(
    base: Float[np.ndarray, " resample"],
    hybrid: Float[np.ndarray, " resample"],
    post: Float[np.ndarray, " resample"],
) -> Float[np.ndarray, " resample"]:
    gap = post - base
    return np.divide(100 * (hybrid - base), gap, out=np.full(gap.shape, np.nan), where=gap != 0)


def _limits(
    values: Float[np.ndarray, " resample"],
    value: float,
    means: Float[np.ndarray, "resample side"],
    parts: tuple[Float[np.ndarray, " problem"], Float[np.ndarray, " problem"]],
    level: float,
) -> tuple[float, float]:
    """Limits of a share of the gap, in per cent.

    Args:
        values: The share in each resample.
        value: The share itself.
        means: Of base, method and post, in this order.
        parts: Numerator and denominator of the share, added up per problem.
        level: Coverage.

    Returns:
        NaN with fewer than `MIN_PROBLEMS` problems, or where more than the tail of the resampled
        gaps is not above 0.
    """
    n = len(parts[0])
    if n < MIN_PROBLEMS or float((means[:, 2] <= means[:, 0]).mean()) > (1 - level) / 2:
        return float("nan"), float("nan")
    # As a share and not in per cent, which `widen_ratio_limits` expects.
    known = values[np.isfinite(values)][:, None] / 100
    lows, highs, _ = read_resamples(known, np.array([value / 100]), n, level=level)
    limits = widen_ratio_limits(*parts, Interval(float(lows[0]), float(highs[0])), level=level)
    return 100 * limits.low, 100 * limits.high


def _flag(gap: Estimate) -> str:
    reasons: list[str] = []
    if gap.value < SMALL_GAP:
        reasons.append(f"gap {100 * gap.value:+.1f} points, below {100 * SMALL_GAP:.0f}")
    if gap.low != gap.low:  # NaN
        reasons.append(f"{gap.n} problems give no interval of the gap: it takes {MIN_PROBLEMS}")
    elif gap.low <= 0:
        reasons.append(
            "the interval of the gap holds 0" if gap.high >= 0 else "the gap is negative"
        )
    return "; ".join(reasons)
