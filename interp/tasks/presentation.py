r"""Presentation: a task in the prompt format of a model (`interp.models.PromptFormat`).

`present` gives the task as one model is asked it: other questions and another layout, the same
examples, answers, grader and chances. Presenting twice changes nothing, and a task that was
presented to one model can be presented to another, so every function that takes a model and a task
may call it.

In chats an answer is stated in running text (``\boxed{18}``, "The answer is 18."), and what a model
says after its chain may be long: `Task.format` tells readers of completions to look for it
(`interp.chains.answer_statements`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from interp.models.prompt_format import THINKING_TOKENS, PromptFormat, render_turn
from interp.tasks.step_splitting import split_reasoning
from interp.tasks.task import Example, Layout, Task

STATEMENT_TOKENS = 400
"""Token budget of what is said after a chain between think tags, where the answer is stated."""


@runtime_checkable
class Asked(Protocol):
    """What is asked: a model, or its outline."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer, with its chat template."""
        ...

    @property
    def prompt_format(self) -> PromptFormat:
        """How it is asked."""
        ...

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text."""
        ...


def present(task: Task, model: Asked) -> Task:
    """The task in the prompt format of a model.

    Args:
        task: Of any format.
        model: The model that is asked.

    Raises:
        ValueError: The format is *bare* and the task has no such form, or the chat template cannot
            be rendered.
    """
    origin, form = task.origin or task, model.prompt_format
    budget = form.max_chain_tokens
    if form.name == "task":
        return _as_it_is(origin, form)
    if form.name == "bare":
        return _without_examples(origin, budget or origin.max_chain_tokens)
    thinks = form.name == "think"
    budget = budget or max(origin.max_chain_tokens, THINKING_TOKENS if thinks else 0)
    layout = Layout(
        think_open=form.think_open,
        think_close=form.think_close,
        answer_cue=form.answer_cue,
        answer_open=form.answer_open,
        answer_end=form.answer_end,
        filler=" ...",
        joiner="",
    )
    examples = tuple(
        replace(example, question=_render(origin, example, model, thinks=thinks))
        for example in origin.examples
    )
    return replace(
        origin,
        examples=examples,
        layout=layout,
        split_steps=split_reasoning if thinks else origin.split_steps,
        max_chain_tokens=budget,
        max_answer_tokens=max(origin.max_answer_tokens, STATEMENT_TOKENS),
        format=form.name,
        origin=origin,
    )


def _as_it_is(task: Task, form: PromptFormat) -> Task:
    """The task's own text, with the tags and the token budget that a model has of its own."""
    tags = {"think_open": form.think_open, "think_close": form.think_close}
    tags = {name: text for name, text in tags.items() if text}
    if not tags and form.max_chain_tokens is None:
        return task
    return replace(
        task,
        layout=replace(task.layout, **tags),
        max_chain_tokens=form.max_chain_tokens or task.max_chain_tokens,
        origin=task,
    )


def _without_examples(task: Task, max_chain_tokens: int) -> Task:
    if not task.bare:
        raise ValueError(
            f"the format 'bare' asks a question without worked examples, and task {task.name} has "
            "no such form of its own. Take 'task', or give the task one: "
            r"Task(bare='Question: {}\nAnswer:')"
        )
    asked = [replace(e, question=task.bare.replace("{}", task.shown(e))) for e in task.examples]
    return replace(
        task,
        examples=tuple(asked),
        max_chain_tokens=max_chain_tokens,
        format="bare",
        origin=task,
    )


def _render(task: Task, example: Example, model: Asked, *, thinks: bool) -> str:
    message = f"{task.shown(example)}\n\n{model.prompt_format.instruction}"
    return render_turn(model.tokenizer, message, thinks=thinks)
