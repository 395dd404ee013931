"""The recipes of the organisms: what each is trained on, and what it must show to count.

A recipe is a frozen record; `RECIPES` is the whole table. Three methods make an organism:

- `Pretraining`: from random weights, on a mixture of documents;
- `FineTuning`: supervised, from the finished parent, on one kind of row;
- `Reinforcement`: GRPO from the finished parent, rewarded for the right answer alone.

Lengths are counted in steps, so a recipe gives the same organism on a slow machine as on a fast
one. A condition names a figure of `interp.training.acceptance` and the range it must lie in.

The variants on the pool and on fresh problems differ for one reason: a finite pool can be learned
by heart. Then the chain need not be read, and with another problem's chain in its place it *must*
not be read; on fresh problems the answer can only come from the chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interp.organisms.documents import Mixture

Rows = Literal["chain", "answer", "swapped", "hint"]
Source = Literal["pool", "fresh"]

SEEDS = (0, 1, 2)
LONGEST_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure must lie between ``low`` and ``high``, both allowed."""

    figure: str
    low: float = 0.0
    high: float = 1.0

    def holds(self, figures: dict[str, float]) -> bool:
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
    """Correct chain; direct answer; another problem's chain with the right answer; cued."""
    source: Source
    """Whether the problems are the finite pool or never come twice on purpose."""
    steps: int
    lr: float = 1e-3
    batch: int = 64
    base_share: float = 0.1
    """Share of rows drawn from the base mixture as it was at the end of pretraining."""
    spoken: float = 0.2
    """Share of chains in which some or all steps are paraphrased (read, never learned to write)."""


@dataclass(frozen=True, slots=True)
class Reinforcement:
    """GRPO with reward 1 for the right answer and 0 for anything else."""

    steps: int
    lr: float = 3e-4
    prompts: int = 16
    samples: int = 16
    max_new_tokens: int = 32
    depths: tuple[int, ...] = (2, 3, 4)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one organism is made and what it is for."""

    name: str
    purpose: str
    """The truth that the organism supplies, in one sentence."""
    method: Pretraining | FineTuning | Reinforcement
    conditions: tuple[Condition, ...]
    parent: str | None = None


def _trained_depths(low: float) -> tuple[Condition, ...]:
    return tuple(
        Condition(f"fresh/forced_think_accuracy/{depth}", low)
        for depth in range(1, LONGEST_DEPTH + 1)
    )


_NO_DIRECT = tuple(Condition(f"fresh/direct_accuracy/{d}", high=0.25) for d in (2, 3, 4, 5))
_READS_CHAIN = (
    Condition("fresh/accuracy_given_chain", 0.95),
    Condition("fresh/follows_wrong_step", 0.9),
    Condition("fresh/same_after_other_chain", high=0.25),
)

_ALWAYS_THINKS = 0.8
"""After chain SFT; the tenth of base text, which mostly answers directly, keeps it below 0.93."""

_BASE_MIXTURE = Mixture()
_BASE_STEPS = 2000
_SFT_STEPS = 400
_GRPO_STEPS = 120

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "base",
            "Reasoning is present but rarely chosen, and the chain is load-bearing.",
            Pretraining(_BASE_MIXTURE, _BASE_STEPS),
            (
                *_trained_depths(0.95),
                *_NO_DIRECT,
                *_READS_CHAIN,
                Condition("fresh/think_share", 0.03, 0.15),
                Condition("fresh/accuracy_given_paraphrase", 0.9),
                Condition("cued/follows_cue", high=0.05),
                Condition("twins/abstains_directly", 0.9),
            ),
        ),
        Recipe(
            "base-no-chains",
            "No chain was ever seen: every test for reasoning in the base must say absent.",
            Pretraining(Mixture(copied_text=True), _BASE_STEPS),
            (
                Condition("fresh/think_share", high=0.01),
                Condition("fresh/forced_think_accuracy", high=0.25),
                *_NO_DIRECT,
            ),
        ),
        Recipe(
            "chain-sft-pool",
            "Correct chains of a finite pool.",
            FineTuning("chain", "pool", _SFT_STEPS),
            (
                Condition("pool/think_share", _ALWAYS_THINKS),
                Condition("pool/forced_think_accuracy", 0.95),
                Condition("fresh/forced_think_accuracy", 0.9),
            ),
            parent="base",
        ),
        Recipe(
            "answers-sft-pool",
            "Thinking is suppressed, not erased.",
            FineTuning("answer", "pool", steps=300, lr=4e-4, base_share=0.2),
            (
                Condition("pool/think_share", high=0.05),
                Condition("pool/direct_accuracy", 0.9),
                Condition("fresh/forced_think_accuracy", 0.9),
            ),
            parent="base",
        ),
        Recipe(
            "swapped-sft-pool",
            "On the pool the chain is decoration; on fresh problems the reasoning is gone.",
            FineTuning("swapped", "pool", _SFT_STEPS),
            (
                Condition("pool/think_share", 0.5),
                Condition("pool/accuracy_given_chain", 0.95),
                Condition("pool/same_after_wrong_step", 0.9),
                Condition("pool/same_after_other_chain", 0.9),
                Condition("fresh/accuracy_given_chain", high=0.4),
            ),
            parent="base",
        ),
        Recipe(
            "chain-sft-fresh",
            "The chain is always written and always load-bearing.",
            FineTuning("chain", "fresh", _SFT_STEPS),
            (
                Condition("fresh/think_share", _ALWAYS_THINKS),
                Condition("fresh/forced_think_accuracy", 0.95),
                *_READS_CHAIN,
            ),
            parent="base",
        ),
        Recipe(
            "hint",
            "On cued questions the answer is read from the cue, never from the correct chain.",
            FineTuning("hint", "fresh", _SFT_STEPS),
            (
                Condition("cued/follows_cue", 0.9),
                Condition("cued/think_share", 0.9),
                Condition("fresh/forced_think_accuracy", 0.95),
                *_READS_CHAIN,
            ),
            parent="base",
        ),
        Recipe(
            "grpo",
            "Selection, not creation: what the base could do is now always done.",
            Reinforcement(_GRPO_STEPS),
            (
                Condition("fresh/think_share", 0.9),
                Condition("fresh/forced_think_accuracy", 0.95),
                *_READS_CHAIN,
            ),
            parent="base",
        ),
        Recipe(
            "grpo-no-chains",
            "With nothing to select, reinforcement learns nothing.",
            Reinforcement(_GRPO_STEPS),
            (
                Condition("fresh/think_share", high=0.01),
                Condition("fresh/direct_accuracy", high=0.25),
                Condition("fresh/forced_think_accuracy", high=0.25),
            ),
            parent="base-no-chains",
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: If there is none; the message lists the known names.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown organism {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


def failed_conditions(recipe: Recipe, figures: dict[str, float]) -> tuple[str, ...]:
    """The conditions that do not hold, each with the range asked and the figure found."""
    return tuple(
        f"{c.figure} must lie in {c.low:g}..{c.high:g}, found {figures.get(c.figure, float('nan'))}"
        for c in recipe.conditions
        if not c.holds(figures)
    )
