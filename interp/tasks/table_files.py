"""Tables of questions in files: JSONL, CSV and Parquet as rows with the place of each.

Cells of CSV are texts, and an empty one counts as absent. A list of steps or choices stands in CSV
as JSON (``["yes", "no"]``). In all three kinds a field that is null or blank counts as absent.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from interp.errors import explain_failure
from interp.files import read_json_lines, read_text

ENDINGS = (".jsonl", ".csv", ".parquet")
"""Of files that are read."""


class Row(NamedTuple):
    """One row of a table."""

    place: str
    """File and line, for messages; the number of the row in Parquet, from 1."""
    cells: Mapping[str, Any]
    """Column -> content, those that are absent left out."""


def is_table(name: str) -> bool:
    """Whether a name is that of a file rather than of something registered."""
    return Path(name).suffix.lower() in ENDINGS or Path(name).is_file()


def read_table(path: Path) -> list[Row]:
    """The rows of a table.

    Args:
        path: A file that ends in one of `ENDINGS`.

    Returns:
        Its rows in order; blank lines are passed over.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The ending is unknown, the content is of another kind, or there are no rows.
    """
    readers = dict(zip(ENDINGS, (read_json_lines, _read_csv, _read_parquet), strict=True))
    ending = path.suffix.lower()
    if ending not in readers:
        raise ValueError(
            f"questions are read from files that end in {', '.join(ENDINGS)}; received {path}. "
            "Save it as one of these (JSONL: one JSON object on each line)"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}. Likely cause: a misspelt path")
    rows = [Row(place, _present(cells)) for place, cells in readers[ending](path)]
    if not rows:
        raise ValueError(f"{path} holds no rows: it is empty. Likely cause: a broken export")
    return rows


def _present(cells: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: content
        for name, content in cells.items()
        if content is not None and not (isinstance(content, str) and not content.strip())
    }


def _read_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # `read_text` leaves line breaks inside quotes to the reader.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    names: list[str] = []
    before = 0  # lines that earlier rows took; a quoted cell may hold line breaks
    while True:
        place = f"{path}, line {before + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(
                f"{place} is not readable as CSV: {error}. Likely cause: a quotation mark that is "
                'not doubled ("") inside a quoted cell'
            ) from error
        if cells is None:
            return
        before = reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if not names:
            names = [cell.strip() for cell in cells]
            continue
        if len(cells) != len(names):
            raise ValueError(
                f"{place} has {len(cells)} cells, and the first line names {len(names)} columns. "
                "Likely cause: a comma outside quotes"
            )
        yield place, {name: _listed(name, cell) for name, cell in zip(names, cells, strict=True)}


def _listed(name: str, cell: str) -> Any:
    """A cell; a list if it is one in JSON, in a column that may hold lists."""
    if name in ("steps", "choices") and cell.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(cell)
        except ValueError:
            return cell  # as a text; the task says what it needs
    return cell


def _read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    from pyarrow import parquet

    with explain_failure(
        f"{path} is no table in Parquet", "Likely cause: an interrupted copy. Make it again"
    ):
        records = parquet.read_table(path).to_pylist()
    for number, record in enumerate(records, start=1):
        yield f"{path}, row {number}", record
