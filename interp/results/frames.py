"""Frames: rows, items or other records as a pandas table, for notebooks and spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any


def to_frame(rows: Sequence[Any]) -> Any:
    """A `pandas.DataFrame` with a row for each record and a column for each field that is used.

    Args:
        rows: Measurements, items, or other dataclasses of one kind.

    Returns:
        The frame. Coordinates that no row has (empty names, None) have no column.

    Example:
        >>> from interp.results.rows import Item
        >>> item = Item(probe="p", task="t", example="e", problem="e", condition="c", metric="m",
        ...             value=0.5, reader="base")
        >>> list(to_frame([item]).columns)
        ['probe', 'task', 'condition', 'metric', 'reader', 'example', 'problem', 'value']
    """
    import pandas as pd

    names = [field.name for field in fields(rows[0])] if rows else []
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    used = {name: column for name, column in columns.items() if set(column) - {"", None}}
    return pd.DataFrame(used)
