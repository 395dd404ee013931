"""Which problems of the world **arith** are trained on, and which are asked.

Problems of depth 2 and more fall into three classes by a checksum of their text, so training and
test problems never overlap: one tenth holds the finite **pool**, one tenth the **fresh** problems
for evaluation, the rest is for training. (Depth 1 has only 319 problems; those are all for
training.)

Two splits compare forms of one problem, which share its id:

- **abstain**: a fresh problem, then its twin with a missing premise. (The twin's text alone may
  have been trained on: leaving a premise out makes twins of many problems the same question.)
- **shifts**: a fresh problem of three or four operations, and three forms that differ from it::

      none       Q 3 + 4 * 2 - 5 ?            as trained
      n_minus_1  Q 3 + 4 - 5 ?                one operation removed
      depth      Q 3 + 4 * 2 - 5 + 9 * 7 ?    two operations more
      rule       Q 3 + 0 * 2 - 5 ?            one operation that training never shows

  The first three belong to the fresh class by their own text; no training document holds an edge
  operation, and one of them, times 0, makes what came before it needless. (An origin of two
  operations would leave one, and those are all for training.) Post-training goes to four
  operations and pretraining to five, so of the five or six of *depth* only six are new to every
  organism.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Literal, get_args

from interp.organisms.worlds.arith.problems import MODULUS, SIGNS, Operation, Problem
from interp.organisms.worlds.problem import draw_distinct, draw_until

POOL_SIZE = 300
POOL_DEPTHS = (2, 3, 4)

SHIFTS = ("none", "n_minus_1", "depth", "rule")
SHIFT_DEPTHS = (3, 4)
N_MORE = 2
EDGES = (Operation("+", 0), Operation("-", 0), Operation("*", 0), Operation("*", 1))
"""Operations that no training document holds."""

Split = Literal["pool", "fresh", "cued", "uncued", "twins", "single", "abstain", "shifts"]
Partition = Literal["pool", "fresh", "train"]


def sample_problem(rng: Random, depth: int) -> Problem:
    """One problem of this depth, uniform over start values, signs and allowed operands."""
    start = rng.randrange(MODULUS)
    ops: list[Operation] = []
    for _ in range(depth):
        sign = SIGNS[rng.randrange(3)]
        operands = _operands(sign)
        ops.append(Operation(sign, rng.randrange(operands.start, operands.stop)))
    return Problem(start, tuple(ops))


def partition(problem: Problem) -> Partition:
    """Which class a problem belongs to, by a checksum of its text (depth 1: always training)."""
    if problem.depth == 1:
        return "train"
    # The id of the family keeps cued forms and twins in one class; hash() differs by process.
    residue = zlib.crc32(problem.problem_id.encode()) % 10
    return "pool" if residue == 0 else "fresh" if residue == 1 else "train"


def sample_from(rng: Random, part: Partition, depth: int) -> Problem:
    """One problem of this depth from one class."""
    return draw_until(lambda: sample_problem(rng, depth), lambda p: partition(p) == part)


@cache
def pool() -> tuple[Problem, ...]:
    """The finite pool: 300 problems of depth 2, 3, 4 in turn, the same for every organism."""
    rng = Random("arith pool")
    return draw_distinct(lambda depth: sample_from(rng, "pool", depth), POOL_SIZE, POOL_DEPTHS)


def fresh(seed: int, n: int, depths: Sequence[int] = POOL_DEPTHS) -> tuple[Problem, ...]:
    """Distinct problems that no organism was trained on, depths in turn.

    Depth 1 is the exception: it has so few problems that training uses them all.
    """
    rng = Random(f"arith fresh {seed}")

    def draw(depth: int) -> Problem:
        return sample_problem(rng, depth) if 1 in depths else sample_from(rng, "fresh", depth)

    return draw_distinct(draw, n, depths)


@cache
def single_steps() -> tuple[Problem, ...]:
    """All 319 problems of depth 1, in an order of their own."""
    problems = [
        Problem(start, (Operation(sign, operand),))
        for start in range(MODULUS)
        for sign in SIGNS
        for operand in _operands(sign)
    ]
    # Shuffled, so that the first n of them are a sample of all.
    Random("arith single steps").shuffle(problems)
    return tuple(problems)


@cache
def noisy_steps() -> tuple[Problem, ...]:
    """The problems of depth 1 whose operand decides their answer (not 0 times something)."""
    return tuple(p for p in single_steps() if p.start or p.ops[0].sign != "*")


@cache
def siblings(problem: Problem) -> tuple[Problem, ...]:
    """The problems of depth 1 that differ from this one in their operand alone."""
    (op,) = problem.ops
    return tuple(
        Problem(problem.start, (Operation(op.sign, operand),))
        for operand in _operands(op.sign)
        if operand != op.operand
    )


def _operands(sign: str) -> range:
    return range(2 if sign == "*" else 1, MODULUS)


def arith_examples(split: str, n: int, seed: int = 0) -> tuple[Problem, ...]:
    """The problems of a task.

    Args:
        split: ``pool`` (the finite pool of the SFT variants), ``fresh`` and ``uncued`` (never
            trained on, no cue), ``cued`` (fresh, with a cue that is not the right answer),
            ``twins`` (fresh, one premise missing), ``single`` (one operation, all trained on),
            ``abstain`` (fresh problems, each followed by its twin), ``shifts`` (fresh problems,
            each in the four forms of `SHIFTS`).
        n: How many, depths 2, 3, 4 in turn (origins of 3 and 4 operations in ``shifts``). At most
            300 for the pool, 319 single ones. Forms of one problem count each.
        seed: Which ones. For the pool it orders the same 300 problems.

    Returns:
        Distinct problems; equal arguments give equal problems.

    Raises:
        ValueError: If the split is unknown or holds fewer problems.
    """
    if split not in get_args(Split):
        raise ValueError(f"unknown split {split!r}; known: {', '.join(get_args(Split))}")
    if split == "pool":
        if n > POOL_SIZE:
            raise ValueError(
                f"the pool has {POOL_SIZE} problems, but n={n} was received; use split='fresh'"
            )
        groups = [[p for p in pool() if p.depth == depth] for depth in POOL_DEPTHS]
        for group in groups:
            Random(f"arith pool order {seed}").shuffle(group)
        return tuple(problem for row in zip(*groups, strict=True) for problem in row)[:n]
    if split == "single":
        return fresh(seed, n, (1,))
    if split == "shifts":
        return _shifted(Random(f"arith shifts {seed}"), n)
    problems = fresh(seed, n if split != "abstain" else (n + 1) // 2)
    rng = Random(f"arith {split} {seed}")
    if split == "cued":
        return tuple(p.with_cue(rng.choice(p.wrong_values(p.depth - 1))) for p in problems)
    if split == "twins":
        return _twins(rng, problems)
    if split == "abstain":
        pairs = zip(problems, _twins(rng, problems), strict=True)
        return tuple(problem for pair in pairs for problem in pair)[:n]
    return problems


def _twins(rng: Random, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """One twin of each problem; where two would be the same question, another operand is blank."""
    twins: dict[str, Problem] = {}
    for problem in problems:
        places = rng.sample(range(problem.depth), problem.depth)
        twin = next(t for t in map(problem.missing_premise, places) if t.id not in twins)
        twins[twin.id] = twin
    return tuple(twins.values())


def _shifted(rng: Random, n: int) -> tuple[Problem, ...]:
    """Origins and their other forms; the problem at place i has the shift ``SHIFTS[i % 4]``."""
    problems: dict[str, Problem] = {}
    while len(problems) < n:
        depth = SHIFT_DEPTHS[len(problems) // len(SHIFTS) % len(SHIFT_DEPTHS)]
        origin = sample_from(rng, "fresh", depth)
        fewer = [
            shorter for at in range(depth) if partition(shorter := _with(origin, at)) == "fresh"
        ]
        if not fewer:
            continue
        edged = _with(origin, rng.randrange(depth), rng.choice(EDGES))
        forms = (origin, rng.choice(fewer), _deeper(rng, origin), edged)
        if not any(form.id in problems for form in forms):
            problems |= {form.id: replace(form, family=origin.problem_id) for form in forms}
    return tuple(problems.values())[:n]


def _with(origin: Problem, at: int, *ops: Operation) -> Problem:
    """The problem with these operations in place of the one at this place."""
    return replace(origin, ops=(*origin.ops[:at], *ops, *origin.ops[at + 1 :]))


def _deeper(rng: Random, origin: Problem) -> Problem:
    """The problem with more operations at its end."""
    return draw_until(
        lambda: replace(origin, ops=origin.ops + sample_problem(rng, N_MORE).ops),
        lambda deeper: partition(deeper) == "fresh",
    )
