"""Lines as this project writes them, and as they are easily made by hand or with pandas.

::

    {"example": "arith:3+4*2", "chain": "3 + 4 = 7 ; 7 * 2 = 3 ;", "answer": "3"}

Instead of the id of an example, ``question`` may hold its text. ``steps`` (a list of texts) may
stand for ``chain``; ``writer``, ``seed`` and ``target`` (the right answer) may be given; null
counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from interp.chains.text_trace import TextTrace
from interp.chains.trace import TraceMode, TraceStatus
from interp.chains.trace_formats.fields import Kind, check_field, number_text, short, text_of

FIELDS: dict[str, tuple[Kind, str]] = {
    "example": (str, "the id of an example"),
    "question": (str, "a text"),
    "task": (str, "the name of a task"),
    "chain": (str, "a text"),
    "steps": (list, "a list of texts (one text is given as 'chain', and is cut into steps)"),
    "answer": ((str, int, float), "a text or a number"),
    "target": ((str, int, float), "a text or a number"),
    "writer": (str, "a name"),
    "seed": (int, "a whole number"),
    "logprobs": (list, "a list of numbers"),
    "format": (str, "a text, the prompt format in which the ids stand"),
    "ids": (dict, "an object with the token ids of prompt, steps and answer"),
}
"""Field of a line -> its types, and what it holds."""


def is_own(record: Mapping[str, Any]) -> bool:
    """Whether a line is one of this project."""
    names = record.keys()
    return "example" in names or ("question" in names and bool({"chain", "steps"} & names))


def read_own(record: Mapping[str, Any], place: str) -> Sequence[TextTrace]:
    """The trace of one line.

    Raises:
        ValueError: A field is missing or holds something else.
    """
    for name, (kind, words) in FIELDS.items():
        check_field(name, record.get(name), kind, words)
    for name, kind in (("steps", str), ("logprobs", (int, float))):
        for at, value in enumerate(record.get(name, ()), start=1):
            if not isinstance(value, kind):
                raise ValueError(f"{name!r} is {FIELDS[name][1]}, and entry {at} is {short(value)}")
    if "answer" not in record or not {"chain", "steps"} & record.keys():
        raise ValueError(
            f"example, chain (or steps) and answer are needed; this line has {', '.join(record)}"
        )
    status, mode = record.get("status", "valid"), record.get("mode", "imported")
    for name, value, known in (("status", status, TraceStatus), ("mode", mode, TraceMode)):
        if value not in get_args(known):
            raise ValueError(
                f"unknown {name} {value!r}; known: {', '.join(get_args(known))}. It may be left out"
            )
    return [
        TextTrace(
            place=place,
            example=record.get("example", ""),
            question=record.get("question", ""),
            task=record.get("task", ""),
            chain=record.get("chain", ""),
            steps=tuple(record["steps"]) if "steps" in record else None,
            answer=number_text(record["answer"]),
            target=text_of(record, "target"),
            writer=record.get("writer", "imported"),
            seed=record.get("seed", 0),
            mode=mode,
            status=status,
            is_output="ids" in record,
            logprobs=tuple(record.get("logprobs", ())),
            ids=record.get("ids"),
            format=record.get("format", "task"),
        )
    ]
