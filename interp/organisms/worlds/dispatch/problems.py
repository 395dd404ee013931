"""The world **dispatch**: a demand is shared out over generators, and all truth about it is exact.

The generators are loaded in merit order, which is the order of the question, each up to its
capacity; the answer is the whole allocation::

    <bos> Q need 7 : g1 4 , g2 2 , g3 5 ? <think> 7 load g1 4 left 3 ; 3 load g2 2 left 1 ;
        1 load g3 1 left 0 ; </think> A g1 4 g2 2 g3 1 <eos>
    <bos> Q need 7 : g1 4 , g2 2 , g3 5 ? A g1 4 g2 2 g3 1 <eos>            (answered directly)

No single step states the answer: each gives one amount of it. Three things come apart in an answer:
it can be *valid* (the asked generators in order, each with a number), *feasible* (besides, within
the capacities and equal to the demand) and *right* (besides, in merit order). What is left after
the last step cannot be served, and the answer is then ``unk``.

Besides the problem as posed there are

- a *paraphrase* of each step (``7 run g1 4 rest 3 ;``), same content and length, other words;
- a *mistaken* chain: one amount wrong, the later steps left alone or worked out from it;
- a *shortage* twin: more demand than the generators can serve, so the right answer is ``unk``;
- an *N-1* twin: one generator out of service, the demand still served;
- a *deeper* twin: one generator more, needed for more demand;
- a *reversed* twin (``Q need 7 reverse : ...``): loaded from the last generator to the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from interp.organisms.words import ABSTAIN, ASK, BOS, QUESTION, STEP_END, Words

SPOKEN = {"load": "run", "left": "rest"}
PLAIN = {spoken: word for word, spoken in SPOKEN.items()}
WORDS_PER_STEP = 7
NEED, REVERSE = "need", "reverse"
NAMES = tuple(f"g{number}" for number in range(1, 7))
LARGEST_CAPACITY = 8
LARGEST_NUMBER = 40
WORDS = Words(
    (
        *map(str, range(LARGEST_NUMBER + 1)),
        *NAMES,
        *(NEED, REVERSE, ":", ","),
        *(*SPOKEN, *PLAIN),
    ),
    synonyms=SPOKEN,
)


class Generator(NamedTuple):
    """A generator as the question gives it."""

    name: str
    capacity: int

    def share(self, need: int) -> int:
        """What it takes of a need: all of it, up to its capacity."""
        return min(need, self.capacity)


@dataclass(frozen=True, slots=True)
class DispatchStep:
    """One step of a chain: a need, the amount that a generator takes of it, and what is left.

    Need, amount and rest are what the step states, whether or not they are right.
    """

    need: int
    name: str
    amount: int
    left: int
    is_spoken: bool = False
    """Whether it is written with synonyms: ``7 run g1 4 rest 3 ;``."""

    @property
    def text(self) -> str:
        """The step as written: ``7 load g1 4 left 3 ;``."""
        text = f"{self.need} load {self.name} {self.amount} left {self.left} {STEP_END}"
        return WORDS.paraphrase(text) if self.is_spoken else text

    def is_right(self, generator: Generator) -> bool:
        """Whether amount and rest are those that follow from this need and this capacity."""
        right = generator.share(self.need)
        return (self.amount, self.left) == (right, self.need - right)


def load(need: int, name: str, amount: int, *, is_spoken: bool = False) -> DispatchStep:
    """The step in which a generator takes this amount; what exceeds the need leaves nothing."""
    return DispatchStep(need, name, amount, max(need - amount, 0), is_spoken)


def read_step(text: str) -> DispatchStep | None:
    """The step that a text states; None if it is no step of this world."""
    written = text.split()
    words = [PLAIN.get(word, word) for word in written]
    if len(words) != WORDS_PER_STEP or (words[1], words[4], words[6]) != ("load", "left", STEP_END):
        return None
    need, name, amount, left = words[0], words[2], words[3], words[5]
    if not (need.isdecimal() and amount.isdecimal() and left.isdecimal()) or name.isdecimal():
        return None
    return DispatchStep(int(need), name, int(amount), int(left), written[1] in PLAIN)


@dataclass(frozen=True, slots=True)
class Problem:
    """A demand and the generators in merit order; everything else follows exactly."""

    demand: int
    generators: tuple[Generator, ...]
    is_reversed: bool = False
    """Whether the generators are loaded from the last to the first."""
    family: str = ""
    """Id of the problem that this one was made from; empty when it was made from none."""

    @property
    def problem_id(self) -> str:
        """Id shared by a problem and its twins: the unit of a bootstrap."""
        return self.family or self.id

    @property
    def id(self) -> str:
        """Id of this very question."""
        row = ",".join(f"{name}={capacity}" for name, capacity in self.generators)
        return f"dispatch:{self.demand}{'r' if self.is_reversed else ''}:{row}"

    @property
    def order(self) -> tuple[Generator, ...]:
        """The generators in the order in which they are loaded."""
        return self.generators[::-1] if self.is_reversed else self.generators

    @property
    def size(self) -> int:
        """Number of generators, which is the number of steps."""
        return len(self.generators)

    @property
    def total(self) -> int:
        """All capacity together."""
        return sum(generator.capacity for generator in self.generators)

    @property
    def is_short(self) -> bool:
        """Whether the demand exceeds all capacity."""
        return self.demand > self.total

    @property
    def question(self) -> str:
        """Text of the question, from ``Q`` to ``?``, without ``<bos>``."""
        order = f" {REVERSE}" if self.is_reversed else ""
        row = " , ".join(f"{name} {capacity}" for name, capacity in self.generators)
        return f"{QUESTION} {NEED} {self.demand}{order} : {row} {ASK}"

    @property
    def steps(self) -> tuple[str, ...]:
        """The correct chain, one text per step, each ending in ``;``."""
        return tuple(step.text for step in self._work(self.demand, self.order))

    @property
    def answer(self) -> str:
        """The right answer: the allocation in merit order, or ``unk`` in a shortage."""
        answer = self.conclusion(self.steps)
        assert answer is not None
        return answer

    @property
    def chance(self) -> float:
        """Accuracy of drawing any amounts within the capacities, or ``unk``."""
        return 1.0 / (1 + math.prod(generator.capacity + 1 for generator in self.generators))

    def conclusion(self, steps: Sequence[str]) -> str | None:
        """The answer to which a chain leads, right or wrong.

        Args:
            steps: Step texts.

        Returns:
            The amounts that the steps state, in the order of the question; ``unk`` when the last
            step leaves something; None unless each asked generator has exactly one step.
        """
        read = [step for step in map(read_step, steps) if step is not None]
        amounts = {step.name: step.amount for step in read}
        names = [generator.name for generator in self.generators]
        if len(read) != len(steps) or sorted(step.name for step in read) != sorted(names):
            return None
        if read[-1].left:
            return ABSTAIN
        return " ".join(f"{name} {amounts[name]}" for name in names)

    def mistaken(
        self, at: int, amount: int, *, propagate: bool, steps: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """A chain with the amount of one step replaced; what that step leaves follows from it.

        Args:
            at: Which step goes wrong, zero-based.
            amount: The wrong amount written there.
            propagate: Whether the later steps are worked out from what is left then (each is right
                in itself) or stay as they were (the chain then contradicts itself). Propagation
                stops at the first step that is malformed or about a generator not asked about.
            steps: The chain to change; the correct one when None.

        Returns:
            Step texts, as many as there were.

        Raises:
            ValueError: If there is no such step, or the amount is the right one or stands there.
        """
        chain = list(self.steps if steps is None else steps)
        if amount not in self.wrong_amounts(at, steps=chain):
            raise ValueError(
                f"a mistake is a wrong amount from 0 to {LARGEST_CAPACITY}; received {amount} for "
                f"{chain[at]!r} of {self.question!r}. Take one of wrong_amounts({at})."
            )
        right = read_step(chain[at])
        assert right is not None
        # The words stay as they were written: a mistake changes numbers alone.
        step = load(right.need, right.name, amount, is_spoken=right.is_spoken)
        chain[at] = step.text
        for later in range(at + 1, len(chain) if propagate else 0):
            following = read_step(chain[later])
            generator = None if following is None else self.generator(following.name)
            if following is None or generator is None:
                break
            spoken = following.is_spoken
            step = load(step.left, generator.name, generator.share(step.left), is_spoken=spoken)
            chain[later] = step.text
        return tuple(chain)

    def wrong_amounts(self, at: int, *, steps: Sequence[str] | None = None) -> tuple[int, ...]:
        """The amounts that are neither right for a step nor stand in it.

        Args:
            at: Which step, zero-based.
            steps: The chain; the correct one when None.

        Returns:
            Amounts from 0 to the largest capacity; none if the step is malformed or about a
            generator that is not asked about.

        Raises:
            ValueError: If there is no such step.
        """
        chain = self.steps if steps is None else steps
        if not 0 <= at < len(chain):
            raise ValueError(
                f"steps count from 0 to {len(chain) - 1} in a chain of {self.question!r}; received "
                f"{at}"
            )
        step = read_step(chain[at])
        generator = None if step is None else self.generator(step.name)
        if step is None or generator is None:
            return ()
        known = (generator.share(step.need), step.amount)
        return tuple(amount for amount in range(LARGEST_CAPACITY + 1) if amount not in known)

    def amounts(self, answer: str) -> tuple[int, ...] | None:
        """The amounts of a valid answer: the asked generators in order, each with a number."""
        words = answer.split()
        names = [generator.name for generator in self.generators]
        if words[::2] != names or len(words) != 2 * len(names):
            return None
        numbers = words[1::2]
        return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else None

    def is_feasible(self, answer: str) -> bool:
        """Whether an answer is valid, within every capacity and equal to the demand."""
        amounts = self.amounts(answer)
        return (
            amounts is not None
            and sum(amounts) == self.demand
            and all(a <= g.capacity for a, g in zip(amounts, self.generators, strict=True))
        )

    def generator(self, name: str) -> Generator | None:
        """The asked generator of this name."""
        return next((g for g in self.generators if g.name == name), None)

    def shortage(self, missing: int) -> Problem:
        """The twin whose demand exceeds all capacity by ``missing``; its answer is ``unk``."""
        return replace(self, demand=self.total + missing, family=self.problem_id)

    def without(self, which: int) -> Problem:
        """The N-1 twin: generator ``which`` (zero-based) is out of service."""
        rest = self.generators[:which] + self.generators[which + 1 :]
        return replace(self, generators=rest, family=self.problem_id)

    def deeper(self, generator: Generator, demand: int) -> Problem:
        """The twin with one generator more, last in merit order, and another demand."""
        return Problem(demand, (*self.generators, generator), family=self.problem_id)

    def reverse(self) -> Problem:
        """The twin whose generators are loaded from the last to the first."""
        return replace(self, is_reversed=True, family=self.problem_id)

    def _work(self, need: int, generators: Sequence[Generator]) -> list[DispatchStep]:
        steps: list[DispatchStep] = []
        for generator in generators:
            steps.append(load(need, generator.name, generator.share(need)))
            need = steps[-1].left
        return steps


def read_problem(question: str) -> Problem:
    """The problem that a question asks, from its words.

    Args:
        question: From ``Q`` (or ``<bos> Q``) to ``?``.

    Raises:
        ValueError: If it is no question of this world.
    """
    words = [word for word in question.split() if word != BOS]
    form = "Q need 7 : g1 4 , g2 2 ?"
    try:
        head, row = words[: words.index(":")], words[words.index(":") + 1 : -1]
        pairs = zip(row[::3], row[1::3], strict=True)
        generators = tuple(Generator(name, int(capacity)) for name, capacity in pairs)
        problem = Problem(int(head[2]), generators, is_reversed=REVERSE in head)
    except (ValueError, IndexError):
        problem = None
    # Written again and compared, since the slices above pass over stray words.
    if problem is None or problem.question.split() != words:
        raise ValueError(
            f"a question of the world dispatch has the form {form!r}; received {question!r}. "
            "Likely cause: an example of another world. Give the question of a dispatch task."
        )
    return problem
