"""Files of traces, whoever wrote them: the format is recognised from the fields, never by name.

`LINES` lists the formats in which each line is a JSON object; besides, logs of inspect_ai (one JSON
object, or a zip) and folders of Thought Anchors are read. The first line decides for all, and a
line of another format is refused. `read_trace_file` gives `TextTrace`s and an account of what was
recognised::

    samples.jsonl: 2 traces of 2 questions by imported, read as samples of lm-evaluation-harness

To add a format of lines, write a module with a function that recognises a record and one that reads
it, and add a line to `LINES`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from interp.chains.text_trace import TextTrace, plain
from interp.chains.trace_formats.anchor_folders import find_folders, read_folder
from interp.chains.trace_formats.chat_lines import is_chat, read_chat
from interp.chains.trace_formats.harness_samples import is_sample, merge_filters, read_sample
from interp.chains.trace_formats.inspect_logs import is_log, read_archive, read_log
from interp.chains.trace_formats.mistake_lines import is_mistake, read_mistake
from interp.chains.trace_formats.own_lines import is_own, read_own
from interp.errors import InputError
from interp.files import parse_json, read_json_lines, read_text


class LineFormat(NamedTuple):
    """A format in which each line is one JSON object."""

    name: str
    fits: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Mapping[str, Any], str], Sequence[TextTrace]]
    fields: str
    """By which it is recognised, for messages."""


LINES = (
    LineFormat("chats in OpenAI's form", is_chat, read_chat, "messages, or custom_id and response"),
    LineFormat("samples of lm-evaluation-harness", is_sample, read_sample, "doc and resps"),
    LineFormat("lines of BIG-Bench-Mistake", is_mistake, read_mistake, "input, steps and target"),
    LineFormat(
        "traces of posthoc", is_own, read_own, "example (or question), chain (or steps) and answer"
    ),
)
INSPECT, ANCHORS = "a log of inspect_ai", "folders of Thought Anchors"


@dataclass(frozen=True)
class TraceFile:
    """What a file of traces holds."""

    path: Path
    format: str
    """As which it was read, in words."""
    traces: tuple[TextTrace, ...]
    n_without: int = 0
    """Records that hold no output, since the run that wrote the file failed there."""

    @property
    def account(self) -> str:
        """What was recognised, in one line."""
        n_asked = len({plain(trace.question) or trace.example for trace in self.traces})
        writers = ", ".join(dict.fromkeys(trace.writer for trace in self.traces))
        text = f"{self.path}: {len(self.traces)} traces of {n_asked} questions by {writers}"
        rest = f"; {self.n_without} records hold no output" if self.n_without else ""
        return f"{text}, read as {self.format}{rest}"


def read_trace_file(path: Path) -> TraceFile:
    """Reads a file or folder of traces.

    Args:
        path: JSON lines, a log of inspect_ai (``.json`` or ``.eval``), or a folder with solutions
            of Thought Anchors at or below it.

    Returns:
        Its traces, in its order.

    Raises:
        ValueError: It holds no traces or is of no known format, or a record is malformed. The
            message names file, line and field.
        OSError: It cannot be read, or is a directory without traces.
    """
    if path.is_dir():
        return _read_folders(path)
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if is_zip:
        traces, n_without = read_archive(path)
        return _filled(TraceFile(path, INSPECT, tuple(traces), n_without))
    whole = _whole_object(path)
    if whole is not None:
        traces, n_without = read_log(whole, path)
        return _filled(TraceFile(path, INSPECT, tuple(traces), n_without))
    return _filled(_read_lines(path))


def _read_folders(path: Path) -> TraceFile:
    folders = find_folders(path)
    if not folders:
        raise IsADirectoryError(
            errno.EISDIR,
            "a directory of traces is one of Thought Anchors, with base_solution.json in it or "
            "below; none is there. Name a file",
            str(path),
        )
    read = tuple(trace for folder in folders for trace in read_folder(folder))
    return TraceFile(path, ANCHORS, read)


def _whole_object(path: Path) -> Mapping[str, Any] | None:
    """The log of inspect_ai that a whole file is; None if it is one of lines."""
    text = read_text(path)
    first = text.strip().split("\n", 1)[0].strip()
    if first.startswith("{") and (first == "{" or '"samples"' in text) and path.suffix != ".jsonl":
        record = parse_json(text, str(path)) if _is_one(text) else {}
        if is_log(record):
            return record
        if record and not any(form.fits(record) for form in LINES):
            raise ValueError(f"{path} {_unknown(record)}")
    return None


def _is_one(text: str) -> bool:
    """Whether a text is one JSON object over all of its lines, and not one a line."""
    first, _, rest = text.strip().partition("\n")
    return not rest.strip() or not first.rstrip().endswith("}")


def _read_lines(path: Path) -> TraceFile:
    form: LineFormat | None = None
    first = ""
    traces: list[TextTrace] = []
    for place, line in read_json_lines(path):
        record = {name: value for name, value in line.items() if value is not None}
        fitting = next((one for one in LINES if one.fits(record)), None)
        if form is None:
            form, first = fitting, place
        if form is None:
            raise ValueError(f"{place} {_unknown(record)}")
        if fitting is not form:
            which = f"the fields {', '.join(record) or 'none'}" if fitting is None else fitting.name
            raise ValueError(
                f"{place} has {which}, where {first} has {form.name} ({form.fields}). A file holds "
                "one kind: mend or split it"
            )
        try:
            traces += form.read(record, place)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    if form is None:
        raise InputError(f"{path} holds no traces: it is empty. Likely cause: a broken export")
    if form.read is read_sample:
        traces = merge_filters(traces)
    return TraceFile(path, form.name, tuple(traces))


def _filled(file: TraceFile) -> TraceFile:
    if not file.traces:
        raise ValueError(f"{file.path} holds no traces: no record of {file.format} has an output")
    return file


def _unknown(record: Mapping[str, Any]) -> str:
    known = "; ".join(f"{form.name} ({form.fields})" for form in LINES)
    return (
        f"has the fields {', '.join(record) or 'none'}, by which no format is known. Known: "
        f"{known}; {INSPECT} (eval and samples)"
    )
