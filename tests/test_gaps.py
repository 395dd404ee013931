"""Gap recovery against published figures and a slow loop over resamples."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy.stats import norm, t

from interp.stats.gap_recovered import excess_recovery, gap_recovered, recovered
from interp.stats.resampling import draw_weights


def some_items(n_problems=40, seed=0):
    """Items of 1 to 3 twins per problem, post better than hybrid better than base."""
    rng = random.Random(seed)
    problems = [f"p{n}" for n in range(n_problems) for _ in range(rng.randint(1, 3))]
    rates = {"base": 0.2, "hybrid": 0.6, "post": 0.9, "one": 0.3, "two": 0.35}
    return problems, {k: [float(rng.random() < r) for _ in problems] for k, r in rates.items()}


def test_published_figures_unclipped_in_both_directions():
    assert recovered(28.83, 39.20, 38.49) == pytest.approx(107.36, abs=0.02)
    assert recovered(30.2, 26.6, 95.8) == pytest.approx(-5.5, abs=0.02)
    assert recovered(39.0, 60.3, 63.1) == pytest.approx(88.3, abs=0.1)
    assert math.isnan(recovered(0.3, 0.5, 0.3))


def test_a_method_that_is_worse_than_base_stays_negative_and_one_above_post_exceeds_100():
    problems = list(range(60))
    base, post = [1.0] * 12 + [0.0] * 48, [1.0] * 48 + [0.0] * 12
    worse, better = [0.0] * 60, [1.0] * 60
    found = gap_recovered(base, worse, post, problems, seed=0)
    assert found.value == pytest.approx(-100 * 12 / 36) and found.high < 0 and not found.flag
    assert gap_recovered(base, better, post, problems, seed=0).value == pytest.approx(100 * 48 / 36)
    assert (found.base.value, found.hybrid.value, found.post.value) == (0.2, 0.0, 0.8)


def slow_resamples(problems, columns, seed, n_boot):
    """Means of each column in each resample, item by item."""
    names = list(dict.fromkeys(problems))
    rng = np.random.default_rng((seed, len(names)))
    means = []
    for weights in draw_weights(len(names), rng=rng, n_boot=n_boot):
        for row in weights:
            times = dict(zip(names, row, strict=True))
            total = sum(times[p] for p in problems)
            means.append(
                [sum(times[p] * v for p, v in zip(problems, c, strict=True)) / total
                 for c in columns]
            )  # fmt: skip
    return means


def test_intervals_equal_those_of_a_loop_over_items():
    problems, of = some_items()
    columns = [of[name] for name in ("base", "hybrid", "post", "one", "two")]
    base, method, after, *_ = columns
    slow = slow_resamples(problems, columns, 7, 200)
    ratios = sorted(100 * (hybrid - b) / (post - b) for b, hybrid, post, *_ in slow)
    tail = norm.cdf(math.sqrt(40 / 39) * t.ppf(0.025, 39))  # Hesterberg 2015, section 5.3
    found = gap_recovered(base, method, after, problems, seed=7, n_boot=200)
    assert found.low == pytest.approx(np.quantile(ratios, tail))
    assert found.high == pytest.approx(np.quantile(ratios, 1 - tail))
    excess = [100 * (hybrid - max(one, two)) / (post - b) for b, hybrid, post, one, two in slow]
    controls = {"one": of["one"], "two": of["two"]}
    beyond = excess_recovery(base, method, after, controls, problems, seed=7, n_boot=200)
    assert beyond.low == pytest.approx(np.quantile(excess, tail))
    assert beyond.high == pytest.approx(np.quantile(excess, 1 - tail))
    assert beyond.control == max(controls, key=lambda name: sum(controls[name]))


def test_excess_is_the_difference_of_two_recoveries():
    problems, of = some_items(seed=3)
    base, hybrid, post, one = (of[name] for name in ("base", "hybrid", "post", "one"))
    mine, control = (gap_recovered(base, x, post, problems, seed=0).value for x in (hybrid, one))
    beyond = excess_recovery(base, hybrid, post, {"one": one}, problems, seed=0)
    assert beyond.value == pytest.approx(mine - control)


def test_small_and_uncertain_gaps_are_flagged_and_have_no_interval():
    problems = list(range(100))
    base = [1.0] * 10 + [0.0] * 90
    small = gap_recovered(base, base, [1.0] * 12 + [0.0] * 88, problems, seed=0)
    assert "below 5" in small.flag
    none = gap_recovered(base, [1.0] * 50 + [0.0] * 50, base, problems, seed=0)
    assert math.isnan(none.value) and math.isnan(none.low) and "holds 0" in none.flag
    negative = gap_recovered([1.0] * 90 + [0.0] * 10, base, base, problems, seed=0)
    assert "negative" in negative.flag
    sides = [0.0, 0.0, 1.0, 0.0] * 2, [0.0, 1.0, 1.0, 0.0] * 2, [1.0, 1.0, 0.0, 0.0] * 2
    few = gap_recovered(*sides, list("abcdefgh"), seed=0)
    assert "holds 0" in few.flag and "below" not in few.flag and math.isnan(few.high)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_gap_of_few_problems_is_not_called_negative(n):
    """No interval, whatever its sign; six problems are the fewest that give one."""
    found = gap_recovered([0.0] * n, [1.0] * n, [1.0] * n, list(range(n)), seed=0)
    assert found.flag == f"{n} problems give no interval of the gap: it takes 6"
    assert found.value == 100 and math.isnan(found.low) and math.isnan(found.gap.low)
    six = gap_recovered([0.0] * 6, [1.0] * 6, [1.0] * 6, list(range(6)), seed=0)
    assert six.flag == "" and six.low < 100 < six.high


def test_a_method_that_equals_a_side_on_every_problem_still_has_an_interval():
    """60 of 60 alike: Newcombe reads +-3.84 / (60 + 3.84), here in per cent of the gap."""
    base, post = [0.0] * 60, [1.0] * 48 + [0.0] * 12
    half = 100 * 3.8415 / 63.8415 / 0.8
    same = gap_recovered(base, post, post, list(range(60)), seed=0)
    assert same.value == 100 and same.low == pytest.approx(100 - half, abs=0.01)
    assert same.high == pytest.approx(100 + half, abs=0.01)
    none = gap_recovered(base, base, post, list(range(60)), seed=0)
    assert (none.low, none.high) == pytest.approx((-half, half), abs=0.01)
    beyond = excess_recovery(base, post, post, {"one": post, "two": base}, list(range(60)), seed=0)
    assert beyond.control == "one" and beyond.value == 0
    assert (beyond.low, beyond.high) == pytest.approx((-half, half), abs=0.01)

    apart = excess_recovery(base, post, post, {"two": base}, list(range(60)), seed=0)
    assert apart.value == 100 and apart.low < 100 - half / 2 and apart.high > 100 + half / 2
    worse = excess_recovery(base, base, post, {"one": post}, list(range(60)), seed=0)
    assert worse.value == -100 and worse.low < -100 - half / 2 and worse.high > -100 + half / 2


def test_accuracies_over_several_samples_are_no_less_blind():
    base, post = [0.25] * 60, [0.75] * 60
    same = gap_recovered(base, post, post, list(range(60)), seed=0)
    assert same.value == 100 and same.low < 95 and same.high > 105


@pytest.mark.parametrize(("misses", "gains"), [(0.025, 0.0), (0.01, 0.01), (0.3, 0.1)])
def test_intervals_cover_and_misses_are_on_both_sides(misses, gains):
    """Against a loop of samples: a bootstrap alone reads [100, 100] in a quarter of the first."""
    rng = np.random.default_rng(0)
    n_recovered, n_beyond = 0, 0
    for n in range(300):
        base, post = np.zeros(60), (rng.random(60) < 0.9).astype(float)
        method = post * (rng.random(60) >= misses)
        control = post * (rng.random(60) < gains)
        a_b, a_h, a_t = (side.tolist() for side in (base, method, post))
        problems = list(range(60))
        found = gap_recovered(a_b, a_h, a_t, problems, seed=n, n_boot=400)
        n_recovered += found.low <= 100 * (1 - misses) <= found.high
        controls = {"one": control.tolist()}
        beyond = excess_recovery(a_b, a_h, a_t, controls, problems, seed=n, n_boot=400)
        n_beyond += beyond.low <= 100 * (1 - misses - gains) <= beyond.high
    assert n_recovered / 300 >= 0.92 and n_beyond / 300 >= 0.92
    if misses == 0.3:
        assert n_recovered / 300 <= 0.98 and n_beyond / 300 <= 0.98


def test_clusters_widen_the_interval():
    problems, of = some_items(n_problems=60, seed=5)
    single = gap_recovered(of["base"], of["hybrid"], of["post"], problems, seed=0)
    a_b, a_h, a_t = (list(of[name]) * 4 for name in ("base", "hybrid", "post"))
    twins = gap_recovered(a_b, a_h, a_t, problems * 4, seed=0)
    as_if_independent = gap_recovered(a_b, a_h, a_t, list(range(len(a_b))), seed=0)
    assert twins.high - twins.low == pytest.approx(single.high - single.low)
    width = as_if_independent.high - as_if_independent.low
    assert width < 0.7 * (twins.high - twins.low)


def test_no_control_is_refused():
    with pytest.raises(ValueError, match="received no control"):
        excess_recovery([0.0], [1.0], [1.0], {}, ["a"], seed=0)
