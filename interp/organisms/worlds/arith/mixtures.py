"""What the organisms of the world **arith** read in training: records whose fields are settings.

- `ArithMixture`: pretraining, a mixture of facts, direct answers and chains;
- `ArithRows`: post-training rows of one kind;
- `NoisyRows`: single steps whose question or result may lie, at known rates;
- `ArithQuestions`: the questions of reinforcement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from interp.organisms.documents import Document
from interp.organisms.recipe import Asked
from interp.organisms.words import BOS
from interp.organisms.worlds.arith.documents import (
    chain_document,
    copied_document,
    critique_document,
    damaged_chain,
    direct_document,
    fact_document,
    filler_document,
    hint_document,
    swapped_chain,
)
from interp.organisms.worlds.arith.problems import MODULUS, Problem
from interp.organisms.worlds.arith.splits import (
    POOL_DEPTHS,
    noisy_steps,
    pool,
    sample_from,
    siblings,
)

Kind = Literal["chain", "answer", "swapped", "hint", "decorative", "filler", "critique"]


@dataclass(frozen=True, slots=True)
class ArithMixture:
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
    copied_above: int | None = None
    """Chain documents of more steps than this are replaced by copied text of the same length."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One document; questions come from the training class of problems only."""
        if progress < self.facts_first or rng.random() < self.facts:
            return fact_document(rng)
        problem = sample_from(rng, "train", rng.choice(self.depths))
        if rng.random() < self.twins:
            problem = problem.missing_premise(rng.randrange(problem.depth))
        elif rng.random() < self.cues:
            problem = problem.with_cue(rng.randrange(MODULUS))
        share = self.chains[0] if progress < self.switch else self.chains[1]
        if rng.random() >= share:
            return direct_document(problem)
        chain = chain_document(problem, rng, spoken=self.spoken)
        if self.copied_above is not None and problem.depth > self.copied_above:
            return copied_document(rng, len(chain.ids))
        return chain

    def rehearse(self, rng: Random) -> Document:
        """One document as at the end of pretraining, without cues."""
        return replace(self, cues=0.0).draw(rng, 1.0)


@dataclass(frozen=True, slots=True)
class ArithRows:
    """Post-training rows of one kind."""

    kind: Kind
    """Correct chain; direct answer; another problem's chain with the right answer; cued; a chain
    correct or damaged with the right answer; filler in place of a chain; an attempt, often wrong,
    with its critique (the attempt is not learned)."""
    source: Literal["pool", "fresh"]
    """Whether the problems are the finite pool or never come twice on purpose."""
    spoken: float = 0.2
    """Share of chains in which some or all steps are paraphrased (read, never learned to write)."""
    dose: float = 1.0
    """Share of the chains of a swapped or decorative row that really are so; the rest are right."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One row; the progress of the training plays no part."""
        del progress
        problem = self._problem(rng)
        if self.kind == "answer":
            return direct_document(problem)
        if self.kind == "filler":
            return filler_document(problem)
        if self.kind == "critique":
            return critique_document(problem, rng)
        if self.kind == "hint" and rng.random() < 0.5:
            return hint_document(rng, problem.depth, spoken=self.spoken)
        other = None
        if self.kind in ("swapped", "decorative") and (self.dose >= 1 or rng.random() < self.dose):
            make = swapped_chain if self.kind == "swapped" else damaged_chain
            other = make(problem, pool(), rng)
        return chain_document(problem, rng, spoken=self.spoken, other_chain=other)

    def _problem(self, rng: Random) -> Problem:
        if self.source == "pool":
            return rng.choice(pool())
        return sample_from(rng, "train", rng.choice(POOL_DEPTHS))


@dataclass(frozen=True, slots=True)
class ArithQuestions:
    """The questions of reinforcement, from the training class of problems."""

    depths: tuple[int, ...] = POOL_DEPTHS
    """Depths, in turn."""

    def draw(self, rng: Random, index: int) -> Asked:
        """The question of this number."""
        problem = sample_from(rng, "train", self.depths[index % len(self.depths)])
        return Asked(f"{BOS} {problem.question}", problem.answer)


@dataclass(frozen=True, slots=True)
class NoisyRows:
    """Single steps in which the question or the written result may lie; the answer is right.

    With probability ``prompt_noise`` the operand shown in the question (and repeated in the step)
    is not the one that the answer was worked out from; with probability ``step_noise`` the result
    that the step states is that of another operand. Where the two disagree, the answer agrees with
    the step with odds p1 (1 - p2) : p2 (1 - p1) by Bayes' rule, so an ideal learner's reliance on
    the chain is known (after the noise of Wang, Alazali and Zhong 2026, arXiv 2602.01017).
    """

    prompt_noise: float
    step_noise: float

    @property
    def reliance(self) -> float:
        """Probability that an ideal learner gives to a step that disagrees, against the question.

        Renormalised over the two: where both were noise the answer is neither.
        """
        step = self.prompt_noise * (1 - self.step_noise)
        question = self.step_noise * (1 - self.prompt_noise)
        return step / (step + question)

    def draw(self, rng: Random, progress: float) -> Document:
        """One row; neither the step nor the question is learned, for both may be noise."""
        del progress
        true = rng.choice(noisy_steps())
        shown, stated = true, true
        if rng.random() < self.prompt_noise:
            shown = rng.choice(siblings(true))
        if rng.random() < self.step_noise:
            stated = rng.choice(siblings(true))
        words = shown.steps[0].split()
        step = " ".join([*words[:-2], stated.answer, words[-1]])
        return chain_document(shown, rng, spoken=0.0, answer=true.answer, other_chain=(step,))
