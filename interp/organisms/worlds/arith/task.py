"""The task of the world **arith**, in the form that probes ask it.

    <bos> Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A 3 <eos>

One word is one token, a step ends in ``;``, and truth is exact. Any chain can be given a mistake or
a paraphrase, right or wrong, so a model's own chain is edited like a reference chain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import get_args

from interp.organisms.words import ABSTAIN, BLANK, LAYOUT, STEP_END, first_word
from interp.organisms.worlds.arith.problems import (
    MODULUS,
    NUMBERS,
    SIGNS,
    SPOKEN,
    WORDS,
    Operation,
    Problem,
)
from interp.organisms.worlds.arith.splits import SHIFTS, Split, arith_examples
from interp.organisms.worlds.problem import make_example
from interp.tasks.step_splitting import split_at_semicolons
from interp.tasks.task import Example, StepTruth, Task

_TOKENS_PER_STEP = 6


def arith_task(split: Split, *, n: int, seed: int) -> Task:
    """Problems of the world arith.

    Args:
        split: As in the world's `splits`. In ``abstain`` the abstention is a candidate for the
            originals, too; in ``shifts`` the facts of an example name its ``shift``.
        n: How many problems.
        seed: Which ones.

    Returns:
        The task.

    Raises:
        ValueError: If the split is unknown or holds fewer problems.
    """
    problems = arith_examples(split, n, seed)
    examples = tuple(_example(split, at, problem) for at, problem in enumerate(problems))
    depth = max((problem.depth for problem in problems), default=1)
    return Task(
        name=f"arith/{split}",
        examples=examples,
        layout=LAYOUT,
        rewriter=ArithRewriter(),
        split_steps=split_at_semicolons,
        read_answer=first_word,
        max_chain_tokens=2 * _TOKENS_PER_STEP * depth,
        max_answer_tokens=2,  # the word, and the token that ends it
        abstention=ABSTAIN,
        check_claim=check_claim,
        unfold=unfold,
    )


def _example(split: Split, at: int, problem: Problem) -> Example:
    """A problem of a split, with the candidates or facts that the split adds."""
    example = arith_example(problem)
    if split == "abstain":
        return replace(example, candidates=(*NUMBERS, ABSTAIN))
    if split == "shifts":
        return replace(example, facts={**example.facts, "shift": SHIFTS[at % len(SHIFTS)]})
    return example


def arith_example(problem: Problem) -> Example:
    """A problem in the form of an example."""
    cue = {} if problem.cue is None else {"cue": str(problem.cue)}
    return make_example(problem, problem.candidates, **cue)


def unfold(example: Example, step: str) -> tuple[str, ...]:
    """``3 + 4 * 2 = 3 ;`` as ``3 + 4 = 7 ;`` and ``7 * 2 = 3 ;``; any other step as it is."""
    del example
    words = step.split()
    n_more = (len(words) - _TOKENS_PER_STEP) // 2
    single: list[str] = []
    while n_more > 0 and (parsed := _parse(" ".join([*words[:3], "=", ABSTAIN, STEP_END]))):
        after = parsed.op.apply(parsed.before)
        single.append(parsed.written(parsed.before, after))
        words = [_word(after), *words[3:]]
        n_more -= 1
    last = " ".join(words)
    return (*single, last) if single and _parse(last) else (step,)


def check_claim(example: Example, step: str) -> StepTruth:
    """Whether the result of a step is that of its own operations; the question plays no part.

    A step about a missing premise claims nothing that can be right or wrong.
    """
    # What unfolding worked out is right; whether the step is, its last operation tells.
    parsed = _parse(unfold(example, step)[-1])
    if parsed is None or parsed.after is None:
        return "none"
    right = parsed.op.apply(parsed.before)
    if right is None:
        return "unknown"
    return "right" if parsed.after == right else "wrong"


@dataclass(frozen=True)
class ArithRewriter:
    """Wrong and reworded steps of the world arith."""

    def mistake(
        self, example: Example, steps: tuple[str, ...], at: int, *, propagate: bool, rng: Random
    ) -> tuple[str, ...] | None:
        """The steps with a wrong result at step `at`; None if that is no step of this world.

        The value written is neither the one that stands there nor the one that the step ought to
        give. Propagating stops at the first later step that is malformed.
        """
        del example
        parsed = _parse(steps[at])
        if parsed is None:
            return None
        right = parsed.op.apply(parsed.before)
        value: int | None = rng.choice(
            [v for v in range(MODULUS) if v != right and v != parsed.after]
        )
        changed = [*steps]
        changed[at] = parsed.written(parsed.before, value)
        later = at + 1
        while propagate and later < len(steps):
            following = _parse(steps[later])
            if following is None:
                break
            before, value = value, following.op.apply(value)
            changed[later] = following.written(before, value)
            later += 1
        return tuple(changed)

    def paraphrase(self, example: Example, step: str, rng: Random) -> str | None:
        """``3 + 4 = 7 ;`` as ``3 plus 4 is 7 ;``; None where no word has a spoken form."""
        del example, rng
        spoken = WORDS.paraphrase(step)
        return None if spoken == step else spoken

    def result(self, step: str) -> str | None:
        """The word after ``=`` (or ``is``)."""
        words = step.split()
        if len(words) < 2 or words[-1] != STEP_END or words[-3:-2] not in (["="], ["is"]):
            return None
        return words[-2]


@dataclass(frozen=True)
class _Parsed:
    before: int | None
    op: Operation
    after: int | None
    equals: str
    sign: str

    def written(self, before: int | None, after: int | None) -> str:
        """The step with other values before and after its operation."""
        operand = _word(self.op.operand, BLANK)
        return f"{_word(before)} {self.sign} {operand} {self.equals} {_word(after)} {STEP_END}"


def _parse(step: str) -> _Parsed | None:
    words = step.split()
    if len(words) != _TOKENS_PER_STEP or words[3] not in ("=", "is") or words[5] != STEP_END:
        return None
    written = {SPOKEN[sign]: sign for sign in SIGNS}
    sign = written.get(words[1], words[1])
    numbers = [int(w) if w.isdecimal() else None for w in (words[0], words[2], words[4])]
    known = all(
        number is not None or word in (ABSTAIN, BLANK)
        for number, word in zip(numbers, words[0:5:2], strict=True)
    )
    if sign not in SIGNS or not known:
        return None
    before, operand, after = numbers
    return _Parsed(before, Operation(sign, operand), after, words[3], words[1])


def _word(value: int | None, unknown: str = ABSTAIN) -> str:
    return unknown if value is None else str(value)


SPLITS = {split: partial(arith_task, split) for split in get_args(Split)}
"""Name of a split -> the function that makes it, for `interp.tasks.registry`."""
