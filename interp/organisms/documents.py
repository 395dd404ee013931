"""Training documents: token ids, and which of them carry loss.

A document is written from segments, each learned or not. The rule that made the worlds learnable:
**no loss on a token that is random by construction**. So nothing of a question is learned, nor a
chain that belongs to another problem, nor the choice of words in a paraphrased step; results, what
can be read off the question, the delimiters and the answer are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from interp.organisms.words import Words


class Document(NamedTuple):
    """Ids of a text and, for each, whether predicting it is learned."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]


Draw = Callable[[Random, float], Document]
"""Makes a document from a random generator and the progress of the training (0 to 1)."""


class Segment(NamedTuple):
    """A piece of text and whether its words are learned."""

    text: str
    learned: bool


def assemble(words: Words, segments: Sequence[Segment]) -> Document:
    """Join segments to one document."""
    ids: list[int] = []
    learned: list[bool] = []
    for segment in segments:
        piece = words.encode(segment.text)
        ids += piece
        learned += [segment.learned] * len(piece)
    return Document(tuple(ids), tuple(learned))


def sorted_batches(
    draw: Draw,
    *,
    steps: int,
    batch: int,
    seed: int,
    group: int = 16,
) -> Iterator[list[Document]]:
    """Batches of documents of near-equal length.

    Args:
        draw: Makes a document from a generator and the progress (0 to 1).
        steps: Number of batches.
        batch: Documents per batch.
        seed: Everything follows from it.
        group: Batches drawn together, sorted by length, and dealt in random order.

    Yields:
        ``steps`` lists of ``batch`` documents.
    """
    rng = Random(f"documents {seed}")
    for first in range(0, steps, group):
        count = min(group, steps - first)
        documents = [draw(rng, (first + i // batch) / steps) for i in range(count * batch)]
        documents.sort(key=lambda document: len(document.ids))
        batches = [documents[i * batch : (i + 1) * batch] for i in range(count)]
        rng.shuffle(batches)
        yield from batches
