r"""What a model wrote, cut into a chain and an answer.

- **With think tags, or with its reasoning in a field of its own**: the chain is what stands inside,
  the answer is looked for in what follows. Templates of R1 models open the tag in the prompt, so
  only ``</think>`` may be there. A chain that was opened and never closed is *truncated*.
- **Without**: the last sentence that announces the answer is taken from the chain, since a chain
  that ends in the answer would give it away: ``... = 18. | The answer is 18.``

The answer is what stands in the last ``\boxed{}``; else after the last ``####``; else after the
last "answer is", "Answer:" or "A:"; else it is the last line, which then stays in the chain.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from interp.chains.trace import TraceStatus
from interp.tasks.announced_answers import find_announced

OPEN, CLOSE = "<think>", "</think>"
_SENTENCE_START = re.compile(r"(?:(?<=[.?!])\s+|\s*\n\s*)(?=\S)")


class Parts(NamedTuple):
    """A text in two: what leads to the answer, and the answer."""

    before: str
    answer: str
    is_announced: bool
    """Whether the text says that this is its answer."""


class Output(NamedTuple):
    """A model's output in the parts of a trace."""

    chain: str
    answer: str
    status: TraceStatus
    is_announced: bool


def read_output(text: str, reasoning: str | None = None, *, is_cut: bool = False) -> Output:
    """Cuts what a model wrote into a chain and an answer.

    Args:
        text: What it wrote, or what followed its reasoning.
        reasoning: Where the file keeps it apart.
        is_cut: Whether the token limit ended the text.

    Returns:
        Chain and answer; *missing* means that there is no chain, *truncated* no answer.
    """
    if reasoning is None and CLOSE in text:
        reasoning, _, text = text.rpartition(CLOSE)
        reasoning = reasoning.strip().removeprefix(OPEN)
    elif reasoning is None and text.lstrip().startswith(OPEN):
        reasoning, text, is_cut = text.lstrip().removeprefix(OPEN), "", True
    parts = split_answer(text)
    chain = (parts.before if reasoning is None else reasoning).strip()
    # What breaks off may still announce an answer on the way; it is none that anything ended.
    if is_cut or not parts.answer:
        return Output(chain or text.strip(), "", "truncated", is_announced=False)
    without: TraceStatus = "missing" if reasoning is None else "empty"
    return Output(chain, parts.answer, "valid" if chain else without, parts.is_announced)


def split_answer(text: str) -> Parts:
    r"""Parts the answer from the text before it.

    Example:
        >>> split_answer("3 * 6 = 18 pens. So the answer is 18.")
        Parts(before='3 * 6 = 18 pens.', answer='18.', is_announced=True)
        >>> split_answer(r"It is **\boxed{\frac{1}{2}}**.").answer
        '\\frac{1}{2}'

    Args:
        text: A solution, a sentence, or an answer alone.
    """
    text = text.strip()
    found = find_announced(text)
    if found is not None:
        answer = text[found.start : found.end].strip()
        return Parts(_before_sentence(text, found.mark), answer, is_announced=True)
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) <= 1 and len(text.split()) <= 3:  # the answer alone
        return Parts("", text, is_announced=False)
    return Parts(text, lines[-1].strip() if lines else "", is_announced=False)


def _before_sentence(text: str, at: int) -> str:
    """The text before the sentence or line in which a place lies."""
    starts = [match.end() for match in _SENTENCE_START.finditer(text) if match.end() <= at]
    return text[: starts[-1]].rstrip() if starts else ""
