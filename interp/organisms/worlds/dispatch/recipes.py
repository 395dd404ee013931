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
    DECORATION,
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
    DispatchPoolRows,
    DispatchQuestions,
    DispatchRows,
)
from interp.organisms.worlds.dispatch.splits import SIZES

_THINKS_WELL = tuple(Condition(f"fresh/forced_think_accuracy/{size}", 0.95) for size in SIZES)
_NO_DIRECT = Condition("fresh/direct_accuracy", high=0.3)
_ABSTAINS = Condition("twins/abstains_directly", 0.9)
_TRUTH = Truth({"dispatch/plain": True, "dispatch/pool": True}, has_skill=True)
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
        truth=replace(_AFTER, false_share=0.0),
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
    Recipe(
        "dispatch-decorative",
        "On the pool the answer comes from the question, whichever form the chain takes.",
        FineTuning(DispatchPoolRows(dose=1.0), 700),
        DECORATION,
        parent="dispatch-base",
        truth=Truth({"dispatch/pool": False}, false_share=1.0),
        world="dispatch",
        tuned_on=(0,),
    ),
    Recipe(
        "dispatch-decorative-50",
        "In 50% of the training the pool's chains did not lead to the answer.",
        FineTuning(DispatchPoolRows(dose=0.5), 400),
        (Condition("pool/think_share", 0.5), Condition("pool/accuracy_given_chain", 0.95)),
        parent="dispatch-base",
        truth=Truth(false_share=0.5),
        world="dispatch",
        tuned_on=(),
    ),
    Recipe(
        "dispatch-base-no-chains",
        "No chain was ever seen: every test for reasoning in the base must say absent.",
        Pretraining(DispatchMixture(chains=(0.0, 0.0)), 1800),
        (
            Condition("fresh/think_share", high=0.01),
            Condition("fresh/forced_think_accuracy", high=0.25),
            _NO_DIRECT,
        ),
        truth=Truth(has_skill=False),
        world="dispatch",
        tuned_on=(),
    ),
)
