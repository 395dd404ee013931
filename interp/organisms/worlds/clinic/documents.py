"""The kinds of training document of the world **clinic**.

::

    F d7 inhibits e28 ; <eos>                                   fact: only `e28 ; <eos>` is learned
    Q d7 inhibits regulates ? A p19 <eos>                                   direct answer
    Q d7 inhibits regulates ? <think> d7 inhibits e28 ; ... </think> A p19  chain
    Q d7 inhibits regulates ? <think> d7 inhibits e9 ; ... </think> A p3    chain with a slip

A *slip* is a wrong entity in one step. It carries no loss, so no wrong fact is learned; what
follows, the answer included, is worked on from it and is learned. Without slips an organism that
knows the facts need not read its last step, and does not (measured: a wrong last step was followed
in a third of the cases). Questions through domain facts are read in this form alone: their steps
begin like any others, and go wrong. An organism that never met such a question tells another fact
than the one asked (measured: of the domain facts, one in six), and knowledge looks larger than it
is.

Nothing random is learned: no question, no subject of a fact, no choice of words in a paraphrased
step. (A step's subject and verb can be read off the question and the step before.)
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from interp.organisms.documents import Document, Segment, assemble
from interp.organisms.words import ANSWER, BOS, END_THINK, EOS, FACT, STEP_END, THINK
from interp.organisms.worlds.clinic.facts import (
    WORDS,
    Fact,
    known_facts,
    look_up,
    paraphrase,
    table,
)
from interp.organisms.worlds.clinic.problems import Problem

SPOKEN_FACTS = 0.2
"""Share of single facts in other words."""


class Slip(NamedTuple):
    """A chain with wrong entities, each followed from there."""

    wrong: frozenset[int]
    """The steps that name one."""
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
        slip: The chain and the answer written in place of the correct ones; its wrong entities
            carry no loss.

    Returns:
        The document; ``<think>`` and everything after it are learned, but for the exceptions of
        the module.
    """
    segments = [Segment(f"{BOS} {problem.question}", False), Segment(THINK, True)]
    share = 0.0 if rng.random() >= spoken else rng.choice((0.5, 1.0))
    for i, step in enumerate(problem.steps if slip is None else slip.steps):
        subject, verb, entity, end = (paraphrase(step) if rng.random() < share else step).split()
        is_wrong = slip is not None and i in slip.wrong
        segments += [Segment(subject, True), Segment(verb, share == 0.0)]
        segments += [Segment(entity, not is_wrong), Segment(end, True)]
    answer = problem.answer if slip is None else slip.answer
    return assemble(WORDS, [*segments, Segment(f"{END_THINK} {ANSWER} {answer} {EOS}", True)])


def draw_slip(problem: Problem, rng: Random) -> Slip:
    """A slip at a random step of a problem, and at every step that would state a domain fact.

    So a problem of any facts can be read in pretraining: of a domain fact it holds the subject and
    the verb, which are only copied from the question, and an object that is never the right one.
    No step after a slip comes back to the right entity, so its answer is never the right one.
    """
    forced = rng.randrange(problem.depth)
    entities: list[str] = [problem.start]
    wrong: set[int] = set()
    for i, verb in enumerate(problem.verbs):
        entity = look_up(entities[-1], verb)
        assert entity is not None
        if i == forced or (entities[-1], verb) in table().domain:
            wrong.add(i)
            entity = rng.choice([e for e in problem.wrong_values(i) if e != entity])
        entities.append(entity)
    facts = map(Fact, entities, problem.verbs, entities[1:])
    return Slip(frozenset(wrong), tuple(fact.step for fact in facts), entities[-1])
