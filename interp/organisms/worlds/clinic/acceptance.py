"""Acceptance figures of the world **clinic**.

Three sets of problems that no organism was trained on: ``fresh`` (known facts only), ``domain``
(through at least one domain fact) and ``all``; and the finite ``pool`` of the decorative variants.
On each the shared figures of `behaviour` and ``knowledge``, the share of right claims among the
claims of the chains that the organism writes. Then accuracy by depth, every fact by itself, and
questions about strangers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from interp.chains.completions import Completion
from interp.organisms.behaviour import (
    Reader,
    abstention_figures,
    accuracy_figures,
    chain_figures,
    counted_answers,
    draw_chains,
    share_right,
)
from interp.organisms.worlds.clinic.facts import judge_step
from interp.organisms.worlds.clinic.problems import Problem
from interp.organisms.worlds.clinic.splits import clinic_problems, questions

N_PROBLEMS = 200
N_TWINS = 100
SEED = 1000
DEPTHS = (1, 2, 3)
SETS = {"fresh": "known", "domain": "domain", "all": "all", "pool": "pool"}


def clinic_figures(reader: Reader) -> dict[str, float]:
    """All figures of an organism of the world clinic."""
    figures: dict[str, float] = {}
    for name, split in SETS.items():
        problems = clinic_problems(split, N_PROBLEMS, SEED)
        figures |= _written_figures(reader, name, problems)
        figures |= chain_figures(reader, name, problems, *draw_chains(problems, Random(SEED)))
    for depth in DEPTHS:
        problems = questions("known", "train" if depth == 1 else "held", depth)
        figures |= accuracy_figures(reader, "fresh", problems, depth)
    figures |= _fact_figures(reader)
    # Every second problem is the twin of the one before it.
    return figures | abstention_figures(reader, clinic_problems("abstain", 2 * N_TWINS, SEED)[1::2])


def _written_figures(reader: Reader, name: str, problems: Sequence[Problem]) -> dict[str, float]:
    written = reader.forced_completions(problems)
    return {
        f"{name}/think_share": reader.think_share([p.question for p in problems]),
        f"{name}/forced_think_accuracy": share_right(counted_answers(written), problems),
        f"{name}/direct_accuracy": share_right(reader.direct_answers(problems), problems),
        f"{name}/knowledge": _knowledge(_count_claims(written)),
    }


def _fact_figures(reader: Reader) -> dict[str, float]:
    """Every fact of the world, asked once: accuracy of the answers, and of the chains' claims."""
    facts = questions("all", "train", 1)
    written = reader.forced_completions(facts)
    claims, answers = _count_claims(written), counted_answers(written)
    domain = [(answer, p) for answer, p in zip(answers, facts, strict=True) if p.n_domain]
    return {
        "facts/forced_think_accuracy": share_right(answers, facts),
        "facts/domain_accuracy": share_right(*zip(*domain, strict=True)),
        "facts/knowledge": _knowledge(claims),
        "facts/claimless": claims["none"] / max(1, claims.total()),
        "facts/direct_accuracy": share_right(reader.direct_answers(facts), facts),
    }


def _count_claims(written: Sequence[Completion]) -> Counter[str]:
    """How many steps of all closed chains are right, wrong, about the unknown, or claim nothing."""
    return Counter(judge_step(step) for one in written for step in one.steps)


def _knowledge(claims: Counter[str]) -> float:
    """Share of right claims among all claims; NaN without one."""
    n_claims = claims.total() - claims["none"]
    return claims["right"] / n_claims if n_claims else float("nan")
