"""Pairs of problems for the interchange, and where each answer must come from.

Where the chain is expected to be read, the donor is the same problem with another start: all its
operations are the problem's own, every value in its chain is another one, and the last step fits
the question's last operation. Where the answer is expected to come from the question, the donor is
another problem of the same set, since only those are known by heart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import cast, get_args

from interp.certification.interchange import Piece, Swap
from interp.organisms.arith.problems import MODULUS, Problem
from interp.organisms.arith.splits import Split, arith_examples, noisy_steps, siblings
from interp.tasks import Example, Task, make_task
from interp.tasks.arith import arith_example

PIECES: tuple[Piece, ...] = get_args(Piece)
Donor = Callable[[Problem], Problem]


def swaps_of(name: str, n: int, seed: int, *, reads_chain: bool) -> tuple[Task, tuple[Swap, ...]]:
    """The swaps of a task: every piece of every pair.

    Args:
        name: Of the task.
        n: How many problems.
        seed: Which ones, and which donors.
        reads_chain: Whether the model is expected to take its answer from the chain.

    Returns:
        The task (for its layout) and the swaps.

    Raises:
        ValueError: If the task's world has no pairs.
    """
    world, _, split = name.partition("/")
    if world != "arith":
        raise ValueError(f"pairs for the interchange exist in the world arith; got task {name!r}")
    task = make_task(name, n=n, seed=seed)
    rng = Random(f"donors {name} {seed}")
    swaps: list[Swap] = []
    for own, donor in _pairs(split, n, seed, rng, reads_chain):
        swaps += _swaps(arith_example(own), arith_example(donor), reads_chain)
    return task, tuple(swaps)


def _pairs(
    split: str, n: int, seed: int, rng: Random, reads_chain: bool
) -> list[tuple[Problem, Problem]]:
    if split == "single":
        chosen = rng.sample(noisy_steps(), n)
        return [(p, rng.choice(siblings(p))) for p in chosen]
    problems = arith_examples(cast("Split", split), n, seed)
    if reads_chain or split == "cued":
        return [(p, _other_start(p, rng)) for p in problems]
    everyone = arith_examples("pool", 300, seed)
    return [(p, _other(p, everyone, rng)) for p in problems]


def _other_start(problem: Problem, rng: Random) -> Problem:
    """The same operations from another start, with another cue where there is one."""
    start = rng.choice([v for v in range(MODULUS) if v != problem.start])
    donor = replace(problem, start=start, cue=None)
    if problem.cue is None:
        return donor
    taken = (problem.cue, donor.values[-1], problem.values[-1])
    return replace(donor, cue=rng.choice([v for v in range(MODULUS) if v not in taken]))


def _other(problem: Problem, everyone: tuple[Problem, ...], rng: Random) -> Problem:
    alike = [q for q in everyone if q.depth == problem.depth and q.answer != problem.answer]
    return rng.choice(alike)


def _swaps(own: Example, donor: Example, reads_chain: bool) -> list[Swap]:
    """What follows each piece: the chain decides for one that reads it, else question or cue."""
    told = [str(example.facts.get("cue", example.answer)) for example in (own, donor)]
    before = (own.answer, donor.answer) if reads_chain else (told[0], told[1])
    return [
        Swap(
            own,
            donor,
            piece,
            if_read=donor.answer if piece in ("last step", "chain") else own.answer,
            if_not=told[1] if piece == "question" else told[0],
            before=before,
        )
        for piece in PIECES
    ]
