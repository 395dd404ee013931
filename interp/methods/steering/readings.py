"""What a model did with one question under a dose, and metrics of it.

The model is asked free, forced or directly (`interp.chains.completions.opening_ids`) and then
writes without help to the end of the text. A metric is a function of a `SteeredReading`; NaN means
not measurable for this example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from interp.chains.completion_format import CompletionFormat, find_format, opening_ids
from interp.chains.completions import Completion, read_completion
from interp.methods.steering.steered import Written
from interp.models import Model
from interp.tasks import Example, Task


@dataclass(frozen=True, eq=False)
class SteeredReading:
    """One question under one dose of one direction."""

    example: Example
    first: Float[Tensor, " d_vocab"]
    """Log-probabilities (nats) of the first new token."""
    written: Written
    completion: Completion
    """What was written, with what was put after the question."""

    @property
    def answer(self) -> str:
        """In the form of `Example.answer`; empty where no answer was written."""
        return self.completion.answer

    @property
    def is_valid(self) -> bool:
        """Whether an opened chain is closed, and a finished answer of the task's form follows."""
        return self.completion.status == "valid"

    @property
    def is_correct(self) -> bool:
        """Whether the answer is right; a text that is not valid is not."""
        return self.completion.correct


Metric = Callable[[SteeredReading], float]


def task_metrics(model: Model, task: Task, opening: str) -> dict[str, Metric]:
    """The metrics that every task has: accuracy, and P(think) where the model may choose.

    Args:
        model: Whose tokens open a chain.
        task: The questions.
        opening: How they are asked.

    Returns:
        Name -> metric. `p_think` is the probability that the first new token opens a chain.
    """
    metrics: dict[str, Metric] = {"accuracy": lambda reading: float(reading.is_correct)}
    opened = find_format(task, model, needs_chain=False).layout.think_open
    if opening == "free" and opened:
        metrics = {"p_think": lambda reading: float(reading.first[opened[0]].exp()), **metrics}
    return metrics


def read_written(
    format: CompletionFormat, example: Example, first: Tensor, written: Written, opening: str
) -> SteeredReading:
    """Reads what was written under a dose.

    Args:
        format: Of the task, in the writer's tokens.
        example: The question.
        first: Log-probabilities of the first new token.
        written: The text.
        opening: How the question was asked.
    """
    ids = opening_ids(format.layout, opening) + written.ids
    return SteeredReading(example, first, written, read_completion(format, example, ids))
