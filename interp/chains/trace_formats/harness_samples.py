"""Samples of lm-evaluation-harness (``--log_samples``): JSON lines with ``doc`` and ``resps``.

::

    {"doc_id": 0, "doc": {"question": "Janet has ...", "answer": "... #### 18"}, "target": "...",
     "resps": [["She has ... The answer is 18."]], "filtered_resps": ["18"], "filter": "..."}

``resps`` holds what the model wrote, ``filtered_resps`` what the harness took for its answer. Ours
is read from the text; where the text announces none, that of the harness is taken. A task with
several filters has a line for each, with equal texts: these are one trace. Samples scored by
log-probability hold no text and are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from interp.chains.text_trace import TextTrace
from interp.chains.trace_formats.fields import object_of, short, text_of
from interp.chains.trace_formats.outputs import read_output, split_answer

QUESTIONS = ("question", "problem", "input", "query", "prompt")
"""Fields of a document in which tasks of the harness keep the question; else the whole prompt."""
_INVALID = "[invalid]"


def is_sample(record: Mapping[str, Any]) -> bool:
    """Whether a line is a sample of the harness."""
    return {"doc", "resps"} <= record.keys()


def read_sample(record: Mapping[str, Any], place: str) -> Sequence[TextTrace]:
    """The traces of one line, one for each text.

    Raises:
        ValueError: A field is missing or holds something else, or there is no text.
    """
    doc = object_of(record, "doc")
    asked = next((doc[name] for name in QUESTIONS if isinstance(doc.get(name), str)), "")
    target = text_of(record, "target")
    filtered = record.get("filtered_resps")
    return [
        _read_text(
            text,
            _first_text(filtered),
            TextTrace(
                place=place,
                answer="",
                example=text_of(record, "doc_id"),
                question=asked or _prompt(record),
                target=split_answer(target).answer if target else "",
                seed=seed,
                is_output=True,
            ),
        )
        for seed, text in enumerate(_texts(record["resps"]))
    ]


def merge_filters(traces: Sequence[TextTrace]) -> list[TextTrace]:
    """One trace for each text: lines that differ in the filter alone are one."""
    found: dict[tuple[Any, ...], TextTrace] = {}
    for trace in traces:
        key = (trace.example, trace.question, trace.seed, trace.chain)
        if key not in found or (not found[key].answer and trace.answer):
            found[key] = trace
    return list(found.values())


def _read_text(text: str, filtered: str, trace: TextTrace) -> TextTrace:
    written = read_output(text)
    answer = written.answer
    is_read = filtered not in ("", _INVALID) and filtered.strip() != text.strip()
    if is_read and not written.is_announced and written.status != "truncated":
        answer = filtered
    return replace(trace, chain=written.chain, answer=answer, status=written.status)


def _texts(resps: Any) -> tuple[str, ...]:
    """The texts, which stand in one list or in lists within it."""
    flat: list[Any] = []
    for one in resps if isinstance(resps, list) else [resps]:
        flat += one if isinstance(one, list) else [one]
    if not flat or not all(isinstance(text, str) for text in flat):
        raise ValueError(
            f"'resps' holds the texts that a model wrote, and {short(resps)} was received. Samples "
            "scored by log-probability (multiple choice) have no chain: run a generative form of "
            "the task"
        )
    return tuple(flat)


def _first_text(value: Any) -> str:
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else ""


def _prompt(record: Mapping[str, Any]) -> str:
    """The prompt that was sent: in an object in newer versions, in a list in older ones."""
    arguments = record.get("arguments")
    while isinstance(arguments, dict | list) and arguments:
        values = list(arguments.values()) if isinstance(arguments, dict) else arguments
        arguments = values[0]
    return arguments if isinstance(arguments, str) else ""
