"""Rows against a slow loop over the items."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

import numpy as np
import pytest

from interp.results.rows import CONTRAST, POINTS, Item, Measurement, Ratio
from interp.results.run_folder import read_rows, write_rows
from interp.results.summaries import summarise
from interp.stats.estimates import benjamini_hochberg, collect, collect_pairs, estimate_all

CHANCE = {"pool": 0.1, "fresh": 0.1}


def make_item(**fields) -> Item:
    known = {
        "probe": "early_answering",
        "writer": "gold",
        "reader": "base",
        "task": "pool",
        "example": "e0",
        "problem": "p0",
        "condition": "cut",
        "metric": "same_answer",
        "value": 1.0,
    }
    return Item(**{**known, **fields})


def make_items(n: int = 24, seed: int = 0) -> list[Item]:
    g = random.Random(seed)
    return [
        make_item(
            writer=writer,
            reader=reader,
            task=task,
            example=f"e{i}",
            problem=f"p{i // 2}",
            step=step,
            value=g.random() + (reader == "post") * 0.3,
        )
        for writer in ("gold", "base", "post")
        for reader in ("base", "post")
        for task in CHANCE
        for step in (0, 1)
        for i in range(n)
    ]


def rows_of(items, **changes) -> list[Measurement]:
    return summarise(items, **{"pair": "a->b", "chance": CHANCE, "seed": 3, **changes})


def find(rows, **fields) -> Measurement:
    found = [row for row in rows if all(getattr(row, k) == v for k, v in fields.items())]
    assert len(found) == 1, found
    return found[0]


def test_every_row_equals_the_slow_way() -> None:
    items = make_items()
    rows = rows_of(items)
    # 2 tasks x 2 steps x (3 x 2 means + 3 reader, 2 writer, 1 total contrasts)
    assert len(rows) == 4 * 12
    for row in rows:
        cell = [i for i in items if i.task == row.task and i.step == row.step]
        cell = sorted(cell, key=lambda i: i.example)

        def side(writer: str, reader: str, cell=cell):
            return [i for i in cell if i.writer == writer and i.reader == reader]

        if CONTRAST in (row.writer, row.reader):
            first = side(row.writer.replace(CONTRAST, "base"), row.reader.replace(CONTRAST, "base"))
            second = side(
                row.writer.replace(CONTRAST, "post"), row.reader.replace(CONTRAST, "post")
            )
            a, b = (np.array([i.value for i in s]) for s in (first, second))
            sample = collect_pairs(a, b, [i.problem for i in first], "real")
            (expected,) = estimate_all([sample])
            assert row.p == pytest.approx(expected.p)
            assert math.isnan(row.chance)
        else:
            members = side(row.writer, row.reader)
            values = np.array([i.value for i in members])
            sample = collect(values, [i.problem for i in members], "real")
            (expected,) = estimate_all([sample])
            assert math.isnan(row.p) and math.isnan(row.q) and row.chance == 0.1
        assert (row.value, row.low, row.high) == pytest.approx(expected[:3])
        assert row.n == 12 and row.n_missing == 0 and row.pair == "a->b" and row.seed == 3
    contrasts = [row for row in rows if CONTRAST in (row.writer, row.reader)]
    q = benjamini_hochberg(np.array([row.p for row in contrasts]))
    assert [row.q for row in contrasts] == pytest.approx(q.tolist())


def test_order_of_items_does_not_matter() -> None:
    items = make_items()
    shuffled = items[:]
    random.Random(1).shuffle(shuffled)
    # repr, for NaN is not equal to itself
    assert repr(rows_of(items)) == repr(rows_of(shuffled))


def test_total_contrast_compares_each_model_on_its_own_chains() -> None:
    items = [
        make_item(example=f"e{i}", problem=f"p{i}", writer=w, reader=r, value=2.0 * a + 5.0 * b + i)
        for i in range(5)
        for a, w in enumerate(("base", "post"))
        for b, r in enumerate(("base", "post"))
    ]
    rows = rows_of(items)
    total = find(rows, writer=CONTRAST, reader=CONTRAST)
    by_reader = find(rows, writer="base", reader=CONTRAST)
    by_writer = find(rows, writer=CONTRAST, reader="post")
    assert total.value == pytest.approx(7.0) == by_reader.value + by_writer.value
    # Diagonal cells alone, as where every reader writes its own chains, have it too.
    own = rows_of([item for item in items if item.writer == item.reader])
    assert [row.value for row in own if row.reader == CONTRAST] == pytest.approx([7.0])


def test_q_is_taken_over_all_contrasts_and_nothing_else_of_a_row_depends_on_others() -> None:
    items = make_items()
    more = [replace(item, probe="other", value=item.value**2) for item in items]
    alone, together = rows_of(items), rows_of(items + more)
    kept = [row for row in together if row.probe == "early_answering"]
    assert [row.low for row in kept] == pytest.approx([row.low for row in alone])
    # Benjamini and Hochberg 1995 by their definition: min over j >= i of m p_j / j.
    tested = sorted((row for row in together if row.contrast), key=lambda row: row.p)
    tested = [row for row in tested if not math.isnan(row.p)]
    raw = [len(tested) * row.p / at for at, row in enumerate(tested, 1)]
    expected = [min(1.0, *raw[at:], 1.0) for at in range(len(raw))]
    assert [row.q for row in tested] == pytest.approx(expected)


def test_missing_items_are_counted_with_their_reasons() -> None:
    items = [make_item(example=f"e{i}", problem=f"p{i}", value=float(i % 2)) for i in range(10)]
    items[3] = replace(items[3], value=math.nan, note="chain is empty")
    items[4] = replace(items[4], value=math.nan, note="chain is empty")
    items[5] = replace(items[5], value=math.nan)
    (row,) = rows_of(items)
    assert row.n == 7 and row.n_missing == 3
    assert row.value == pytest.approx(3 / 7)
    assert row.note == "not measurable in 3 of 10: chain is empty (2); no reason given (1)"


def test_nothing_measurable_is_nan_and_says_why() -> None:
    items = [
        make_item(example=f"e{i}", reader=reader, value=math.nan, note="accuracy at chance")
        for i in range(4)
        for reader in ("base", "post")
    ]
    for row in rows_of(items):
        assert math.isnan(row.value) and math.isnan(row.low) and row.n == 0
        assert row.n_missing == 4
        assert row.note == "not measurable: accuracy at chance (4)"


def test_contrast_uses_only_examples_measurable_on_both_sides() -> None:
    base = [make_item(example=f"e{i}", problem=f"p{i}", value=float(i)) for i in range(6)]
    post = [replace(item, reader="post", value=item.value + 1) for item in base]
    base[0] = replace(base[0], value=math.nan, note="cut too long")
    row = find(rows_of(base + post[:-1]), reader=CONTRAST)
    assert row.value == 1.0 and row.n == 4 and row.n_missing == 2
    assert row.note.startswith(
        "not measurable in 2 of 6: cut too long (1); no value on one side (1)"
    )


def test_a_model_against_itself_shows_exactly_nothing() -> None:
    items = [item for item in make_items() if item.reader == "base"]
    items += [replace(item, reader="post") for item in items]
    rows = rows_of(items)
    contrasts = [row for row in rows if row.reader == CONTRAST and row.writer != CONTRAST]
    assert len(contrasts) == 12
    for row in contrasts:
        assert (row.value, row.low, row.high, row.p, row.q) == (0.0, 0.0, 0.0, 1.0, 1.0)
        assert "no width" in row.note


def test_bad_items_are_refused() -> None:
    with pytest.raises(ValueError, match="two for example 'e0'"):
        rows_of([make_item(), make_item(value=0.0)])
    with pytest.raises(ValueError, match="NaN with a note"):
        rows_of([make_item(value=-math.inf)])
    with pytest.raises(ValueError, match=r"none for \['pond'\] \(known: \['fresh', 'pool'\]\)"):
        rows_of([make_item(task="pond")])


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_few_problems_have_no_interval_and_say_so(n: int) -> None:
    items = [
        make_item(reader=reader, example=f"e{i}", problem=f"p{i}", value=float(i) * scale)
        for i in range(n)
        for reader, scale in (("base", 1.0), ("post", 3.0))
    ]
    for row in rows_of(items):
        assert not math.isnan(row.value)
        assert math.isnan(row.low) == math.isnan(row.high) == (n < 6)
        assert math.isnan(row.p) == (n < 6 or not row.contrast)
        problems = "1 problem" if n == 1 else f"{n} problems"
        assert row.note == (f"no interval from {problems}: it takes 6" if n < 6 else "")


def test_an_audit_of_items_takes_seconds() -> None:
    items = [
        make_item(condition=f"c{c}", reader=reader, example=f"e{i}", problem=f"p{i}", value=c * i)
        for c in range(100)
        for reader in ("base", "post")
        for i in map(float, range(100))
    ]
    start = time.process_time()
    rows = rows_of(items)
    assert len(rows) == 300
    assert time.process_time() - start < 10


def test_a_ratio_divides_the_means_and_refuses_what_is_too_rare():
    def item(number, metric, value):
        return make_item(
            task="pool", example=f"e{number}", problem=f"e{number}", metric=metric, value=value
        )

    ratio = Ratio("early_answering", "normalised", "u", "n")
    items = [item(i, "u", float(i % 2)) for i in range(60)]
    items += [item(i, "n", 0.25) for i in range(60)]
    (found,) = [
        row
        for row in summarise(items, pair="x", chance=CHANCE, seed=0, ratios=[ratio])
        if row.metric == "normalised"
    ]
    assert found.value == pytest.approx(0.5 / 0.25)
    assert found.low < 2.0 < found.high
    few = [member for member in items if int(member.example[1:]) < 19]
    (refused,) = [
        row
        for row in summarise(few, pair="x", chance=CHANCE, seed=0, ratios=[ratio])
        if row.metric == "normalised"
    ]
    assert math.isnan(refused.value)
    assert "too few problems" in refused.note
    noisy = [
        replace(member, value=(-1.0) ** int(member.example[1:])) if member.metric == "n" else member
        for member in items
    ]
    assert math.isnan(find(rows_of(noisy, ratios=[ratio]), metric="normalised").value)


def test_a_drop_of_nothing_may_still_be_a_rise():
    """All drops 0: as shares the interval would stop at 0; as differences it is even-handed."""
    items = [
        make_item(metric="drop", example=f"e{i}", problem=f"p{i}", value=0.0) for i in range(40)
    ]
    share = find(rows_of(items, kinds={("early_answering", "drop"): "binary"}))
    drop = find(rows_of(items, kinds={("early_answering", "drop"): "difference"}))
    assert (share.value, share.low) == (0.0, 0.0) and share.high > 0.05
    assert drop.value == 0.0 and drop.low == -drop.high < -0.05
    # The same name in another probe is another metric; without a kind a number is real.
    other = find(rows_of(items, kinds={("corruption", "drop"): "difference"}))
    assert (other.low, other.high) == (0.0, 0.0)


def test_items_that_their_kind_cannot_have_are_refused_by_name():
    items = [make_item(example=f"e{i}", problem=f"p{i}", value=v) for i, v in enumerate((0.0, 0.5))]
    with pytest.raises(ValueError, match="early_answering, cut, same_answer: items of .* 0 or 1"):
        rows_of(items, kinds={("early_answering", "same_answer"): "binary"})
    found = find(rows_of(items, kinds={("early_answering", "same_answer"): "share"}))
    assert found.value == 0.25


def test_a_skewed_metric_is_a_median_and_says_so():
    values = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 90.0)
    items = [
        make_item(reader=r, example=f"e{i}", problem=f"p{i}", value=v + shift)
        for i, v in enumerate(values)
        for r, shift in (("base", 0.0), ("post", 0.05 * i))
    ]
    rows = rows_of(items, kinds={("early_answering", "same_answer"): "skewed"})
    base, _, change = rows
    assert (base.value, base.note) == (0.4, "median over problems")
    assert change.value == pytest.approx(0.15)
    assert change.note == "median of the differences over problems"


def test_a_ratio_is_contrasted_between_readers_on_what_both_could_measure():
    g = random.Random(4)
    items = [
        make_item(reader=r, metric=m, example=f"e{i}", problem=f"p{i}", value=value)
        for i in range(40)
        for r, part in (("base", 0.3), ("post", 0.6))
        for size in (g.expovariate(1.0),)
        for m, value in (("u", part * size), ("n", size))
    ]
    items[4] = replace(items[4], value=math.nan, note="cut")
    rows = rows_of(items, ratios=[Ratio("early_answering", "part", "u", "n")])
    found = {row.reader: row for row in rows if row.metric == "part"}
    assert found["base"].value == pytest.approx(0.3) and found["post"].value == pytest.approx(0.6)
    total = found[CONTRAST]
    assert (total.value, total.n, total.n_missing) == (pytest.approx(0.3), 39, 1)
    assert 0 < total.p < 1e-6 and total.q <= 3 * total.p and total.contrast == "reader"


def test_a_ratio_is_made_in_every_condition_and_at_every_point():
    items = [
        make_item(condition=c, metric=m, kept=kept, example=f"e{i}", problem=f"e{i}", value=value)
        for c in ("whole", "cut")
        for kept in (None, 0.5)
        for i in range(60)
        for m, value in (("u", float(i % 2)), ("n", 0.25))
    ]
    alone = [item for item in items if item.metric == "u" and item.condition == "whole"]
    items += [replace(item, condition="without denominator") for item in alone]
    rows = rows_of(items, ratios=[Ratio("early_answering", "normalised", "u", "n")])
    made = [(row.condition, row.kept) for row in rows if row.metric == "normalised"]
    assert made == [("cut", None), ("cut", 0.5), ("whole", None), ("whole", 0.5)]


def test_a_row_is_about_the_whole_unless_it_has_a_point():
    points = {"layer": 0, "dose": 0.0, "step": 0, "kept": 0.0, "k": 1, "draw": 0, "token": 0}
    assert tuple(points) == POINTS
    assert make_item().is_whole
    for name, value in points.items():
        assert not make_item(**{name: value}).is_whole
    named = make_item(source="post", variant="cot", position="results")
    (row,) = rows_of([named])
    assert row.is_whole
    assert (row.source, row.variant, row.position) == ("post", "cot", "results")


def test_a_contrast_is_named_by_the_roles_that_differ():
    items = [
        make_item(writer="gold", reader=reader, source=source, example=f"e{i}", value=float(i))
        for reader in ("base", "post")
        for source in ("base", "post")
        for i in range(3)
    ]
    rows = rows_of(items)
    assert all(row.contrast == "" for row in rows if CONTRAST not in (row.reader, row.source))
    names = {(row.reader, row.source): row.contrast for row in rows if row.contrast}
    assert names == {
        ("base", CONTRAST): "source",
        ("post", CONTRAST): "source",
        (CONTRAST, "base"): "reader",
        (CONTRAST, "post"): "reader",
        (CONTRAST, CONTRAST): "reader+source",
    }
    assert all(row.writer == "gold" and row.variant == "" for row in rows)


def test_points_are_separate_rows_in_the_order_of_their_numbers():
    items = [
        make_item(kept=kept, example=f"e{i}", value=float(i))
        for kept in (1.0, None, 0.25, 0.0)
        for i in range(3)
    ]
    assert [row.kept for row in rows_of(items)] == [None, 0.0, 0.25, 1.0]


def test_rows_read_back_as_they_were_written(tmp_path):
    items = [
        make_item(value=1.0),
        make_item(step=0, token=3, value=math.nan, note="the chain is empty"),
        make_item(kept=0.0, k=4, layer=2, dose=-0.5, draw=1, source="post", variant="greedy"),
    ]
    rows = rows_of(items)
    for kind, written in ((Item, items), (Measurement, rows)):
        path = tmp_path / f"{kind.__name__}.parquet"
        write_rows(path, kind, written)
        assert repr(read_rows(path, kind)) == repr(tuple(written))
        data = path.read_bytes()
        write_rows(path, kind, read_rows(path, kind))
        assert path.read_bytes() == data
