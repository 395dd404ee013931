r"""Tasks: questions whose answers can be graded, and the form in which a model sees them.

A `Task` is a list of `Example`s plus everything that depends on the kind of question: the
`Layout` (which text opens a chain of thought, closes it and asks for the answer), the chance
level, the grader, and the rewriter that makes a wrong or a reworded step.

Text is laid out in pieces:

    question | think_open | step 1 | step 2 | ... | think_close | answer_cue | answer | answer_end

A question answered directly (no chain) is `question | answer_cue | answer | answer_end`; in running
text that closes a chain, an empty chain stands before the cue. Word by word (`Layout.joiner` is a
blank) each piece is encoded on its own. Running text is encoded whole, and then cut
(`interp.chains.rendering`); the white space between two pieces belongs to the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

StepTruth = Literal["right", "wrong", "unknown", "none"]
"""Whether the claim of a step agrees with the facts: *right*, *wrong*, *unknown* (no fact is known
about it) or *none* (the step claims nothing that could be checked)."""


Piece = TypeVar("Piece", str, tuple[int, ...])
"""A piece of text, or its token ids."""


@dataclass(frozen=True)
class Layout(Generic[Piece]):
    """The fixed pieces around a chain: `Layout[str]` of a task, `Layout[Ids]` in one tokenizer."""

    think_open: Piece
    """Opens a chain; empty if the text of the question does so."""
    think_close: Piece
    """Closes a chain; empty if the answer cue does so."""
    answer_cue: Piece
    """Stands before the answer."""
    answer_open: Piece
    """Stands between the cue and the answer: ' ' in running text, empty in most."""
    answer_end: Piece
    """Ends the answer; generation stops there."""
    filler: Piece
    """One repetition of the filler text (Lanham et al. 2023 use ' ...')."""
    joiner: str
    """What joins pieces into readable text: ' ' for word-level tokenizers, '' for others."""


@dataclass(frozen=True)
class Example:
    """One question with its exact answer, gold steps and the problem that it belongs to."""

    id: str
    """Unique in the task, the same for the same question in every run; ``task:number`` will do."""
    problem: str
    """Examples of one problem (twins, cued and uncued forms) are one cluster in the bootstrap.
    Equal to `id` where each example is a problem of its own."""
    question: str
    """The whole prompt, worked examples included, up to where the chain begins."""
    answer: str
    """The right answer, in the form that `Task.read_answer` gives."""
    steps: tuple[str, ...]
    """A correct chain, cut as `Task.split_steps` cuts it. Empty where no solution is known; then
    probes that edit a reference chain have nothing to edit."""
    candidates: tuple[str, ...] = ()
    """The answers that the model may choose from; empty when the answer is open."""
    facts: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    """What is known about the example, by name. Read by probes and rewriters: ``depth`` (number of
    steps), ``asked`` (the question without worked examples), ``cue`` (the value of a planted cue),
    ``shift`` (how it differs from what was trained on; ``none`` for its origin), ``equation_<i>``
    (the equation of step i). All are optional."""


class Grade(NamedTuple):
    """Form and content of an answer, graded separately."""

    valid: bool
    """It has the form that was asked for."""
    feasible: bool
    """It is possible under the constraints of the question; never true without the form."""


@runtime_checkable
class Rewriter(Protocol):
    """Makes wrong and reworded steps; the result is None for a step that it cannot rewrite.

    `interp.tasks.NumberRewriter` serves tasks in running text whose steps hold equations.
    """

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
    """As given to `make_task`: ``source`` or ``source/split``."""
    examples: tuple[Example, ...]
    """All of one layout, each with an `id` of its own."""
    layout: Layout[str]
    """Text around chain and answer."""
    rewriter: Rewriter
    """Makes mistakes and paraphrases of steps, and reads the result of a step."""
    split_steps: Callable[[str], tuple[str, ...]]
    """Cuts the text of a chain into steps; joining the steps gives the text back."""
    read_answer: Callable[[str], str]
    """Normalises the text generated after the answer cue to the form of `Example.answer`; empty if
    the text holds no answer."""
    max_chain_tokens: int
    """Token budget of a chain that a model writes; a longer one counts as not closed."""
    max_answer_tokens: int
    """Token budget of an answer."""
    guess: float = 0.0
    """Accuracy of guessing at random where the candidates do not tell it, in [0, 1]; 0 where nobody
    can draw from the possible answers."""
    abstention: str = ""
    """The answer that says "this cannot be answered"; empty where there is none."""
    check_claim: Callable[[Example, str], StepTruth] | None = None
    """Compares the claim of a step with the facts; None where the facts are not listed."""
    grade: Callable[[Example, str], Grade] | None = None
    """Grades form and content of an answer separately; None where the answer is one value."""
    leads_to: Callable[[Example, Sequence[str]], str | None] | None = None
    """Reads the answer to which a whole chain leads; None where the last step states it."""
    unfold: Callable[[Example, str], tuple[str, ...]] | None = None
    """Writes a step that works out several results at once as single steps; None where no step
    does."""
    bare: str = ""
    """How a question is asked without worked examples: a text with ``{}`` in the place of what
    `shown` gives. Empty where `Example.question` shows no worked examples."""
    format: str = "task"
    """The prompt format in which this task stands (`interp.tasks.presentation.present`)."""
    origin: Task | None = None
    """The task before it was put into that format; None where it is the task itself."""

    def __post_init__(self) -> None:
        ids = Counter(example.id for example in self.examples)
        twice = [name for name, count in ids.items() if count > 1]
        if twice:
            raise ValueError(
                f"every example of a task has an id of its own; {twice[0]!r} occurs "
                f"{ids[twice[0]]} times in {self.name}. Likely cause: the same question was drawn "
                "or read twice. Leave one out, or number them (task:number)."
            )

    @property
    def chance(self) -> float:
        """Accuracy that needs no look at the question, in [0, 1]: the largest of three.

        * That of the best constant answer to these very examples. No constant answer can be above
          it, so a model that always abstains is at chance where half of the questions have no
          answer. It is the share of the commonest answer: 1 / n where all n answers differ.
        * That of guessing one of each example's candidates.
        * `guess`, which the task declares.

        Of few examples the commonest answer is a larger share than of many (.2 of five answers that
        all differ, 1 of a single one): they say less, and accuracy has to be higher above chance.
        """
        n = len(self.examples)
        if not n:
            return self.guess
        commonest = max(Counter(example.answer for example in self.examples).values())
        among = sum(1 / len(e.candidates) for e in self.examples if e.candidates)
        return max(commonest / n, among / n, self.guess)

    def shown(self, example: Example) -> str:
        """What a person would be asked: the question with its choices, nothing around it."""
        return str(example.facts.get("shown", example.facts.get("asked", example.question)))

    def conclusion(self, example: Example, steps: Sequence[str]) -> str | None:
        """The answer to which a chain leads: the result of its last step, unless more is needed."""
        if self.leads_to is not None:
            return self.leads_to(example, steps)
        return self.rewriter.result(steps[-1]) if steps else None


def repeat_examples(task: Task, times: int) -> Task:
    """The task with each question asked several times, so that several texts can be drawn.

    The repetitions of a question are examples of one problem, with ids of their own.
    """
    if times == 1:
        return task
    examples = [
        replace(example, id=f"{example.id}#{at}") if at > 1 else example
        for example in task.examples
        for at in range(1, times + 1)
    ]
    return replace(task, examples=tuple(examples))
