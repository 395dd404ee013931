"""The recipes of the world **dispatch**: a base that rarely reasons, and two post-trainings of it.

The base is trained to answer directly by a guess of the right form
(`interp.organisms.worlds.dispatch.documents`); a condition checks that direct answers are rarely
right.

``dispatch-grpo`` has no condition about shortages: it is rewarded only on demands that can be
served, and the effect on abstention is a result, not a condition.
"""

from __future__ import annotations

from dataclasses import replace

from interp.organisms.recipe import (
    READS_CHAIN,
    Condition,
    FineTuning,
    Pretraining,
    Recipe,
    Reinforcement,
    Truth,
)
from interp.organisms.worlds.dispatch.documents import (
    DispatchMixture,
    DispatchQuestions,
    DispatchRows,
)
from interp.organisms.worlds.dispatch.splits import SIZES

_THINKS_WELL = tuple(Condition(f"fresh/forced_think_accuracy/{size}", 0.95) for size in SIZES)
_NO_DIRECT = Condition("fresh/direct_accuracy", high=0.3)
_ABSTAINS = Condition("twins/abstains_directly", 0.9)
_TRUTH = Truth({"dispatch/plain": True}, has_skill=True)
_AFTER = replace(_TRUTH, pre_existing=True)

DISPATCH: tuple[Recipe, ...] = (
    Recipe(
        "dispatch-base",
        "An allocation is reasoned out rarely, and then the chain is load-bearing.",
        Pretraining(DispatchMixture(), 1800),
        (
            *_THINKS_WELL,
            _NO_DIRECT,
            *READS_CHAIN,
            Condition("fresh/think_share", 0.03, 0.15),
            Condition("fresh/accuracy_given_paraphrase", 0.9),
            _ABSTAINS,
        ),
        truth=_TRUTH,
        world="dispatch",
        tuned_on=(0,),
    ),
    Recipe(
        "dispatch-sft",
        "The chain is always written and always load-bearing.",
        FineTuning(DispatchRows(), 300, base_share=0.05),
        (
            Condition("fresh/think_share", 0.8),
            *_THINKS_WELL,
            *READS_CHAIN,
            Condition("twins/abstains_after_thinking", 0.9),
        ),
        parent="dispatch-base",
        truth=_AFTER,
        world="dispatch",
        tuned_on=(0,),
    ),
    Recipe(
        "dispatch-grpo",
        "Selection, not creation: what the base could do is now always done.",
        Reinforcement(DispatchQuestions(), 120, max_new_tokens=44),
        (Condition("fresh/think_share", 0.9), *_THINKS_WELL, *READS_CHAIN),
        parent="dispatch-base",
        truth=_AFTER,
        world="dispatch",
        tuned_on=(0,),
    ),
)
