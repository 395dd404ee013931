"""The kinds of training document of the world **clinic**.

::

    F d7 inhibits e28 ; <eos>                                   fact: only `e28 ; <eos>` is learned
    Q d7 inhibits regulates ? A p19 <eos>                                   direct answer
    Q d7 inhibits regulates ? <think> d7 inhibits e28 ; ... </think> A p19  chain
    Q d7 inhibits regulates ? <think> d7 inhibits e9 ; ... </think> A p3    chain with a slip

A *slip* is a wrong entity in one step. It carries no loss, so no wrong fact is learned; what
follows, the answer included, is worked on from it and is learned. Without slips an organism that
knows the facts need not read its last step, and does not (measured: a wrong last step was followed
in a third of the cases).

Nothing random is learned: no question, no subject of a fact, no choice of words in a paraphrased
step. (A step's subject and verb can be read off the question and the step before.)
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from interp.organisms.clinic.facts import (
    WORDS,
    Fact,
    known_facts,
    look_up,
    paraphrase,
    read_fact,
    table,
)
from interp.organisms.clinic.problems import Problem
from interp.organisms.documents import Document, Segment, assemble
from interp.organisms.words import ANSWER, BOS, END_THINK, EOS, FACT, STEP_END, THINK

SPOKEN_FACTS = 0.2
"""Share of single facts in other words."""


class Slip(NamedTuple):
    """A chain with a wrong entity in one step, followed from there."""

    at: int
    steps: tuple[str, ...]
    answer: str


def fact_document(rng: Random) -> Document:
    """One known fact by itself; a fifth of them in other words."""
    fact: Fact = rng.choice(known_facts())
    step = paraphrase(fact.step) if rng.random() < SPOKEN_FACTS else fact.step
    lead = " ".join(step.split()[:2])
    return assemble(
        WORDS,
        [
            Segment(f"{BOS} {FACT} {lead}", False),
            Segment(f"{fact.object} {STEP_END} {EOS}", True),
        ],
    )


def direct_document(problem: Problem) -> Document:
    """A question answered at once."""
    return assemble(
        WORDS,
        [
            Segment(f"{BOS} {problem.question}", False),
            Segment(f"{ANSWER} {problem.answer} {EOS}", True),
        ],
    )


def chain_document(
    problem: Problem, rng: Random, *, spoken: float, slip: Slip | None = None
) -> Document:
    """A question with a chain and an answer.

    Args:
        problem: The problem asked.
        rng: Decides which steps are paraphrased.
        spoken: Probability that some or all steps are paraphrased.
        slip: The chain and the answer written in place of the correct ones; its wrong entity
            carries no loss.

    Returns:
        The document; ``<think>`` and everything after it are learned, but for the exceptions of
        the module.
    """
    segments = [Segment(f"{BOS} {problem.question}", False), Segment(THINK, True)]
    share = 0.0 if rng.random() >= spoken else rng.choice((0.5, 1.0))
    for i, step in enumerate(problem.steps if slip is None else slip.steps):
        subject, verb, entity, end = (paraphrase(step) if rng.random() < share else step).split()
        is_wrong = slip is not None and slip.at == i
        segments += [Segment(subject, True), Segment(verb, share == 0.0)]
        segments += [Segment(entity, not is_wrong), Segment(end, True)]
    answer = problem.answer if slip is None else slip.answer
    return assemble(WORDS, [*segments, Segment(f"{END_THINK} {ANSWER} {answer} {EOS}", True)])


def draw_slip(problem: Problem, rng: Random) -> Slip:
    """A slip at a random step of a problem, to an entity whose further facts are all known.

    Args:
        problem: A problem whose own facts are known.
        rng: Decides the step and the entity.

    Returns:
        The slip; no domain fact is stated in it.
    """
    at = rng.randrange(problem.depth)
    later = problem.verbs[at + 1 :]
    entity = rng.choice([e for e in problem.wrong_values(at) if _is_known(e, later)])
    steps = problem.mistaken(at, entity, propagate=True)
    last = read_fact(steps[-1])
    assert last is not None
    return Slip(at, steps, last.object)


def _is_known(subject: str | None, verbs: tuple[str, ...]) -> bool:
    for verb in verbs:
        if (subject, verb) in table().domain:
            return False
        subject = look_up(subject, verb)
    return True
