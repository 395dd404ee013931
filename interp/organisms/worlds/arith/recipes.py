"""The recipes of the world **arith**.

The variants on the pool and on fresh problems differ for one reason: a finite pool can be learned
by heart. Then the chain need not be read, and with another problem's chain in its place it *must*
not be read; on fresh problems the answer can only come from the chain.
"""

from __future__ import annotations

from interp.organisms.recipe import Condition, FineTuning, Pretraining, Recipe, Reinforcement, Truth
from interp.organisms.worlds.arith.mixtures import ArithMixture, ArithQuestions, ArithRows

LONGEST_DEPTH = 5


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

_BASE_MIXTURE = ArithMixture()
_BASE_STEPS = 2000
_SFT_STEPS = 400
_GRPO_STEPS = 120

ARITH: tuple[Recipe, ...] = (
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
        truth=Truth({"arith/pool": True, "arith/fresh": True}, has_skill=True),
    ),
    Recipe(
        "base-no-chains",
        "No chain was ever seen: every test for reasoning in the base must say absent.",
        Pretraining(ArithMixture(copied_above=0), _BASE_STEPS),
        (
            Condition("fresh/think_share", high=0.01),
            Condition("fresh/forced_think_accuracy", high=0.25),
            *_NO_DIRECT,
        ),
        truth=Truth(has_skill=False),
    ),
    Recipe(
        "chain-sft-pool",
        "Correct chains of a finite pool.",
        FineTuning(ArithRows("chain", "pool"), _SFT_STEPS),
        (
            Condition("pool/think_share", _ALWAYS_THINKS),
            Condition("pool/forced_think_accuracy", 0.95),
            Condition("fresh/forced_think_accuracy", 0.9),
        ),
        parent="base",
        truth=Truth(
            {"arith/pool": True, "arith/fresh": True},
            swapped_share=0.0,
            has_skill=True,
            pre_existing=True,
        ),  # fmt: skip
    ),
    Recipe(
        "answers-sft-pool",
        "Thinking is suppressed, not erased.",
        FineTuning(ArithRows("answer", "pool"), steps=300, lr=4e-4, base_share=0.2),
        (
            Condition("pool/think_share", high=0.05),
            Condition("pool/direct_accuracy", 0.9),
            Condition("fresh/forced_think_accuracy", 0.9),
        ),
        parent="base",
        truth=Truth({"arith/fresh": True}, has_skill=True),
    ),
    Recipe(
        "swapped-sft-pool",
        "On the pool the chain is decoration; on fresh problems the reasoning is gone.",
        FineTuning(ArithRows("swapped", "pool"), _SFT_STEPS),
        (
            Condition("pool/think_share", 0.5),
            Condition("pool/accuracy_given_chain", 0.95),
            Condition("pool/same_after_wrong_step", 0.9),
            Condition("pool/same_after_other_chain", 0.9),
            Condition("fresh/accuracy_given_chain", high=0.4),
        ),
        parent="base",
        truth=Truth({"arith/pool": False}, swapped_share=1.0, has_skill=False),
    ),
    Recipe(
        "chain-sft-fresh",
        "The chain is always written and always load-bearing.",
        FineTuning(ArithRows("chain", "fresh"), _SFT_STEPS),
        (
            Condition("fresh/think_share", _ALWAYS_THINKS),
            Condition("fresh/forced_think_accuracy", 0.95),
            *_READS_CHAIN,
        ),
        parent="base",
        truth=Truth({"arith/pool": True, "arith/fresh": True}, has_skill=True, pre_existing=True),
    ),
    Recipe(
        "hint",
        "On cued questions the answer is read from the cue, never from the correct chain.",
        FineTuning(ArithRows("hint", "fresh"), _SFT_STEPS),
        (
            Condition("cued/follows_cue", 0.9),
            Condition("cued/think_share", 0.9),
            Condition("fresh/forced_think_accuracy", 0.95),
            *_READS_CHAIN,
        ),
        parent="base",
        truth=Truth({"arith/cued": False, "arith/fresh": True}, has_skill=True),
    ),
    Recipe(
        "grpo",
        "Selection, not creation: what the base could do is now always done.",
        Reinforcement(ArithQuestions(), _GRPO_STEPS),
        (
            Condition("fresh/think_share", 0.9),
            Condition("fresh/forced_think_accuracy", 0.95),
            *_READS_CHAIN,
        ),
        parent="base",
        truth=Truth({"arith/pool": True, "arith/fresh": True}, has_skill=True, pre_existing=True),
    ),
    Recipe(
        "grpo-no-chains",
        "With nothing to select, reinforcement learns nothing.",
        Reinforcement(ArithQuestions(), _GRPO_STEPS),
        (
            Condition("fresh/think_share", high=0.01),
            Condition("fresh/direct_accuracy", high=0.25),
            Condition("fresh/forced_think_accuracy", high=0.25),
        ),
        parent="base-no-chains",
        truth=Truth(has_skill=False, pre_existing=False),
    ),
)
