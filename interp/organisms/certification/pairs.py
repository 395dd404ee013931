"""Pairs of a problem and a donor for the interchange, and the answers that are predicted.

Where the model is expected to read its chain, the donor is the same problem from another start
(**arith** and **clinic**: same operations or verbs, so every value in its chain differs;
**dispatch**: same generators under another demand). Where it is expected to answer from the
question, the donor is another problem of the same set, since it knows only those by heart.

For a model that reads its chain the prediction follows from the chain after the swap: the donor's
steps where they were taken, its own elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import cast, get_args

from interp.organisms.certification.interchange import Piece, Swap
from interp.organisms.worlds.arith.problems import MODULUS, Problem
from interp.organisms.worlds.arith.splits import (
    POOL_SIZE,
    Split,
    arith_examples,
    noisy_steps,
    siblings,
)
from interp.organisms.worlds.arith.task import arith_example
from interp.organisms.worlds.clinic.facts import ENTITIES
from interp.organisms.worlds.clinic.problems import Problem as ClinicProblem
from interp.organisms.worlds.clinic.splits import clinic_problems
from interp.organisms.worlds.clinic.splits import pool as clinic_pool
from interp.organisms.worlds.clinic.task import Split as ClinicSplit
from interp.organisms.worlds.clinic.task import clinic_example
from interp.organisms.worlds.dispatch.problems import Problem as DispatchProblem
from interp.organisms.worlds.dispatch.splits import fresh, pooled
from interp.organisms.worlds.dispatch.splits import pool as dispatch_pool
from interp.organisms.worlds.dispatch.task import dispatch_example
from interp.organisms.worlds.problem import AnyProblem
from interp.tasks import Example, Task, make_task

PIECES: tuple[Piece, ...] = get_args(Piece)
Pairs = list[tuple[Example, Example]]


def make_swaps(name: str, n: int, seed: int, *, reads_chain: bool) -> tuple[Task, tuple[Swap, ...]]:
    """The swaps of a task: every piece of every pair.

    Args:
        name: Of the task.
        n: How many problems.
        seed: Which ones, and which donors.
        reads_chain: Whether the model is expected to take its answer from the chain.

    Returns:
        The task (for its layout) and the swaps.

    Raises:
        ValueError: If there are no pairs for the task's world; the message lists the worlds.
    """
    world, _, split = name.partition("/")
    if world not in PAIRS:
        raise ValueError(
            f"there are pairs for tasks of the worlds {', '.join(PAIRS)}; received {name!r}"
        )
    task = make_task(name, n=n, seed=seed)
    pairs = PAIRS[world](split, n, seed, reads_chain)
    swaps = [swap for own, donor in pairs for swap in _swaps(task, own, donor, reads_chain)]
    return task, tuple(swaps)


def make_conflicting_swaps(name: str, n: int, seed: int) -> tuple[Task, tuple[Swap, ...]]:
    """Swaps of single steps whose donor states a result that its own question does not give.

    Args:
        name: ``arith/single``, the task of single steps.
        n: How many problems.
        seed: Which ones, and which donors.

    Returns:
        The task and the swaps: ``if_read`` is what the donor's step states, ``if_not`` what its
        question gives; neither is the answer to the problem itself.
    """
    task = make_task(name, n=n, seed=seed)
    rng = Random(f"torn {name} {seed}")  # certificates were drawn under this name
    swaps: list[Swap] = []
    for own in rng.sample(noisy_steps(), n):
        asked, stated = rng.sample(siblings(own), 2)
        steps = asked.mistaken(0, int(stated.answer), propagate=False)
        donor = replace(arith_example(asked), steps=steps)
        mine = arith_example(own)
        swaps.append(
            Swap(mine, donor, "last step", stated.answer, asked.answer, (mine.answer, None))
        )
    return task, tuple(swaps)


def _swaps(task: Task, own: Example, donor: Example, reads_chain: bool) -> list[Swap]:
    """One swap per piece: the chain decides for a model that reads it, else question or cue."""
    from_question = [str(example.facts.get("cue", example.answer)) for example in (own, donor)]
    before = (own.answer, donor.answer) if reads_chain else (from_question[0], from_question[1])
    last, *_ = range(len(own.steps))[::-1]
    taken: Mapping[Piece, range] = {
        "last step": range(last, last + 1),
        "early steps": range(last),
        "chain": range(last + 1),
        "question": range(0),
    }
    return [
        Swap(
            own,
            donor,
            piece,
            if_read=task.conclusion(own, _mixed(own, donor, taken[piece])) or "",
            if_not=from_question[piece == "question"],
            before=before,
        )
        for piece in PIECES
    ]


def _mixed(own: Example, donor: Example, taken: range) -> list[str]:
    return [
        theirs if at in taken else mine
        for at, (mine, theirs) in enumerate(zip(own.steps, donor.steps, strict=True))
    ]


def _arith(split: str, n: int, seed: int, reads_chain: bool) -> Pairs:
    rng = Random(f"donors arith/{split} {seed}")
    if split == "single":
        chosen = rng.sample(noisy_steps(), n)
        pairs = [(p, rng.choice(siblings(p))) for p in chosen]
    else:
        problems = arith_examples(cast("Split", split), n, seed)
        whole_pool = arith_examples("pool", POOL_SIZE, seed)
        by_chain = reads_chain or split == "cued"
        pairs = [
            (p, _other_start(p, rng) if by_chain else _other_of(whole_pool, p, rng))
            for p in problems
        ]
    return [(arith_example(own), arith_example(donor)) for own, donor in pairs]


def _other_start(problem: Problem, rng: Random) -> Problem:
    """The same operations from another start, with another cue where there is one."""
    starts = [
        replace(problem, start=start, cue=None)
        for start in range(MODULUS)
        if start != problem.start
    ]
    # Cues and answers of both problems all differ, so that each answer has one source.
    donor = rng.choice([p for p in starts if p.values[-1] != problem.cue])
    if problem.cue is None:
        return donor
    taken = (problem.cue, donor.values[-1], problem.values[-1])
    return replace(donor, cue=rng.choice([v for v in range(MODULUS) if v not in taken]))


def _other_of(problems: Sequence[AnyProblem], problem: AnyProblem, rng: Random) -> AnyProblem:
    """Another problem with as many steps and another answer."""
    alike = [q for q in problems if len(q.steps) == len(problem.steps)]
    return rng.choice([q for q in alike if q.answer != problem.answer])


def _clinic(split: str, n: int, seed: int, reads_chain: bool) -> Pairs:
    """Donors start at another entity of the same kind that leads elsewhere."""
    rng, named = Random(f"donors clinic/{split} {seed}"), cast("ClinicSplit", split)
    pairs: list[tuple[ClinicProblem, ClinicProblem]] = []
    for problem in clinic_problems(named, n, seed):
        kind = next(names for names in ENTITIES.values() if problem.start in names)
        others = [ClinicProblem(start, problem.verbs) for start in kind]
        pairs.append((problem, _other_of(others if reads_chain else clinic_pool(), problem, rng)))
    return [(clinic_example(own, named), clinic_example(donor, named)) for own, donor in pairs]


def _dispatch(split: str, n: int, seed: int, reads_chain: bool) -> Pairs:
    """Donors have the same generators under another demand, which ends in another last amount."""
    rng = Random(f"donors dispatch {seed}")
    pairs: list[tuple[DispatchProblem, DispatchProblem]] = []
    for problem in pooled(seed, n) if split == "pool" else fresh(seed, n):
        others = [replace(problem, demand=demand) for demand in range(1, problem.total + 1)]
        ending = [q for q in others if q.steps[-1] != problem.steps[-1]]
        donor = rng.choice(ending) if reads_chain else _other_of(dispatch_pool(), problem, rng)
        pairs.append((problem, donor))
    return [(dispatch_example(own), dispatch_example(donor)) for own, donor in pairs]


PAIRS: dict[str, Callable[[str, int, int, bool], Pairs]] = {
    "arith": _arith,
    "clinic": _clinic,
    "dispatch": _dispatch,
}
"""World -> its pairs of problem and donor, given the split, how many, the seed, and whether the
model is expected to read its chain."""
