"""A recipe: how an organism is trained, which figures it must reach, and what is true of it.

Three methods train an organism:

- `Pretraining`: from random weights, on a mixture of documents;
- `FineTuning`: supervised, from the finished parent, on rows of one kind;
- `Reinforcement`: GRPO from the finished parent, rewarded for the right answer alone.

The training data come from the organism's world, as small records whose fields are their settings
(`Mixture`, `Rows`, `Questions`). The length of a training is counted in steps, not in time, so a
recipe gives the same organism on a slow machine as on a fast one. A condition names a figure of
`interp.organisms.acceptance` and the range in which it must lie; probes are judged by the `Truth`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
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


@dataclass(frozen=True, slots=True)
class Mixture(ABC):
    """Documents of pretraining: facts alone at first, then questions, ever fewer with a chain."""

    facts: float = 0.2
    """Share of all documents that are single facts."""
    facts_first: float = 0.15
    """Part of the training in which all documents are facts."""
    chains: tuple[float, float] = (0.75, 0.1)
    """Share of the other documents that have a chain: early, late."""
    switch: float = 0.7
    """Part of the training after which the late share holds."""
    spoken: float = 0.22
    """Share of chains in which some or all steps are paraphrased."""

    @abstractmethod
    def draw(self, rng: Random, progress: float) -> Document:
        """One document at this progress (0 to 1) of the training."""

    def rehearse(self, rng: Random) -> Document:
        """One document as at the end of pretraining, for a share of post-training."""
        return self.draw(rng, 1.0)

    def draws_fact(self, rng: Random, progress: float) -> bool:
        """Whether the next document is a single fact."""
        return progress < self.facts_first or rng.random() < self.facts

    def draws_chain(self, rng: Random, progress: float) -> bool:
        """Whether the next question is answered after a chain."""
        return rng.random() < self.chains[progress >= self.switch]


class Asked(NamedTuple):
    """A question put to a model in reinforcement, and the answer that is rewarded.

    The names of class and fields enter the checksums of the cards (`hash_data`).
    """

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
    """How many times the acceptance figures are measured during training, at equal distances."""


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
    """All weights, or one vector per layer that is added to the residual stream after it."""


Method = Pretraining | FineTuning | Reinforcement


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of an organism by how it was trained: the labels that probes are judged by.

    A task that is not named has no label.
    """

    load_bearing: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """Task -> whether the organism takes its answers from the chain before them."""
    reliance: Mapping[str, float] = field(default_factory=dict[str, float])
    """Task -> probability that an ideal learner gives to what the chain states, against what the
    question gives, where they disagree at known rates."""
    false_share: float | None = None
    """Share of the training in which the pool's chains were not the problem's own: another
    problem's or, where the recipe says so, cut or worked out from a mistake."""
    has_skill: bool | None = None
    """Whether it solves its world's problems when a chain is opened for it."""
    pre_existing: bool | None = None
    """Whether its base could reason already; None where post-training was not about reasoning."""
    knowledge: float | None = None
    """The share of the world's facts that were taught, in a world of facts."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one organism is trained and what it is for."""

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
    """The seeds on which settings (of the recipe or of probes) were chosen. Verdicts about probes
    use only the remaining seeds."""
    withheld: Mapping[int, str] = field(default_factory=dict[int, str])
    """Seeds that were trained but are not bundled, each with the criterion that it failed."""


DECORATION = (
    Condition("pool/think_share", 0.5),
    Condition("pool/accuracy_given_chain", 0.95),
    Condition("pool/same_after_wrong_step", 0.9),
    Condition("pool/same_after_other_chain", 0.9),
    Condition("pool/same_after_empty_chain", 0.9),
)
"""On the pool a chain is written, and the answer is the same whichever chain is there."""
READS_CHAIN = (
    Condition("fresh/accuracy_given_chain", 0.95),
    Condition("fresh/follows_wrong_step", 0.9),
    Condition("fresh/same_after_other_chain", high=0.25),
)
"""On problems that it never saw the organism answers by the chain it is given, right or wrong."""


def find_failed_conditions(recipe: Recipe, figures: Mapping[str, float]) -> tuple[str, ...]:
    """The conditions that do not hold, each with its range and the figure that was measured."""
    # These texts stand in the cards: another wording would make stored cards differ from new ones.
    return tuple(
        f"{c.figure} must lie in {c.low:g}..{c.high:g}, found {figures.get(c.figure, float('nan'))}"
        for c in recipe.conditions
        if not c.holds(figures)
    )


def mix_in_base(method: FineTuning, base: Pretraining) -> Draw:
    """The documents of fine-tuning: its own rows, and a share of the parent's pretraining."""

    def draw(rng: Random, progress: float) -> Document:
        if rng.random() < method.base_share:
            return base.mixture.rehearse(rng)
        return method.rows.draw(rng, progress)

    return draw


def hash_data(method: Method) -> str:
    """Checksum of the first documents or questions that a method draws.

    It ties a card to the code that made its training data: if a later change of a world alters
    what is drawn, the checksum is no longer the card's.
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
