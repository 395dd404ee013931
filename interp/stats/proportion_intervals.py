"""Intervals of shares and of their differences, where a bootstrap is blind.

If 100 of 100 answers are right, no resample differs. Wilson's interval reads [0.96, 1.00] there.
Where one to three problems show the rarer value, its limit on their side is Poisson's, since
Wilson's own misses (at a rate of 0.005 and n = 100 it covers in 91 %; the *modified* interval of
Brown, Cai and DasGupta 2001, Statistical Science 16:101). For a contrast of two 0/1 items the
Wilson limits of the shares of +1 and -1 are joined by Newcombe's square-and-add rule (Newcombe
1998, Statistics in Medicine 17:873), and p is McNemar's exact mid-p (Fagerland, Lydersen and Laake
2013).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """Lower and upper limit."""

    low: float
    high: float


def wilson(successes: float | int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); NaN for n = 0.

    Args:
        successes: how many of the n problems; may be fractional when problems hold several items.
        n: number of independent problems.
        level: coverage.
    """
    from scipy.special import ndtri

    if n == 0:
        return Interval(float("nan"), float("nan"))
    if not 0 <= successes <= n:
        raise ValueError(f"wilson needs 0 <= successes <= n, got {successes} of {n}.")
    z = -float(ndtri((1 - level) / 2))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else float(middle - half)
    high = 1.0 if successes == n else float(middle + half)
    return Interval(low, high)


def share_limits(successes: float | int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's interval, with Poisson's limit where one to three problems differ from the rest.

    Brown, Cai and DasGupta (2001), section 4.1.1: for x of at most 2 successes (3 if n > 50) the
    lower limit is the one-sided Poisson limit chi^2_{2x, 1-level} / 2n; likewise for failures.

    Args:
        successes: as for `wilson`.
        n: number of independent problems.
        level: coverage.
    """
    from scipy.special import gammaincinv

    low, high = wilson(successes, n, level=level)
    few = 3 if n > 50 else 2
    if 0 < successes <= few:
        low = float(gammaincinv(successes, 1 - level)) / n
    if 0 < n - successes <= few:
        high = 1 - float(gammaincinv(n - successes, 1 - level)) / n
    return Interval(low, high)


def shares_differ(
    first: tuple[int, int], second: tuple[int, int], *, level: float = 0.95
) -> Interval:
    """Newcombe's limits of the difference second - first of two independent shares.

    Args:
        first: Successes, and of how many.
        second: Likewise.
        level: Coverage.
    """
    (a, n), (b, m) = first, second
    one, two = wilson(a, n, level=level), wilson(b, m, level=level)
    p, q = a / n, b / m
    low = q - p - np.hypot(q - two.low, one.high - p)
    high = q - p + np.hypot(two.high - q, p - one.low)
    return Interval(float(low), float(high))


def few_differences(
    plus: float, minus: float, n: int, *, level: float = 0.95
) -> tuple[Interval, float]:
    """Newcombe's limits and McNemar's mid-p, for differences of 0/1 items that hardly vary.

    Args:
        plus: share of differences that are +1.
        minus: share that are -1.
        n: number of independent problems.
        level: coverage.
    """
    from scipy.special import bdtr

    up, down = wilson(plus * n, n, level=level), wilson(minus * n, n, level=level)
    low = plus - minus - np.hypot(plus - up.low, down.high - minus)
    high = plus - minus + np.hypot(up.high - plus, minus - down.low)
    n_differ = round((plus + minus) * n)
    k = round(min(plus, minus) * n)
    middle = (bdtr(k, n_differ, 0.5) + (bdtr(k - 1, n_differ, 0.5) if k > 0 else 0.0)) / 2
    p = min(1.0, 2 * float(middle)) if n_differ else 1.0
    return Interval(max(-1.0, float(low)), min(1.0, float(high))), p
