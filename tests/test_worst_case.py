"""Worst cases against every way in which the missing items could have come out."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from interp.results.rows import CONTRAST, Item
from interp.results.summaries import summarise
from interp.results.worst_case import BOUNDS

NAN = math.nan
OWN = "writer+reader"


def items_of(model: str, values, *, writer: str = "", metric: str = "right"):
    """Items of a model on its own chains, or on those of one writer."""
    return [
        Item(
            probe="p", task="t", example=f"e{k:03}", problem=f"e{k:03}", condition="c",
            metric=metric, value=value, writer=writer or model, reader=model,
            note="the chain is truncated" if math.isnan(value) else "",
        )
        for k, value in enumerate(values)
    ]  # fmt: skip


def contrast(base, post, kind="binary", roles=OWN, **where):
    items = items_of("base", base, **where) + items_of("post", post, **where)
    rows = summarise(
        items,
        pair="a -> b",
        chance={"t": 0.1},
        seed=0,
        kinds={("p", where.get("metric", "right")): kind},
        n_boot=500,
    )
    (row,) = [row for row in rows if row.contrast == roles]
    return row


def fill(values, missing):
    return [missing if math.isnan(v) else v for v in values]


def draw(seed, n=40, lost=(0.1, 0.2), kind="binary"):
    rng = np.random.default_rng(seed)
    low, high = BOUNDS[kind]
    sides = rng.uniform(low, high, (2, n))
    sides = (sides > 0.5).astype(float) if kind == "binary" else sides
    for side, share in zip(sides, lost, strict=True):
        side[rng.permutation(n)[: round(share * n)]] = NAN
    return sides[0].tolist(), sides[1].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_it_holds_every_way_in_which_the_missing_could_have_come_out(seed):
    base, post = draw(seed, n=30, lost=(0.1, 0.2))
    row = contrast(base, post)
    gaps = (sum(map(math.isnan, base)), sum(map(math.isnan, post)))
    assert gaps == (3, 6)
    for outcome in product((0.0, 1.0), repeat=sum(gaps)):
        one, two = iter(outcome[: gaps[0]]), iter(outcome[gaps[0] :])
        a = [next(one) if math.isnan(v) else v for v in base]
        b = [next(two) if math.isnan(v) else v for v in post]
        assert row.worst_low <= np.mean(b) - np.mean(a) <= row.worst_high


@pytest.mark.parametrize("kind", BOUNDS)
def test_its_ends_are_the_limits_of_the_two_extremes(kind):
    low, high = BOUNDS[kind]
    base, post = draw(5, kind=kind)
    row = contrast(base, post, kind)
    lowest = contrast(fill(base, high), fill(post, low), kind)
    highest = contrast(fill(base, low), fill(post, high), kind)
    assert row.worst_low == pytest.approx(lowest.low, abs=0.05)
    assert row.worst_high == pytest.approx(highest.high, abs=0.05)
    assert math.isnan(lowest.worst_low) and "missing" not in lowest.note
    assert row.note.endswith(
        "missing: 4 of 40 items of base, 8 of post; "
        f"worst case [{row.worst_low:.2f}, {row.worst_high:.2f}]"
    )


def test_what_is_missing_can_be_the_whole_difference():
    """Post writes half as many chains, and only where it is right: +.4 is no improvement."""
    base, post = [1.0] * 24 + [0.0] * 16, [1.0] * 20 + [NAN] * 20
    row = contrast(base, post)
    assert row.worst_low < 0 < row.worst_high


def test_a_difference_that_no_missing_item_could_undo():
    row = contrast([0.0] * 100, [1.0] * 90 + [NAN] * 10)
    assert row.worst_low > 0.75 and row.worst_high == pytest.approx(1.0, abs=0.05)


def test_up_to_five_per_cent_are_only_counted():
    base, post = [1.0, 0.0] * 20, [0.0, 1.0] * 19 + [NAN, NAN]
    row = contrast(base, post)
    assert math.isnan(row.worst_low) and math.isnan(row.worst_high)
    assert row.note.endswith("missing: 0 of 40 items of base, 2 of post")
    more = contrast(base, [NAN, *post[1:]])
    assert more.worst_low < more.low and "3 of post; worst case" in more.note


def test_an_example_that_one_side_lacks_is_missing_there():
    base, post = draw(7, lost=(0.0, 0.0))
    short, marked = post[:30], [*post[:30], *[NAN] * 10]
    one, two = contrast(base, short), contrast(base, marked)
    assert (one.worst_low, one.worst_high) == (two.worst_low, two.worst_high)
    assert "missing: 0 of 40 items of base, 10 of post" in one.note


def test_numbers_without_bounds_and_one_text_for_both_have_none():
    base, post = draw(3)
    row = contrast(base, post, "real")
    assert math.isnan(row.worst_low)
    assert "no worst case, since the numbers have no bounds" in row.note
    same = contrast(base, post, roles="reader", writer="gold")
    assert same.writer == "gold" and same.reader == CONTRAST
    assert math.isnan(same.worst_low) and "worst case" not in same.note


@pytest.mark.parametrize("lost", [0, 1])
def test_a_side_without_any_number_has_none(lost):
    """Bounds from no item would be those of the kind, for any model."""
    some, none = [1.0, 0.0] * 20, [NAN] * 40
    row = contrast(*((none, some) if lost == 0 else (some, none)))
    assert math.isnan(row.value) and math.isnan(row.worst_low + row.worst_high)
    assert row.note == "not measurable: the chain is truncated (40)"
    one = contrast(*(([1.0, *none[1:]], some) if lost == 0 else (some, [1.0, *none[1:]])))
    assert one.worst_low < 0 < one.worst_high


@pytest.mark.parametrize("metric", ["accuracy_if_valid", "correct_if_finished"])
def test_what_does_not_meet_the_condition_of_a_metric_is_not_missing(metric):
    base, post = draw(3)
    row = contrast(base, post, metric=metric)
    both = [b - a for a, b in zip(base, post, strict=True) if not math.isnan(a + b)]
    assert row.value == pytest.approx(np.mean(both)) and row.n == len(both)
    assert math.isnan(row.worst_low + row.worst_high)
    assert "missing" not in row.note and "worst" not in row.note
