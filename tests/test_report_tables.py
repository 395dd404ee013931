"""Tables of the page: which lines they have, what they are about, and how numbers are written."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from synthetic import CHANCE, make_chains, make_items
from test_report import NASTY, with_coordinates

from interp.results.report.tables import (
    OWN,
    format_cell,
    format_name,
    format_number,
    make_listing,
    make_matrix,
    make_summary,
)
from interp.results.rows import CONTRAST, Measurement
from interp.results.summaries import summarise


@pytest.fixture(scope="module")
def rows() -> list[Measurement]:
    items = make_items(make_chains(6))
    return summarise(items, pair="a -> b", chance=CHANCE, seed=0, n_boot=200)


def test_summary_holds_reference_chains_and_own_chains(rows) -> None:
    own = [row for row in rows if row.probe == "corruption"]
    tables = make_summary(own)
    assert [table.task for table in tables] == ["arith/fresh", "arith/pool"]
    for table in tables:
        assert table.readers == ("base", "post", CONTRAST) and table.names == ("writer",)
        assert [line.names for line in table.lines] == [("gold",), (OWN,)] * (len(table.lines) // 2)
        for line in table.lines:
            for reader, cell in zip(table.readers, line.cells, strict=True):
                writer = reader if line.names == (OWN,) else "gold"
                (row,) = [
                    r
                    for r in own
                    if (r.task, r.condition, r.metric) == (table.task, line.condition, line.metric)
                    and (r.writer, r.reader, r.step) == (writer, reader, None)
                ]
                assert cell == format_cell(row)


@pytest.mark.parametrize(
    ("writers", "readers", "lines"),
    [
        (("gold", "base"), ("base",), ["gold", "base"]),
        (("base", "post"), ("base", "post", CONTRAST), ["base", OWN]),
        (("base",), ("base", "post", CONTRAST), ["base"]),
        (("base",), ("base",), ["base"]),
    ],
)
def test_summary_of_few_writers(rows, writers, readers, lines) -> None:
    every = {*writers, CONTRAST} if len(readers) > 1 and len(writers) > 1 else {*writers}
    own = [
        row
        for row in rows
        if (row.probe, row.metric, row.task) == ("corruption", "reliant", "arith/pool")
        and row.is_whole
        and row.reader in readers
        and row.writer in every
    ]
    (table,) = make_summary(own)
    assert [line.names[0] for line in table.lines] == lines
    assert all(cell.value for cell in table.lines[0].cells)


def test_the_task_s_own_chains_are_called_as_in_the_verdict() -> None:
    assert format_name("gold") == "gold (reference)" and format_name("base") == "base"


def test_matrix_holds_every_whole_chain_row_once(rows) -> None:
    own = [row for row in rows if row.probe == "path_masks"]
    cells = [c for t in make_matrix(own) for line in t.lines for c in line.cells]
    assert len(cells) == len(own)
    assert len(make_listing(own).lines) == len(own)


def test_own_chains_are_one_line(rows) -> None:
    own = [row for row in rows if row.probe == "accuracy"]
    for table in make_matrix(own):
        assert {line.names for line in table.lines} == {(OWN,)}
        assert all(len(line.cells) == 3 and line.cells[2].q for line in table.lines)


def test_a_line_is_about_the_names_that_occur() -> None:
    rows = with_coordinates()
    (table,) = make_matrix(rows)
    assert table.names == ("source", "variant", "writer")
    assert table.readers == ("base", "post", CONTRAST)
    own = {line.names: line.cells for line in table.lines if line.names[2] == OWN}
    sources = ("base", "post", CONTRAST)
    assert set(own) == {(source, variant, OWN) for source in sources for variant in ("add", NASTY)}
    for (source, variant, _), cells in own.items():
        for reader, cell in zip(table.readers, cells, strict=True):
            where = {"source": source, "variant": variant, "reader": reader, "writer": reader}
            (row,) = [
                row for row in rows
                if row.is_whole and all(getattr(row, name) == v for name, v in where.items())
            ]  # fmt: skip
            assert cell == format_cell(row)
    cells = [cell for line in table.lines for cell in line.cells if cell.value]
    assert len(cells) == sum(row.is_whole for row in rows)


def test_a_listing_has_a_column_for_each_coordinate_that_occurs(rows) -> None:
    table = make_listing(with_coordinates())
    names = ("writer", "reader", "source", "variant", "dose")
    assert table.head[3:8] == names and table.head[8] == "value"
    assert {line[7] for line in table.lines} == {"", "\u22120.5", "2"}
    assert {line[5] for line in table.lines} == {"base", "post", CONTRAST}
    early = make_listing([row for row in rows if row.probe == "early_answering"])
    assert early.head[3:7] == ("writer", "reader", "step", "value")
    assert {line[5] for line in early.lines} >= {"", "0", "4"}
    assert make_listing([row for row in rows if row.probe == "accuracy"]).head[3:6] == (
        "writer", "reader", "value",
    )  # fmt: skip


def test_numbers_without_a_reader_have_a_column(rows) -> None:
    row = replace(rows[0], reader="", writer="", step=None, note="few")
    (table,) = make_matrix([row])
    assert table.names == () and table.readers == ("",)
    assert table.lines[0].notes == ("few",)
    assert make_listing([row]).head[3] == "value"


@pytest.mark.parametrize(
    ("value", "low", "high", "value_text", "interval"),
    [
        (0.123, 0.05, 0.2, "0.12", "[0.05, 0.20]"),
        (-0.001, -0.004, 0.002, "\u22120.0010", "[\u22120.0040, 0.0020]"),
        (0.0, 0.0, 0.0, "0.00", "[0.00, 0.00]"),
        (1234.5, 1000.0, 1500.0, "1234", "[1000, 1500]"),
        (0.5, math.nan, math.nan, "0.50", ""),
    ],
)
def test_numbers_are_written_for_people(rows, value, low, high, value_text, interval) -> None:
    mean = next(row for row in rows if CONTRAST not in (row.reader, row.writer))
    cell = format_cell(replace(mean, value=value, low=low, high=high))
    assert (cell.value, cell.interval) == (value_text, interval)


def test_number_has_no_minus_zero() -> None:
    assert format_number(-0.001, 2) == "0.00" and format_number(0.2, 2, signed=True) == "+0.20"
