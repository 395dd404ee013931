r"""Answer statements: where a text says what its answer is.

The answer is what stands in the last ``\boxed{}``; else after the last ``####``; else after the
last "answer is", "Answer:" or "A:". Its statement begins with the sentence or line in which it
stands: what lies before is what leads to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_CUE = re.compile(
    r"####|(?<=\n)(?-i:A):|\b(?:final\s+)?answer(?:\s+to[^.\n]{0,80}?)?\s*(?:\*\*)?\s*(?:is\b|:)\s*(?:\*\*)?:?",
    re.I,
)
_SENTENCE_START = re.compile(r"(?:(?<=[.?!])\s+|\s*\n\s*)(?=\S)")
_FIRST_LINE = re.compile(r"[^\n]*\S")
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
    for box in reversed(list(_BOXED.finditer(text))):
        end = _closing_brace(text, box.end())
        if end is not None:
            return Statement(_sentence_start(text, box.start()), slice(box.end(), end), True)
    for cue in reversed(list(_CUE.finditer(text))):
        first = len(text) - len(text[cue.end() :].lstrip())
        line = _FIRST_LINE.match(text, first)
        if line is not None:
            is_ended = "\n" in text[line.end() :] or bool(_SENTENCE_END.search(line.group()))
            return Statement(_sentence_start(text, cue.start()), slice(first, line.end()), is_ended)
    return None


def _closing_brace(text: str, start: int) -> int | None:
    """The place of the brace that closes what begins at `start`; None if none does."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return None


def _sentence_start(text: str, at: int) -> int:
    """Where the sentence or line begins in which a place lies; 0 for the first."""
    starts = [match.end() for match in _SENTENCE_START.finditer(text) if match.end() <= at]
    return starts[-1] if starts else 0
