"""Files: written so that they are either complete or not there, read with errors that name them.

A file is written beside its place and moved there when it is complete; the old one stays until
then. JSON is read here and nowhere else: a byte order mark at its beginning is no content, and
whatever is broken is reported with the file and the line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.errors import InputError


def write_file(path: Path, data: bytes) -> None:
    """Writes a file so that it is either complete or not there; the old one stays until then.

    Raises:
        OSError: It cannot be written (disk full, no permission); nothing is left behind.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder, since replacing is atomic only within a file system.
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a crash may leave the new name on an empty file
        draft.replace(path)


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Removes drafts of `path` if writing fails, and raises an error that names the file."""
    try:
        yield
    except OSError as error:
        for draft in path.parent.glob(f".{path.name}.*") if path.parent.is_dir() else ():
            draft.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"could not write {path}: {error.strerror or error}. Nothing half-written was left. "
            "Make room, or choose another folder, and start again: finished parts are kept",
        ) from error


def read_text(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        InputError: If it is in another encoding, or no text.
        OSError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no text in UTF-8: {error}. Likely cause: another encoding, or a binary "
            f"file. Save it as UTF-8"
        ) from error


def read_json(path: Path, *needed: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: The file.
        needed: Fields that it must have.

    Raises:
        InputError: If it is no JSON object, or lacks a field.
        OSError: If it cannot be read.
    """
    return parse_json(read_text(path), str(path), *needed)


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects in a file of one per line; blank lines are passed over.

    Yields:
        The file with the number of the line, for messages, and the object.

    Raises:
        InputError: If a line is no JSON object.
        OSError: If the file cannot be read.
    """
    # Not splitlines(), which also cuts at U+2028 inside a text.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            yield place, parse_json(line, place)


def parse_json(text: str, place: str, *needed: str) -> dict[str, Any]:
    """The JSON object that a text is.

    Args:
        text: The text.
        place: Where it comes from, for messages.
        needed: Fields that it must have.

    Raises:
        InputError: If it is no JSON object, or lacks a field.
    """
    try:
        read: Any = json.loads(text)
    except ValueError as error:
        raise InputError(
            f"{place} is not readable as JSON: {error}. Likely cause: an interrupted copy, or a "
            f"file of another kind"
        ) from error
    except RecursionError as error:
        raise InputError(f"{place} is nested too deeply to be read as JSON") from error
    if not isinstance(read, dict):
        raise InputError(f"{place} is one JSON object, and a {type(read).__name__} was received")
    missing = [name for name in needed if read.get(name) is None]
    if missing:
        raise InputError(
            f"{place} lacks {', '.join(missing)}. Likely cause: a file of another kind or of "
            f"another version"
        )
    return read


def describe_differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Where two pieces of plain data differ: "settings.n: 2 -> 5", one text for each place."""
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = {key: (old.get(key), new.get(key)) for key in {**old, **new}}
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = dict(enumerate(zip(old, new, strict=True)))
    else:
        return [f"{place}: {_shown(old)} -> {_shown(new)}"]
    return [
        text
        for name, (before, after) in pairs.items()
        for text in describe_differences(before, after, f"{place}.{name}" if place else str(name))
    ]


def _shown(value: Any) -> str:
    text = str(value)
    if isinstance(value, str) and len(text) == 64:  # a checksum
        return f"{text[:8]}..."
    return text if len(text) <= 80 else f"{text[:80]}..."
