"""What a recipe is: how an organism is made, what it must show to count, and what is true of it.

Three methods make an organism:

- `Pretraining`: from random weights, on a mixture of documents;
- `FineTuning`: supervised, from the finished parent, on rows of one kind;
- `Reinforcement`: GRPO from the finished parent, rewarded for the right answer alone.

What is read in training comes from its world, as small records whose fields are their settings
(`Mixture`, `Rows`, `Questions`). Lengths are counted in steps, so a recipe gives the same organism
on a slow machine as on a fast one. A condition names a figure of `interp.organisms.acceptance` and
the range it must lie in; the `Truth` is what the instruments are judged by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from interp.organisms.documents import Document, Draw

World = Literal["arith", "clinic", "dispatch"]
SEEDS = (0, 1, 2)
N_HASHED = 500


@runtime_checkable
class Rows(Protocol):
    """Documents of post-training; a frozen dataclass whose fields are its settings."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One document at this progress (0 to 1) of the training."""
        ...


@runtime_checkable
class Mixture(Protocol):
    """Documents of pretraining; a frozen dataclass whose fields are its settings."""

    def draw(self, rng: Random, progress: float) -> Document:
        """One document at this progress (0 to 1) of the training."""
        ...

    def rehearse(self, rng: Random) -> Document:
        """One document as they were at the end of pretraining, for a share of post-training."""
        ...


class Asked(NamedTuple):
    """A question put to a model in reinforcement, and the answer that is rewarded."""

    prompt: str
    answer: str


@runtime_checkable
class Questions(Protocol):
    """The questions of reinforcement; a frozen dataclass whose fields are its settings."""

    def draw(self, rng: Random, index: int) -> Asked:
        """The question of this number."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure must lie between ``low`` and ``high``, both allowed."""

    figure: str
    low: float = 0.0
    high: float = 1.0

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Whether the figure is there and in its range (a NaN is not)."""
        return self.low <= figures.get(self.figure, float("nan")) <= self.high


@dataclass(frozen=True, slots=True)
class Pretraining:
    """From random weights."""

    mixture: Mixture
    steps: int
    lr: float = 2e-3
    batch: int = 64


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Supervised, from the parent."""

    rows: Rows
    steps: int
    lr: float = 1e-3
    batch: int = 64
    base_share: float = 0.1
    """Share of rows drawn from the base mixture as it was at the end of pretraining."""
    checkpoints: int = 0
    """How many times along the way the acceptance figures are taken, at equal distances."""


@dataclass(frozen=True, slots=True)
class Reinforcement:
    """GRPO with reward 1 for the right answer and 0 for anything else."""

    questions: Questions
    steps: int
    lr: float = 3e-4
    prompts: int = 16
    samples: int = 16
    max_new_tokens: int = 32
    trained: Literal["weights", "vectors"] = "weights"
    """Everything, or one vector per layer that is added to the residual stream after it."""


Method = Pretraining | FineTuning | Reinforcement


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of an organism by how it was made: the labels that instruments are judged by.

    A task that is not named has no label there.
    """

    load_bearing: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """Task -> whether the answer to its questions comes from the chain that is read."""
    reliance: Mapping[str, float] = field(default_factory=dict[str, float])
    """Task -> probability that an ideal learner gives to what the chain states, against what the
    question gives, where they disagree and a dose is known."""
    swapped_share: float | None = None
    """Share of the training in which the pool's chains were those of other problems."""
    has_skill: bool | None = None
    """Whether the world's problems can be solved by thinking when made to."""
    pre_existing: bool | None = None
    """Whether its base could reason already; None where post-training was not about reasoning."""
    knowledge: float | None = None
    """The share of the world's facts that were taught, in a world of facts."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one organism is made and what it is for."""

    name: str
    purpose: str
    """The truth that the organism supplies, in one sentence."""
    method: Method
    conditions: tuple[Condition, ...]
    parent: str | None = None
    truth: Truth = field(default_factory=Truth)
    world: World = "arith"
    seeds: tuple[int, ...] = SEEDS
    """The seeds that are bundled."""
    tuned_on: tuple[int, ...] = SEEDS
    """The seeds that settings were chosen on, of the recipe or of instruments; the others judge."""
    withheld: Mapping[int, str] = field(default_factory=dict[int, str])
    """Seeds that were trained and are not bundled, and what they failed."""


def failed_conditions(recipe: Recipe, figures: Mapping[str, float]) -> tuple[str, ...]:
    """The conditions that do not hold, each with the range asked and the figure found."""
    return tuple(
        f"{c.figure} must lie in {c.low:g}..{c.high:g}, found {figures.get(c.figure, float('nan'))}"
        for c in recipe.conditions
        if not c.holds(figures)
    )


def reading_of(method: FineTuning, base: Pretraining) -> Draw:
    """What is read in fine-tuning: its own rows, and a share of the parent's pretraining."""

    def draw(rng: Random, progress: float) -> Document:
        if rng.random() < method.base_share:
            return base.mixture.rehearse(rng)
        return method.rows.draw(rng, progress)

    return draw


def data_sha256(method: Method) -> str:
    """Checksum of the first documents or questions that a method draws.

    It ties a card to the code that made its training data: if a later change of a world alters
    what is drawn, the checksum of the card is another one.
    """
    rng = Random("checksum")
    drawn: list[object] = []
    for index in range(N_HASHED):
        if isinstance(method, Reinforcement):
            drawn.append(method.questions.draw(rng, index))
        else:
            source = method.mixture if isinstance(method, Pretraining) else method.rows
            drawn.append(source.draw(rng, index / N_HASHED))
    return hashlib.sha256(repr(drawn).encode()).hexdigest()
