"""Readings: what a model did with one question under a dose, and metrics of it.

A model is asked in one of three ways: *free* (after the question it opens a chain, or does not),
*forced* (the chain is opened for it) or *direct* (the answer is asked for at once). It then writes
without help to the end of the text. Its answer is what follows the answer cue that *it* wrote;
where there is none, or no answer of the right form, the text is not valid and counts as wrong.

A metric is a function of a `Reading`; NaN means not measurable for this example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from interp.chains.chain import LayoutIds, decode, encode_layout
from interp.methods.steering.steered import Written
from interp.models import Model
from interp.tasks import Example, Task

Opening = Literal["free", "forced", "direct"]


@dataclass(frozen=True, eq=False)
class Reading:
    """One question under one dose of one direction."""

    example: Example
    first: Float[Tensor, " d_vocab"]
    """Log-probabilities (nats) of the first new token."""
    written: Written
    answer: str | None
    """In the form of `Example.answer`; None where no answer was written."""
    is_valid: bool
    """A chain that was opened is closed, and an answer of the task's form follows its cue."""

    @property
    def is_correct(self) -> bool:
        """Whether the answer is right; a text that is not valid is not."""
        return self.is_valid and self.answer == self.example.answer


Metric = Callable[[Reading], float]


def task_metrics(model: Model, task: Task, opening: Opening) -> dict[str, Metric]:
    """The metrics that every task has: accuracy, and P(think) where the model may choose.

    Args:
        model: Whose tokens open a chain.
        task: The questions.
        opening: How they are asked.

    Returns:
        Name -> metric. `p_think` is the probability that the first new token opens a chain.
    """
    metrics: dict[str, Metric] = {"accuracy": lambda reading: float(reading.is_correct)}
    opened = encode_layout(model.tokenizer, task.layout).think_open
    if opening == "free" and opened:
        metrics = {"p_think": lambda reading: float(reading.first[opened[0]].exp()), **metrics}
    return metrics


def opening_ids(layout: LayoutIds, opening: Opening) -> tuple[int, ...]:
    """What stands between the question and the first token that the model writes.

    Raises:
        ValueError: If the way of asking is unknown.
    """
    known: dict[str, tuple[int, ...]] = {
        "free": (),
        "forced": layout.think_open,
        "direct": layout.answer_cue,
    }
    if opening not in known:
        raise ValueError(f"opening must be one of {', '.join(known)}, received {opening!r}")
    return known[opening]


def read_written(
    tokenizer: Any, task: Task, example: Example, first: Tensor, written: Written, opening: Opening
) -> Reading:
    """Finds chain and answer in what was written.

    Args:
        tokenizer: Of the writer.
        task: Whose layout and grader are used.
        example: The question.
        first: Log-probabilities of the first new token.
        written: The text.
        opening: How the question was asked.

    Returns:
        The reading.
    """
    layout = encode_layout(tokenizer, task.layout)
    ids = opening_ids(layout, opening) + written.ids
    answer = _answer_ids(ids, layout, tokenizer.eos_token_id)
    if answer is None:
        return Reading(example, first, written, None, False)
    text = task.read_answer(decode(tokenizer, answer))
    return Reading(example, first, written, text, bool(text) and _has_form(task, example, text))


def _answer_ids(ids: tuple[int, ...], layout: LayoutIds, eos: int | None) -> tuple[int, ...] | None:
    """The answer after its cue; None if a chain is not closed, or cue or end are missing."""
    if layout.think_open and ids[: len(layout.think_open)] == layout.think_open:
        close = _find(ids, layout.think_close)
        if close is None:
            return None
        ids = ids[close:]
    cue = _find(ids, layout.answer_cue)
    if cue is None:
        return None
    ends = [
        at - len(part)
        for part in (layout.answer_end, () if eos is None else (eos,))
        if part and (at := _find(ids[cue:], part)) is not None
    ]
    return ids[cue:][: min(ends)] if ends else None


def _has_form(task: Task, example: Example, answer: str) -> bool:
    if task.grade is not None:
        return task.grade(example, answer).valid
    is_listed = not example.candidates or answer in example.candidates
    return is_listed or (bool(task.abstention) and answer == task.abstention)


def _find(ids: tuple[int, ...], part: tuple[int, ...]) -> int | None:
    """Where the first occurrence of a sequence ends."""
    n = len(part)
    return next((at + n for at in range(len(ids) - n + 1) if ids[at : at + n] == part), None)
