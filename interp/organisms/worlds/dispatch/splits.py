"""Which problems of the world **dispatch** are trained on, and which are asked.

One tenth is held back for evaluation by a checksum of the generators, names and capacities in
order. The demand plays no part, so a problem and its shortage twin are in the same class, and what
is tested was never trained on under any demand.

A problem is drawn so that the demand ends in its last generator or the one before: the amounts of
these two are known only after all the others are loaded.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache, partial
from random import Random
from typing import Literal

from interp.organisms.worlds.dispatch.problems import LARGEST_CAPACITY, NAMES, Generator, Problem
from interp.organisms.worlds.problem import draw_distinct, draw_until

SIZES = (2, 3, 4)
"""Numbers of generators that are trained on."""
SHORTAGES = (3, 8)
"""Smallest and largest shortage; less than three is hardly noticed without a chain."""

POOL_SIZE = 240

SHIFTS = ("none", "n_minus_1", "depth", "rule")
"""What sets the problems of a row of `shifted` apart from training, in order."""

Partition = Literal["fresh", "train"]


def sample_problem(rng: Random, size: int) -> Problem:
    """One problem with this many generators."""
    generators = tuple(
        Generator(name, rng.randint(1, LARGEST_CAPACITY)) for name in rng.sample(NAMES, size)
    )
    last = rng.randrange(max(1, size - 2), size)
    served = sum(generator.capacity for generator in generators[:last])
    return Problem(served + rng.randint(1, generators[last].capacity), generators)


def partition(problem: Problem) -> Partition:
    """Which class a problem belongs to, by a checksum of its generators."""
    row = ",".join(f"{name}={capacity}" for name, capacity in problem.generators)
    return "fresh" if zlib.crc32(row.encode()) % 10 == 0 else "train"


def sample_from(rng: Random, part: Partition, size: int) -> Problem:
    """One problem of this size from one class."""
    return draw_until(lambda: sample_problem(rng, size), lambda p: partition(p) == part)


def sample_shortage(rng: Random, problem: Problem) -> Problem:
    """The shortage twin of a problem, three to eight short."""
    return problem.shortage(rng.randint(*SHORTAGES))


@cache
def pool() -> tuple[Problem, ...]:
    """The finite pool: 240 problems of the training class, sizes in turn."""
    rng = Random("dispatch pool")
    return draw_distinct(lambda size: sample_from(rng, "train", size), POOL_SIZE, SIZES)


def pooled(seed: int, n: int) -> tuple[Problem, ...]:
    """Problems of the pool, sizes in turn.

    Args:
        seed: Their order.
        n: How many.

    Raises:
        ValueError: If there are not that many.
    """
    if n > POOL_SIZE:
        raise ValueError(
            f"the pool has {POOL_SIZE} problems, but n={n} was received; take dispatch/plain"
        )
    rng = Random(f"dispatch pool order {seed}")
    groups = [[p for p in pool() if p.size == size] for size in SIZES]
    shuffled = [rng.sample(group, len(group)) for group in groups]
    return tuple(problem for row in zip(*shuffled, strict=True) for problem in row)[:n]


def fresh(seed: int, n: int, sizes: Sequence[int] = SIZES) -> tuple[Problem, ...]:
    """Distinct problems that no organism was trained on, sizes in turn.

    Args:
        seed: Which ones; equal arguments give equal problems.
        n: How many.
        sizes: Numbers of generators.

    Raises:
        ValueError: If there are not that many.
    """
    rng = Random(f"dispatch fresh {seed}")
    return draw_distinct(lambda size: sample_from(rng, "fresh", size), n, sizes)


def shortages(seed: int, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """The shortage twin of each problem, no two of them the same question."""
    rng = Random(f"dispatch shortages {seed}")
    twins: dict[str, Problem] = {}
    for problem in problems:
        # Two problems of the same generators differ in their demand, and a shortage replaces that.
        draw = partial(sample_shortage, rng, problem)
        twin = draw_until(draw, lambda made: made.id not in twins)
        twins[twin.id] = twin
    return tuple(twins.values())


def shifted(seed: int, n: int) -> tuple[tuple[Problem, Problem, Problem, Problem], ...]:
    """Problems of the largest trained size, each with its N-1, deeper and reversed twin.

    Only those origins are taken that have an N-1 twin whose demand is still served and whose
    generators were not trained on either.

    Args:
        seed: Which ones.
        n: How many origins.

    Returns:
        Rows in the order of `SHIFTS`; the origins are distinct.
    """
    rng = Random(f"dispatch shifted {seed}")
    rows: dict[Problem, tuple[Problem, Problem, Problem, Problem]] = {}
    while len(rows) < n:
        origin = sample_from(rng, "fresh", SIZES[-1])
        twins = [origin.without(which) for which in range(origin.size)]
        twins = [twin for twin in twins if not twin.is_short and partition(twin) == "fresh"]
        if not twins or origin in rows:
            continue
        spare = [name for name in NAMES if origin.generator(name) is None]
        more = Generator(rng.choice(spare), rng.randint(1, LARGEST_CAPACITY))
        deeper = origin.deeper(more, origin.total + rng.randint(1, more.capacity))
        rows[origin] = (origin, rng.choice(twins), deeper, origin.reverse())
    return tuple(rows.values())
