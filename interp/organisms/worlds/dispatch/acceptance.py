"""Acceptance figures of the world **dispatch**.

On problems that no organism was trained on (``fresh``) and on those of the finite ``pool``: the
shared figures of `behaviour`, and how often an
allocation, right or not, is *valid* and *feasible*. The *wrong step* is one wrong amount at any
step, from which the rest is worked out and which still leads to an allocation. The *other* chain
belongs to a problem with the same generators, other capacities and another demand. Accuracy by
size, shortages and the shifts of `interp.organisms.worlds.dispatch.splits` come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from interp.organisms.behaviour import (
    Reader,
    WrongChain,
    abstention_figures,
    accuracy_figures,
    agreement,
    chain_figures,
    counted_answers,
    share_right,
)
from interp.organisms.words import ABSTAIN
from interp.organisms.worlds.dispatch.problems import LARGEST_CAPACITY, Generator, Problem
from interp.organisms.worlds.dispatch.splits import (
    POOL_SIZE,
    SHIFTS,
    SIZES,
    fresh,
    pooled,
    shifted,
    shortages,
)

N_PROBLEMS = 300
N_PER_SIZE = 100
N_SHIFTED = 100
SEED = 1000
LONGEST_ANSWER = 12
"""Words: more than the largest allocation, so that an answer with words too many is wrong."""


def dispatch_figures(reader: Reader) -> dict[str, float]:
    """All figures of an organism of the world dispatch."""
    reader = replace(reader, longest_answer=LONGEST_ANSWER)
    figures: dict[str, float] = {}
    problems = fresh(SEED, N_PROBLEMS)
    for name, of_set in (("fresh", problems), ("pool", pooled(SEED, POOL_SIZE))):
        rng = Random(SEED)
        wrong = [_draw_wrong(problem, rng) for problem in of_set]
        others = [_draw_other(problem, rng).steps for problem in of_set]
        figures |= _allocation_figures(reader, name, of_set)
        figures |= chain_figures(reader, name, of_set, wrong, others)
    twins = shortages(SEED, problems)
    for size in SIZES:
        figures |= accuracy_figures(reader, "fresh", fresh(SEED, N_PER_SIZE, (size,)), size)
    figures["twins/think_share"] = reader.think_share([p.question for p in twins])
    figures |= abstention_figures(reader, twins)
    for shift, of_shift in zip(SHIFTS, zip(*shifted(SEED, N_SHIFTED), strict=True), strict=True):
        forced = counted_answers(reader.forced_completions(of_shift))
        figures[f"shifts/forced_think_accuracy/{shift}"] = share_right(forced, of_shift)
    return figures


def _allocation_figures(reader: Reader, name: str, problems: Sequence[Problem]) -> dict[str, float]:
    figures = {f"{name}/think_share": reader.think_share([p.question for p in problems])}
    forced = counted_answers(reader.forced_completions(problems))
    for way, answers, accuracy in (
        ("direct", reader.direct_answers(problems), "direct_accuracy"),
        ("forced", forced, "forced_think_accuracy"),
    ):
        pairs = list(zip(problems, answers, strict=True))
        figures |= {
            f"{name}/{accuracy}": share_right(answers, problems),
            f"{name}/valid_{way}": sum(p.amounts(a) is not None for p, a in pairs) / len(pairs),
            f"{name}/feasible_{way}": sum(p.is_feasible(a) for p, a in pairs) / len(pairs),
            f"{name}/abstains_{way}": agreement(answers, [ABSTAIN] * len(pairs)),
        }
    return figures


def _draw_wrong(problem: Problem, rng: Random) -> WrongChain:
    """A chain with one wrong amount, propagated, that leads to an allocation."""
    while True:
        at = rng.randrange(problem.size)
        amount = rng.choice(problem.wrong_amounts(at))
        chain = problem.mistaken(at, amount, propagate=True)
        answer = problem.conclusion(chain)
        if answer != ABSTAIN:
            return WrongChain(chain, answer or "")


def _draw_other(problem: Problem, rng: Random) -> Problem:
    """Another problem with the same generators in the same order, and another answer."""
    while True:
        generators = tuple(
            Generator(g.name, rng.randint(1, LARGEST_CAPACITY)) for g in problem.generators
        )
        served = sum(g.capacity for g in generators[:-1])
        other = Problem(served + rng.randint(1, generators[-1].capacity), generators)
        if other.answer != problem.answer:
            return other
