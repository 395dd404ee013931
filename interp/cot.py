"""Chains of thought as tuples of steps, and the edits that faithfulness tests make to them.

A `Step` holds its text and its token ids; a chain is a tuple of steps. Every edit is a pure
function from a chain to a chain, so that the unchanged steps keep their very tokens.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One sentence or line of a chain, with the token ids in which it was written."""

    text: str
    ids: tuple[int, ...]


Chain = tuple[Step, ...]


@dataclass(frozen=True)
class LayoutIds:
    """A `Layout` in token ids of one tokenizer."""

    think_open: tuple[int, ...]
    think_close: tuple[int, ...]
    answer_cue: tuple[int, ...]
    answer_end: tuple[int, ...]
    filler: tuple[int, ...]
