"""Pooled statistics against slow counts of pairs, and their intervals against known truth."""

import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from interp.results.rows import CONTRAST, Item, PooledStatistic
from interp.results.summaries import summarise
from interp.stats.auroc import ScoredItem, area_under_curve, collect_scores, estimate_pooled
from interp.stats.proportion_intervals import describe_interval

AUROC = PooledStatistic("abstention", "direct", "p_unanswerable", "p_answerable", "auroc")
PRECISION = PooledStatistic("abstention", "direct", "recall", "false_abstention", "precision")


def twins(n, seed=0, shift=0.3, ties=False):
    """Scores of n problems with a positive and a negative each; some of few distinct values."""
    g = random.Random(seed)
    found = []
    for i in range(n):
        for is_positive in (True, False):
            score = g.random() + shift * is_positive
            score = round(score, 1) if ties else score
            found.append(ScoredItem(f"e{i}{is_positive}", f"p{i}", score, is_positive))
    return found


def slow_auroc(items):
    won = pairs = 0.0
    for a in items:
        for b in items:
            if a.is_positive and not b.is_positive:
                pairs += 1
                won += 1.0 if a.score > b.score else 0.5 if a.score == b.score else 0.0
    return won / pairs if pairs else math.nan


def slow_precision(items):
    right = sum(item.score for item in items if item.is_positive)
    return right / sum(item.score for item in items)


@pytest.mark.parametrize("ties", [True, False])
def test_auroc_is_the_share_of_pairs_that_are_won(ties):
    items = twins(30, ties=ties)
    items += [ScoredItem("lone", "p3", 0.5, True), ScoredItem("lone2", "p99", 0.5, False)]
    found = estimate_pooled(collect_scores("auroc", items), seed=0, n_boot=50)
    assert found.value == pytest.approx(slow_auroc(items), abs=1e-12)
    assert found.n == 31


def test_the_area_under_the_curve_is_that_share_for_each_column():
    items = twins(30, ties=True)
    scores = np.array([item.score for item in items])
    is_positive = np.array([item.is_positive for item in items])
    assert float(area_under_curve(scores, is_positive)) == pytest.approx(slow_auroc(items))
    columns = np.stack([scores, -scores, np.zeros(60)], axis=1)
    share = slow_auroc(items)
    assert area_under_curve(columns, is_positive) == pytest.approx([share, 1 - share, 0.5])
    assert np.isnan(area_under_curve(columns, np.ones(60, dtype=bool))).tolist() == [True] * 3


def test_precision_is_what_is_flagged_rightly_over_what_is_flagged():
    items = [
        ScoredItem(str(i), f"p{i // 2}", float(i % 3 == 0), i % 2 == 0) for i in range(40)
    ]  # fmt: skip
    found = estimate_pooled(collect_scores("precision", items), seed=0)
    assert found.value == slow_precision(items) == 0.5
    assert found.low < 0.5 < found.high


@pytest.mark.parametrize("slow", [slow_auroc, slow_precision])
def test_every_resample_is_that_of_the_items_drawn_with_their_problems(slow):
    """Quantiles of a loop that really copies the items of each drawn problem."""
    n, n_boot, seed = 20, 300, 5
    items = twins(n, ties=True, shift=0.0)
    kind = slow.__name__.removeprefix("slow_")
    found = estimate_pooled(collect_scores(kind, items), seed=seed, n_boot=n_boot)
    problems = sorted({item.problem for item in items})
    drawn = np.random.default_rng((seed, n)).integers(0, n, size=(n_boot, n))
    values = []
    for row in drawn:
        times = Counter(problems[k] for k in row)
        values.append(slow([item for item in items for _ in range(times[item.problem])]))
    from scipy.special import ndtr, stdtrit

    tail = ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.025))
    assert found.low == pytest.approx(np.quantile(values, tail), abs=1e-12)
    assert found.high == pytest.approx(np.quantile(values, 1 - tail), abs=1e-12)


def test_intervals_cover_the_true_auroc_of_twins_that_hang_together():
    """Normal scores d apart, with a common part for each problem: AUROC = Phi(d / sqrt 2)."""
    from scipy.special import ndtr

    d, inside, n_tries = 1.0, 0, 300
    for attempt in range(n_tries):
        g = np.random.default_rng(attempt)
        items = []
        for i in range(40):
            common = math.sqrt(0.5) * g.normal()
            for is_positive in (True, False):
                score = common + math.sqrt(0.5) * g.normal() + d * is_positive
                items.append(ScoredItem(f"{i}{is_positive}", str(i), score, is_positive))
        found = estimate_pooled(collect_scores("auroc", items), seed=attempt, n_boot=400)
        inside += found.low <= ndtr(d / math.sqrt(2)) <= found.high
    assert 0.92 <= inside / n_tries <= 0.985  # 0.95 with a standard error of 0.0126


def test_a_perfect_separation_still_has_an_interval():
    items = [ScoredItem(f"{i}{k}", str(i), float(k), bool(k)) for i in range(50) for k in (0, 1)]
    found = estimate_pooled(collect_scores("auroc", items), seed=0)
    assert found.value == 1.0
    assert (found.low, found.high) == (pytest.approx(0.9287, abs=1e-4), 1.0)  # Wilson, 50 of 50
    both = estimate_pooled(collect_scores("auroc", items, items), seed=0)
    assert (both.value, both.p) == (0.0, 1.0)
    assert both.low == pytest.approx(-0.0713, abs=1e-4) and both.high == -both.low


def test_a_contrast_is_paired_and_zero_for_equal_sides():
    base, post = twins(60, shift=0.1), twins(60, shift=0.9)
    apart = estimate_pooled(collect_scores("auroc", base, post), seed=1)
    assert apart.value == pytest.approx(slow_auroc(post) - slow_auroc(base), abs=1e-12)
    assert apart.low > 0 and apart.p < 0.001
    same = estimate_pooled(collect_scores("auroc", base, base), seed=1)
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="both cells hold the same examples, received 120 and 119"):
        collect_scores("auroc", base, post[1:])


def test_without_both_kinds_there_is_no_value():
    positives = [item for item in twins(9) if item.is_positive]
    found = estimate_pooled(collect_scores("auroc", positives), seed=0)
    assert math.isnan(found.value) and found.n == 0
    assert math.isnan(estimate_pooled(collect_scores("auroc", []), seed=0).value)
    unflagged = [item._replace(score=0.0) for item in twins(9)]
    assert math.isnan(estimate_pooled(collect_scores("precision", unflagged), seed=0).value)
    alone = estimate_pooled(collect_scores("auroc", twins(1)), seed=0)
    assert alone.n == 1 and math.isnan(alone.low) and not math.isnan(alone.value)


def items_of(reader, scored, metrics, note=""):
    return [
        Item(
            probe="abstention", task="arith/abstain", example=item.example, problem=item.problem,
            condition="direct", metric=metrics[0] if item.is_positive else metrics[1],
            value=item.score, writer=reader, reader=reader, note=note,
        )
        for item in scored
    ]  # fmt: skip


def test_rows_of_readers_and_their_contrast():
    metrics = (AUROC.positive, AUROC.negative)
    base, post = twins(30, seed=1), twins(30, seed=2)
    post[4] = post[4]._replace(score=math.nan)
    items = items_of("base", base, metrics) + items_of("post", post, metrics, "the chain is cut")
    rows = summarise(
        items, pair="a -> b", chance={"arith/abstain": 1 / 12}, seed=0, pooled=(AUROC, PRECISION)
    )
    found = {(row.writer, row.reader): row for row in rows if row.metric == "auroc"}
    assert not [row for row in rows if row.metric == "precision"]
    shared = [k for k in range(60) if k != 4]
    assert found["base", "base"].value == pytest.approx(slow_auroc(base), abs=1e-12)
    assert found["post", "post"].value == pytest.approx(slow_auroc([post[k] for k in shared]))
    assert found["post", "post"].note == "not measurable in 1 of 60: the chain is cut (1)"
    total = found[CONTRAST, CONTRAST]
    expected = slow_auroc([post[k] for k in shared]) - slow_auroc([base[k] for k in shared])
    assert total.value == pytest.approx(expected, abs=1e-12)
    assert (total.n, total.n_missing) == (30, 1)
    assert total.note == "not measurable in 1 of 60: the chain is cut (1)"
    assert 0 < total.p <= 1 and not math.isnan(total.q)
    assert len(found) == 3


@pytest.mark.parametrize("decimals", [1, 2, 3])
def test_no_minus_stands_before_zero(decimals):
    """Against the numbers that the words are read back as."""
    for k in range(-30, 31):
        value, low, high = k / 2000, (k - 3) / 2000, (k + 3) / 2000
        text = describe_interval(value, low, high, decimals=decimals)
        parts = text.replace("[", "").replace("]", "").replace(",", "").split()
        assert [float(part) for part in parts] == [round(x, decimals) for x in (value, low, high)]
        assert all((float(part) < 0) == part.startswith("-") for part in parts)


def test_a_note_says_why_there_is_no_value():
    scored = [item._replace(score=0.0) for item in twins(30)]
    items = items_of("base", scored, (PRECISION.positive, PRECISION.negative))
    rows = summarise(items, pair="a", chance={"arith/abstain": 0.1}, seed=0, pooled=(PRECISION,))
    (row,) = [row for row in rows if row.metric == "precision"]
    assert math.isnan(row.value)
    assert row.note == "not measurable: no item is flagged"
    lone = [item for item in items if item.metric == PRECISION.positive]
    lone = [replace(item, metric=AUROC.positive) for item in lone]
    nan = [replace(item, metric=AUROC.negative, value=math.nan) for item in lone]
    rows = summarise(lone, pair="a", chance={"arith/abstain": 0.1}, seed=0, pooled=(AUROC,))
    assert not [row for row in rows if row.metric == "auroc"]
    moved = [replace(item, example=f"{item.example}-", note="no answer") for item in nan]
    rows = summarise(lone + moved, pair="a", chance={"arith/abstain": 0.1}, seed=0, pooled=(AUROC,))
    (row,) = [row for row in rows if row.metric == "auroc"]
    assert math.isnan(row.value) and row.note == "not measurable in 30 of 60: no answer (30)"
