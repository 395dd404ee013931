"""Ratios of two sums: their bounds, and what their rows say is missing."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from interp.results.rows import CONTRAST, Item, Measurement, Ratio
from interp.results.summaries import summarise

N = 40
FREE = Ratio("path_masks", "part", "u", "n")


def items_of(part, *, readers=("base", "post")) -> list[Item]:
    """Numerators and denominators of N problems; `part` is a function of reader and number."""
    g = random.Random(1)
    sizes = [(reader, i, g.uniform(0.5, 1.5)) for reader in readers for i in range(N)]
    return [
        Item(
            probe="path_masks", task="t", condition="masks", reader=reader, example=f"e{i:02}",
            problem=f"e{i:02}", metric=metric, value=value,
        )
        for reader, i, size in sizes
        for metric, value in (("u", part(reader, i) * size), ("n", size))
    ]  # fmt: skip


def rows_of(items, ratio: Ratio) -> dict[str, Measurement]:
    rows = summarise(items, pair="a -> b", chance={"t": 0.1}, seed=0, ratios=[ratio])
    return {row.reader: row for row in rows if row.metric == ratio.metric}


def rare(reader: str, i: int) -> float:
    """Of one or two problems all, of the others next to nothing."""
    return 1.0 if i < 1 + (reader == "post") else 0.005


@pytest.mark.parametrize("is_near_1", [False, True])
def test_limits_of_a_part_are_cut_where_a_share_ends(is_near_1: bool):
    """Against the same ratio without bounds."""
    items = items_of(lambda reader, i: abs(is_near_1 - rare(reader, i)))
    free, cut = rows_of(items, FREE), rows_of(items, replace(FREE, low=0.0, high=1.0))
    assert all(not 0 <= one.low <= one.high <= 1 for one in (free["base"], free["post"]))
    for reader, row in cut.items():
        known, lowest = free[reader], -1.0 if reader == CONTRAST else 0.0
        assert (row.low, row.high) == (max(known.low, lowest), min(known.high, 1.0))
        assert (row.value, row.p) == pytest.approx((known.value, known.p), nan_ok=True)


def test_a_difference_of_two_shares_lies_between_minus_1_and_1():
    items = items_of(lambda reader, i: abs((reader == "base") - rare("", i)))
    free, cut = rows_of(items, FREE)[CONTRAST], rows_of(items, replace(FREE, low=0.0, high=1.0))
    assert free.low < -1 == cut[CONTRAST].low and cut[CONTRAST].high == free.high < 0
    one_sided = rows_of(items, replace(FREE, low=0.0))
    assert (one_sided[CONTRAST].low, one_sided["base"].low) == (free.low, cut["base"].low)
    assert one_sided["base"].high > 1 and one_sided["post"].low == 0


def test_rounding_beyond_a_bound_is_taken_off_and_more_is_refused():
    share = replace(FREE, low=0.0, high=1.0)
    rows = rows_of(items_of(lambda *_: 1 + 1e-9), share)
    assert rows["base"].value == rows["base"].high == 1
    with pytest.raises(ValueError, match=r"between 0 and 1, and it is 1\.1\. Likely a part that"):
        rows_of(items_of(lambda *_: 1.1), share)
    assert rows_of(items_of(lambda *_: 1.1), replace(share, high=math.inf))["base"].value > 1
    with pytest.raises(ValueError, match="'part' has 1.0 and 0.0"):
        replace(FREE, low=1.0, high=0.0)


def test_every_declared_share_is_one_by_its_parts():
    """Necessity of the chain over necessity and direct effect, whatever the two are."""
    from probes import find_probe

    declared = {one.metric: one for one in find_probe("path_masks").ratios}
    assert (declared["cot_share"].low, declared["cot_share"].high) == (0, 1)
    declared = {one.metric: one for one in find_probe("early_answering").ratios}
    # Early answers that never agree change more often than by chance.
    assert (declared["aoc_corrected"].low, declared["aoc_corrected"].high) == (0, math.inf)


def lacking(items, reader, metric, notes) -> list[Item]:
    """The items, those of some examples (number -> why) not measurable."""
    return [
        replace(item, value=math.nan, note=notes[int(item.example[1:])])
        if (item.reader, item.metric) == (reader, metric) and int(item.example[1:]) in notes
        else item
        for item in items
    ]


def test_rows_of_ratios_say_why_items_are_missing():
    """Reasons above, below and on either side, counted by hand; an example counts once."""
    whole = items_of(lambda _, i: 0.5 + 0.01 * (i % 7))
    items = lacking(whole, "base", "u", dict.fromkeys(range(5), "the chain is empty"))
    items = lacking(items, "base", "n", dict.fromkeys(range(3, 7), "no effect"))
    items = lacking(items, "post", "n", {9: "no effect"})
    items = [i for i in items if (i.example, i.reader) != ("e39", "post")]
    rows = rows_of(items, FREE)
    assert rows["base"].note == ("not measurable in 7 of 40: the chain is empty (5); no effect (2)")
    assert rows["post"].note == "not measurable in 1 of 39: no effect (1)"
    assert rows[CONTRAST].note == (
        "not measurable in 9 of 40: the chain is empty (5); no effect (3); no value on one side (1)"
    )
    assert [rows[r].n_missing for r in ("base", "post", CONTRAST)] == [7, 1, 9]
    assert all(row.value > 0 for row in rows.values() if not row.contrast)


def test_a_ratio_that_is_refused_names_what_is_missing_first_and_few_problems_only_if_there_are():
    whole = items_of(lambda *_: 0.5)
    empty = dict.fromkeys(range(N), "the chain is empty")
    rows = rows_of(lacking(whole, "post", "u", empty), FREE)
    for reader in ("post", CONTRAST):
        assert rows[reader].note == "not measurable: the chain is empty (40)"
    rows = rows_of(lacking(whole, "post", "u", {i: empty[i] for i in range(30)}), FREE)
    for reader in ("post", CONTRAST):
        assert math.isnan(rows[reader].value)
        assert rows[reader].note == (
            "not measurable: too few problems, or a denominator too near 0, for a ratio. "
            "not measurable in 30 of 40: the chain is empty (30)"
        )
