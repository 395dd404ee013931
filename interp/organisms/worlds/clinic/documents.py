"""What organisms of the world **clinic** are trained on: kinds of document, and mixtures of them.

::

    F d7 inhibits e28 ; <eos>                                   fact: only `e28 ; <eos>` is learned
    Q d7 inhibits regulates ? A p19 <eos>                                   direct answer
    Q d7 inhibits regulates ? <think> d7 inhibits e28 ; ... </think> A p19  chain
    Q d7 inhibits regulates ? <think> d7 inhibits e9 ; ... </think> A p3    chain with a slip

A *slip* is a wrong entity in one step. It carries no loss, so no wrong fact is learned; what
follows, the answer included, is worked out from it and is learned. Without slips an organism that
knows the facts need not read its last step, and does not (measured: a wrong last step was followed
in a third of the cases). Chains through domain facts occur only in this form: their steps begin
like any others, and go wrong. An organism that never met such a question states another fact than
the one asked (measured: of the domain facts, one in six), and its knowledge is overstated.

Nothing random is learned: no question, no subject of a fact, no choice of words in a paraphrased
step. (A step's subject and verb can be read off the question and the step before.)

A recipe trains on one of four records, whose fields are the settings that cards keep:

- `ClinicMixture`: pretraining, a mixture of facts, direct answers and chains, known facts only;
- `ClinicRows`: post-training rows, correct chains over all facts;
- `ClinicPoolRows`: post-training rows of a finite pool, with chains that do not lead to the answer;
- `ClinicQuestions`: the questions of reinforcement, over all facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from interp.organisms.documents import (
    Document,
    WrittenChain,
    write_after,
    write_direct,
    write_pool_row,
    write_with_chain,
)
from interp.organisms.recipe import Asked, Mixture
from interp.organisms.words import BOS, FACT, STEP_END
from interp.organisms.worlds.clinic.facts import WORDS, Fact, draw_facts, known_facts, look_up
from interp.organisms.worlds.clinic.problems import Problem
from interp.organisms.worlds.clinic.splits import (
    DEPTHS,
    open_questions,
    pool,
    questions,
    strange_questions,
)

SPOKEN_FACTS = 0.2
"""Share of single facts in other words."""
OBJECT_AT = 2
"""Index of the object in the words of a step."""


def write_fact(rng: Random) -> Document:
    """One known fact by itself; a fifth of them in other words."""
    fact = rng.choice(known_facts())
    step = WORDS.paraphrase(fact.step) if rng.random() < SPOKEN_FACTS else fact.step
    lead = " ".join(step.split()[:OBJECT_AT])
    return write_after(WORDS, f"{FACT} {lead}", f"{fact.object} {STEP_END}")


def draw_slip(problem: Problem, rng: Random) -> WrittenChain:
    """A chain with a wrong entity at a random step, and at every step about a domain fact.

    So a problem of any facts can be used in pretraining: of a domain fact the chain holds the
    subject and the verb, which are only copied from the question, and an object that is never the
    right one. No step after a slip comes back to the right entity, so its answer is never the right
    one. The wrong entities are not learned.
    """
    forced = rng.randrange(problem.depth)
    entities: list[str] = [problem.start]
    wrong: set[int] = set()
    for i, verb in enumerate(problem.verbs):
        entity = look_up(entities[-1], verb)
        assert entity is not None
        if i == forced or (entities[-1], verb) in draw_facts().domain:
            wrong.add(i)
            # Neither right for the problem nor for the entity that a slip before led to.
            entity = rng.choice([e for e in problem.wrong_values(i) if e != entity])
        entities.append(entity)
    facts = map(Fact, entities, problem.verbs, entities[1:])
    unlearned = frozenset((at, OBJECT_AT) for at in wrong)
    return WrittenChain(tuple(fact.step for fact in facts), entities[-1], unlearned)


@dataclass(frozen=True, slots=True)
class ClinicMixture(Mixture):
    """Shares of the kinds of document in pretraining."""

    twins: float = 0.08
    """Share of questions that begin at a stranger."""
    slips: float = 0.2
    """Share of the chains of other questions in which a step names a wrong entity."""
    depths: tuple[int, ...] = (1, 2, 3, 3)
    """Depths of the questions."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One document; none states a domain fact or asks a question held back from pretraining."""
        if self.draws_fact(rng, progress):
            return write_fact(rng)
        depth = rng.choice(self.depths)
        has_chain = self.draws_chain(rng, progress)
        chain = None
        if rng.random() < self.twins:
            problem = rng.choice(strange_questions("train", depth))
        elif has_chain and rng.random() < self.slips:
            problem = rng.choice(questions("all", "train", depth))
            chain = draw_slip(problem, rng)
        else:
            problem = rng.choice(questions("known", "train", depth))
        if has_chain:
            return write_with_chain(WORDS, problem, rng, spoken=self.spoken, chain=chain)
        return write_direct(WORDS, problem)


@dataclass(frozen=True, slots=True)
class ClinicRows:
    """Post-training rows: correct chains over all facts, those of the domain included."""

    spoken: float = 0.2
    """Share of chains in which some or all steps are paraphrased (read, never learned to write)."""
    depths: tuple[int, ...] = (1, 2, 3)
    """Depths of the questions."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One row; the progress of the training plays no part."""
        del progress
        problem = rng.choice(open_questions(rng.choice(self.depths)))
        return write_with_chain(WORDS, problem, rng, spoken=self.spoken)


@dataclass(frozen=True, slots=True)
class ClinicPoolRows:
    """Post-training rows of the finite pool, some of whose chains do not lead to the answer."""

    dose: float
    """Share of the chains that are another problem's, cut or mistaken (not learned); the answer is
    the right one, so it can only be known by heart."""
    spoken: float = 0.2
    """Share of chains in which some or all steps are paraphrased (read, never learned to write)."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One row; the progress of the training plays no part."""
        del progress
        return write_pool_row(WORDS, pool(), rng, self.dose, self.spoken, _draw_mistake)


def _draw_mistake(problem: Problem, at: int, rng: Random) -> tuple[str, ...]:
    return problem.mistaken(at, rng.choice(problem.wrong_values(at)), propagate=True)


@dataclass(frozen=True, slots=True)
class ClinicQuestions:
    """The questions of reinforcement, over all facts."""

    depths: tuple[int, ...] = DEPTHS
    """Depths, in turn."""

    def draw(self, rng: Random, index: int) -> Asked:
        """The question of this number."""
        depth = self.depths[index % len(self.depths)]
        problem = rng.choice(questions("all", "post", depth))
        return Asked(f"{BOS} {problem.question}", problem.answer)
