"""Statistics against simulation, hand computation and scipy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats as oracle

from interp.stats.estimates import (
    Estimate,
    benjamini_hochberg,
    collect,
    collect_pairs,
    estimate_all,
)
from interp.stats.proportion_intervals import share_limits, wilson

SIMULATIONS = 300
COVERAGE = (0.917, 0.983)
"""0.95 plus or minus 2.6 standard errors of a share of 300."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def estimate_mean(values, problems, *, seed: int = 0, n_boot: int = 2000, level=0.95) -> Estimate:
    sample = collect(values, problems)
    return estimate_all([sample], seed=seed, n_boot=n_boot, level=level)[0]


def paired_contrast(first, second, problems, *, seed: int = 0, n_boot: int = 2000) -> Estimate:
    sample = collect_pairs(first, second, problems)
    return estimate_all([sample], seed=seed, n_boot=n_boot)[0]


def covered(draw, truth: float, n_boot: int = 300) -> float:
    hits = 0
    for seed in range(SIMULATIONS):
        values, problems = draw(rng(seed))
        found = estimate_mean(values, problems, seed=10_000 + seed, n_boot=n_boot)
        hits += found.low <= truth <= found.high
    return hits / SIMULATIONS


def test_interval_of_few_normal_items_covers() -> None:
    share = covered(lambda g: (g.normal(3.0, 1.0, 12), range(12)), 3.0)
    assert COVERAGE[0] <= share <= COVERAGE[1]


def test_clusters_are_the_unit_and_items_are_not() -> None:
    def draw(g: np.random.Generator):
        values = np.repeat(g.normal(0, 1, 20), 5) + g.normal(0, 0.2, 100)
        return values, [i // 5 for i in range(100)]

    by_problem = covered(draw, 0.0)
    by_item = covered(lambda g: (draw(g)[0], range(100)), 0.0)
    assert COVERAGE[0] <= by_problem <= COVERAGE[1]
    assert by_item < 0.75


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_interval_of_shares_covers_at_least_nominally(rate: float) -> None:
    share = covered(lambda g: ((g.random(60) < rate).astype(float), range(60)), rate)
    assert share >= 0.92


def test_interval_of_rare_failures_covers() -> None:
    """At a rate of 0.995 Wilson's own interval covers in 91 % (two failures in 100 exclude it)."""
    share = covered(lambda g: ((g.random(100) < 0.995).astype(float), range(100)), 0.995)
    assert COVERAGE[0] + 0.025 <= share


def test_interval_of_bounded_items_covers_where_a_few_decide() -> None:
    """Nearly all items are near 1 and one in fifty is anything: many samples see none of these."""

    def draw(g: np.random.Generator):
        near = 1 - 0.001 * g.random(60)
        return np.where(g.random(60) < 0.02, g.random(60), near), range(60)

    truth = 0.98 * 0.9995 + 0.02 * 0.5
    assert covered(draw, truth) >= COVERAGE[0]
    far = covered(lambda g: (draw(g)[0] + 5, range(60)), truth + 5)
    assert far < 0.75  # what is not bounded has no such help


def test_few_telling_problems_of_bounded_items_get_limits_within_the_bounds() -> None:
    values = np.array([0.5, 0.999] + [1.0] * 98)
    found = estimate_mean(values, range(100))
    assert found.low < 0.98 and found.high <= 1.0
    mirrored = estimate_mean(1 - values, range(100))
    assert mirrored.low == pytest.approx(1 - found.high, abs=1e-9)
    assert mirrored.high == pytest.approx(1 - found.low, abs=1e-9)
    spread = rng().random(100)
    assert estimate_mean(spread, range(100)).high < spread.mean() + 0.07  # many tell: bootstrap


@pytest.mark.parametrize("failures", [0, 1, 2, 3, 4, 50])
def test_share_limits_are_wilsons_but_for_one_to_three(failures: int) -> None:
    plain, found = wilson(failures, 100), share_limits(failures, 100)
    assert found.high == plain.high
    if failures in (1, 2, 3):
        poisson = oracle.chi2.ppf(0.05, 2 * failures) / 2 / 100
        assert found.low == pytest.approx(poisson) and found.low < plain.low
    else:
        assert found.low == plain.low
    mirrored = share_limits(100 - failures, 100)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx(found)


def test_mean_of_uneven_problems_is_the_mean_of_items() -> None:
    values = np.array([1.0, 2.0, 3.0, 10.0])
    found = estimate_mean(values, ["a", "a", "a", "b"])
    assert found.value == 4.0
    assert found.n == 2


def test_resampling_equals_a_slow_loop() -> None:
    """All 3**3 equally likely resamples of three problems, by hand, give the same quantiles."""
    values = np.array([1.5, 2.5, 7.0, 11.0])
    problems = ["a", "b", "b", "c"]
    by_problem = {"a": [1.5], "b": [2.5, 7.0], "c": [11.0]}
    means = []
    for drawn in product("abc", repeat=3):
        items = [v for p in drawn for v in by_problem[p]]
        means.append(sum(items) / len(items))
    found = estimate_mean(values, problems, n_boot=40_000, level=0.4)
    tail = oracle.norm.cdf(math.sqrt(3 / 2) * oracle.t.ppf(0.3, 2))
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    assert found.low == pytest.approx(low) and found.high == pytest.approx(high)


def test_few_problems_give_nan_intervals() -> None:
    one = estimate_mean(np.array([1.0, 0.0]), ["a", "a"])
    assert one.value == 0.5 and one.n == 1 and math.isnan(one.low) and math.isnan(one.high)
    none = estimate_mean(np.array([]), [])
    assert math.isnan(none.value) and none.n == 0


def test_all_right_is_not_certainty() -> None:
    found = estimate_mean(np.ones(100), range(100))
    assert found.value == 1.0 and found.high == 1.0
    assert found.low == pytest.approx(oracle.binomtest(100, 100).proportion_ci(method="wilson").low)
    clustered = estimate_mean(np.ones(100), [i // 10 for i in range(100)])
    assert clustered.low == pytest.approx(
        oracle.binomtest(10, 10).proportion_ci(method="wilson").low
    )


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (3, 7), (7, 7), (41, 60)])
def test_wilson_equals_scipy(successes: int, n: int) -> None:
    expected = oracle.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high))


def test_wilson_rejects_impossible_counts() -> None:
    with pytest.raises(ValueError, match="received 8 of 7"):
        wilson(8, 7)


def test_identical_inputs_contrast_exactly_zero() -> None:
    values = rng().normal(size=50)
    found = paired_contrast(values, values, range(50))
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    shares = (values > 0).astype(float)
    found = paired_contrast(shares, shares, range(50))
    assert found.value == 0.0 and found.p == 1.0
    assert found.low == -found.high and 0 < found.high < 0.08


def test_total_flip_is_significant_and_not_certain() -> None:
    found = paired_contrast(np.ones(40), np.zeros(40), range(40))
    assert found.value == -1.0 and found.low == -1.0 and -1.0 < found.high < -0.8
    assert found.p < 1e-6


@pytest.mark.parametrize("flips", [1, 3, 4])
def test_few_flips_are_judged_as_mcnemar_does(flips: int) -> None:
    second = np.zeros(80)
    second[:flips] = 1
    found = paired_contrast(np.zeros(80), second, range(80))
    exact = 2 * oracle.binom.cdf(0, flips, 0.5) - oracle.binom.pmf(0, flips, 0.5)
    assert found.p == pytest.approx(exact)
    assert found.low < 0 < found.high


def test_p_agrees_with_interval_and_is_uniform_under_null() -> None:
    ps = []
    for seed in range(400):
        g = rng(seed)
        first = g.normal(size=15)
        found = paired_contrast(first, first + g.normal(size=15), range(15), seed=seed, n_boot=800)
        ps.append(found.p)
        if abs(found.p - 0.05) > 0.01:
            assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(ps) < 0.5) == pytest.approx(0.5, abs=0.07)


def test_p_of_a_strong_effect_is_not_bounded_by_the_number_of_resamples() -> None:
    """So that one strong effect survives among hundreds of tests."""
    shift = rng(1).normal(1.0, 0.5, 60)
    found = paired_contrast(np.zeros(60), shift, range(60), n_boot=500)
    t_test = oracle.ttest_1samp(shift, 0.0).pvalue
    assert 0.01 * t_test < found.p < 100 * t_test < 1e-10
    constant = paired_contrast(np.zeros(3), np.full(3, 7.5), range(3), n_boot=500)
    assert 0 < constant.p < 1


def test_pairs_are_paired() -> None:
    """Noise shared by both sides cancels."""
    shared = rng(1).normal(0, 10, 40)
    shift = rng(2).normal(0.5, 0.1, 40)
    found = paired_contrast(shared, shared + shift, range(40))
    assert 0.4 < found.low < found.high < 0.6


def test_cells_do_not_depend_on_their_neighbours() -> None:
    samples = [collect(rng(i).normal(size=30 + i % 3), range(30 + i % 3)) for i in range(7)]
    together = estimate_all(samples, seed=5)
    assert [e.n for e in together] == [30, 31, 32, 30, 31, 32, 30]
    for sample, found in zip(samples, together, strict=True):
        assert estimate_all([sample], seed=5)[0] == pytest.approx(found, rel=1e-12)
    assert estimate_all(samples, seed=6) != together


def test_inputs_are_checked() -> None:
    with pytest.raises(ValueError, match="isfinite"):
        collect(np.array([1.0, math.nan]), ["a", "b"])
    with pytest.raises(ValueError, match="2 values and 1 problems"):
        collect(np.array([1.0, 2.0]), ["a"])
    with pytest.raises(ValueError, match="Drop items without a partner"):
        collect_pairs(np.array([1.0]), np.array([1.0, 2.0]), ["a"])


def test_benjamini_hochberg_equals_scipy_and_keeps_nan() -> None:
    p = np.array([0.01, math.nan, 0.04, 0.03, 0.2, 0.9, 0.005])
    known = ~np.isnan(p)
    q = benjamini_hochberg(p)
    assert q[known] == pytest.approx(oracle.false_discovery_control(p[known]))
    assert np.isnan(q[1])
    assert benjamini_hochberg(np.array([])).shape == (0,)


def test_where_few_problems_carry_a_difference_p_is_that_of_all_sign_flips() -> None:
    differences = np.array([0.9, 0.2, -0.1, *np.linspace(0.01, 0.05, 9)])
    flips = np.array(list(product((-1.0, 1.0), repeat=12))) @ differences
    exact = float((np.abs(flips) >= abs(differences.sum()) - 1e-12).mean())
    sample = collect_pairs(np.zeros(12), differences, [f"p{i}" for i in range(12)])
    found = estimate_all([sample], seed=0, n_boot=20_000)[0]
    assert found.p == pytest.approx(exact, abs=0.02)


def test_exchanged_pairs_with_a_heavy_tail_are_found_in_one_of_twenty_at_most() -> None:
    g = rng(3)
    tail = [np.where(g.random(100) < 0.02, 1.0, 0.001) * g.choice((-1, 1), 100) for _ in range(400)]
    names = [f"p{i}" for i in range(100)]
    samples = [collect_pairs(np.zeros(100), difference, names) for difference in tail]
    p = np.array([found.p for found in estimate_all(samples, seed=0, n_boot=500)])
    assert (p < 0.05).mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_rounding_is_no_difference():
    rng = np.random.default_rng(0)
    first = rng.normal(-3, 1, 100)
    noise = first + 2e-6 * (1 + rng.random(100))  # all of one sign, as a kernel may round
    (none,) = estimate_all([collect_pairs(first, noise, list(range(100)))], seed=0)
    assert (none.value, none.p) == (0, 1)
    large = 1e4 + first
    (scaled,) = estimate_all([collect_pairs(large, large + 0.05, list(range(100)))], seed=0)
    assert scaled.value == 0
    (real,) = estimate_all([collect_pairs(first, first + 1e-3, list(range(100)))], seed=0)
    assert real.value == pytest.approx(1e-3) and real.p < 1e-6


def test_difference_of_two_shares_by_hand():
    """Newcombe 1998, method 10, his example: 56 of 70 and 48 of 80."""
    from interp.stats.proportion_intervals import compare_shares

    found = compare_shares((48, 80), (56, 70))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    none = compare_shares((0, 400), (0, 400))
    assert none.low == -none.high == pytest.approx(-3.8415 / 403.8415, abs=1e-5)
