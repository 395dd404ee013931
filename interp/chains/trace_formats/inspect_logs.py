"""Logs of inspect_ai: one JSON file (``.json``), or a zip of JSON files (``.eval``).

A log has an ``eval`` header (which names the model) and ``samples``, each with ``id``, ``epoch``,
``input`` (a text, or messages), ``target`` and ``output``. Several epochs are several samples,
numbered by `seed` from 0. Samples that ended in an error have no output and are passed over; the
account says how many. In a ``.eval`` file the header is ``header.json`` (``_journal/start.json``
where the run was stopped) and each sample is a file in ``samples/``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from interp.chains.text_trace import TextTrace
from interp.chains.trace_formats.chat_lines import CUT, last_question, message_text
from interp.chains.trace_formats.fields import last_name, object_of, objects_of, short, text_of
from interp.chains.trace_formats.outputs import read_output
from interp.errors import explain_failure
from interp.files import parse_json

_ATTACHED = "attachment://"


def is_log(record: Mapping[str, Any]) -> bool:
    """Whether the JSON of a file is a log of inspect_ai."""
    return {"eval", "samples"} <= record.keys()


def read_log(record: Mapping[str, Any], path: Path) -> tuple[list[TextTrace], int]:
    """The traces of a log, and how many samples have no output.

    Raises:
        ValueError: A field is missing or holds something else.
    """
    return _read_samples(str(path), object_of(record, "eval"), objects_of(record, "samples"))


def read_archive(path: Path) -> tuple[list[TextTrace], int]:
    """The traces of an ``.eval`` file, and how many samples have no output.

    Raises:
        InputError: It is no such archive, or packed in a way that Python cannot read.
        ValueError: A field is missing or holds something else.
    """
    remedy = (
        "Likely cause: another kind of zip, an interrupted copy, or a newer way of packing. "
        "Convert it: inspect log convert --to json --output-dir FOLDER FILE"
    )
    what = f"{path} is no log of inspect_ai that can be read here"
    with explain_failure(what, remedy), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        texts = {
            name: archive.read(name).decode("utf-8")
            for name in names
            if name in ("header.json", "_journal/start.json") or name.startswith("samples/")
        }
    heads = [name for name in ("header.json", "_journal/start.json") if name in texts]
    samples = [name for name in texts if name.startswith("samples/")]
    if not heads or not samples:
        raise ValueError(
            f"{path} is a zip of {', '.join(names[:3]) or 'nothing'}, and no log of inspect_ai, "
            "which holds header.json and samples/"
        )
    head = parse_json(texts[heads[0]], f"{path}, {heads[0]}", "eval")
    read = (parse_json(texts[name], f"{path}, {name}") for name in samples)
    return _read_samples(str(path), object_of(head, "eval"), read)


def _read_samples(
    place: str, head: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]
) -> tuple[list[TextTrace], int]:
    traces: list[TextTrace] = []
    n_empty = 0
    writer = last_name(head.get("model")) or "imported"
    for at, sample in enumerate(samples, start=1):
        where = f"{place}, sample {short(sample.get('id', at))} (number {at})"
        try:
            trace = _read_sample(sample, where, writer)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if trace is None:
            n_empty += 1
        else:
            traces.append(trace)
    return traces, n_empty


def _read_sample(sample: Mapping[str, Any], place: str, writer: str) -> TextTrace | None:
    choices = (sample.get("output") or {}).get("choices")
    if sample.get("error") is not None or not choices:
        return None
    choice = objects_of(object_of(sample, "output"), "choices")[0]
    attached = sample.get("attachments") or {}
    text, reasoning = (_resolve(t, attached) for t in message_text(object_of(choice, "message")))
    written = read_output(text or "", reasoning, is_cut=choice.get("stop_reason") in CUT)
    asked = sample.get("input")
    if isinstance(asked, list):
        asked = last_question(objects_of(sample, "input"))
    elif not isinstance(asked, str):
        raise ValueError(
            f"'input' is a text or a list of messages, and {short(asked)} was received"
        )
    target = sample.get("target")
    if isinstance(target, list):  # any of them is right; the first stands for all
        sample = {**sample, "target": target[0] if target else None}
    epoch = sample.get("epoch", 1)
    return TextTrace(
        place=place,
        example=text_of(sample, "id"),
        question=_resolve(asked, attached) or "",
        chain=written.chain,
        answer=written.answer,
        status=written.status,
        target=text_of(sample, "target"),
        writer=writer,
        seed=epoch - 1 if isinstance(epoch, int) else 0,
        is_output=True,
    )


def _resolve(text: str | None, attached: Mapping[str, Any]) -> str | None:
    """Long texts may be kept apart under a checksum."""
    if text is None or not text.startswith(_ATTACHED):
        return text
    name = text.removeprefix(_ATTACHED)
    if not isinstance(attached.get(name), str):
        raise ValueError(f"the text {text!r} is not among its 'attachments'")
    return attached[name]
