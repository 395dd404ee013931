r"""Announced answers: the part of a text of which the text itself says that it is its answer.

In this order:

1. what the last ``\boxed{}`` (or ``\fbox{}``) holds;
2. the rest of the line after the last ``####``, "answer is", "answer:" or "A:".

Example: of ``So the answer is **18** eggs.`` it is ``**18** eggs.``; ``9 * 2 = 18`` announces none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BOXED = re.compile(r"\\f?box(?:ed)?\s*\{")
_CUE = re.compile(
    r"####|(?<=\n)(?-i:A):|\b(?:final\s+)?answer(?:\s+to[^.\n]{0,80}?)?\s*(?:\*\*)?\s*(?:is\b|:)\s*(?:\*\*)?:?",
    re.I,
)


class Announced(NamedTuple):
    """Where a text announces its answer."""

    mark: int
    """Where the box or the words that announce it begin."""
    start: int
    """Where the answer begins."""
    end: int
    """Where it ends."""


def find_announced(text: str) -> Announced | None:
    r"""Finds the answer that a text announces; None if it announces none.

    Example:
        >>> text = r"So it is \boxed{18}."
        >>> found = find_announced(text)
        >>> text[found.start : found.end] if found else ""
        '18'
    """
    return find_box(text) or _find_cued(text)


def find_box(text: str) -> Announced | None:
    """The content of the last box that is closed."""
    for match in reversed([*_BOXED.finditer(text)]):
        depth = 1
        for at in range(match.end(), len(text)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                return Announced(match.start(), match.end(), at)
    return None


def _find_cued(text: str) -> Announced | None:
    for cue in reversed([*_CUE.finditer(text)]):
        rest = text[cue.end() :]
        answer = rest.strip()
        if answer:
            start = cue.end() + len(rest) - len(rest.lstrip())
            line = answer.split("\n", maxsplit=1)[0].rstrip()
            return Announced(cue.start(), start, start + len(line))
    return None
