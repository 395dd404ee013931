"""Tables of the report: rows laid out by what they are about, numbers written for people.

The three layouts of one probe, from short to long:

- `make_summary`: for each condition and metric, both readers on the same chains, and each reader
  on its own;
- `make_matrix`: every writer and reader, with the contrasts in the margins;
- `make_listing`: every row as it is saved, points of curves included.

A line is about a task, condition and metric, and about the names (`NAMES`) that the probe uses;
readers stand beside each other. Coordinates that no row of the probe has get no column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isnan, log10
from typing import TypeAlias

from interp.results.rows import CONTRAST, COORDINATES, Measurement, rank

OWN = "its own"
"""Stands for the writer where every reader is shown its own chains."""
SHOWN = {CONTRAST: "post \u2212 base", "gold": "gold (reference)"}
"""Names that a page writes in another way."""
LINE_NAMES = ("source", "variant", "position", "writer")
"""Coordinates that tell lines apart, in the order of their columns."""
ALPHA = 0.05
Lines: TypeAlias = dict[str, dict[str, Measurement]]
"""Writer -> reader -> row."""
Layout: TypeAlias = Callable[[Sequence[Measurement]], Lines]
"""From the rows of one condition and metric."""


@dataclass(frozen=True)
class CellText:
    """One number as the page shows it."""

    value: str
    interval: str = ""
    q: str = ""
    is_clear: bool = False
    """A contrast with q below `ALPHA`."""
    is_missing: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a table: what it is about, a cell for each reader, and the counts."""

    condition: str
    metric: str
    names: tuple[str, ...]
    """Values of the table's `names`."""
    cells: tuple[CellText, ...]
    n: str
    n_missing: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Lines of one task."""

    task: str
    names: tuple[str, ...]
    """Those of `LINE_NAMES` that occur."""
    readers: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Listing:
    """All rows of a probe as text, and the names of the columns."""

    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def make_summary(rows: Sequence[Measurement]) -> tuple[Table, ...]:
    """Both readers on the chains of the first writer, then each reader on its own chains.

    The first writer is the first of gold, base and post that the rows have.
    """
    return _make_tables(rows, _first_and_own)


def make_matrix(rows: Sequence[Measurement]) -> tuple[Table, ...]:
    """Writers below each other, readers beside each other, for rows about whole chains."""
    return _make_tables(rows, _by_writer)


def _make_tables(rows: Sequence[Measurement], lay_out: Layout) -> tuple[Table, ...]:
    """A table for each task, of rows about whole chains, laid out by `lay_out`."""
    whole = [row for row in rows if row.is_whole]
    readers = tuple(sorted({row.reader for row in whole}, key=rank))
    names = tuple(name for name in LINE_NAMES if any(getattr(row, name) for row in whole))
    tables: dict[str, list[Line]] = {}
    for members in _by_line(whole):
        for writer, by_reader in lay_out(members).items():
            one = members[0]
            own_names = (writer if name == "writer" else getattr(one, name) for name in names)
            known = [row for row in by_reader.values() if not isnan(row.value)]
            tables.setdefault(one.task, []).append(
                Line(
                    one.condition,
                    one.metric,
                    tuple(own_names),
                    tuple(format_cell(by_reader.get(reader)) for reader in readers),
                    _span([row.n for row in known]),
                    _span([row.n_missing for row in by_reader.values()]),
                    _notes(by_reader),
                )
            )
    return tuple(Table(task, names, readers, tuple(lines)) for task, lines in tables.items())


def make_listing(rows: Sequence[Measurement]) -> Listing:
    """Every row as text, with a column for each coordinate that occurs."""
    used = [
        name for name in COORDINATES if any(getattr(row, name) not in ("", None) for row in rows)
    ]
    head = ("task", "condition", "metric", *used, "value", "95 % interval", "q", "n", "missing")
    return Listing(
        (*head, "note"),
        tuple(
            (
                row.task,
                row.condition,
                row.metric,
                *(_coordinate(getattr(row, name)) for name in used),
                format_cell(row).value,
                format_cell(row).interval,
                _probability(row.q),
                str(row.n),
                str(row.n_missing),
                row.note,
            )
            for row in rows
        ),
    )


def format_cell(row: Measurement | None) -> CellText:
    """A row as a cell; None is an empty cell."""
    if row is None:
        return CellText("")
    if isnan(row.value):
        return CellText("not measurable", is_missing=True)
    decimals = _decimals([row.value, row.low, row.high])
    is_contrast = bool(row.contrast)
    value = format_number(row.value, decimals, signed=is_contrast)
    interval = ""
    if not isnan(row.low):
        interval = f"[{format_number(row.low, decimals)}, {format_number(row.high, decimals)}]"
    q = _probability(row.q)
    return CellText(value, interval, q, is_contrast and row.q < ALPHA)


def format_number(value: float, decimals: int, *, signed: bool = False) -> str:
    """A number with a true minus sign, never minus zero."""
    rounded = round(value, decimals) + 0.0  # -0.0 + 0.0 is 0.0
    text = f"{rounded:+.{decimals}f}" if signed and rounded else f"{rounded:.{decimals}f}"
    return text.replace("-", "\u2212")


def _decimals(values: Sequence[float]) -> int:
    """Two decimals, more where all numbers are below 0.05, none where they are large."""
    size = max((abs(value) for value in values if not isnan(value)), default=0.0)
    if size == 0:
        return 2
    return min(6, max(0, 2, 1 - floor(log10(2 * size)))) if size < 1000 else 0


def _coordinate(value: str | int | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:g}".replace("-", "\u2212")


def _probability(q: float) -> str:
    if isnan(q):
        return ""
    return "< 0.001" if q < 0.001 else f"{q:.3f}" if q < 0.1 else f"{q:.2f}"


def _by_line(rows: Iterable[Measurement]) -> list[list[Measurement]]:
    """Rows of one task, condition, metric, source, variant and position together."""
    groups: dict[tuple[str, ...], list[Measurement]] = {}
    for row in rows:
        key = (row.task, row.condition, row.metric, row.source, row.variant, row.position)
        groups.setdefault(key, []).append(row)
    return [*groups.values()]


def _is_own(rows: Iterable[Measurement]) -> bool:
    """Whether all rows are of readers on their own chains (the diagonal)."""
    return all(row.writer == row.reader for row in rows)


def _by_writer(rows: Sequence[Measurement]) -> Lines:
    """Writer -> reader -> row; a lone diagonal becomes one line of the writer `OWN`."""
    is_own = _is_own(rows) and len(rows) > 1
    lines: dict[str, dict[str, Measurement]] = {}
    for row in sorted(rows, key=lambda row: (rank(row.writer), rank(row.reader))):
        lines.setdefault(OWN if is_own else row.writer, {})[row.reader] = row
    return lines


def _first_and_own(rows: Sequence[Measurement]) -> Lines:
    """As `_by_writer`, of the first writer, with the diagonal as one line of the writer `OWN`."""
    own = _by_writer([row for row in rows if row.writer == row.reader])
    if _is_own(rows):
        return own
    first = min((row.writer for row in rows), key=rank)
    chosen = _by_writer([row for row in rows if row.writer == first])
    # Where one reader alone read its own chains, they may be those of the first writer.
    return chosen | {writer: line for writer, line in own.items() if writer not in chosen}


def _span(counts: Sequence[int]) -> str:
    if not counts:
        return "0"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}\u2013{high}"


def _notes(by_reader: Mapping[str, Measurement]) -> tuple[str, ...]:
    """Each note once, with the readers that it is about."""
    readers: dict[str, list[str]] = {}
    for reader, row in by_reader.items():
        if row.note:
            readers.setdefault(row.note, []).append(reader)
    return tuple(
        f"{', '.join(map(format_name, names))}: {note}" if any(names) else note
        for note, names in readers.items()
    )


def typeset(text: str) -> str:
    """The text with arrows and minus signs as their own characters."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text.replace("->", "\u2192"))


def format_name(name: str) -> str:
    """How a table names a writer, reader or source."""
    return SHOWN.get(name, name)
