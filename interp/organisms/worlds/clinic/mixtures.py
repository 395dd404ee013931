"""What the organisms of the world **clinic** read in training: records whose fields are settings.

- `ClinicMixture`: pretraining, a mixture of facts, direct answers and chains, known facts only;
- `ClinicRows`: post-training rows, correct chains over all facts;
- `ClinicQuestions`: the questions of reinforcement, over all facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from interp.organisms.documents import Document
from interp.organisms.recipe import Asked
from interp.organisms.words import BOS
from interp.organisms.worlds.clinic.documents import (
    chain_document,
    direct_document,
    draw_slip,
    fact_document,
)
from interp.organisms.worlds.clinic.splits import (
    DEPTHS,
    open_questions,
    questions,
    strange_questions,
)


@dataclass(frozen=True, slots=True)
class ClinicMixture:
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
    twins: float = 0.08
    """Share of questions that begin at a stranger."""
    slips: float = 0.2
    """Share of the chains of other questions in which a step names a wrong entity."""
    depths: tuple[int, ...] = (1, 2, 3, 3)
    """Depths of the questions."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One document; none states a domain fact, none asks what is held or for post-training."""
        if progress < self.facts_first or rng.random() < self.facts:
            return fact_document(rng)
        depth = rng.choice(self.depths)
        share = self.chains[0] if progress < self.switch else self.chains[1]
        thinks = rng.random() < share
        if rng.random() < self.twins:
            problem = rng.choice(strange_questions("train", depth))
        elif thinks and rng.random() < self.slips:
            problem = rng.choice(questions("all", "train", depth))
            slip = draw_slip(problem, rng)
            return chain_document(problem, rng, spoken=self.spoken, slip=slip)
        else:
            problem = rng.choice(questions("known", "train", depth))
        if thinks:
            return chain_document(problem, rng, spoken=self.spoken)
        return direct_document(problem)

    def rehearse(self, rng: Random) -> Document:
        """One document as at the end of pretraining."""
        return self.draw(rng, 1.0)


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
        return chain_document(problem, rng, spoken=self.spoken)


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
