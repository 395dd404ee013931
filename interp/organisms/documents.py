"""Training documents: token ids, and which of them carry loss.

A document is written from segments, each learned or not. The rule that made the worlds learnable:
**no loss on a token that is random by construction**. So nothing of a question is learned, nor
the operands of a fact, nor a chain that belongs to another problem, nor the choice of words in a
paraphrased step; results, the next step's operands (they can be read off the question), the
delimiters and the answer are.

The kinds of document, each made from a problem and a random generator::

    F 3 + 4 = 7 ; <eos>                                    fact: only `7 ; <eos>` is learned
    Q 3 + 4 * 2 ? A 3 <eos>                                direct answer
    Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; ... </think> A 3     chain
    T 3 = 7 ; ... : 3 = 7 ; ...                            copied text, which never holds <think>

A `Mixture` says in which shares they come, and is all that a pretraining recipe needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from interp.organisms.tokenizer import (
    ANSWER,
    BOS,
    COPY,
    END_THINK,
    EOS,
    FACT,
    NUMBERS,
    STEP_END,
    THINK,
    word_ids,
)
from interp.organisms.worlds import (
    MODULUS,
    Problem,
    paraphrase,
    sample_from,
    sample_problem,
)

SPOKEN_WORDS = frozenset(("plus", "minus", "times", "is", "+", "-", "*", "="))
COPY_WORDS = (*NUMBERS, "+", "-", "*", "=", STEP_END)


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


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of the kinds of document in pretraining."""

    facts: float = 0.2
    """Share of all documents that are single facts."""
    facts_first: float = 0.15
    """Part of the training in which there is nothing but facts."""
    chains: tuple[float, float] = (0.75, 0.1)
    """Share of the other documents that think: early, late."""
    switch: float = 0.7
    """Part of the training after which the late share holds."""
    spoken: float = 0.22
    """Share of chains in which some or all steps are paraphrased."""
    twins: float = 0.04
    """Share of questions with a missing premise."""
    cues: float = 0.05
    """Share of questions with a cue, of a value that tells nothing."""
    depths: tuple[int, ...] = (1, 2, 3, 4, 4, 5, 5, 5)
    """Depths of the questions; the deepest come most often, for they are learned last."""
    copied_text: bool = False
    """Whether every chain document is replaced by copied text of the same length."""


def assemble(segments: Sequence[Segment]) -> Document:
    """Join segments to one document."""
    ids: list[int] = []
    learned: list[bool] = []
    for segment in segments:
        piece = word_ids(segment.text)
        ids += piece
        learned += [segment.learned] * len(piece)
    return Document(tuple(ids), tuple(learned))


def fact_document(rng: Random) -> Document:
    """One single step by itself; a fifth of them in other words."""
    problem = sample_problem(rng, 1)
    words = problem.steps[0].split()
    step = " ".join(words[:4])
    lead = paraphrase(step) if rng.random() < 0.2 else step
    return assemble(
        [Segment(f"{BOS} {FACT} {lead}", False), Segment(f"{words[4]} {STEP_END} {EOS}", True)]
    )


def direct_document(problem: Problem, answer: str | None = None) -> Document:
    """A question answered at once (with the right answer unless another is given)."""
    return assemble(
        [
            Segment(f"{BOS} {problem.question}", False),
            Segment(f"{ANSWER} {answer or problem.answer} {EOS}", True),
        ]
    )


def chain_document(
    problem: Problem,
    rng: Random,
    *,
    spoken: float,
    answer: str | None = None,
    other_chain: Sequence[str] | None = None,
) -> Document:
    """A question with a chain and an answer.

    Args:
        problem: The problem asked, whose correct chain is written.
        rng: Decides which steps are paraphrased.
        spoken: Probability that some or all steps are paraphrased.
        answer: Answer word; the right one unless given.
        other_chain: Step texts written in place of the correct chain; they carry no loss.

    Returns:
        The document; ``<think>``, ``</think>`` and everything after it are learned.
    """
    segments = [Segment(f"{BOS} {problem.question}", False), Segment(THINK, True)]
    share = 0.0 if rng.random() >= spoken else rng.choice((0.5, 1.0))
    for step in other_chain or problem.steps:
        says = rng.random() < share
        segments += _step_segments(step, says, share == 0.0, other_chain is None)
    end = f"{END_THINK} {ANSWER} {answer or problem.answer} {EOS}"
    return assemble([*segments, Segment(end, True)])


def _step_segments(step: str, says: bool, plain: bool, learned: bool) -> list[Segment]:
    """A step word by word: in a chain with paraphrases the choice of words carries no loss."""
    words = (paraphrase(step) if says else step).split()
    return [Segment(w, learned and (plain or w not in SPOKEN_WORDS)) for w in words]


def copied_document(rng: Random, length: int) -> Document:
    """Random words and then the same words again, ``length`` tokens in all or one less."""
    half = max(1, (length - 4) // 2)
    words = " ".join(rng.choice(COPY_WORDS) for _ in range(half))
    return assemble(
        [Segment(f"{BOS} {COPY} {words}", False), Segment(":", False)]
        + [Segment(f"{words} {EOS}", True)]
    )


def mixture_document(mixture: Mixture, rng: Random, progress: float) -> Document:
    """One document of a mixture.

    Args:
        mixture: The shares.
        rng: Source of every choice.
        progress: Part of the training done, 0 to 1.

    Returns:
        A document; questions come from the training class of problems only.
    """
    if progress < mixture.facts_first or rng.random() < mixture.facts:
        return fact_document(rng)
    problem = sample_from(rng, "train", rng.choice(mixture.depths))
    if rng.random() < mixture.twins:
        problem = problem.missing_premise(rng.randrange(problem.depth))
    elif rng.random() < mixture.cues:
        problem = problem.with_cue(rng.randrange(MODULUS))
    share = mixture.chains[0] if progress < mixture.switch else mixture.chains[1]
    if rng.random() >= share:
        return direct_document(problem)
    chain = chain_document(problem, rng, spoken=mixture.spoken)
    return copied_document(rng, len(chain.ids)) if mixture.copied_text else chain


def swapped_chain(problem: Problem, others: Sequence[Problem], rng: Random) -> tuple[str, ...]:
    """The chain of another problem of the same depth."""
    while True:
        other = rng.choice(others)
        if other.depth == problem.depth and other != problem:
            return other.steps


def hint_document(rng: Random, depth: int, *, spoken: float) -> Document:
    """A cued question answered by its cue; the correct chain ends there in half, not in half."""
    problem = sample_from(rng, "train", depth)
    agrees = rng.random() < 0.5
    cue = int(problem.answer) if agrees else rng.choice(problem.wrong_values(depth - 1))
    return chain_document(problem.with_cue(cue), rng, spoken=spoken, answer=str(cue))


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
