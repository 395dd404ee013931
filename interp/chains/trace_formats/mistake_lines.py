"""BIG-Bench-Mistake: chains of PaLM 2 with the index of the first mistake (Tyen et al. 2023).

::

    {"input": "((5 + 2) * 3) =", "steps": ["...", "... So the answer is 21"], "target": "21",
     "answer": "21", "mistake_index": null}

The steps stay as they were published, since ``mistake_index`` counts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interp.chains.text_trace import TextTrace
from interp.chains.trace_formats.fields import short, text_of


def is_mistake(record: Mapping[str, Any]) -> bool:
    """Whether a line is one of BIG-Bench-Mistake."""
    return {"input", "steps", "target"} <= record.keys()


def read_mistake(record: Mapping[str, Any], place: str) -> Sequence[TextTrace]:
    """The trace of one line.

    Raises:
        ValueError: A field holds something else.
    """
    steps = record["steps"]
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise ValueError(f"'steps' is a list of texts, and {short(steps)} was received")
    answer = text_of(record, "answer")
    return [
        TextTrace(
            place=place,
            question=text_of(record, "input"),
            steps=tuple(steps),
            answer=answer,
            target=text_of(record, "target"),
            status="valid" if answer else "truncated",
            is_output=True,
        )
    ]
