"""Files that are either complete or not there at all.

A file is written beside its place and moved there when it is complete; the old one stays until
then.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


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
