"""Kept work: computed once, and found again under a checksum of what it was made of.

A long computation is made of pieces, and each piece is kept as soon as it is done, so that a run
that was stopped goes on from there. The file name of a piece holds a checksum of everything that
its content depends on (weights, problems, settings, code). So nothing is computed twice, and a
piece of other weights or of older code is not taken for this one, because its name differs::

    file = kept_file(folder, "base-s0 accuracy", {"weights": card.weights_sha256, "n": 200})
    items = keep(file, measure, partial(write_rows, kind=Item), partial(read_rows, kind=Item))
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Piece = TypeVar("Piece")
CODE = Path(__file__).resolve().parents[2]
"""The folder that holds the packages of this project."""
PACKAGES = ("interp", "probes")
_DOTTED = re.compile(r"\w+(\.\w+)+")
DRAWING = ("interp.results.plots", "interp.results.report")
"""Modules that change how numbers are shown and none of the numbers."""


def kept_file(
    folder: Path, name: str, made_of: Mapping[str, Any], suffix: str = ".parquet"
) -> Path:
    """Where a piece of work is kept.

    Args:
        folder: Of all pieces.
        name: What it is, for a person who reads the names of the files.
        made_of: Everything that its content depends on; plain data that JSON can hold.
        suffix: Of the file.
    """
    slug = "".join(c if c.isalnum() else "-" for c in name)
    checksum = hashlib.sha256(json.dumps([name, made_of], sort_keys=True).encode()).hexdigest()
    return folder / f"{slug}-{checksum[:12]}{suffix}"


def keep(
    file: Path,
    compute: Callable[[], Piece],
    write: Callable[[Path, Piece], object],
    read: Callable[[Path], Piece],
) -> Piece:
    """A piece of work: read if it is there, else computed, written and read back.

    It is read back even when it was just computed, so that a run that was stopped and one that was
    not go on with the same data.

    Args:
        file: From `kept_file`.
        compute: Called if there is no such file.
        write: Writes the piece; the file must be complete or not there (`interp.files`).
        read: Reads it back.
    """
    if not file.exists():
        write(file, compute())
    return read(file)


@cache
def code_sha256(module: str) -> str:
    """Checksum of a module of this project and of all that it imports from here, however far away.

    A module that is named in a text, as in the table of tasks, counts as imported. What only draws
    (`DRAWING`) is left out.
    """
    total = hashlib.sha256()
    seen: set[Path] = set()
    waiting = _files(module)
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += _imported(file)
    for file in sorted(seen):  # a set of paths has another order in every process
        total.update(file.read_bytes())
    return total.hexdigest()


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            # An imported name may be a module; where it is not, no file has its path.
            for name in ("", *(f".{alias.name}" for alias in node.names)):
                yield from _files(f"{node.module}{name}")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _DOTTED.fullmatch(node.value)
        ):  # tables name modules that are imported when needed
            yield from _files(node.value)


def _files(module: str) -> list[Path]:
    """The file of a module of this project, or the opening file of a package; else none."""
    parts = module.split(".")
    if parts[0] not in PACKAGES or f"{module}.".startswith(tuple(f"{name}." for name in DRAWING)):
        return []
    path = CODE.joinpath(*parts)
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
