r"""Where a chain of thought is cut into steps: by fixed rules, never by a model.

- `split_reasoning`, for the chains of reasoning models: after ``. ? !`` before a blank or a line
  break, and before blank lines; pieces of fewer than 10 characters join the next one (the last
  joins the one before). This is the rule of Thought Anchors (arXiv 2506.19143), so that what is
  measured on a sentence here and there is about the same sentence. The authors drop an end without
  a full stop; here it is a step.
- `split_sentences`, for short chains in running text: the same with three additions: a list number
  (``1. First``) stays with its line, quotation marks and brackets stay with the sentence that they
  close, and every line break cuts, not only a blank line.
- `split_lines`, where each line is a step.
- `split_at_semicolons`, for the worlds of the organisms.

All but the last keep every character, white space going to the piece that follows it, so that
joining the pieces gives the text back. The last drops the single blanks between words, and joining
its pieces with blanks gives the text back.
"""

from __future__ import annotations

import re

SHORTEST = 10
"""Pieces with fewer characters than this (white space around aside) are joined to a neighbour."""

# The second alternative is an empty match at the end of a line, before its white space.
_SENTENCE_END = re.compile(r"[.?!]+[\"'”’)\]]*(?=\s)|(?=\s*\n)(?<!\s)")
_THOUGHT_END = re.compile(r"[.?!](?=[ \n])|(?=\n\n)(?<!\n)")
_LIST_NUMBER = re.compile(r"\(?\d+[.)]")


def split_sentences(text: str) -> tuple[str, ...]:
    r"""Cuts running text into sentences and lines.

    Example: ``"So 3.5 is it. 1. Add two\n2. Stop here."`` gives ``"So 3.5 is it."``,
    ``" 1. Add two"`` and ``"\n2. Stop here."``.

    Args:
        text: A chain of thought.

    Returns:
        Pieces that give the text when joined; none for an empty text.
    """
    pieces: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        piece = text[start : match.end()]
        if piece and not _LIST_NUMBER.fullmatch(piece.strip()):
            pieces.append(piece)
            start = match.end()
    pieces.append(text[start:])
    return _without_short([piece for piece in pieces if piece])


def split_reasoning(text: str) -> tuple[str, ...]:
    r"""Cuts the chain of a reasoning model into sentences, as Thought Anchors does.

    Example:
        >>> split_reasoning("Okay, so x = 2.\n\nWait. Let me see: is it?\nYes: 2 is even.")
        ('Okay, so x = 2.', '\n\nWait. Let me see: is it?', '\nYes: 2 is even.')

    Args:
        text: A chain of thought.

    Returns:
        Pieces that give the text when joined; none for an empty text.
    """
    ends = [match.end() for match in _THOUGHT_END.finditer(text)]
    edges = [0, *(end for end in ends if end > 0), len(text)]
    pieces = [text[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    return _without_short([piece for piece in pieces if piece])


def split_lines(text: str) -> tuple[str, ...]:
    """Cuts a text before each line that is not blank; joined, the pieces are the text."""
    cuts = [match.start() for match in re.finditer(r"(?<!\s)\s*\n\s*(?=\S)", text)]
    edges = [0, *(cut for cut in cuts if cut > 0), len(text)]
    return tuple(text[a:b] for a, b in zip(edges, edges[1:], strict=False) if text[a:b])


def split_at_semicolons(text: str) -> tuple[str, ...]:
    """Cuts after each ``;``; joined by blanks the steps are the text again.

    Example:
        >>> split_at_semicolons("3 + 4 = 7 ; 7 * 2 = 3 ;")
        ('3 + 4 = 7 ;', '7 * 2 = 3 ;')
    """
    steps: list[list[str]] = [[]]
    for word in text.split():
        steps[-1].append(word)
        if word == ";":
            steps.append([])
    return tuple(" ".join(words) for words in steps if words)


def _without_short(pieces: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    waiting = bare = ""
    for piece in pieces:
        waiting += piece
        bare = f"{bare} {piece.strip()}".strip()
        if len(bare) >= SHORTEST:
            kept.append(waiting)
            waiting = bare = ""
    if waiting and kept:
        kept[-1] += waiting
    elif waiting:
        kept.append(waiting)
    return tuple(kept)
