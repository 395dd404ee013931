"""Settings of a probe from the command line: `--set field=value`, checked against its fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

from probes import find_probe

READ = {
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": int,
    "float": float,
    "str": str,
}


def parse_options(probe: str, texts: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Reads `field=value` texts into the types of the probe's fields.

    Raises:
        ValueError: An unknown field (the known ones are listed) or an unreadable value.
    """
    made = cast("Any", find_probe(probe))  # every probe is a dataclass, which a protocol cannot say
    known = {field.name: str(field.type) for field in fields(made)}
    found: list[tuple[str, Any]] = []
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise ValueError(
                f"Probe {probe!r} has no setting {name!r}. Its settings: {', '.join(known)}. "
                f"Write --set {next(iter(known))}=VALUE."
            )
        try:
            found.append((name, READ[known[name]](value)))
        except (KeyError, ValueError):
            raise ValueError(
                f"Setting {name!r} of probe {probe!r} takes a {known[name]}, got {value!r}."
            ) from None
    return tuple(found)
