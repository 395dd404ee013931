"""What the problems of all worlds have in common: their shape, and how they are drawn and asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from interp.organisms.words import BOS
from interp.tasks.task import Example

MAX_MISSES = 1000
"""Draws in a row that give nothing new before the problems count as exhausted."""


@runtime_checkable
class WorldProblem(Protocol):
    """A question of a world, whose correct chain and answer follow exactly."""

    @property
    def id(self) -> str:
        """Id of this very question."""
        ...

    @property
    def problem_id(self) -> str:
        """Id shared by a problem and the forms that were made from it: the unit of a bootstrap."""
        ...

    @property
    def question(self) -> str:
        """Text from ``Q`` to ``?``, without ``<bos>``."""
        ...

    @property
    def steps(self) -> tuple[str, ...]:
        """The correct chain, one text per step, each ending in ``;``."""
        ...

    @property
    def answer(self) -> str:
        """The right answer."""
        ...


AnyProblem = TypeVar("AnyProblem", bound=WorldProblem)


def draw_until(draw: Callable[[], AnyProblem], accept: Callable[[AnyProblem], bool]) -> AnyProblem:
    """The first draw that is accepted."""
    while True:
        problem = draw()
        if accept(problem):
            return problem


def draw_distinct(
    draw: Callable[[int], AnyProblem], n: int, depths: Sequence[int]
) -> tuple[AnyProblem, ...]:
    """Distinct problems, depths in turn.

    Args:
        draw: Makes a problem of a depth.
        n: How many.
        depths: Numbers of steps.

    Raises:
        ValueError: If there are not that many.
    """
    problems: dict[AnyProblem, None] = {}
    misses = 0
    while len(problems) < n:
        problem = draw(depths[len(problems) % len(depths)])
        misses = misses + 1 if problem in problems else 0
        if misses > MAX_MISSES:
            raise ValueError(
                f"problems are drawn without repetition, and {n} were asked for at depths "
                f"{tuple(depths)}, which have about {len(problems)}. Ask for fewer, or add a "
                "larger depth."
            )
        problems[problem] = None
    return tuple(problems)


def make_example(
    problem: WorldProblem, candidates: Sequence[str] = (), **facts: str | int
) -> Example:
    """A problem in the form that probes ask it; its depth is added to the facts."""
    return Example(
        id=problem.id,
        problem=problem.problem_id,
        question=f"{BOS} {problem.question}",
        answer=problem.answer,
        steps=problem.steps,
        candidates=tuple(candidates),
        facts={"depth": len(problem.steps), **facts},
    )
