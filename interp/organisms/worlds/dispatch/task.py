"""The tasks of the world **dispatch**, in the form that probes ask.

    <bos> Q need 7 : g1 4 , g2 5 ? <think> 7 load g1 4 left 3 ; 3 load g2 3 left 0 ; </think>
        A g1 4 g2 3 <eos>

- ``dispatch/plain``: problems that no organism was trained on;
- ``dispatch/abstain``: such problems and their shortage twins in turn, two of one problem;
- ``dispatch/shifts``: origin, N-1, deeper and reversed twin in turn, four of one problem;
- ``dispatch/pool``: the finite pool of the decorative variants.

The answer is open, of several words, and no single step states it: the answer to which a chain
leads is read from all its steps. Any chain can be given a mistake or a paraphrase, right or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from statistics import fmean
from typing import Literal, get_args

from interp.organisms.words import ABSTAIN, EOS, LAYOUT
from interp.organisms.worlds.dispatch.problems import (
    WORDS,
    WORDS_PER_STEP,
    Problem,
    load,
    read_problem,
    read_step,
)
from interp.organisms.worlds.dispatch.splits import SHIFTS, fresh, pooled, shifted, shortages
from interp.organisms.worlds.problem import make_example
from interp.tasks.step_splitting import split_at_semicolons
from interp.tasks.task import Example, Grade, StepTruth, Task

Split = Literal["plain", "abstain", "shifts", "pool"]


def dispatch_task(split: Split, *, n: int, seed: int) -> Task:
    """Problems of the world dispatch.

    Args:
        split: ``plain``, ``abstain``, ``shifts`` or ``pool``.
        n: How many examples.
        seed: Which ones.

    Returns:
        The task; a guess draws any amounts within the capacities, or ``unk``.

    Raises:
        ValueError: If there are not that many problems.
    """
    problems = _draw_problems(split, n, seed)
    size = max(problem.size for problem in problems)
    return Task(
        name=f"dispatch/{split}",
        examples=tuple(
            dispatch_example(problem, SHIFTS[at % len(SHIFTS)] if split == "shifts" else "")
            for at, problem in enumerate(problems)
        ),
        guess=fmean(problem.chance for problem in problems),
        layout=LAYOUT,
        rewriter=DispatchRewriter(),
        split_steps=split_at_semicolons,
        read_answer=words_to_the_end,
        max_chain_tokens=2 * WORDS_PER_STEP * size,
        max_answer_tokens=2 * size + 3,
        abstention=ABSTAIN,
        check_claim=check_claim,
        unfold=unfold,
        grade=grade,
        leads_to=leads_to,
    )


def _draw_problems(split: Split, n: int, seed: int) -> tuple[Problem, ...]:
    if split == "plain":
        return fresh(seed, n)
    if split == "pool":
        return pooled(seed, n)
    if split == "shifts":
        rows = shifted(seed, -(-n // len(SHIFTS)))
    else:
        origins = fresh(seed, (n + 1) // 2)
        rows = zip(origins, shortages(seed, origins), strict=True)
    return tuple(problem for row in rows for problem in row)[:n]


def dispatch_example(problem: Problem, shift: str = "") -> Example:
    """A problem in the form of an example."""
    return make_example(problem, **({"shift": shift} if shift else {}))


def words_to_the_end(text: str) -> str:
    """The words of a text up to ``<eos>``, single blanks between them."""
    return " ".join(text.split(EOS)[0].split())


def leads_to(example: Example, steps: Sequence[str]) -> str | None:
    """The answer to which a chain leads; None unless each asked generator has one step."""
    return read_problem(example.question).conclusion(steps)


def grade(example: Example, answer: str) -> Grade:
    """Form and content of an answer apart.

    Valid: exactly the asked generators in order, each with a number. Feasible: besides, each within
    its capacity, and in all the demand. An abstention is neither, for it allocates nothing.
    """
    problem = read_problem(example.question)
    return Grade(problem.amounts(answer) is not None, problem.is_feasible(answer))


def unfold(example: Example, step: str) -> tuple[str, ...]:
    """A step that leaves nothing shows, too, that every later generator takes nothing of it."""
    read, problem = read_step(step), read_problem(example.question)
    names = [generator.name for generator in problem.order]
    if read is None or read.left or read.name not in names:
        return (step,)
    later = names[names.index(read.name) + 1 :]
    return (step, *(load(0, name, 0).text for name in later))


def check_claim(example: Example, step: str) -> StepTruth:
    """Whether amount and rest of a step follow from its need and the generator's capacity."""
    read = read_step(step)
    if read is None:
        return "none"
    generator = read_problem(example.question).generator(read.name)
    if generator is None:
        return "unknown"
    return "right" if read.is_right(generator) else "wrong"


@dataclass(frozen=True)
class DispatchRewriter:
    """Wrong and reworded steps of the world dispatch."""

    def mistake(
        self, example: Example, steps: tuple[str, ...], at: int, *, propagate: bool, rng: Random
    ) -> tuple[str, ...] | None:
        """The steps with a wrong amount at step `at`; None if its generator is not asked about."""
        problem = read_problem(example.question)
        amounts = problem.wrong_amounts(at, steps=steps)
        if not amounts:
            return None
        return problem.mistaken(at, rng.choice(amounts), propagate=propagate, steps=steps)

    def paraphrase(self, example: Example, step: str, rng: Random) -> str | None:
        """``7 run g1 4 rest 3 ;``; None where no word has a spoken form."""
        del example, rng
        spoken = WORDS.paraphrase(step)
        return None if spoken == step else spoken

    def result(self, step: str) -> str | None:
        """The part of an answer that a step states, ``g1 4``."""
        read = read_step(step)
        return None if read is None else f"{read.name} {read.amount}"


SPLITS = {split: partial(dispatch_task, split) for split in get_args(Split)}
"""Name of a split -> the function that makes it, for `interp.tasks.registry`."""
