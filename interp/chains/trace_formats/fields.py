"""Fields of a record in a file of traces: read with their type, or refused with their name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Kind = type | tuple[type, ...]


def check_field(name: str, value: Any, kind: Kind, words: str) -> None:
    """Refuses a value of another type.

    Args:
        name: Of the field.
        value: What it holds; None counts as absent and passes.
        kind: One type, or several.
        words: What the field holds, for the message.

    Raises:
        ValueError: It is of another type, or a number that is none.
    """
    # True is an int to Python, and NaN a number to JSON.
    is_odd = isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value))
    if value is not None and (is_odd or not isinstance(value, kind)):
        raise ValueError(f"{name!r} is {words}, and {short(value)} was received")


def text_of(record: Mapping[str, Any], name: str) -> str:
    """A field that holds a text or a number, as text; empty where it is absent or null.

    Raises:
        ValueError: It holds something else.
    """
    value = record.get(name)
    check_field(name, value, (str, int, float), "a text or a number")
    return "" if value is None else number_text(value)


def number_text(value: str | int | float) -> str:
    """A text or a number as text; pandas writes whole numbers as 3.0 where a column has a gap."""
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole else value)


def object_of(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that holds an object.

    Raises:
        ValueError: It is absent, or holds something else.
    """
    value = record.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name!r} is an object, and {short(value)} was received")
    return value


def objects_of(record: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], ...]:
    """A field that holds a list of objects, at least one.

    Raises:
        ValueError: It is absent or empty, or holds something else.
    """
    value: Any = record.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"{name!r} is a list of objects, and {short(value)} was received")
    return tuple(value)


def last_name(model: object) -> str:
    """The last part of a model's name, by which its traces go: ``Qwen3-8B`` of ``Qwen/Qwen3-8B``.

    Empty where there is no name.
    """
    return model.rstrip("/").split("/")[-1] if isinstance(model, str) else ""


def short(value: Any) -> str:
    """A value as it is shown in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
