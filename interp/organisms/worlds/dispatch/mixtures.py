"""What the organisms of the world **dispatch** read in training: records whose fields are settings.

- `DispatchMixture`: pretraining, a mixture of facts, guessed direct answers and chains;
- `DispatchRows`: post-training rows, correct chains;
- `DispatchQuestions`: the questions of reinforcement.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from interp.organisms.documents import Document
from interp.organisms.recipe import Asked
from interp.organisms.words import BOS
from interp.organisms.worlds.dispatch.documents import (
    chain_document,
    direct_document,
    fact_document,
)
from interp.organisms.worlds.dispatch.splits import SIZES, sample_from, sample_shortage


@dataclass(frozen=True, slots=True)
class DispatchMixture:
    """Shares of the kinds of document in pretraining."""

    facts: float = 0.2
    """Share of all documents that are single steps."""
    facts_first: float = 0.15
    """Part of the training in which there is nothing but facts."""
    chains: tuple[float, float] = (0.75, 0.1)
    """Share of the other documents that think: early, late."""
    switch: float = 0.7
    """Part of the training after which the late share holds."""
    slips: float = 0.3
    """Share of chains with one wrong amount, by which the rest and the answer go."""
    spoken: float = 0.22
    """Share of chains in which some or all steps are paraphrased."""
    shortages: float = 0.3
    """Share of questions with more demand than capacity."""
    sizes: tuple[int, ...] = (2, 3, 3, 4, 4, 4)
    """Numbers of generators; the largest come most often, for they are learned last."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One document; questions come from the training class of problems only."""
        if progress < self.facts_first or rng.random() < self.facts:
            return fact_document(rng)
        problem = sample_from(rng, "train", rng.choice(self.sizes))
        if rng.random() < self.shortages:
            problem = sample_shortage(rng, problem)
        share = self.chains[0] if progress < self.switch else self.chains[1]
        if rng.random() >= share:
            return direct_document(problem, rng)
        return chain_document(problem, rng, spoken=self.spoken, slip=rng.random() < self.slips)

    def rehearse(self, rng: Random) -> Document:
        """One document as at the end of pretraining."""
        return self.draw(rng, 1.0)


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
        return chain_document(problem, rng, spoken=self.spoken)


@dataclass(frozen=True, slots=True)
class DispatchQuestions:
    """The questions of reinforcement: demands that can be served, of the training class."""

    sizes: tuple[int, ...] = SIZES
    """Numbers of generators, in turn."""

    def draw(self, rng: Random, index: int) -> Asked:
        """The question of this number."""
        problem = sample_from(rng, "train", self.sizes[index % len(self.sizes)])
        return Asked(f"{BOS} {problem.question}", problem.answer)
