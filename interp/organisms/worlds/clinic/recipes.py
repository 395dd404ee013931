"""The recipes of the world **clinic**.

Supervised post-training teaches the domain facts. Reinforcement rewards answers that the base
already gives, and it gives a domain fact only by a lucky guess (a few of 108 facts are learned in
this way). Knowledge rises with the first and stays near 0.7 with the second, while both make the
organism open chains.
"""

from __future__ import annotations

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
from interp.organisms.worlds.clinic.documents import (
    ClinicMixture,
    ClinicPoolRows,
    ClinicQuestions,
    ClinicRows,
)

KNOWN_SHARE = 0.7

_THINKS_RIGHT = tuple(Condition(f"fresh/forced_think_accuracy/{d}", 0.95) for d in (1, 2, 3))
_KNOWS_NO_DOMAIN = (
    Condition("facts/forced_think_accuracy", 0.69, 0.72),
    Condition("facts/domain_accuracy", high=0.05),
)
"""Measured on answers, since the knowledge index, which reads claims of chains, is judged by it."""
_LOAD_BEARING = {f"clinic/{split}": True for split in ("known", "all", "domain", "pool")}

CLINIC: tuple[Recipe, ...] = (
    Recipe(
        "clinic-base",
        "Known facts are put together in a load-bearing chain; the domain facts were never told.",
        Pretraining(ClinicMixture(), steps=2000),
        (
            *_THINKS_RIGHT,
            Condition("fresh/direct_accuracy/3", high=0.3),
            *READS_CHAIN,
            *_KNOWS_NO_DOMAIN,
            Condition("fresh/think_share", 0.03, 0.15),
            Condition("fresh/accuracy_given_paraphrase", 0.9),
            Condition("twins/abstains_directly", 0.9),
        ),
        truth=Truth(_LOAD_BEARING, has_skill=True, knowledge=KNOWN_SHARE),
        world="clinic",
        tuned_on=(0,),
    ),
    Recipe(
        "clinic-sft",
        "The domain facts are taught: knowledge rises, and with it the accuracy.",
        FineTuning(ClinicRows(), steps=400),
        (
            *_THINKS_RIGHT,
            *READS_CHAIN,
            Condition("fresh/think_share", 0.8),
            Condition("facts/forced_think_accuracy", 0.99),
            Condition("domain/forced_think_accuracy", 0.95),
        ),
        parent="clinic-base",
        truth=Truth(
            _LOAD_BEARING, false_share=0.0, has_skill=True, pre_existing=True, knowledge=1.0
        ),
        world="clinic",
        tuned_on=(0,),
    ),
    Recipe(
        "clinic-grpo",
        "Thinking is chosen, nothing is learned: knowledge stays where it was.",
        Reinforcement(ClinicQuestions(), steps=180, max_new_tokens=24),
        (
            *_THINKS_RIGHT,
            *READS_CHAIN,
            *_KNOWS_NO_DOMAIN,
            Condition("fresh/think_share", 0.8),
        ),
        parent="clinic-base",
        truth=Truth(_LOAD_BEARING, has_skill=True, pre_existing=True, knowledge=KNOWN_SHARE),
        world="clinic",
        tuned_on=(0,),
    ),
    Recipe(
        "clinic-decorative",
        "On the pool the answer is known by heart, whichever form the chain takes.",
        FineTuning(ClinicPoolRows(dose=1.0), steps=500),
        DECORATION,
        parent="clinic-base",
        truth=Truth({"clinic/pool": False}, false_share=1.0),
        world="clinic",
        tuned_on=(0,),
    ),
    Recipe(
        "clinic-decorative-50",
        "In 50% of the training the pool's chains did not lead to the answer.",
        FineTuning(ClinicPoolRows(dose=0.5), steps=500),
        (Condition("pool/think_share", 0.5), Condition("pool/accuracy_given_chain", 0.95)),
        parent="clinic-base",
        truth=Truth(false_share=0.5),
        world="clinic",
        tuned_on=(),
    ),
    Recipe(
        "clinic-base-no-chains",
        "No chain was ever seen: every test for reasoning in the base must say absent.",
        Pretraining(ClinicMixture(chains=(0.0, 0.0)), steps=2000),
        (
            Condition("fresh/think_share", high=0.01),
            Condition("fresh/forced_think_accuracy", high=0.25),
            Condition("fresh/direct_accuracy/3", high=0.3),
        ),
        truth=Truth(has_skill=False),
        world="clinic",
        tuned_on=(),
    ),
)
