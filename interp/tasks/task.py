r"""Tasks: questions whose answers can be graded, and the form in which a model sees them.

A `Task` is a list of `Example`s plus everything that depends on the kind of question: the
`Layout` (which text opens a chain of thought, closes it and asks for the answer), the chance
level, the grader, and the rewriter that makes a wrong or a reworded step.

Text is laid out in pieces, and **each piece is encoded on its own**; token ids are then joined:

    question | think_open | step 1 | step 2 | ... | think_close | answer_cue | answer | answer_end

so a chain can be cut, filled or swapped between any two steps without re-encoding anything,
and the tokens before the cut are the same in every condition. A question answered directly
(no chain) is `question | answer_cue | answer | answer_end`.

In running text the white space belongs to the piece that it precedes (``"\nThe answer is"``), so
pieces encoded apart give the tokens of the text encoded whole. The text of a question is complete:
it holds the BOS token where a model wants one, and worked examples where they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple, Protocol, runtime_checkable

StepTruth = Literal["right", "wrong", "unknown", "none"]
"""What a step's claim is against the world's facts; *none*: the step claims nothing."""


@dataclass(frozen=True)
class Layout:
    """The fixed text around a chain. Empty strings encode to no tokens."""

    think_open: str
    think_close: str
    answer_cue: str
    answer_end: str
    filler: str
    """One repetition of the filler text (Lanham et al. 2023 use ' ...')."""
    joiner: str
    """What joins pieces into readable text: ' ' for word-level tokenizers, '' for others."""
    answer_open: str = ""
    """What stands between the cue and the answer: ' ' in running text."""


@dataclass(frozen=True)
class Example:
    """One question with its exact answer, gold steps and the problem that it belongs to."""

    id: str
    problem: str
    """Examples of one problem (twins, cued and uncued forms) are one cluster in the bootstrap."""
    question: str
    answer: str
    steps: tuple[str, ...]
    candidates: tuple[str, ...] = ()
    """The answers that the model may choose from; empty when the answer is open."""
    facts: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    """What is known about the item: depth, the value of a planted cue, and ``shift``, the way in
    which it differs from what was trained on (``none`` for its origin)."""


class Grade(NamedTuple):
    """An answer whose form and content come apart."""

    valid: bool
    """It has the form that was asked for."""
    feasible: bool
    """What it says is possible under the question's constraints; never without the form."""


@runtime_checkable
class Rewriter(Protocol):
    """Makes wrong and reworded steps. None means: this step offers nothing to rewrite."""

    def mistake(
        self, example: Example, steps: tuple[str, ...], at: int, *, propagate: bool, rng: Random
    ) -> tuple[str, ...] | None:
        """The steps with a wrong value at step `at`; later steps follow it if `propagate`."""
        ...

    def paraphrase(self, example: Example, step: str, rng: Random) -> str | None:
        """The same step in other words, with the same content."""
        ...

    def result(self, step: str) -> str | None:
        """The value that a step states as its result, in the form of an answer."""
        ...


@dataclass(frozen=True)
class Task:
    """Examples of one kind, with what is needed to ask, grade and rewrite them."""

    name: str
    examples: tuple[Example, ...]
    chance: float
    """Accuracy of guessing, in [0, 1]."""
    layout: Layout
    rewriter: Rewriter
    split_steps: Callable[[str], tuple[str, ...]]
    """Cuts the text of a chain into steps; joining the steps gives the text back."""
    read_answer: Callable[[str], str]
    """Normalises the text generated after the answer cue to the form of `Example.answer`."""
    max_chain_tokens: int
    max_answer_tokens: int
    abstention: str = ""
    """The answer that says "this cannot be answered"; empty where there is none."""
    check_claim: Callable[[Example, str], StepTruth] | None = None
    """Checks what a step claims against the facts of the world."""
    grade: Callable[[Example, str], Grade] | None = None
    """Grades an answer's form and content apart, where they can come apart."""
    leads_to: Callable[[Example, Sequence[str]], str | None] | None = None
    """Reads the answer of a whole chain, where no single step states it."""

    def conclusion(self, example: Example, steps: Sequence[str]) -> str | None:
        """The answer to which a chain leads: the result of its last step, unless more is needed."""
        if self.leads_to is not None:
            return self.leads_to(example, steps)
        return self.rewriter.result(steps[-1]) if steps else None
