"""Settings of a probe from the command line: `--set field=value`, read by the type of its field.

    --set every_step=false --set n_sink=2 --set doses=0.5,1,2 --set layer=none --set sae=FOLDER

A tuple is written with commas; `none` stands for None where the field allows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from probes import find_probe


def parse_settings(probe: str, texts: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Reads `field=value` texts into the types of the probe's fields.

    Raises:
        ValueError: An unknown field (the known ones are listed) or an unreadable value.
    """
    kinds = setting_types(probe)
    settings: list[tuple[str, Any]] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in kinds or not equals:
            raise ValueError(
                f"probe {probe!r} has no setting {text!r}. Its settings: "
                f"{', '.join(kinds) or 'none'}. Write --set {next(iter(kinds), 'FIELD')}=VALUE"
            )
        try:
            settings.append((name, read_value(kinds[name], value)))
        except (KeyError, ValueError):
            raise ValueError(
                f"setting {name!r} of probe {probe!r} takes {describe_type(kinds[name])}, "
                f"received {value!r}"
            ) from None
    return tuple(settings)


def setting_types(probe: str) -> dict[str, Any]:
    """The type of each setting of a probe, by name."""
    made = cast("Any", find_probe(probe))  # every probe is a dataclass, as check-probe makes sure
    hints = get_type_hints(made)
    return {field.name: hints[field.name] for field in fields(made)}


def read_value(kind: Any, text: str) -> Any:
    """A value of this type.

    Raises:
        ValueError: The text is none.
        KeyError: Likewise.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if NoneType in inner and text.lower() == "none":
            return None
        (kind,) = (one for one in inner if one is not NoneType)  # settings have one beside None
        return read_value(kind, text)
    if origin is tuple:
        return tuple(read_value(inner[0], part) for part in text.split(",") if part)
    if origin is Literal:
        return {str(one): one for one in inner}[text]
    if kind is bool:  # not by bool(text): bool("false") is True
        return {"true": True, "false": False}[text.lower()]
    if kind in (int, float, str, Path):
        return kind(text)
    raise TypeError(f"a setting of type {kind} cannot be read from a command line")


def describe_type(kind: Any) -> str:
    """A type in the words of an error or of the help.

    Raises:
        TypeError: A value of this type cannot be read from a command line.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join("none" if k is NoneType else describe_type(k) for k in inner)
    if origin is tuple:
        if len(inner) != 2 or inner[1] is not Ellipsis:
            raise TypeError(f"a setting of type {kind} must be tuple[X, ...] to be read")
        return f"{describe_type(inner[0])} values separated by commas"
    if origin is Literal:
        return " or ".join(map(str, inner))
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        Path: "a path",
        str: "a text",
    }
    if kind not in words:
        raise TypeError(f"a setting of type {kind} cannot be read from a command line")
    return words[kind]
