"""Traces in the prompt format of their reader.

A trace is kept in the format of its writer. Another model may be asked in another way, and then
reads the same steps after its own question, opened, closed and asked for an answer in its own
format. Their text stays, but for the white space with which the chain begins; their tokens are
those that the text has there.
"""

from __future__ import annotations

from dataclasses import replace

from interp.chains.chain import (
    LayoutIds,
    encode_answer,
    encode_chain,
    encode_question,
    step_texts,
)
from interp.chains.trace import Trace
from interp.tasks import Example, Task


def put_in_format(trace: Trace, task: Task, example: Example, layout: LayoutIds) -> Trace:
    """The trace as a model reads it.

    Args:
        trace: Of any format.
        task: In the prompt format of the reader (`interp.tasks.presentation.present`).
        example: Of this task; the trace answers it.
        layout: Of this task, in the reader's token ids.

    Returns:
        The trace itself where it stands in this format already.
    """
    if trace.format == task.format and task.origin is None:
        return trace
    asked = encode_question(layout.tokenizer, task, example)
    # Two chats may have two templates.
    if trace.format == task.format and trace.prompt_ids == asked:
        return trace
    texts = step_texts(trace.steps)
    if texts:
        texts = (begin_chain(task, example, texts[0]), *texts[1:])
    answer = encode_answer(layout.tokenizer, layout.text, trace.answer)
    return replace(
        trace,
        prompt_ids=asked,
        steps=encode_chain(layout.tokenizer, layout.text, asked, texts),
        answer_ids=answer if trace.answer_ids else (),
        logprobs=(),
        format=task.format,
    )


def begin_chain(task: Task, example: Example, step: str) -> str:
    """The first step with the white space with which chains begin in the format of a task."""
    if task.layout.joiner or task.format in ("chat", "think"):
        return step.lstrip()
    own = example.steps[0] if example.steps else " "
    return own[: len(own) - len(own.lstrip())] + step.lstrip()
