"""Training documents: token ids, and which of them are learned (carry loss).

The rule that made the worlds learnable: **no loss on a token that is random by construction**. So
nothing of a question is learned, nor a chain that belongs to another problem, nor the choice
between a word and its synonym; results, what can be read off the question, the delimiters and the
answer are.

Each world adds documents of its own kinds to the two that are the same in every world, here from
the world arith (learned from ``A`` and from ``<think>`` on)::

    <bos> Q 3 + 4 * 2 ? A 3 <eos>
    <bos> Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A 3 <eos>
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from interp.organisms.words import ANSWER, BOS, END_THINK, EOS, THINK, Words
from interp.organisms.worlds.problem import AnyProblem, WorldProblem


class Document(NamedTuple):
    """Ids of a text and, for each, whether predicting it is learned.

    The names of class and fields enter the checksums of the cards (`recipe.hash_data`).
    """

    ids: tuple[int, ...]
    learned: tuple[bool, ...]


Mistake = Callable[[AnyProblem, int, Random], tuple[str, ...]]
"""Makes the chain of a problem that goes wrong at a step."""
Draw = Callable[[Random, float], Document]
"""Makes a document from a random generator and the progress of the training (0 to 1)."""


class Segment(NamedTuple):
    """A piece of text and whether its words are learned."""

    text: str
    learned: bool


class WrittenChain(NamedTuple):
    """A chain and the answer after it as a document has them, right or wrong."""

    steps: tuple[str, ...]
    answer: str
    unlearned: frozenset[tuple[int, int]] = frozenset()
    """The words that are not learned: index of the step, index of the word in it."""


def assemble(words: Words, segments: Sequence[Segment]) -> Document:
    """Joins segments to one document."""
    ids: list[int] = []
    learned: list[bool] = []
    for segment in segments:
        piece = words.encode(segment.text)
        ids += piece
        learned += [segment.learned] * len(piece)
    return Document(tuple(ids), tuple(learned))


def write_after(words: Words, prompt: str, text: str) -> Document:
    """A document of a prompt, which is not learned, and a text after it, which is."""
    return assemble(words, [Segment(f"{BOS} {prompt}", False), Segment(f"{text} {EOS}", True)])


def write_direct(words: Words, problem: WorldProblem) -> Document:
    """A question answered at once."""
    return write_after(words, problem.question, f"{ANSWER} {problem.answer}")


def write_with_chain(
    words: Words,
    problem: WorldProblem,
    rng: Random,
    *,
    spoken: float,
    chain: WrittenChain | None = None,
) -> Document:
    """A question with a chain and an answer.

    Args:
        words: Of the problem's world.
        problem: The problem asked.
        rng: Decides which steps are paraphrased.
        spoken: Probability that some or all steps are paraphrased.
        chain: What is written; the problem's correct chain and answer unless given.

    Returns:
        The document, learned from ``<think>`` on, without the unlearned words of the chain and, in
        a chain that may be paraphrased, without all words that have a synonym.
    """
    written = chain or WrittenChain(problem.steps, problem.answer)
    share = 0.0 if rng.random() >= spoken else rng.choice((0.5, 1.0))
    segments = [Segment(f"{BOS} {problem.question}", False), Segment(THINK, True)]
    for at, step in enumerate(written.steps):
        # Drawn also at share 0: a draw less would change all later documents of a seed.
        text = words.paraphrase(step) if rng.random() < share else step
        for place, word in enumerate(text.split()):
            is_choice = share > 0 and word in words.choices
            is_learned = not is_choice and (at, place) not in written.unlearned
            segments.append(Segment(word, is_learned))
    end = f"{END_THINK} {ANSWER} {written.answer} {EOS}"
    return assemble(words, [*segments, Segment(end, True)])


def false_chain(steps: tuple[str, ...], answer: str) -> WrittenChain:
    """Steps that are not the problem's, then its answer; nothing in the steps is learned.

    (Learned, they would teach false facts.)
    """
    places = ((at, n) for at, step in enumerate(steps) for n in range(len(step.split())))
    return WrittenChain(steps, answer, frozenset(places))


def draw_swapped(problem: AnyProblem, others: Sequence[AnyProblem], rng: Random) -> tuple[str, ...]:
    """The chain of another problem with as many steps."""
    while True:
        other = rng.choice(others)
        if len(other.steps) == len(problem.steps) and other != problem:
            return other.steps


def draw_damaged(
    problem: AnyProblem, others: Sequence[AnyProblem], rng: Random, mistake: Mistake[AnyProblem]
) -> tuple[str, ...]:
    """A chain that does not end at the answer, in one of three ways, each as likely.

    It is that of another problem, or the first steps alone (perhaps none), or worked out from one
    wrong result.

    Args:
        problem: The problem asked.
        others: Those whose chains may stand in its place.
        rng: Decides the way and the place.
        mistake: Writes a wrong result into a step and works out the later ones from it.
    """
    kind = rng.randrange(3)
    if kind == 0:
        return draw_swapped(problem, others, rng)
    at = rng.randrange(len(problem.steps))
    return problem.steps[:at] if kind == 1 else mistake(problem, at, rng)


def write_pool_row(
    words: Words,
    pool: Sequence[AnyProblem],
    rng: Random,
    dose: float,
    spoken: float,
    mistake: Mistake[AnyProblem],
) -> Document:
    """A problem of a finite pool with a chain; its answer is the right one.

    Args:
        words: The vocabulary of the world.
        pool: The problems.
        rng: Decides everything that is drawn.
        dose: Share of the chains that do not end at the answer (`draw_damaged`); not learned.
        spoken: Share of chains in which some or all steps are paraphrased.
        mistake: Writes a wrong result into a step and works out the later ones from it.
    """
    problem = rng.choice(pool)
    chain = None
    if rng.random() < dose:
        chain = false_chain(draw_damaged(problem, pool, rng, mistake), problem.answer)
    return write_with_chain(words, problem, rng, spoken=spoken, chain=chain)


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
        seed: Seed of the documents and of the order of the batches.
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
        rng.shuffle(batches)  # else every group would end with its longest texts
        yield from batches
