"""Traces in files: written as JSON lines, and read from the files of whoever wrote them.

A line needs no more than the example, the chain and the answer::

    {"example": "arith:3+4*2", "chain": "3 + 4 = 7 ; 7 * 2 = 3 ;", "answer": "3"}

`interp.chains.trace_formats` reads this and other formats as text; `make_trace` is the one place
where a text becomes a `Trace`, encoded as the task and the tokenizer of its readers want it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interp.chains.chain import (
    Chain,
    Step,
    encode_answer,
    encode_chain,
    encode_question,
    step_texts,
)
from interp.chains.text_trace import ExampleFinder, TextTrace
from interp.chains.texts import Ids, decode
from interp.chains.trace import Trace
from interp.chains.trace_formats import read_trace_file
from interp.chains.trace_formats.fields import short
from interp.chains.trace_formats.own_lines import FIELDS
from interp.files import write_file
from interp.tasks import Example, Task

TAGS = ("<think>", "</think>")
"""Never part of a chain: the layout of the task puts tags around it."""


def export_traces(path: Path, traces: Sequence[Trace]) -> None:
    """Writes traces as JSON lines, text and token ids. The file appears only when it is complete.

    Args:
        path: The file; replaced if it exists.
        traces: In the order in which they shall stand.
    """
    write_file(path, format_traces(traces))


def format_traces(traces: Sequence[Trace]) -> bytes:
    """The bytes of the file that `export_traces` writes; equal traces give equal bytes."""
    lines = [json.dumps(_record(trace), ensure_ascii=False) + "\n" for trace in traces]
    return "".join(lines).encode()


def import_traces(path: Path, tokenizer: Any, task: Task) -> tuple[Trace, ...]:
    """Reads traces from a file, whoever wrote them (`interp.chains.trace_formats`).

    Each trace belongs to an example of the task, by its id or else by the text of its question. In
    lines of our own, token ids are used only if they spell the text with this tokenizer. In running
    text a chain begins with the white space with which the task's own chains begin.

    Args:
        path: The file, or a folder of Thought Anchors.
        tokenizer: Of the models that will read the traces.
        task: The task that the traces answer.

    Returns:
        The traces, in the order of the file, graded again; a truncated one is not correct.

    Raises:
        ValueError: If the file has no traces, a record is malformed, its example is unknown, its
            chain is empty, holds the tags around it or has a blank step, no answer can be read
            though its status is valid (or not given), or its token ids belong to another
            tokenizer. The message gives line and field. Where the record is what a model wrote, an
            answer that cannot be read is a finding.
    """
    finder = ExampleFinder.of(task)
    return tuple(make_trace(text, finder, tokenizer) for text in read_trace_file(path).traces)


def make_trace(text: TextTrace, finder: ExampleFinder, tokenizer: Any) -> Trace:
    """Makes a trace of a text: matched to its example, cut, graded and encoded.

    Args:
        text: What a file says.
        finder: The examples of the task.
        tokenizer: Of the models that will read the trace.

    Returns:
        The trace.

    Raises:
        ValueError: See `import_traces`; the message begins with the place of the text.
    """
    try:
        return _encoded(text, finder, tokenizer)
    except ValueError as error:
        raise ValueError(f"{text.place}: {error}") from error


def _record(trace: Trace) -> dict[str, Any]:
    return {
        "example": trace.example,
        "problem": trace.problem,
        "task": trace.task,
        "writer": trace.writer,
        "mode": trace.mode,
        "status": trace.status,
        "steps": step_texts(trace.steps),
        "answer": trace.answer,
        "correct": trace.correct,
        "seed": trace.seed,
        **({"format": trace.format} if trace.format != "task" else {}),
        "ids": {
            "prompt": trace.prompt_ids,
            "steps": [step.ids for step in trace.steps],
            "answer": trace.answer_ids,
        },
        "logprobs": trace.logprobs,
    }


def _encoded(text: TextTrace, finder: ExampleFinder, tokenizer: Any) -> Trace:
    task, example = finder.task, finder.find(text)
    texts = _texts_of(text, task, example)
    if text.status == "valid" and not any(one.strip() for one in texts):
        raise ValueError(
            "'chain' or 'steps': the chain is empty, so there is nothing to measure. Leave the "
            'line out, or say so: "status": "empty"'
        )
    answer, status = task.read_answer(text.answer), text.status
    if status == "valid" and not answer and not text.is_output:
        raise ValueError(
            f"'answer': the answer is read by task {task.name!r}, which finds none in "
            f"{text.answer!r}. Give it in the form {example.answer!r} has (right or wrong), or "
            "leave the line out."
        )
    if status != "truncated" and not answer and text.is_output and text.ids is None:
        status = "truncated"  # no answer follows that anything ends
    prompt_ids = encode_question(tokenizer, task, example)
    if text.ids is not None and text.format == task.format:
        steps, answer_ids = _ids_of(text.ids, tokenizer, texts, prompt_ids)
    else:
        _check_steps(texts, task)
        steps = encode_chain(tokenizer, task.layout, prompt_ids, texts)
        answer_ids = encode_answer(tokenizer, task.layout, answer)
    return Trace(
        example=example.id,
        problem=example.problem,
        task=task.name,
        writer=text.writer,
        mode=text.mode,
        status=status,
        prompt_ids=prompt_ids,
        steps=steps,
        answer=answer,
        answer_ids=answer_ids,
        correct=status != "truncated" and answer == example.answer,
        logprobs=text.logprobs,
        seed=text.seed,
    )


def _check_steps(texts: Sequence[str], task: Task) -> None:
    """A chain from elsewhere holds neither blank steps nor the tags that stand around it."""
    layout = task.layout
    tags = [tag.strip() for tag in (layout.think_open, layout.think_close, *TAGS)]
    for at, text in enumerate(texts, start=1):
        if not text.strip() and len(texts) > 1:
            raise ValueError(f"'steps': step {at} of {len(texts)} is blank. Leave it out")
        for tag in filter(None, tags):
            if tag in text:
                raise ValueError(
                    f"'chain' or 'steps': step {at} holds {tag!r}. A chain is given without the "
                    f"tags around it, which the task adds: remove them"
                )


def _texts_of(text: TextTrace, task: Task, example: Example) -> tuple[str, ...]:
    """Step texts; each begins with white space where the task's own steps do."""
    if example.steps:
        own = example.steps[0]
        space = own[: len(own) - len(own.lstrip())]
    else:  # running text goes on after a blank
        space = "" if task.layout.joiner else " "
    if text.steps is not None:
        return tuple(_begun(one, space) for one in text.steps)
    return task.split_steps(_begun(text.chain, space))


def _begun(text: str, space: str) -> str:
    return text if not text or text[0].isspace() else space + text


def _ids_of(
    ids: Mapping[str, Any], tokenizer: Any, texts: Sequence[str], prompt_ids: Ids
) -> tuple[Chain, Ids]:
    """Steps and answer with the token ids of the file, after a check that they fit."""
    try:
        groups = [tuple(map(int, group)) for group in ids["steps"]]
        prompt, answer = (tuple(map(int, ids[name])) for name in ("prompt", "answer"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"'ids' is {FIELDS['ids'][1]}, and {short(dict(ids))} was received"
        ) from error
    spelled = decode(tokenizer, [token for group in groups for token in group])
    # White space aside: a joiner stands between steps and belongs to the text of none.
    same_text = "".join(spelled.split()) == "".join("".join(texts).split())
    if prompt != prompt_ids or len(groups) != len(texts) or not same_text:
        raise ValueError(
            "'ids': the token ids do not spell the question and the steps with this tokenizer. "
            "Likely cause: the traces were written with another one. Remove 'ids' from the file to "
            "have the text encoded again."
        )
    steps = tuple(Step(text, group) for text, group in zip(texts, groups, strict=True))
    return steps, answer
