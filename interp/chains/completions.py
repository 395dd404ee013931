r"""Completions: what a model wrote after a question, and whether it is right.

`read_completion` reads what a model wrote by itself after a question, and `is_chain_valid` judges
its chain; every method and probe uses them. Traces (`trace_writing`), whose answer is asked for
after the cue, find the ends of chain and answer by the same functions. One rule stands apart: the
reward of reinforcement (`interp.organisms.training.grpo`) is part of how the organisms were made.
A completion begins right after the question; `opening_ids` are the tokens that may be put there
for the model. The rules:

* **The end-of-text token ends the text.** Nothing after it is read.
* **A chain that was opened and not closed has no answer**, even if the answer cue stands inside.
  In layouts without `think_open` a text begins inside its chain, unless it begins with the answer
  cue. In layouts without `think_close` the cue closes the chain, and a blank line before the cue
  leaves it open, since the next question begins there.
* **The first answer counts**: it begins after the first cue outside a chain and ends with
  `answer_end` or with the text. Whatever follows belongs to no question.
* **An answer counts only if something ends it.** A text that was cut off at its token budget may
  hold the "1" of "18". Its answer is read, but it is not correct.
* **An answer needs the form that was asked for**: valid by the task's grader, else one of the
  candidates where there are any. An abstention always has the form, where the task has one.

A chain is valid if it is a whole solution, which, unlike one of ten answers, is not guessed:

* No step is wrong. A step whose claim cannot be checked, or that claims nothing, is wrong if it
  states a result that no reference step has.
* Every result of the reference steps is shown, in order. The number of steps does not count: a step
  that works out several results at once shows each of them (`Task.unfold` writes it as single
  steps, and each is checked), and a step said twice or an additional true step is no fault. A
  result that no step works out was not shown: otherwise a single last step, guessed, would pass as
  a chain.

Where the steps of a task cannot be checked (no `Task.check_claim`, no reference steps), "right" is
said of the answer alone, and whether the chain is valid is not known (None), for right and wrong
answers alike: a mean over the wrong ones only would look like a share.

In chats the answer is the last that is stated in running text, outside the think tags
(`interp.chains.answer_statements`), and it counts if a closed box, a full stop, a line break or the
end of the turn ends it. Without think tags the chain is what lies before that statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from interp.chains.chain import cut_ids, step_texts
from interp.chains.completion_format import (
    CompletionFormat,
    end_of_text,
    find_answer_end,
    find_chain_end,
    find_parts,
    find_piece,
)
from interp.chains.texts import Ids, decode
from interp.tasks import Example, Task

ANSWER_ONLY = (
    "this task cannot check the steps of a chain: only its answer is known to be right or wrong"
)
"""Why `Completion.is_chain_valid` is not known."""
CompletionStatus = Literal["valid", "invalid answer", "truncated", "no answer", "chain not closed"]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a model wrote after one question."""

    ids: Ids
    opens: bool
    """Whether it begins with a chain."""
    steps: tuple[str, ...]
    """Steps of that chain; none if it was not closed."""
    status: CompletionStatus
    """*valid*: a finished answer of the right form; *invalid answer*: a finished answer of another
    form; *truncated*: the text breaks off before its answer has ended; *no answer*: the text ended
    without one; *chain not closed*: see above."""
    answer_span: tuple[int, int]
    """First token of the answer and one past its last; equal where there is no answer."""
    answer: str
    """In the form of `Example.answer`; also read where the text breaks off."""
    correct: bool
    """The answer is the right one, and the status is valid."""
    is_chain_valid: bool | None
    """The answer is correct, and so is the whole chain before it; None where the task cannot check
    the steps."""

    @property
    def has_chain(self) -> bool:
        """Whether a chain of at least one step was opened and closed."""
        return bool(self.steps)

    @property
    def has_answer(self) -> bool:
        """Whether a finished answer was found, of the right form or another."""
        return self.status in ("valid", "invalid answer")

    @property
    def is_finished(self) -> bool:
        """Whether nothing broke off: a chain that was opened was closed, and the answer ended."""
        return self.status in ("valid", "invalid answer", "no answer")


def read_completion(format: CompletionFormat, example: Example, ids: Sequence[int]) -> Completion:
    """Reads chain, answer and status of a completion.

    Args:
        format: Of the task.
        example: The question that it answers.
        ids: All tokens after the question, those that were put there for the model included.
    """
    written = tuple(ids)
    if format.is_natural:
        return _read_natural(format, example, written)
    text = written[: end_of_text(format, written)]
    opens = find_piece(format, text, format.task.layout.answer_cue, at_start=True) is None
    # An empty opening always matches: without one a text begins inside its chain.
    opens = opens and text[: len(format.layout.think_open)] == format.layout.think_open
    start, steps, is_closed = 0, (), True
    if opens:
        first = len(format.layout.think_open)
        end, is_closed = find_chain_end(format, text, first)
        steps = read_steps(format, text[first:end]) if is_closed else ()
        start = end if format.layout.think_close else first  # the cue itself may close a chain
    cue, is_open = _find_cue(format, text, start)
    span, answer, status = (len(written), len(written)), "", "chain not closed"
    if is_closed and not is_open:
        span, answer, status = _read_answer(format, example, written, cue)
    return _completion(format, example, written, opens, steps, status, span, answer)


def _read_natural(format: CompletionFormat, example: Example, written: Ids) -> Completion:
    """Reads what was written in a chat, whose answer is stated in running text."""
    parts = find_parts(format, written)
    steps = read_steps(format, written[slice(*parts.chain)]) if parts.is_closed else ()
    answer = format.task.read_answer(parts.answer) if parts.answer else ""
    status: CompletionStatus = "valid"
    if not parts.is_closed:
        status = "chain not closed"
    elif not parts.answer:
        status = "no answer" if parts.is_whole else "truncated"
    elif not parts.is_ended:
        status = "truncated"
    elif not has_answer_form(format.task, example, answer):
        status = "invalid answer"
    opens = parts.opens and (bool(format.layout.think_close) or bool(steps))
    return _completion(format, example, written, opens, steps, status, parts.answer_span, answer)


def _completion(
    format: CompletionFormat,
    example: Example,
    written: Ids,
    opens: bool,
    steps: tuple[str, ...],
    status: CompletionStatus,
    span: tuple[int, int],
    answer: str,
) -> Completion:
    correct = status == "valid" and answer == example.answer
    is_valid = is_chain_valid(format.task, example, steps)
    return Completion(
        ids=written,
        opens=opens,
        steps=steps,
        status=status,
        answer_span=span,
        answer=answer,
        correct=correct,
        is_chain_valid=None if is_valid is None else correct and is_valid,
    )


def is_chain_valid(task: Task, example: Example, steps: Sequence[str]) -> bool | None:
    """Whether a chain is a whole and correct solution, whatever answer follows it.

    Args:
        task: With the facts against which claims are checked.
        example: The question with its reference steps.
        steps: The chain.

    Returns:
        None where it cannot be known: the task checks no claims, or the reference has no results.
    """
    check, unfold = task.check_claim, task.unfold
    if check is None:
        return None

    def state(step: str) -> tuple[str | None, str]:
        """The result that a step states, and what its claim is against the facts."""
        return task.rewriter.result(step), check(example, step)

    reference = [stated for stated in map(state, example.steps) if stated[0] is not None]
    if not reference:
        return None
    results = {result for result, _ in reference}
    single = [one for step in steps for one in (unfold(example, step) if unfold else (step,))]
    stated = [state(step) for step in single]
    for result, claim in stated:
        is_unchecked = claim in ("none", "unknown") and result is not None
        if claim == "wrong" or (is_unchecked and result not in results):
            return False
    remaining = iter(stated)
    return all(wanted in remaining for wanted in reference)  # a subsequence: `in` uses them up


def has_answer_form(task: Task, example: Example, answer: str) -> bool:
    """Whether an answer has the form that was asked for."""
    if not answer or (task.abstention and answer == task.abstention):
        return bool(answer)
    if task.grade is not None:
        return task.grade(example, answer).valid
    return not example.candidates or answer in example.candidates


def read_steps(format: CompletionFormat, chain: Sequence[int]) -> tuple[str, ...]:
    """The steps of a chain, given without what opens and closes it."""
    task = format.task
    return step_texts(cut_ids(format.tokenizer, chain, task.split_steps, task.layout.joiner))


def _find_cue(
    format: CompletionFormat, text: Ids, start: int
) -> tuple[tuple[int, int] | None, bool]:
    """The first answer cue outside a chain, and whether a later chain was left open before it."""
    layout = format.task.layout
    while True:
        cue = find_piece(format, text, layout.answer_cue, start)
        if not layout.think_open or not layout.think_close:
            return cue, False
        opened = find_piece(format, text, layout.think_open, start)
        if opened is None or (cue is not None and cue[0] < opened[0]):
            return cue, False
        closed = find_piece(format, text, layout.think_close, opened[1])
        if closed is None:
            return None, True
        start = closed[1]


def _read_answer(
    format: CompletionFormat, example: Example, written: Ids, cue: tuple[int, int] | None
) -> tuple[tuple[int, int], str, CompletionStatus]:
    """Span, answer and status of a completion whose chains are closed."""
    if cue is None:
        is_whole = end_of_text(format, written) < len(written)
        return (len(written), len(written)), "", "no answer" if is_whole else "truncated"
    end, is_ended = find_answer_end(format, written, cue[1])
    text = decode(format.tokenizer, written[cue[1] : end])
    answer = format.task.read_answer(text)
    status: CompletionStatus = "valid"
    if not is_ended:
        status = "truncated"
    elif not text.strip():
        status = "no answer"
    elif not has_answer_form(format.task, example, answer):
        status = "invalid answer"
    return (cue[1], end), answer, status
