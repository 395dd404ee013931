"""Intervals of shares and of their differences, where a bootstrap is blind.

If 100 of 100 answers are right, no resample differs. Wilson's interval reads [0.96, 1.00] there.
Where one to three problems show the rarer value, its limit on their side is Poisson's, since
Wilson's own misses (at a rate of 0.005 and n = 100 it covers in 91 %; the *modified* interval of
Brown, Cai and DasGupta 2001, Statistical Science 16:101). For a contrast of two 0/1 items the
Wilson limits of the shares of +1 and -1 are joined by Newcombe's square-and-add rule (Newcombe
1998, Statistics in Medicine 17:873), and p is McNemar's exact mid-p (Fagerland, Lydersen and Laake
2013). Limits of a ratio of two such means are widened by the same rule.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FEW = 5
"""Below this many problems with the rarer value the bootstrap is blind."""


class Interval(NamedTuple):
    """Lower and upper limit."""

    low: float
    high: float


def describe_interval(value: float, low: float, high: float, *, decimals: int = 2) -> str:
    """Value and interval, as a sentence quotes them; without limits that are not known.

    Example:
        >>> describe_interval(0.5, 0.25, 0.75)
        '0.50 [0.25, 0.75]'
        >>> describe_interval(0.5, float("nan"), float("nan"))
        '0.50 [no interval]'
        >>> describe_interval(-0.001, -0.006, 0.0)
        '0.00 [-0.01, 0.00]'
    """
    if value != value:  # only NaN differs from itself
        return "not measurable"
    # "z" takes the sign off what is rounded to 0.
    limits = f"{low:z.{decimals}f}, {high:z.{decimals}f}" if low == low else "no interval"
    return f"{value:z.{decimals}f} [{limits}]"


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
        raise ValueError(f"wilson needs 0 <= successes <= n, received {successes} of {n}")
    z = -float(ndtri((1 - level) / 2))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Exactly 0 or 1 there; rounding would leave a limit just beside it.
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
    # chi^2_{2x} / 2 has the gamma distribution of shape x.
    if 0 < successes <= few:
        low = float(gammaincinv(successes, 1 - level)) / n
    if 0 < n - successes <= few:
        high = 1 - float(gammaincinv(n - successes, 1 - level)) / n
    return Interval(low, high)


def newcombe(
    first: float,
    of_first: Interval,
    second: float,
    of_second: Interval,
    *,
    correlation: float = 0.0,
) -> Interval:
    """Newcombe's square-and-add limits of the difference second - first.

    Args:
        first: A share, or another number with an interval.
        of_first: Its limits.
        second: The other.
        of_second: Likewise.
        correlation: Of the two numbers, where they come from the same problems.
    """

    def joined(a: float, b: float) -> float:
        # Rounding can leave the sum of squares below 0 where the correlation is 1.
        return float(np.sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0)))

    low = second - first - joined(second - of_second.low, of_first.high - first)
    high = second - first + joined(of_second.high - second, first - of_first.low)
    return Interval(low, high)


def compare_shares(
    first: tuple[int, int], second: tuple[int, int], *, level: float = 0.95
) -> Interval:
    """Newcombe's limits of the difference second - first of two independent shares.

    Args:
        first: Successes, and of how many.
        second: Likewise.
        level: Coverage.
    """
    (a, n), (b, m) = first, second
    return newcombe(a / n, wilson(a, n, level=level), b / m, wilson(b, m, level=level))


def compare_paired_shares(
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
    low, high = newcombe(minus, down, plus, up)
    # With several items to a problem these shares are no whole numbers of problems.
    n_differ = round((plus + minus) * n)
    k = round(min(plus, minus) * n)
    # Mid-p counts the probability of the observed split only half.
    middle = (bdtr(k, n_differ, 0.5) + (bdtr(k - 1, n_differ, 0.5) if k > 0 else 0.0)) / 2
    p = min(1.0, 2 * float(middle)) if n_differ else 1.0
    return Interval(max(-1.0, low), min(1.0, high)), p


def widen_ratio_limits(
    over: Float[np.ndarray, " problem"],
    under: Float[np.ndarray, " problem"],
    limits: Interval,
    *,
    level: float,
) -> Interval:
    """Limits of sum(over) / sum(under), widened where a bootstrap is blind to them.

    If numerator and denominator are equal in every problem, the ratio is 1 in every resample. Where
    the numerator differs from 0, from the denominator or from its negative in fewer than `FEW`
    problems, the limits reach at least as far as Newcombe's limits of that difference, in units of
    the denominator.

    Args:
        over: Sums per problem of items between -1 and 1.
        under: Likewise.
        limits: From the resamples.
        level: Coverage.
    """
    # Several items of a problem can add up to more than 1, and a share cannot.
    scale = max(1.0, float(np.abs(over).max()), float(np.abs(under).max()))
    width, n = float(under.mean()) / scale, len(over)
    low, high = limits
    for at in (-1.0, 0.0, 1.0):
        change = (over - at * under) / scale
        plus, minus = float(np.maximum(change, 0).mean()), float(np.maximum(-change, 0).mean())
        if width and n * min(plus + minus, abs(1 - plus), abs(1 - minus)) < FEW:
            apart, _ = compare_paired_shares(min(plus, 1.0), min(minus, 1.0), n, level=level)
            ends = sorted((at + apart.low / width, at + apart.high / width))
            low, high = min(low, ends[0]), max(high, ends[1])
    return Interval(low, high)
