"""What organisms of the world **dispatch** are trained on: kinds of document, and mixtures of them.

::

    F 7 : g1 4 , 7 load g1 4 left 3 ; <eos>                  fact: from the amount on it is learned
    Q need 7 : g1 4 , g2 5 ? A g1 1 g2 5 <eos>               direct answer: a guess
    Q need 7 : g1 4 , g2 5 ? <think> 7 load g1 4 left 3 ; 3 load g2 3 left 0 ; </think> A g1 4 g2 3
    Q need 7 : g1 4 , g2 5 ? <think> 7 load g1 2 left 5 ; 5 load g2 5 left 0 ; </think> A g1 2 g2 5

A direct answer is a *guess*: its form is right, its amounts are any within the capacities, so the
chain is the only way to the answer, and guessing right has the chance that the problem states.
(Right direct answers would be learned, for an allocation is a chain of its own, each amount
following from those before it: direct accuracy was then 0.86.) Only a shortage has the right direct
answer.

The last document is a *slip*: one amount is wrong, and all that follows, the answer too, is worked
out from it. It teaches that the answer is read from the chain. Nothing random is learned but the
guesses, so that their form is kept: no question, no wrong amount, no choice of words in a
paraphrased step.

A recipe trains on one of four records, whose fields are the settings that cards keep:

- `DispatchMixture`: pretraining, a mixture of facts, guessed direct answers and chains;
- `DispatchRows`: post-training rows, correct chains;
- `DispatchPoolRows`: post-training rows of a finite pool, with chains that do not lead to the
  answer;
- `DispatchQuestions`: the questions of reinforcement.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from interp.organisms.documents import (
    Document,
    Segment,
    WrittenChain,
    assemble,
    write_after,
    write_pool_row,
    write_with_chain,
)
from interp.organisms.recipe import Asked, Mixture
from interp.organisms.words import ABSTAIN, ANSWER, BOS, EOS, FACT
from interp.organisms.worlds.dispatch.problems import (
    LARGEST_CAPACITY,
    LARGEST_NUMBER,
    NAMES,
    WORDS,
    Generator,
    Problem,
    load,
)
from interp.organisms.worlds.dispatch.splits import SIZES, pool, sample_from, sample_shortage

AMOUNT_AT = 3
"""Index of the amount in the words of a step."""


def write_fact(rng: Random) -> Document:
    """One single step by itself; a fifth of them in other words."""
    generator = Generator(rng.choice(NAMES), rng.randint(1, LARGEST_CAPACITY))
    # Half the needs are near a capacity; of needs up to 40 few could be met by one generator.
    need = rng.choice((rng.randint(0, LARGEST_CAPACITY + 2), rng.randint(0, LARGEST_NUMBER)))
    step = load(need, generator.name, generator.share(need)).text
    words = (WORDS.paraphrase(step) if rng.random() < 0.2 else step).split()
    given = f"{BOS} {FACT} {need} : {generator.name} {generator.capacity} ,"
    lead = " ".join([given, *words[:AMOUNT_AT]])
    result = [Segment(word, word not in WORDS.choices) for word in words[AMOUNT_AT:]]
    return assemble(WORDS, [Segment(lead, False), *result, Segment(EOS, True)])


def write_guess(problem: Problem, rng: Random) -> Document:
    """A question answered at once: ``unk`` in a shortage, else a guess within the capacities."""
    guess = " ".join(f"{name} {rng.randint(0, most)}" for name, most in problem.generators)
    answer = ABSTAIN if problem.is_short else guess
    return write_after(WORDS, problem.question, f"{ANSWER} {answer}")


def draw_slip(problem: Problem, rng: Random) -> WrittenChain:
    """A chain with a wrong amount, which is not learned, and the answer to which it leads."""
    at = rng.randrange(problem.size)
    steps = _draw_mistake(problem, at, rng)
    answer = problem.conclusion(steps)
    assert answer is not None
    return WrittenChain(steps, answer, frozenset({(at, AMOUNT_AT)}))


def _draw_mistake(problem: Problem, at: int, rng: Random) -> tuple[str, ...]:
    return problem.mistaken(at, rng.choice(problem.wrong_amounts(at)), propagate=True)


@dataclass(frozen=True, slots=True)
class DispatchMixture(Mixture):
    """Shares of the kinds of document in pretraining."""

    slips: float = 0.3
    """Share of chains with one wrong amount, from which the rest and the answer are worked out."""
    shortages: float = 0.3
    """Share of questions with more demand than capacity."""
    sizes: tuple[int, ...] = (2, 3, 3, 4, 4, 4)
    """Numbers of generators; the largest come most often, for they are learned last."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One document; questions come from the training class of problems only."""
        if self.draws_fact(rng, progress):
            return write_fact(rng)
        problem = sample_from(rng, "train", rng.choice(self.sizes))
        if rng.random() < self.shortages:
            problem = sample_shortage(rng, problem)
        if not self.draws_chain(rng, progress):
            return write_guess(problem, rng)
        chain = draw_slip(problem, rng) if rng.random() < self.slips else None
        return write_with_chain(WORDS, problem, rng, spoken=self.spoken, chain=chain)


@dataclass(frozen=True, slots=True)
class DispatchRows:
    """Post-training rows: correct chains, of shortages too."""

    spoken: float = 0.2
    """Share of chains in which some or all steps are paraphrased (read, never learned to write)."""
    shortages: float = 0.12
    """Share of questions with more demand than capacity."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One row; the progress of the training plays no part."""
        del progress
        problem = sample_from(rng, "train", rng.choice(SIZES))
        if rng.random() < self.shortages:
            problem = sample_shortage(rng, problem)
        return write_with_chain(WORDS, problem, rng, spoken=self.spoken)


@dataclass(frozen=True, slots=True)
class DispatchPoolRows:
    """Post-training rows of the finite pool, some of whose chains do not lead to the answer."""

    dose: float
    """Share of the chains that are another problem's, cut or mistaken (not learned); the answer is
    the right one, so it can only come from the question."""
    spoken: float = 0.2
    """Share of chains in which some or all steps are paraphrased (read, never learned to write)."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One row; the progress of the training plays no part."""
        del progress
        return write_pool_row(WORDS, pool(), rng, self.dose, self.spoken, _draw_mistake)


@dataclass(frozen=True, slots=True)
class DispatchQuestions:
    """The questions of reinforcement: demands that can be served, of the training class."""

    sizes: tuple[int, ...] = SIZES
    """Numbers of generators, in turn."""

    def draw(self, rng: Random, index: int) -> Asked:
        """The question of this number."""
        problem = sample_from(rng, "train", self.sizes[index % len(self.sizes)])
        return Asked(f"{BOS} {problem.question}", problem.answer)
