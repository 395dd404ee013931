"""Seeds as the unit: the estimator against other computations, rows over seeds, lists of names."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_1samp

from interp.results.report import Verdict
from interp.results.rows import CONTRAST, Item, Measurement
from interp.results.summaries import summarise
from interp.stats.proportion_intervals import Interval
from interp.stats.seeds import estimate_over_seeds
from probes.audit.run import AuditSettings
from probes.seeds.names import name_sides, pair_up
from probes.seeds.rows import summarise_seeds, write_csv
from probes.seeds.verdict import judge_seeds
from tests.simulations.seeds import RATES, coverage, level

NAN = math.nan
NONE = Interval(NAN, NAN)


def reach(half, *values):
    """Intervals that reach equally far to both sides of these values."""
    return [Interval(value - half, value + half) for value in values]


@pytest.mark.parametrize(
    "values", [(0.2, 0.5, 0.3), (1.0, 2.0, 4.0), (-3.0, -2.5, -2.8, -1.0, 0.5)]
)
def test_without_sampling_error_it_is_the_t_test(values):
    found = estimate_over_seeds(values, [NONE] * len(values))
    other = ttest_1samp(values, 0.0)
    limits = other.confidence_interval(0.95)
    assert found.p == pytest.approx(other.pvalue)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high))
    assert found.between == pytest.approx(np.std(values, ddof=1))


def test_by_hand():
    # Standard deviation 1, standard error 1/sqrt(3); t for 2 degrees of freedom is 4.302653.
    found = estimate_over_seeds([1.0, 2.0, 3.0], reach(0.5, 1.0, 2.0, 3.0))
    assert (found.value, found.n, found.between, found.within) == pytest.approx((2, 3, 1, 0.5))
    assert found.high - found.value == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)


def test_equal_seeds_keep_the_interval_of_their_problems():
    """Three accuracies of 1.00 do not show that every training gives 1.00 on every problem."""
    found = estimate_over_seeds([1.0] * 3, [Interval(0.9, 1.0)] * 3, bounds=Interval(0, 1))
    assert found.low == pytest.approx(1 - 0.1 / math.sqrt(3)) and found.high == 1.0


def test_p_and_interval_say_the_same():
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(500):
        values = rng.normal(0.3, 0.15, 4)
        halves = rng.uniform(0, 0.6, (4, 2))
        own = [Interval(v - a, v + b) for v, (a, b) in zip(values, halves, strict=True)]
        found = estimate_over_seeds(values.tolist(), own)
        holds_zero = found.low <= 0 <= found.high
        assert holds_zero == (found.p >= 0.05)
        verdicts.add(holds_zero)
    assert verdicts == {True, False}


def test_the_larger_of_both_p_counts():
    values = [0.30, 0.31, 0.29]
    found = estimate_over_seeds(values, reach(0.5, *values))
    error = 0.5 / norm.ppf(0.975) / math.sqrt(3)
    assert found.p == pytest.approx(2 * norm.sf(0.3 / error))
    assert found.p > 2 * t.sf(0.3 / (0.01 / math.sqrt(3)), 2)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_have_no_interval(n):
    found = estimate_over_seeds([0.2, 0.9][:n], reach(0.1, 0.2, 0.9)[:n])
    assert found.n == n and not math.isnan(found.value)
    assert math.isnan(found.low) and math.isnan(found.high) and math.isnan(found.p)


def test_no_difference_has_p_1_and_one_without_any_spread_has_none():
    assert estimate_over_seeds([0.0] * 3, reach(0.0, 0.0, 0.0, 0.0)).p == 1.0
    assert math.isnan(estimate_over_seeds([1.0] * 3, reach(0.0, 1.0, 1.0, 1.0)).p)


def test_seeds_that_could_not_be_measured_are_refused():
    with pytest.raises(ValueError, match="Leave out seeds that could not be measured"):
        estimate_over_seeds([0.1, NAN, 0.3], [NONE] * 3)


@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("name", ["rate .50, sd .05", "rate .50, sd .20", "rate .90, sd .05"])
def test_intervals_over_seeds_cover_the_mean_over_trainings(name, n_seeds):
    rates, truth = RATES[name]
    # 600 intervals: the standard error of a coverage of .95 is .009.
    assert 0.925 <= coverage(rates, truth, n_seeds, runs=600) <= 0.99


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_two_sides_of_one_recipe_do_not_differ_over_seeds_where_single_pairs_do(n_seeds):
    found = level(RATES["rate .50, sd .20"][0], n_seeds, runs=400)
    assert found.one_pair > 0.4
    assert found.over_seeds <= 0.08


def test_trainings_that_fail_as_a_whole_are_missed_by_three_seeds():
    """The limit that the module names: .9^3 of the studies see three successes and no failure."""
    rates, truth = RATES["nine of ten trainings succeed"]
    assert coverage(rates, truth, 3, runs=300) < 0.5


def make_run(base, post, *, seed=0, extra=()):
    """Rows of one pair: 0/1 items of both readers, one problem each."""
    items = [
        Item(
            probe="p", task="t", example=f"e{i}", problem=f"e{i}", condition="c", metric=metric,
            reader=reader, value=value, note="" if value == value else "too short",
        )
        for metric, sides in (("m", (base, post)), *extra)
        for reader, values in zip(("base", "post"), sides, strict=True)
        for i, value in enumerate(values)
    ]  # fmt: skip
    return summarise(items, pair="x -> y", chance={"t": 0.1 + seed / 10}, seed=seed, n_boot=200)


def ones(k, n=20):
    return [1.0] * k + [0.0] * (n - k)


def pick(rows, metric, reader):
    (found,) = (r for r in rows if (r.row.metric, r.row.reader) == (metric, reader))
    return found


RUNS = [
    make_run(ones(4), ones(14), seed=0),
    make_run(ones(6), ones(18), seed=1),
    make_run(ones(5), ones(10), seed=2, extra=[("only_here", (ones(1), ones(2)))]),
]


def test_rows_over_seeds_are_means_of_the_rows_of_the_runs():
    rows = summarise_seeds(RUNS, pair="a, b, c -> d, e, f", seed=0, kinds={})
    assert {each.row.metric for each in rows} == {"m"}
    post, change = pick(rows, "m", "post"), pick(rows, "m", CONTRAST)
    assert post.row.value == pytest.approx(np.mean([0.7, 0.9, 0.5]))
    assert post.row.n == 3 and post.row.n_missing == 0 and post.row.chance == pytest.approx(0.2)
    # Each post is compared with its own base: differences of .50, .60 and .25.
    test = ttest_1samp([0.5, 0.6, 0.25], 0)
    limits = test.confidence_interval(0.95)
    assert change.row.value == pytest.approx(0.45)
    assert (change.row.low, change.row.high) == pytest.approx((limits.low, limits.high))
    assert change.row.p == pytest.approx(test.pvalue) and change.row.q == change.row.p
    assert change.n_same_sign == 3 and change.row.pair == "a, b, c -> d, e, f"
    assert math.isnan(post.row.p)


def test_a_seed_that_could_not_be_measured_is_counted_and_said():
    runs = [*RUNS[:2], make_run(ones(5), [NAN] * 20, seed=2)]
    post = pick(summarise_seeds(runs, pair="", seed=0, kinds={}), "m", "post").row
    assert (post.n, post.n_missing) == (2, 1) and math.isnan(post.low)
    assert "not measurable in 1 of 3 seeds: too short (20). " in post.note
    assert "2 seeds: no interval (3 or more are needed)" in post.note
    none = [make_run(ones(5), [NAN] * 20)] * 3
    post = pick(summarise_seeds(none, pair="", seed=0, kinds={}), "m", "post").row
    assert (post.n, post.n_missing, post.note) == (0, 3, "not measurable: too short (20)")


@pytest.mark.parametrize("reader", ["post", CONTRAST])
@pytest.mark.parametrize("kind", ["share", "real"])
def test_limits_of_a_share_stay_within_its_bounds(kind, reader):
    """Post is right in 1.0, .5 and 1.0 of the problems, base in .1: t alone would reach to 1.5."""
    runs = [make_run(ones(2), ones(k), seed=k) for k in (20, 10, 20)]
    rows = summarise_seeds(runs, pair="", seed=0, kinds={("p", "m"): kind})
    row = pick(rows, "m", reader).row
    half = t.ppf(0.975, 2) * np.std([1, 0.5, 1], ddof=1) / math.sqrt(3)
    assert row.high == pytest.approx(1.0 if kind == "share" else row.value + half)
    assert row.low == pytest.approx(row.value - half)


def test_q_is_taken_over_the_contrasts_of_one_metric():
    def one(task, p_like):
        key = dict(probe="p", task=task, condition="c", metric="m", reader=CONTRAST)
        return Measurement(
            **key, contrast="reader", pair="", value=p_like, low=NAN, high=NAN, n=9, n_missing=0,
            chance=NAN, seed=0,
        )  # fmt: skip

    steps = (0.9, 1.0, 1.1)
    runs = [[one("a", x), one("b", x - 0.8), one("c", x - 0.95)] for x in steps]
    rows = summarise_seeds(runs, pair="", seed=0, kinds={})
    p = [each.row.p for each in rows]
    assert p == sorted(p)
    assert [each.row.q for each in rows] == pytest.approx(
        [min(3 * p[0], 1.5 * p[1], p[2]), min(1.5 * p[1], p[2]), p[2]]
    )


def test_the_csv_holds_the_spread_and_the_value_of_each_pair(tmp_path):
    pairs = ["a -> d", "b -> e", "c -> f"]
    write_csv(tmp_path / "rows.csv", summarise_seeds(RUNS, pair="", seed=0, kinds={}), pairs)
    with (tmp_path / "rows.csv").open() as file:
        lines = list(csv.DictReader(file))
    (change,) = (line for line in lines if line["reader"] == CONTRAST)
    assert [float(change[pair]) for pair in pairs] == pytest.approx([0.5, 0.6, 0.25])
    assert float(change["between_sd"]) == pytest.approx(np.std([0.5, 0.6, 0.25], ddof=1))
    assert change["step"] == "" and change["n_same_sign"] == "3" and change["n"] == "3"


def test_models_and_themselves_do_not_differ():
    same = [make_run(ones(k), ones(k), seed=k) for k in (4, 9, 20)]
    change = pick(summarise_seeds(same, pair="", seed=0, kinds={}), "m", CONTRAST).row
    assert change.value == 0 and change.p == 1 and change.low <= 0 <= change.high


def test_a_report_on_one_base_speaks_of_post_training_from_it():
    settings = AuditSettings(tasks=("t",), probes=("accuracy",))
    own = [Verdict("its own headline", ())] * 3
    rows = summarise_seeds(RUNS, pair="", seed=0, kinds={})
    one = judge_seeds(rows, settings, pair_up("base:0", "x:0,x:1,x:2"), own)
    assert one.headline.startswith("Over 3 seeds of post-training from one base checkpoint. t: ")
    assert "this post-training of this one base checkpoint" in one.lines[0]
    assert one.lines[-1] == "base:0 -> x:2: its own headline"
    each = judge_seeds(rows, settings, pair_up("base:0,base:1,base:2", "x:0,x:1,x:2"), own)
    assert each.headline.startswith("Over 3 seeds of each side. t: ")
    assert "absent from 3 in 73% of studies" in each.lines[0]


@pytest.mark.parametrize(
    ("base", "post", "pairs"),
    [
        ("base", "grpo", ["base -> grpo"]),
        ("base:0,base:1", "grpo:0, grpo:1", ["base:0 -> grpo:0", "base:1 -> grpo:1"]),
        ("org/base", "a/x,b/x,c/x", ["org/base -> a/x", "org/base -> b/x", "org/base -> c/x"]),
    ],
)
def test_lists_are_paired_in_their_order(base, post, pairs):
    assert [str(pair) for pair in pair_up(base, post)] == pairs


def test_a_folder_with_a_comma_in_its_name_is_one_model(tmp_path):
    folder = tmp_path / "lr=1,wd=0"
    folder.mkdir()
    assert [tuple(pair) for pair in pair_up("base", str(folder))] == [("base", str(folder))]


def test_all_names_of_both_sides_name_a_run():
    assert name_sides(pair_up("base:0,base:1", "a,b")) == "base:0, base:1 -> a, b"
    assert name_sides(pair_up("base", "a,b")) == "base -> a, b"


@pytest.mark.parametrize(
    ("base", "post", "told"),
    [
        ("base:0,base:1", "grpo:0,grpo:1,grpo:2", "received 2 and 3"),
        ("base:0,base:1", "grpo:0", "received 2 and 1"),
        ("base:0,base:1", "grpo:0,grpo:0", "received 'grpo:0' twice"),
        ("base:0,base:0", "grpo:0,grpo:1", "received 'base:0' twice"),
        ("base:0,base:1", "grpo:0,", "a name at each place"),
    ],
)
def test_lists_that_form_no_pairs_are_refused(base, post, told):
    with pytest.raises(ValueError, match=told):
        pair_up(base, post)
