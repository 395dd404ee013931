"""Coverage where few problems decide: rare failures, few changes, nearly all problems alike.

For counts nothing is simulated: each possible count has its binomial probability, and those whose
interval contains the rate are added up. Other shapes are drawn with fixed seeds.

Coverage outside of .93 to .97 is named in the tests, with the reason. There are two kinds. Where
few problems differ, counts can only be one of a few, and the interval covers more often (.97 to
1.00). Where a sample may hold none of the problems that decide, and nothing shows that there are
any, the interval covers far too rarely (.28 to .82).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as oracle

from interp.stats.estimates import Estimate, Sample, collect, collect_pairs, estimate_all
from interp.stats.kinds import Kind

N_SAMPLES = 1000
ERROR = 0.0069
"""Standard error of a share of .95 of so many."""


def share_that_covers(found: list[Estimate], truth: float, weights: np.ndarray) -> float:
    """The probability of the samples whose interval contains the truth."""
    inside = [one.low - 1e-9 <= truth <= one.high + 1e-9 for one in found]
    return float(weights @ np.array(inside))


def exact_coverage(rate: float, n: int) -> float:
    """Of n problems that are right at this rate."""
    samples = [
        collect((np.arange(n) < right).astype(float), range(n), "binary") for right in range(n + 1)
    ]
    weights = oracle.binom.pmf(np.arange(n + 1), n, rate)
    return share_that_covers(estimate_all(samples), rate, weights)


def exact_contrast(up: float, down: float, n: int) -> tuple[float, float]:
    """Coverage and share of p < .05 of two models on n problems that rise and fall at these rates.

    Returns:
        Both, but for outcomes that are rarer than one in ten million.
    """
    samples: list[Sample] = []
    weights: list[float] = []
    for rises in range(n + 1):
        for falls in range(n + 1 - rises):
            weight = oracle.multinomial.pmf(
                [rises, falls, n - rises - falls], n, [up, down, 1 - up - down]
            )
            if weight > 1e-7:
                at = np.arange(n)
                first = ((at >= rises) & (at < rises + falls)).astype(float)
                second = (at < rises).astype(float)
                samples.append(collect_pairs(first, second, range(n), "binary"))
                weights.append(float(weight))
    found, each = estimate_all(samples), np.array(weights)
    rejected = float(each @ np.array([one.p < 0.05 for one in found]))
    return share_that_covers(found, up - down, each), rejected


def simulate(draw, truth: float, kind: Kind, n: int, *, is_contrast: bool = False) -> float:
    """Coverage on samples of n problems, one item each."""
    drawn = draw(np.random.default_rng(0), (N_SAMPLES, n))
    samples = [
        collect_pairs(np.zeros(n), row, range(n), kind)
        if is_contrast
        else collect(row, range(n), kind)
        for row in drawn
    ]
    weights = np.full(N_SAMPLES, 1 / N_SAMPLES)
    return share_that_covers(estimate_all(samples), truth, weights)


@pytest.mark.parametrize("n", [20, 60, 100])
@pytest.mark.parametrize("rate", [0.5, 0.1, 0.9])
def test_counts_cover_nominally(rate: float, n: int) -> None:
    assert 0.93 <= exact_coverage(rate, n) <= 0.97


@pytest.mark.parametrize(
    ("rate", "n", "covers"),
    # Above .97: with so few failures the interval is one of three or four, and the nearest that
    # covers in .93 of samples covers in more.
    [
        (0.97, 20, 0.979), (0.97, 60, 0.966), (0.97, 100, 0.969),
        (0.99, 20, 0.983), (0.99, 60, 0.978), (0.99, 100, 0.982),
        (0.995, 20, 0.995), (0.995, 60, 0.964), (0.995, 100, 0.986),
    ],
)  # fmt: skip
def test_rare_failures_are_covered(rate: float, n: int, covers: float) -> None:
    """Wilson's own limits cover in .910 at .995 and n = 100: two failures exclude the rate."""
    assert exact_coverage(rate, n) == pytest.approx(covers, abs=0.001)
    assert exact_coverage(1 - rate, n) == pytest.approx(covers, abs=0.001)


def test_wilsons_own_limits_would_not_pass() -> None:
    """So the bounds above can fail; scipy's Wilson interval, not ours."""
    own = [oracle.binomtest(k, 100).proportion_ci(method="wilson") for k in range(101)]
    weights = oracle.binom.pmf(np.arange(101), 100, 0.995)
    inside = [limits.low <= 0.995 <= limits.high for limits in own]
    assert float(weights @ np.array(inside)) == pytest.approx(0.910, abs=0.001)


@pytest.mark.parametrize(
    ("up", "down", "n", "covers"),
    # Above .97 where five problems or fewer differ as a rule: no p below .05 is possible then.
    [
        (0.02, 0.02, 20, 1.000), (0.02, 0.02, 60, 0.995), (0.02, 0.02, 100, 0.983),
        (0.05, 0.05, 60, 0.969), (0.05, 0.05, 100, 0.959),
        (0.04, 0.0, 60, 0.997), (0.04, 0.0, 100, 0.976), (0.1, 0.0, 60, 0.980),
        (0.06, 0.02, 100, 0.965), (0.5, 0.0, 60, 0.948),
    ],
)  # fmt: skip
def test_contrasts_of_counts_of_which_few_change_cover(
    up: float, down: float, n: int, covers: float
) -> None:
    coverage, rejected = exact_contrast(up, down, n)
    assert coverage == pytest.approx(covers, abs=0.001)
    if up == down:
        assert rejected <= 0.05


@pytest.mark.parametrize("n", [20, 60, 100])
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.2])
def test_shares_that_are_all_alike_but_for_few_cover(rate: float, n: int) -> None:
    """A common value tells that others may be unseen, and the interval says so."""

    def draw(g: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return np.where(g.random(shape) < rate, g.random(shape), 1.0)

    coverage = simulate(draw, 1 - rate / 2, "share", n)
    assert 0.93 - ERROR <= coverage <= 0.97 + 2 * ERROR


@pytest.mark.parametrize(("n", "covers"), [(20, 0.28), (60, 0.64), (100, 0.78)])
def test_shares_that_are_nearly_alike_hide_the_few_that_decide(n: int, covers: float) -> None:
    """The known limit: .28 to .78 in place of .95.

    All items lie within .001 of 1, but for one in fifty that lies anywhere. A sample without any of
    these looks as one of a metric that is always near 1, for which a wide interval would be wrong
    in the other direction (nats near .011 once got [0, .339]). No common value tells them apart.
    """

    def draw(g: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return np.where(g.random(shape) < 0.02, g.random(shape), 1 - 0.001 * g.random(shape))

    truth = 0.98 * 0.9995 + 0.02 * 0.5
    assert simulate(draw, truth, "share", n) == pytest.approx(covers, abs=0.05)
    # At least 1 - .98^n of samples hold one; hardly more can be asked of the interval.
    assert simulate(draw, truth, "share", n) >= 1 - 0.98**n - 0.1


@pytest.mark.parametrize("n", [20, 60, 100])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.2])
def test_few_problems_that_differ_are_not_called_a_change(rate: float, n: int) -> None:
    """Nats that are equal in most problems and differ by chance in the rest: p holds its level."""

    def draw(g: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return np.where(g.random(shape) < rate, g.normal(size=shape), 0.0)

    # Up to 1.00: where no problem differs, or one, nothing can be rejected.
    assert simulate(draw, 0.0, "real", n, is_contrast=True) >= 0.95 - 2 * ERROR


@pytest.mark.parametrize(
    ("rate", "n", "as_real", "as_share"),
    [
        (0.02, 20, 0.32, 1.00), (0.02, 100, 0.81, 1.00),
        (0.05, 60, 0.92, 1.00), (0.1, 60, 0.985, 0.975), (0.2, 60, 0.985, 0.97),
    ],
)  # fmt: skip
def test_an_effect_in_few_problems_is_covered_if_the_metric_has_bounds(
    rate: float, n: int, as_real: float, as_share: float
) -> None:
    """Without bounds a sample in which no problem differs has no width, and misses the truth.

    Such a row says in its note that all problems have the same value.
    """

    def draw(g: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        return np.where(g.random(shape) < rate, g.random(shape), 0.0)

    found = [simulate(draw, rate / 2, kind, n, is_contrast=True) for kind in ("real", "share")]
    assert found == pytest.approx([as_real, as_share], abs=0.03)
    assert found[1] >= 0.95 - ERROR


def test_few_telling_problems_get_limits_within_the_bounds() -> None:
    """Two of a hundred differ; the mirrored shares have the mirrored limits."""
    values = np.array([0.5, 0.999] + [1.0] * 98)
    found, mirrored = estimate_all(
        [collect(one, range(100), "share") for one in (values, 1 - values)]
    )
    assert found.low < 0.98 and found.high <= 1.0
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_a_few_normal_items_are_covered() -> None:
    coverage = simulate(lambda g, shape: g.normal(3.0, 1.0, shape), 3.0, "real", 12)
    assert 0.93 - ERROR <= coverage <= 0.97 + ERROR
