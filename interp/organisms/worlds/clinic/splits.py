"""Which problems of the world **clinic** are trained on, and which are asked.

Problems of two and three steps fall into three classes by a checksum of their entity and their
first two verbs: four tenths are for pretraining (**train**), two tenths for post-training
(**post**), four tenths are **held** back for evaluation. Since the third verb plays no part, a held
problem of three steps stays held when its last step is taken away. Problems of one step are single
facts; those are all for training.

There are so few problems that a model learns them by heart. It answers those of pretraining at once
and gains nothing from a chain there, so reinforcement asks only those for post-training.
Fine-tuning uses both classes: with chains for the one and pretraining's direct answers for the
other, a model would learn by heart which problems get a chain.

By their facts problems are *known* (no domain fact), *domain* (at least one) or *all*.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from itertools import product
from random import Random
from typing import Literal, get_args

from interp.organisms.worlds.clinic.facts import ENTITIES, KINDS, STRANGERS, VERBS
from interp.organisms.worlds.clinic.problems import Problem

Scope = Literal["known", "domain", "all"]
Part = Literal["train", "post", "held"]
Split = Literal["known", "all", "domain", "facts", "abstain", "shifts", "pool"]

DEPTHS = (2, 3)
"""Of the problems that are asked."""
HELD_TENTHS, POST_TENTHS = 4, 2
POOL_SIZE = 240


def part(problem: Problem) -> Part:
    """Which class a problem belongs to (one step: always training)."""
    if problem.depth == 1:
        return "train"
    stem = " ".join((problem.start, *problem.verbs[:2]))
    tenth = zlib.crc32(stem.encode()) % 10
    if tenth < HELD_TENTHS:
        return "held"
    return "post" if tenth < HELD_TENTHS + POST_TENTHS else "train"


@cache
def questions(scope: Scope, of: Part, depth: int) -> tuple[Problem, ...]:
    """Every problem of this scope, class and depth (1 to 3)."""
    problems = [p for p in _enumerate(ENTITIES, depth) if part(p) == of]
    return tuple(p for p in problems if scope == "all" or (p.n_domain > 0) == (scope == "domain"))


@cache
def open_questions(depth: int) -> tuple[Problem, ...]:
    """Every problem of this depth that is not held."""
    return questions("all", "train", depth) + questions("all", "post", depth)


@cache
def strange_questions(of: Part, depth: int) -> tuple[Problem, ...]:
    """Every problem of this class and depth that begins at a stranger."""
    return tuple(p for p in _enumerate(STRANGERS, depth) if part(p) == of)


@cache
def pool() -> tuple[Problem, ...]:
    """The finite pool: 240 problems for post-training, two and three steps in turn."""
    return _in_turn(Random("clinic pool"), "all", "post")[:POOL_SIZE]


def clinic_problems(split: str, n: int, seed: int = 0) -> tuple[Problem, ...]:
    """The problems of a task.

    Args:
        split: ``known``, ``all`` and ``domain`` (held problems of two and three steps in turn),
            ``facts`` (every fact, asked once), ``abstain`` (held known problems, each followed by
            its stranger twin), ``shifts`` (held known problems of three steps, each followed by
            the shorter problem and the reversed question), ``pool`` (the finite pool of the
            decorative variants).
        n: How many.
        seed: Which ones, and their order.

    Returns:
        Distinct problems; equal arguments give equal problems.

    Raises:
        ValueError: If the split is unknown or holds fewer problems.
    """
    if split not in get_args(Split):
        raise ValueError(f"unknown split {split!r}; known: {', '.join(get_args(Split))}")
    problems = _ordered(split, Random(f"clinic {split} {seed}"))
    if n > len(problems):
        raise ValueError(
            f"clinic/{split} has {len(problems)} problems, but {n} were asked for; ask for no "
            "more, or take clinic/all, the largest of those held back"
        )
    return problems[:n]


def _ordered(split: str, rng: Random) -> tuple[Problem, ...]:
    if split == "facts":
        facts = questions("all", "train", 1)
        return tuple(rng.sample(facts, len(facts)))
    if split == "pool":
        groups = [[p for p in pool() if p.depth == depth] for depth in DEPTHS]
        return _shuffle_in_turn(rng, groups)
    if split == "abstain":
        pairs = _twins(rng, _in_turn(rng, "known"))
        return tuple(problem for pair in pairs for problem in pair)
    if split == "shifts":
        deepest = questions("known", "held", DEPTHS[-1])
        # One origin for each shorter problem, or several rows would ask the same question.
        origins = {p.shorter().id: p for p in rng.sample(deepest, len(deepest))}
        return tuple(q for p in origins.values() for q in (p, p.shorter(), p.backwards()))
    scope: dict[str, Scope] = {"known": "known", "domain": "domain", "all": "all"}
    return _in_turn(rng, scope[split])


def _in_turn(rng: Random, scope: Scope, of: Part = "held") -> tuple[Problem, ...]:
    """The problems of a scope and class, shuffled, depths in turn for as long as both last."""
    return _shuffle_in_turn(rng, [questions(scope, of, depth) for depth in DEPTHS])


def _shuffle_in_turn(rng: Random, groups: Sequence[Sequence[Problem]]) -> tuple[Problem, ...]:
    shuffled = [rng.sample(group, len(group)) for group in groups]
    return tuple(problem for row in zip(*shuffled, strict=False) for problem in row)


def _twins(rng: Random, problems: Sequence[Problem]) -> list[tuple[Problem, Problem]]:
    """Problems with a held twin that is no other's; those left without one are left out."""
    used: set[str] = set()
    pairs: list[tuple[Problem, Problem]] = []
    for problem in problems:
        names = STRANGERS[problem.start[0]]
        for twin in map(problem.twin, rng.sample(names, len(names))):
            if part(twin) == "held" and twin.id not in used:
                used.add(twin.id)
                pairs.append((problem, twin))
                break
    return pairs


def _enumerate(names: dict[str, tuple[str, ...]], depth: int) -> list[Problem]:
    return [
        Problem(start, verbs)
        for first in range(len(VERBS) - depth + 1)
        for start in names[KINDS[first]]
        for verbs in product(*VERBS[first : first + depth])
    ]
