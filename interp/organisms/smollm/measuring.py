"""Figures of an adapter: what it answers by itself, and from which piece it takes the answer.

Accuracies are of texts that the model writes greedily. *Direct* puts the answer cue right after the
question. The interchange takes the residual stream of one piece, at every block, from a twin
problem whose text has the same tokens' places (`interp.organisms.certification.interchange`). With
the chain of the twin in place, a model that answers from its chain gives the twin's answer, and one
that answers from the question its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from interp.chains.completion_format import find_format
from interp.chains.completions import read_completion
from interp.chains.texts import encode
from interp.engine import Generation, generate
from interp.models import Model, find_prompt_format
from interp.organisms.certification.interchange import Swap, interchange
from interp.stats.proportion_intervals import wilson
from interp.tasks import Example, Task
from interp.tasks.presentation import present

Figure = dict[str, float | int | tuple[float, float]]
"""A share, its 95 % interval and the number of problems."""
Asking = Literal["bare", "task"]
PIECES: tuple[Literal["chain", "question"], ...] = ("chain", "question")


def measure_answers(model: Model, task: Task, asking: Asking) -> dict[str, Figure]:
    """Accuracy in one prompt format, with what the model writes by itself and without a chain.

    Args:
        model: The writer.
        task: Sums.
        asking: 'bare' for the question alone, 'task' for four worked examples before it.

    Returns:
        ``written``: right answers of free texts; ``chains``: texts that hold a chain; ``direct``:
        right answers right after the answer cue.
    """
    asked = replace(model, prompt_format=find_prompt_format(model.tokenizer, asking))
    form = find_format(task, asked, needs_chain=False)
    cue = form.layout.answer_cue
    read = {
        opened: [
            read_completion(form, example, (*opened, *written.ids))
            for example, written in zip(
                form.task.examples, _write(asked, form.task, opened), strict=True
            )
        ]
        for opened in ((), tuple(cue))
    }
    free, direct = read.values()
    return {
        "written": share([one.correct for one in free]),
        "chains": share([one.has_chain for one in free]),
        "direct": share([one.correct for one in direct]),
    }


def _write(model: Model, task: Task, opened: tuple[int, ...]) -> list[Generation]:
    prompts = [(*encode(model.tokenizer, e.question), *opened) for e in task.examples]
    stops = [[end] for end in model.ends] + [encode(model.tokenizer, "\n")]
    budget = task.max_answer_tokens + (0 if opened else task.max_chain_tokens)
    return generate(model, prompts, max_new_tokens=budget, stop=stops)


def measure_interchange(model: Model, task: Task, asking: Asking) -> dict[str, Figure]:
    """From which piece the answer after the problem's own right chain is taken.

    Returns:
        Per piece ``<piece>: twin's`` and ``<piece>: own``: the share of problems whose answer
        after the swap is the twin's, or still the problem's own. Of all problems, whether or not
        they are answered rightly without a swap, which ``without a swap`` tells.
    """
    asked = replace(model, prompt_format=find_prompt_format(model.tokenizer, asking))
    shown = present(task, asked)
    pairs = [(own, twin) for own in shown.examples if (twin := find_twin(own, shown.examples))]
    swaps = [
        Swap(own, twin, piece, twin.answer, own.answer, (own.answer, twin.answer))
        for piece in PIECES
        for own, twin in pairs
    ]
    outcomes = interchange(asked, shown, swaps)
    n = len(pairs)
    figures = {"both right without a swap": share([one.is_countable for one in outcomes[:n]])}
    for at, piece in enumerate(PIECES):
        of_piece = outcomes[at * n : (at + 1) * n]
        figures[f"{piece}: twin's answer"] = share([one.gives_read for one in of_piece])
        figures[f"{piece}: own answer"] = share([one.gives_not for one in of_piece])
    return figures


def find_twin(own: Example, among: Sequence[Example]) -> Example | None:
    """The next example with another answer whose numbers have as many digits, place by place."""
    at = [example.id for example in among].index(own.id)
    for other in (*among[at + 1 :], *among[:at]):
        if _places(other) == _places(own) and other.answer != own.answer:
            return other
    return None


def _places(example: Example) -> tuple[int, ...]:
    return tuple(map(len, (str(example.facts["asked"]), *example.steps, example.answer)))


def share(outcomes: Sequence[bool]) -> Figure:
    """A share with its Wilson interval, rounded for a card."""
    n, right = len(outcomes), sum(outcomes)
    low, high = wilson(right, n)
    return {
        "value": round(right / n, 3),
        "interval": (round(low, 3), round(high, 3)),
        "n": n,
    }
