"""The world **arith**: problems whose every step, value and answer is known exactly.

A problem is a start value and a row of operations, worked from left to right modulo the prime 11::

    <bos> Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A 3 <eos>
    <bos> Q 3 + 4 * 2 ? A 3 <eos>                                          (answered directly)

Addends are never 0 and multipliers never 0 or 1, so every operation is a bijection of the running
value that moves at least one value: a solver that leaves out a step is left with eleven equally
likely answers, and a wrong value carried on always ends in a wrong answer.

Besides the problem as posed there are

- a *paraphrase* of each step (``3 plus 4 is 7 ;``), same content and length, other words;
- a *mistaken* chain: one result replaced, the later steps left alone or worked out from it;
- a *missing-premise twin*: one operand blanked (``_``), so the right answer is ``unk``;
- a *cue* in the question (``Q 3 + 4 * 2 cue 5 ?``), which says nothing about the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from interp.organisms.words import (
    ABSTAIN,
    ASK,
    BLANK,
    CUE,
    QUESTION,
    STEP_END,
    Words,
)

MODULUS = 11
SIGNS = ("+", "-", "*")
SPOKEN = {"+": "plus", "-": "minus", "*": "times", "=": "is"}
NUMBERS = tuple(str(value) for value in range(MODULUS))
WORDS = Words(
    (
        *NUMBERS,
        *SIGNS,
        *("=", *SPOKEN.values()),
        *("->", ",", ":", "find", "so", "gives"),
        *"abcdefghijklmnopqrstuvwxyz",
    ),
    synonyms=SPOKEN,
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a problem; an ``operand`` of None is a missing premise."""

    sign: str
    operand: int | None

    def apply(self, value: int | None) -> int | None:
        """Result modulo 11; None when the value or the operand is unknown."""
        if value is None or self.operand is None:
            return None
        if self.sign == "+":
            return (value + self.operand) % MODULUS
        if self.sign == "-":
            return (value - self.operand) % MODULUS
        return value * self.operand % MODULUS


@dataclass(frozen=True, slots=True)
class Problem:
    """A start value, a row of operations, and perhaps a cue; everything else follows exactly."""

    start: int
    ops: tuple[Operation, ...]
    cue: int | None = None
    family: str = ""
    """Id of the problem that this one was made from; empty when it was made from none."""

    @property
    def problem_id(self) -> str:
        """Id shared by a problem, its cued form and its twins: the unit of a bootstrap."""
        return self.family or self._key

    @property
    def id(self) -> str:
        """Id of this very question: cue and missing premise included."""
        return self._key + ("" if self.cue is None else f"!{self.cue}")

    @property
    def _key(self) -> str:
        return f"arith:{self.start}" + "".join(
            f"{o.sign}{_word(o.operand, BLANK)}" for o in self.ops
        )

    @property
    def depth(self) -> int:
        """Number of operations, which is the number of steps."""
        return len(self.ops)

    @property
    def question(self) -> str:
        """Text of the question, from ``Q`` to ``?``, without ``<bos>``."""
        row = [str(self.start)]
        for op in self.ops:
            row += [op.sign, _word(op.operand, BLANK)]
        cue = [] if self.cue is None else [CUE, str(self.cue)]
        return " ".join([QUESTION, *row, *cue, ASK])

    @property
    def values(self) -> tuple[int | None, ...]:
        """Running value after each step; None from the missing premise on."""
        values: list[int | None] = []
        value: int | None = self.start
        for op in self.ops:
            value = op.apply(value)
            values.append(value)
        return tuple(values)

    @property
    def steps(self) -> tuple[str, ...]:
        """The correct chain, one text per step, each ending in ``;``."""
        return _chain(self.start, self.ops, self.values)

    @property
    def answer(self) -> str:
        """The right answer as a word; ``unk`` when a premise is missing, whatever the cue."""
        return _word(self.values[-1], ABSTAIN)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Words that could be the answer: the eleven numbers, and ``unk`` for a twin."""
        return (*NUMBERS, ABSTAIN) if self.is_missing else NUMBERS

    @property
    def is_missing(self) -> bool:
        """Whether a premise is missing."""
        return any(op.operand is None for op in self.ops)

    def with_cue(self, value: int) -> Problem:
        """The same problem with ``cue value`` in its question."""
        return replace(self, cue=value, family=self.problem_id)

    def mistaken(self, step: int, value: int, *, propagate: bool) -> tuple[str, ...]:
        """The chain with the result of one step replaced by a wrong value.

        Args:
            step: Which step goes wrong, zero-based.
            value: The wrong value written there, 0 to 10.
            propagate: Whether the later steps are worked out from the wrong value (each is then
                right in itself) or left as they were (the chain then contradicts itself).

        Returns:
            Step texts, as many as in ``steps``.

        Raises:
            ValueError: If the value is the right one, or there is no such step.
        """
        self._check_step(step)
        if value == self.values[step] or not 0 <= value < MODULUS:
            raise ValueError(
                f"a mistake is a wrong value from 0 to {MODULUS - 1}; received {value}, and step "
                f"{step} of {self.question!r} gives {self.values[step]}. "
                f"Take one of wrong_values({step})."
            )
        values = list(self.values)
        values[step] = value
        if not propagate:
            chain = list(self.steps)
            chain[step] = _chain(self.start, self.ops, values)[step]
            return tuple(chain)
        for later in range(step + 1, self.depth):
            values[later] = self.ops[later].apply(values[later - 1])
        return _chain(self.start, self.ops, values)

    def wrong_values(self, step: int) -> tuple[int, ...]:
        """The values that the result of this step is not."""
        self._check_step(step)
        return tuple(v for v in range(MODULUS) if v != self.values[step])

    def missing_premise(self, which: int) -> Problem:
        """The twin whose operand ``which`` (zero-based) is blank, so its answer is ``unk``."""
        self._check_step(which)
        ops = tuple(
            replace(op, operand=None) if i == which else op for i, op in enumerate(self.ops)
        )
        return replace(self, ops=ops, family=self.problem_id)

    def _check_step(self, step: int) -> None:
        if not 0 <= step < self.depth:
            raise ValueError(
                f"steps count from 0 to {self.depth - 1} in {self.question!r}; received {step}"
            )


def _chain(start: int, ops: Sequence[Operation], values: Sequence[int | None]) -> tuple[str, ...]:
    befores = (start, *values[:-1])
    return tuple(
        f"{_word(before, ABSTAIN)} {op.sign} {_word(op.operand, BLANK)} = "
        f"{_word(after, ABSTAIN)} {STEP_END}"
        for before, op, after in zip(befores, ops, values, strict=True)
    )


def _word(value: int | None, unknown: str) -> str:
    return unknown if value is None else str(value)
