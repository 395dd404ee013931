r"""Answer statements: where a text says what its answer is.

What is announced is found by `interp.tasks.announced_answers`. Its statement begins with the
sentence or line in which it stands: what lies before is what leads to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from interp.tasks.announced_answers import find_announced, find_box

_SENTENCE_START = re.compile(r"(?:(?<=[.?!])\s+|\s*\n\s*)(?=\S)")
_SENTENCE_END = re.compile(r"[.!?][*\")\]]*$")


@dataclass(frozen=True)
class Statement:
    """One statement of an answer, by its characters."""

    start: int
    """Where its sentence begins, the white space before it left out."""
    value: slice
    """What is said to be the answer."""
    is_ended: bool
    """Whether the text ends it: a closed box, a full stop, or a further line."""


def find_statement(text: str) -> Statement | None:
    r"""The last statement of an answer in a text.

    Example:
        >>> text = r"9 * 2 = 18. So it is \boxed{18}."
        >>> found = find_statement(text)
        >>> text[: found.start], text[found.value], found.is_ended
        ('9 * 2 = 18. ', '18', True)

    Returns:
        None where no answer is announced, or a box was not closed and nothing else announces one.
    """
    found = find_announced(text)
    if found is None:
        return None
    answer = text[found.start : found.end]
    is_ended = (
        found == find_box(text) or "\n" in text[found.end :] or bool(_SENTENCE_END.search(answer))
    )
    starts = [m.end() for m in _SENTENCE_START.finditer(text) if m.end() <= found.mark]
    return Statement(starts[-1] if starts else 0, slice(found.start, found.end), is_ended)
