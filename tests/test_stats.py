"""Statistics against simulation, hand computation and scipy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as oracle
from scipy.optimize import brentq

from interp.stats.auroc import ScoredItem, collect_scores, estimate_pooled
from interp.stats.estimates import (
    Estimate,
    benjamini_hochberg,
    collect,
    collect_pairs,
    collect_ratio,
    estimate_all,
)
from interp.stats.kinds import Kind
from interp.stats.proportion_intervals import share_limits, wilson

SIMULATIONS = 300
COVERAGE = (0.917, 0.983)
"""0.95 plus or minus 2.6 standard errors of a share of 300."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def estimate_mean(values, problems, kind: Kind = "real", *, level=0.95) -> Estimate:
    return estimate_all([collect(values, problems, kind)], level=level)[0]


def paired_contrast(first, second, problems, kind: Kind = "real") -> Estimate:
    return estimate_all([collect_pairs(first, second, problems, kind)])[0]


def covered(draw, truth: float, kind: Kind = "real") -> float:
    drawn = [draw(rng(seed)) for seed in range(SIMULATIONS)]
    samples = [collect(values, problems, kind) for values, problems in drawn]
    return float(np.mean([e.low <= truth <= e.high for e in estimate_all(samples)]))


def test_clusters_are_the_unit_and_items_are_not() -> None:
    def draw(g: np.random.Generator):
        values = np.repeat(g.normal(0, 1, 20), 5) + g.normal(0, 0.2, 100)
        return values, [i // 5 for i in range(100)]

    by_problem = covered(draw, 0.0)
    by_item = covered(lambda g: (draw(g)[0], range(100)), 0.0)
    assert COVERAGE[0] <= by_problem <= COVERAGE[1]
    assert by_item < 0.75


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


@pytest.mark.parametrize("skew", [1.0, -1.0])
def test_limits_of_real_numbers_are_those_of_student_and_hall_by_hand(skew: float) -> None:
    """Hall's limits are found by bisection of his transformation, one cell alone."""
    x = skew * rng(3).exponential(size=14)
    n, m, s = 14, x.mean(), x.std(ddof=1)
    g = ((x - m) ** 3).mean() / ((x - m) ** 2).mean() ** 1.5
    root, t = math.sqrt(n), float(oracle.t.ppf(0.975, n - 1))

    def hall(mu: float) -> float:
        z = root * (m - mu) / s
        return z + g * z**2 / 3 / root + g**2 * z**3 / 27 / n + g / 6 / root

    def find(target: float) -> float:
        return float(brentq(lambda mu: hall(mu) - target, m - 20 * s, m + 20 * s))

    found = estimate_mean(x, range(n))
    assert found.low == pytest.approx(min(m - t * s / root, find(t)))
    assert found.high == pytest.approx(max(m + t * s / root, find(-t)))
    p = [2 * oracle.t.sf(abs(z), n - 1) for z in (root * m / s, hall(0.0))]
    assert found.p == pytest.approx(max(p))


def test_uneven_problems_have_the_error_of_a_ratio() -> None:
    """Against a jackknife over problems, which knows nothing of influence."""
    g = rng(5)
    counts = g.integers(1, 6, 40)
    problems = np.repeat(np.arange(40), counts)
    values = g.normal(size=40)[problems] + 0.3 * counts[problems]
    kept = [values[problems != one].mean() for one in range(40)]
    error = math.sqrt(39 * np.var(kept))
    found = estimate_mean(values, problems.tolist())
    width = 2 * float(oracle.t.ppf(0.975, 39)) * error
    assert found.value == pytest.approx(values.mean())
    assert width * 0.95 < found.high - found.low < width * 1.15


@pytest.mark.parametrize("kind", ["binary", "share", "difference", "real", "skewed"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 6])
def test_there_is_no_interval_below_six_problems(kind: Kind, n: int) -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0] * 2)[: 2 * n]
    found = estimate_mean(values, [i // 2 for i in range(2 * n)], kind)
    assert found.n == n and math.isnan(found.value) == (n == 0)
    assert math.isnan(found.low) == math.isnan(found.high) == (n < 6)


def test_all_right_is_not_certainty() -> None:
    for kind in ("binary", "share"):
        found = estimate_mean(np.ones(100), range(100), kind)
        assert found.value == 1.0 and found.high == 1.0 and found.low < 0.97
    found = estimate_mean(np.ones(100), range(100), "binary")
    assert found.low == pytest.approx(oracle.binomtest(100, 100).proportion_ci(method="wilson").low)
    clustered = estimate_mean(np.ones(100), [i // 10 for i in range(100)], "binary")
    assert clustered.low == pytest.approx(
        oracle.binomtest(10, 10).proportion_ci(method="wilson").low
    )


@pytest.mark.parametrize("right", [0, 1, 3, 20, 37, 40])
def test_single_counts_have_the_limits_of_share_limits(right: int) -> None:
    values = np.array([1.0] * right + [0.0] * (40 - right))
    found = estimate_mean(values, range(40), "binary")
    assert (found.low, found.high) == pytest.approx(share_limits(right, 40), abs=1e-9)


def test_the_method_does_not_hang_on_the_values() -> None:
    """Nats near 0.011 and the same with one below 0 have nearly the same interval."""
    near = np.array([0.0108, 0.0112, 0.0105, 0.0115, 0.0110, 0.0107, 0.0111, 0.0113])
    found = estimate_mean(near, range(8))
    assert 0.0105 < found.low < found.high < 0.0115
    shifted = estimate_mean(near - 0.0109, range(8))  # two of them below 0
    assert shifted.high - shifted.low == pytest.approx(found.high - found.low)
    share = estimate_mean(near, range(8), "share")
    assert share.high - share.low < 3 * (found.high - found.low)
    tiny = 1e-5 * near / 0.011
    assert estimate_mean(tiny, range(8), "share").high < 2e-5  # Wilson's limit would be .32
    one_more = estimate_mean(np.append(near, 0.012), range(9), "share")
    assert one_more.high < 1.2 * share.high


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
    found = paired_contrast(shares, shares, range(50), "binary")
    assert found.value == 0.0 and found.p == 1.0
    assert found.low == -found.high and 0 < found.high < 0.08


def test_total_flip_is_significant_and_not_certain() -> None:
    found = paired_contrast(np.ones(40), np.zeros(40), range(40), "binary")
    assert found.value == -1.0 and found.low == -1.0 and -1.0 < found.high < -0.8
    assert found.p < 1e-6


@pytest.mark.parametrize("flips", [1, 3, 4])
def test_few_flips_are_judged_as_mcnemar_does(flips: int) -> None:
    second = np.zeros(80)
    second[:flips] = 1
    found = paired_contrast(np.zeros(80), second, range(80), "binary")
    exact = 2 * oracle.binom.cdf(0, flips, 0.5) - oracle.binom.pmf(0, flips, 0.5)
    assert found.p == pytest.approx(exact)
    assert found.low <= 0 < found.high


def test_p_agrees_with_interval_and_is_uniform_under_null() -> None:
    ps = []
    for seed in range(400):
        g = rng(seed)
        first = g.normal(size=15)
        found = paired_contrast(first, first + g.normal(size=15), range(15))
        ps.append(found.p)
        if abs(found.p - 0.05) > 1e-6:
            assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(ps) < 0.5) == pytest.approx(0.5, abs=0.07)


def contrasts_of(kind: str, g: np.random.Generator) -> list[Estimate]:
    """Contrasts of 20 to 29 problems whose true difference may lie near its standard error."""
    n, shift = int(g.integers(20, 30)), g.choice([0.0, 0.2, 0.4, 0.7])
    problems = range(n)
    if kind == "ratio":
        under, noise = g.gamma(4, size=(2, n)), g.beta(2, 2, (2, n))
        noise[1] += shift * (1 - noise[1])
        sides = [
            collect_ratio(o * u, u, problems, ["real", "real"])
            for o, u in zip(noise, under, strict=True)
        ]
        return estimate_all([replace(sides[1], against=sides[0])])
    if kind == "auroc":
        scores = g.normal(size=(2, 2, n)) > 1.2 if g.random() < 0.5 else g.normal(size=(2, 2, n))
        scores = scores + 0.0
        scores[1, 1] += 2 * shift
        cells = [
            [
                ScoredItem(f"{at}{is_right}", f"{at}", side[int(is_right), at], is_right)
                for at in problems for is_right in (False, True)
            ]
            for side in scores
        ]  # fmt: skip
        return [estimate_pooled(collect_scores("auroc", *cells), seed=0, n_boot=300)]
    first = g.beta(0.3, 0.8, n) if g.random() < 0.5 else g.random(n)
    second = np.where(g.random(n) < g.choice([0.2, 0.5, 0.9]), first, g.random(n) ** (1 + shift))
    if kind == "binary":
        first, second = np.round(first), np.round(second)
    if kind in ("real", "skewed"):
        first, second = first**3, np.exp(g.normal(shift, 1, n)) * second
    return [paired_contrast(first, second, problems, kind)]


@pytest.mark.parametrize(
    "kind", ["binary", "share", "difference", "real", "skewed", "ratio", "auroc"]
)
def test_p_is_below_a_twentieth_exactly_where_the_interval_lacks_0(kind: str) -> None:
    found = [
        one for seed in range(100 if kind == "auroc" else 1500)
        for one in contrasts_of(kind, rng(seed))
    ]  # fmt: skip
    lacks = np.array([not one.low <= 0 <= one.high for one in found])
    assert 0.02 < lacks.mean() < 0.98
    assert [one.p < 0.05 for one in found] == lacks.tolist()


def test_where_the_interval_holds_0_p_is_that_at_which_it_would_end_there() -> None:
    """Student's p is .036 here, and Newcombe's limits hold 0."""
    some = [0.1, 0.5, 0.1, 0.3, 0.2, 0.2, 0.1, 0.2, 0.1, -0.3, 0.1]
    change = np.array(some + [0.0] * 13)
    found = paired_contrast(np.maximum(-change, 0), np.maximum(change, 0), range(24), "share")
    assert oracle.ttest_1samp(change, 0).pvalue < 0.04 and found.low < 0 < found.value
    grown = found.value / (found.value - found.low) * oracle.t.ppf(0.975, 23)
    assert found.p == pytest.approx(2 * oracle.t.sf(grown, 23)) and found.p > 0.05


def test_p_of_a_strong_effect_is_small() -> None:
    """So that one strong effect survives among hundreds of tests."""
    shift = rng(1).normal(1.0, 0.5, 60)
    found = paired_contrast(np.zeros(60), shift, range(60))
    t_test = oracle.ttest_1samp(shift, 0.0).pvalue
    assert 0.99 * t_test < found.p < 1e-10
    constant = paired_contrast(np.zeros(7), np.full(7, 7.5), range(7))
    assert constant.p == 2**-6  # that of sign flips


def test_pairs_are_paired() -> None:
    """Noise shared by both sides cancels."""
    shared = rng(1).normal(0, 10, 40)
    shift = rng(2).normal(0.5, 0.1, 40)
    found = paired_contrast(shared, shared + shift, range(40))
    assert 0.4 < found.low < found.high < 0.6


def test_cells_do_not_depend_on_their_neighbours() -> None:
    kinds: list[Kind] = ["real", "share", "binary", "difference", "skewed"]
    samples = [
        collect((rng(i).random(30 + i % 3) < 0.7) * 1.0, range(30 + i % 3), kinds[i % 5])
        for i in range(15)
    ]
    together = estimate_all(samples)
    assert [e.n for e in together] == [30, 31, 32] * 5
    for sample, found in zip(samples, together, strict=True):
        assert estimate_all([sample])[0] == pytest.approx(found, rel=1e-12, nan_ok=True)


def test_inputs_are_checked() -> None:
    with pytest.raises(ValueError, match="isfinite"):
        collect(np.array([1.0, math.nan]), ["a", "b"], "real")
    with pytest.raises(ValueError, match="2 values and 1 problems"):
        collect(np.array([1.0, 2.0]), ["a"], "real")
    with pytest.raises(ValueError, match="Drop items without a partner"):
        collect_pairs(np.array([1.0]), np.array([1.0, 2.0]), ["a"], "real")


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("binary", [0.0, 0.5], "0 or 1, received 0.5"),
        ("share", [0.2, 1.01], "from 0 to 1, received 1.01"),
        ("share", [-0.1], "received -0.1"),
        ("difference", [1.5], "from -1 to 1, received 1.5"),
    ],
)
def test_items_are_what_their_kind_says(kind: Kind, values: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        collect(np.array(values), range(len(values)), kind)
    rounded = collect(np.array([1 + 3e-7, -3e-7]), range(2), "share")
    assert rounded.sums.tolist() == [1.0, 0.0]
    collect(np.array(values), range(len(values)), "real")


def test_benjamini_hochberg_equals_scipy_and_keeps_nan() -> None:
    p = np.array([0.01, math.nan, 0.04, 0.03, 0.2, 0.9, 0.005])
    known = ~np.isnan(p)
    q = benjamini_hochberg(p)
    assert q[known] == pytest.approx(oracle.false_discovery_control(p[known]))
    assert np.isnan(q[1])
    assert benjamini_hochberg(np.array([])).shape == (0,)


def test_a_median_has_the_limits_of_order_statistics() -> None:
    """Of 20 values the 6th and the 15th cover in 95.86 %, the 7th and 14th in 88.47 %."""
    values = np.arange(1.0, 21.0)
    found = estimate_mean(rng().permutation(values), range(20), "skewed")
    outer, inner = 0.95861, 0.88468
    share = (outer - 0.95) / (outer - inner)
    move = (20 - 6) * share / (6 + 8 * share)  # Nyblom 1992
    assert found.value == 10.5
    assert (found.low, found.high) == pytest.approx((6 + move, 15 - move), abs=1e-3)
    six = estimate_mean(np.array([3.0, 1.0, 2.0, 9.0, 5.0, 400.0]), range(6), "skewed")
    assert six.value == 4.0 and 1.0 < six.low < 2.0 and 9.0 < six.high < 400.0


def test_p_of_a_median_is_that_of_the_sign_test() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -1.0, 0.0])
    found = estimate_mean(values, range(10), "skewed")
    mid = oracle.binom.cdf(2, 10, 0.5) + oracle.binom.cdf(1, 10, 0.5)  # the 0 counts as a fall
    assert found.p == pytest.approx(mid) and found.low <= 0


def test_a_contrast_of_ratios_has_the_error_of_a_jackknife() -> None:
    g = rng(8)
    names = [str(i) for i in range(80)]
    size = g.lognormal(0, 0.5, 80)
    sides = [(part * size + g.normal(0, 0.2, 80), size) for part in (0.4, 0.7)]
    first, second = (collect_ratio(o, u, names, ("real", "real")) for o, u in sides)
    (found,) = estimate_all([replace(second, against=first)])

    def apart(keep: np.ndarray) -> float:
        a, b = (o[keep].sum() / u[keep].sum() for o, u in sides)
        return float(b - a)

    assert found.value == pytest.approx(apart(np.ones(80, dtype=bool)))
    error = math.sqrt(79 * np.var([apart(np.arange(80) != one) for one in range(80)]))
    width = 2 * float(oracle.t.ppf(0.975, 79)) * error
    assert 0.97 * width < found.high - found.low < 1.2 * width
    same = estimate_all([replace(first, against=first)])[0]
    assert same[:3] == (0.0, 0.0, 0.0) and same.p == 1.0


def test_rounding_is_no_difference():
    rng = np.random.default_rng(0)
    first = rng.normal(-3, 1, 100)
    noise = first + 2e-6 * (1 + rng.random(100))  # all of one sign, as a kernel may round
    (none,) = estimate_all([collect_pairs(first, noise, list(range(100)), "real")])
    assert (none.value, none.p) == (0, 1)
    large = 1e4 + first
    (scaled,) = estimate_all([collect_pairs(large, large + 0.05, list(range(100)), "real")])
    assert scaled.value == 0
    (real,) = estimate_all([collect_pairs(first, first + 1e-3, list(range(100)), "real")])
    assert real.value == pytest.approx(1e-3) and real.p < 1e-6


def test_difference_of_two_shares_by_hand():
    """Newcombe 1998, method 10, his example: 56 of 70 and 48 of 80."""
    from interp.stats.proportion_intervals import compare_shares

    found = compare_shares((48, 80), (56, 70))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    none = compare_shares((0, 400), (0, 400))
    assert none.low == -none.high == pytest.approx(-3.8415 / 403.8415, abs=1e-5)
