"""The run folder: everything one run leaves behind, complete or not there at all.

::

    manifest.json         checksums of models, tokenizers and examples, settings, versions, code
    examples.jsonl        the questions with their answers
    traces.jsonl          the chains that were read, token by token; a run goes on only with these
    parts/*.parquet       items of each finished piece of work, so that a stopped run can go on
    parts/*.json          what its items cannot hold, such as a verdict (`Part.record`)
    files/                weights that a piece of work trained
    work/                 what a long computation keeps to go on from, such as activations
    items.parquet         one row per example, condition and metric (`Item`)
    measurements.parquet  one row per result (`Measurement`)
    figures/              svg, pdf and png
    report.html

Every file is written beside its place and moved there when it is complete. A run that is begun
again in the same folder with the same models and settings takes its finished parts from there and
ends with the same rows, byte for byte. With other models, configurations, tokenizers, examples,
chains or settings it is refused with the name of what changed, since one folder holds one run. When
only the code or a library has changed, parts and results are removed and made again, so that no
result stands under the manifest of another code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any, TypeVar, cast

from interp.chains.trace import Trace
from interp.chains.trace_files import format_traces
from interp.errors import explain_failure
from interp.files import describe_differences, read_json, read_json_lines, write_file
from interp.results.kept import PACKAGES, keep, kept_file
from interp.results.rows import Item, Measurement
from interp.tasks import Task

LIBRARIES = ("posthoc", "torch", "transformers", "numpy", "scipy")
MANIFEST, ITEMS, ROWS = "manifest.json", "items.parquet", "measurements.parquet"
EXAMPLES, TRACES = "examples.jsonl", "traces.jsonl"
PARTS, FILES, WORK = "parts", "files", "work"
RESULTS = (ITEMS, ROWS, EXAMPLES, TRACES, "report.html")
"""Files with results; they are removed when the code has changed."""

Row = TypeVar("Row")
"""A dataclass of names, counts and numbers: `Item`, `Measurement`, or another row of a table."""


@dataclass(frozen=True)
class Part:
    """The result of one piece of work: of a probe on a task."""

    items: tuple[Item, ...]
    record: Mapping[str, Any] = field(default_factory=dict)
    """Plain data that items cannot hold, such as a verdict; kept as JSON."""
    files: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)
    """File name -> what writes a complete file of weights to a path (`interp.files`). Kept in
    `files/`, so that names are unique within the run."""


@dataclass(frozen=True)
class RunData:
    """What a run folder holds, read back."""

    folder: Path
    manifest: Mapping[str, Any]
    items: tuple[Item, ...]
    rows: tuple[Measurement, ...]
    examples: tuple[Mapping[str, Any], ...]
    """Task, id, problem, question, answer and gold steps of each example."""
    traces: tuple[Mapping[str, Any], ...]
    """Records of `interp.chains.trace_files.export_traces`."""
    records: Mapping[str, Mapping[str, Any]]
    """Name of a piece of work -> `Part.record`, where it has one."""


@dataclass(frozen=True)
class Run:
    """A run folder that is being filled."""

    folder: Path
    manifest: Mapping[str, Any]

    @staticmethod
    def create(folder: Path, made_of: Mapping[str, Any]) -> Run:
        """Makes the folder, or takes it up again.

        Args:
            folder: Where the run goes; made with its parents.
            made_of: What determines the results: models with the checksums of weights,
                configuration and tokenizer, checksums of examples, settings, seeds. Plain data
                that JSON can hold.

        Raises:
            OSError: The folder cannot be made or written to.
            ValueError: It holds a run of other models, examples or settings, or something else.
        """
        _check_writable(folder)
        # As it is read back (tuples as lists), so that the comparison below is of like with like.
        plain = json.loads(json.dumps(made_of))
        code = {"versions": _versions(), "source_sha256": _source_sha256()}
        path = folder / MANIFEST
        if path.exists():
            manifest = _read_manifest(path)
            _check_same(folder, manifest, plain)
            if all(manifest.get(key) == value for key, value in code.items()):
                return Run(folder, manifest)
            for kept in (PARTS, FILES, WORK):
                rmtree(folder / kept, ignore_errors=True)
            for name in RESULTS:
                (folder / name).unlink(missing_ok=True)
        elif strangers := sorted(p.name for p in folder.iterdir()):
            raise ValueError(
                f"a run goes into a new folder or into one that it began; {folder} holds "
                f"{strangers[0]!r} and no {MANIFEST}. Name another folder."
            )
        # Written after old parts are gone: a stop in between must not leave them under new code.
        created = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = {"created": created, **plain, **code, "git_commit": _git_commit()}
        write_file(path, _pretty(manifest))
        return Run(folder, manifest)

    def part(self, name: str, compute: Callable[[], Part]) -> Part:
        """One piece of work: taken from the folder if it is finished, else computed and kept.

        Args:
            name: Unique within the run, such as probe and task.
            compute: Called if the folder has no such part.
        """
        file = kept_file(self.folder / PARTS, name, {})  # the manifest says what it was made of
        return keep(file, compute, partial(_write_part, self.folder / FILES, name), _read_part)

    def save_examples(self, tasks: Sequence[Task]) -> None:
        """Keeps the questions, answers and gold steps, for whoever reads the run later."""
        lines = [
            {
                "task": task.name,
                "id": example.id,
                "problem": example.problem,
                "question": example.question,
                "answer": example.answer,
                "steps": list(example.steps),
                "facts": dict(example.facts),
            }
            for task in tasks
            for example in task.examples
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_file(self.folder / EXAMPLES, text.encode())

    def save_traces(self, traces: Sequence[Trace]) -> None:
        """Keeps the chains.

        Raises:
            ValueError: The run was begun with other chains, on which its finished parts rest.
        """
        path, data = self.folder / TRACES, format_traces(traces)
        if path.exists() and path.read_bytes() != data:
            raise ValueError(
                f"{path} holds other chains than the models write now, and the finished parts of "
                f"this run rest on them. Likely causes: the file was edited, or rounding differs "
                f"on this machine. Name another folder, or delete this one"
            )
        write_file(path, data)

    def save_results(self, items: Sequence[Item], rows: Sequence[Measurement]) -> None:
        """Keeps all items and the rows made of them."""
        write_rows(self.folder / ITEMS, Item, items)
        write_rows(self.folder / ROWS, Measurement, rows)


def load_run(folder: Path) -> RunData:
    """Reads a run folder back.

    Raises:
        ValueError: It is no run folder, or the run is not finished.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ValueError(
            f"a run folder holds {MANIFEST}; {folder} does not. Give the folder that "
            "--out of a posthoc command named."
        )
    if not (folder / ROWS).exists():
        raise ValueError(
            f"the run in {folder} is not finished: it has no {ROWS}. Start it again with the same "
            "settings; it takes up where it stopped."
        )
    return RunData(
        folder,
        _read_manifest(path),
        read_rows(folder / ITEMS, Item),
        read_rows(folder / ROWS, Measurement),
        _read_lines(folder / EXAMPLES),
        _read_lines(folder / TRACES),
        dict(map(_read_record, sorted((folder / PARTS).glob("*.json")))),
    )


def write_rows(path: Path, kind: type[Row], rows: Sequence[Row]) -> None:
    """Writes items, measurements or other rows as parquet; the same rows give the same bytes."""
    from io import BytesIO

    import pyarrow as pa
    from pyarrow import parquet

    # Annotations are not evaluated, so the types of fields are texts.
    types = {
        "str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool | None": pa.bool_(),
        "int | None": pa.int64(), "float | None": pa.float64(),
    }  # fmt: skip
    columns = {
        field.name: pa.array([getattr(row, field.name) for row in rows], types[str(field.type)])
        for field in fields(cast(Any, kind))
    }
    buffer = BytesIO()
    parquet.write_table(pa.table(columns), buffer, compression="zstd")
    write_file(path, buffer.getvalue())


def read_rows(path: Path, kind: type[Row]) -> tuple[Row, ...]:
    """Reads rows back.

    Raises:
        ValueError: The columns are not those of `kind`.
    """
    from pyarrow import parquet

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with explain_failure(
        f"{path} is no table in parquet", "Likely cause: an interrupted copy. Make it again"
    ):
        table = parquet.read_table(path)
    names = [field.name for field in fields(cast(Any, kind))]
    if table.column_names != names:
        raise ValueError(
            f"{path} holds the columns {table.column_names}, not those of {kind.__name__} "
            f"({names}). It comes from another version: make it again."
        )
    columns = [table.column(name).to_pylist() for name in names]
    return tuple(
        kind(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)
    )


def keep_rows(file: Path, kind: type[Row], compute: Callable[[], Sequence[Row]]) -> tuple[Row, ...]:
    """Rows of a piece of work (`interp.results.kept.keep`): read, or computed and written.

    Args:
        file: From `interp.results.kept.kept_file`.
        kind: Class of the rows.
        compute: Called if there is no such file.
    """

    def write(path: Path, rows: Sequence[Row]) -> None:
        write_rows(path, kind, rows)

    return tuple(keep(file, compute, write, partial(read_rows, kind=kind)))


def _write_part(files: Path, name: str, path: Path, part: Part) -> None:
    for file, write in part.files.items():
        files.mkdir(exist_ok=True)
        write(files / file)
    if part.record:
        kept = {"part": name, "record": part.record}
        write_file(path.with_suffix(".json"), _pretty(kept))
    write_rows(path, Item, part.items)  # last, since this file marks the part as finished


def _read_part(path: Path) -> Part:
    beside = path.with_suffix(".json")
    return Part(read_rows(path, Item), _read_record(beside)[1] if beside.exists() else {})


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Tried before anything is computed, not when the first result is written.
        trial = folder / f".writable.{os.getpid()}"
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        raise OSError(
            error.errno,
            f"the run folder {folder} cannot be written to: {error.strerror}. Nothing was "
            "computed. Name a folder that you may write to",
        ) from error


def _check_same(folder: Path, manifest: Mapping[str, Any], made_of: Mapping[str, Any]) -> None:
    details = describe_differences({key: manifest.get(key) for key in made_of}, made_of)
    if details:
        raise ValueError(
            f"{folder} holds a run made of something else ({'; '.join(details)}). One folder "
            "holds one run: name another folder, or delete this one."
        )


def _read_manifest(path: Path) -> dict[str, Any]:
    return read_json(path)


def _read_record(path: Path) -> tuple[str, dict[str, Any]]:
    """Name of a part, and its record."""
    kept = read_json(path, "part", "record")
    return kept["part"], kept["record"]


def _read_lines(path: Path) -> tuple[Mapping[str, Any], ...]:
    return tuple(line for _, line in read_json_lines(path)) if path.exists() else ()


def _pretty(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    versions = {"python": python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _source_folders() -> list[Path]:
    from importlib.util import find_spec

    specs = [find_spec(name) for name in PACKAGES]
    return [Path(place) for s in specs if s for place in s.submodule_search_locations or ()]


def _source_sha256() -> str:
    """Hash over the names and contents of this project's own modules."""
    total = hashlib.sha256()
    for folder in _source_folders():
        for path in sorted(folder.rglob("*.py")):
            total.update(path.relative_to(folder.parent).as_posix().encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def _git_commit() -> str | None:
    """Commit of the checkout that the code runs from; None when it runs from an installation."""
    import subprocess

    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
