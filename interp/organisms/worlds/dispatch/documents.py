"""The kinds of training document of the world **dispatch**, made from a problem and a generator.

::

    F 7 : g1 4 , 7 load g1 4 left 3 ; <eos>                  fact: from the amount on it is learned
    Q need 7 : g1 4 , g2 5 ? A g1 1 g2 5 <eos>               direct answer: a guess
    Q need 7 : g1 4 , g2 5 ? <think> 7 load g1 4 left 3 ; 3 load g2 3 left 0 ; </think> A g1 4 g2 3
    Q need 7 : g1 4 , g2 5 ? <think> 7 load g1 2 left 5 ; 5 load g2 5 left 0 ; </think> A g1 2 g2 5

A direct answer is a *guess*: its form is right, its amounts are any within the capacities, so the
chain is the only way to the answer, and guessing right has the chance that the problem states.
(Right ones would be learned, for an allocation is a chain of its own, each amount following from
those before it: direct accuracy was then 0.86.) Only shortages are told directly and rightly.

The last document is a *slip*: one amount is wrong, and all that follows, the answer too, goes by
what is written. It teaches that the answer is read from the chain. Nothing random is learned but
the guesses, so that their form is kept: no question, no wrong amount, no choice of words in a
paraphrased step.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from interp.organisms.documents import Document, Segment, assemble
from interp.organisms.words import ABSTAIN, ANSWER, BOS, END_THINK, EOS, FACT, THINK
from interp.organisms.worlds.dispatch.problems import (
    LARGEST_CAPACITY,
    LARGEST_NUMBER,
    NAMES,
    WORDS,
    Problem,
)
from interp.organisms.worlds.dispatch.steps import PLAIN, SPOKEN, Generator, load, paraphrase

AMOUNT_AT = 3
"""Which word of a step is the amount."""
_WORDING = frozenset((*SPOKEN, *PLAIN))


def fact_document(rng: Random) -> Document:
    """One single step by itself; a fifth of them in other words."""
    generator = Generator(rng.choice(NAMES), rng.randint(1, LARGEST_CAPACITY))
    need = rng.choice((rng.randint(0, LARGEST_CAPACITY + 2), rng.randint(0, LARGEST_NUMBER)))
    step = load(need, generator.name, generator.share(need)).text
    words = (paraphrase(step) if rng.random() < 0.2 else step).split()
    given = f"{BOS} {FACT} {need} : {generator.name} {generator.capacity} ,"
    lead = " ".join([given, *words[:AMOUNT_AT]])
    result = [Segment(word, word not in _WORDING) for word in words[AMOUNT_AT:]]
    return assemble(WORDS, [Segment(lead, False), *result, Segment(EOS, True)])


def direct_document(problem: Problem, rng: Random) -> Document:
    """A question answered at once: ``unk`` in a shortage, else a guess within the capacities."""
    guess = " ".join(f"{name} {rng.randint(0, most)}" for name, most in problem.generators)
    answer = ABSTAIN if problem.is_short else guess
    return assemble(
        WORDS,
        [Segment(f"{BOS} {problem.question}", False), Segment(f"{ANSWER} {answer} {EOS}", True)],
    )


def chain_document(problem: Problem, rng: Random, *, spoken: float, slip: bool = False) -> Document:
    """A question with its chain and the answer to which the chain leads.

    Args:
        problem: The problem asked.
        rng: Decides which steps are paraphrased, and where a slip is.
        spoken: Probability that some or all steps are paraphrased.
        slip: Whether one amount is wrong and the rest goes by it; the wrong word carries no loss.

    Returns:
        The document; ``<think>`` and what follows from question and text before are learned.
    """
    slipped, steps = _slip(problem, rng) if slip else (-1, problem.steps)
    share = 0.0 if rng.random() >= spoken else rng.choice((0.5, 1.0))
    segments = [Segment(f"{BOS} {problem.question}", False), Segment(THINK, True)]
    for at, step in enumerate(steps):
        words = (paraphrase(step) if rng.random() < share else step).split()
        for place, word in enumerate(words):
            is_slip = (at, place) == (slipped, AMOUNT_AT)
            segments.append(Segment(word, not is_slip and (share == 0.0 or word not in _WORDING)))
    end = f"{END_THINK} {ANSWER} {problem.conclusion(steps)} {EOS}"
    return assemble(WORDS, [*segments, Segment(end, True)])


def _slip(problem: Problem, rng: Random) -> tuple[int, Sequence[str]]:
    at = rng.randrange(problem.size)
    return at, problem.mistaken(at, rng.choice(problem.wrong_amounts(at)), propagate=True)
