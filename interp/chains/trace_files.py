"""Traces as JSON lines, so that they can be kept, and read when they were written elsewhere.

A line needs no more than the example, the chain and the answer::

    {"example": "arith:3+4*2", "chain": "3 + 4 = 7 ; 7 * 2 = 3 ;", "answer": "3"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from interp.chains.chain import Chain, Step, decode, encode, encode_answer, encode_steps, step_texts
from interp.chains.trace import Trace, TraceMode, TraceStatus
from interp.files import read_json_lines, write_file
from interp.tasks import Example, Task

Ids = tuple[int, ...]
TAGS = ("<think>", "</think>")
"""Never part of a chain: the layout of the task puts tags around it."""
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "example": (str, "the id of an example"),
    "chain": (str, "a text"),
    "steps": (list, "a list of texts (one text is given as 'chain', and is cut into steps)"),
    "answer": ((str, int, float), "a text or a number"),
    "writer": (str, "a name"),
    "seed": (int, "a whole number"),
    "logprobs": (list, "a list of numbers"),
    "ids": (dict, "an object with the token ids of prompt, steps and answer"),
}
"""Field of a line -> its types, and what it holds."""


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
    """Reads traces from JSON lines, whoever wrote them.

    Each line needs ``example`` (an id of the task), ``chain`` (text) or ``steps`` (a list of
    texts), and ``answer`` (text or number). ``writer`` and ``seed`` may be given. A field that is
    null counts as absent. What `export_traces` adds is read too; token ids are used only if they
    spell the text with this tokenizer. In running text a chain begins with the white space with
    which the task's own chains begin.

    Args:
        path: The file.
        tokenizer: Of the models that will read the traces.
        task: The task that the traces answer.

    Returns:
        The traces, in the order of the file, graded again; a truncated one is not correct.

    Raises:
        ValueError: If the file has no lines, a line is malformed, its example is unknown, its chain
            is empty, holds the tags around it or has a blank step, no answer can be read though
            its status is valid (or not given), or its token ids belong to another tokenizer. The
            message gives line and field. Where a model wrote the tokens itself (the line has
            ``ids``), an answer that cannot be read is a finding.
    """
    examples = {example.id: example for example in task.examples}
    traces: list[Trace] = []
    for place, line in read_json_lines(path):
        record = {name: value for name, value in line.items() if value is not None}
        try:
            traces.append(_imported(record, tokenizer, task, examples))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    if not traces:
        raise ValueError(f"{path} holds no traces: it is empty. Likely cause: a broken export")
    return tuple(traces)


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
        "ids": {
            "prompt": trace.prompt_ids,
            "steps": [step.ids for step in trace.steps],
            "answer": trace.answer_ids,
        },
        "logprobs": trace.logprobs,
    }


def _imported(
    record: Mapping[str, Any], tokenizer: Any, task: Task, examples: Mapping[str, Example]
) -> Trace:
    _check_kinds(record)
    example = _example_of(record, task, examples)
    texts = _texts_of(record, task, example)
    status = record.get("status", "valid")
    mode = record.get("mode", "imported")
    if status not in get_args(TraceStatus) or mode not in get_args(TraceMode):
        raise ValueError(
            f"unknown status {status!r} or mode {mode!r}; known: "
            f"{', '.join(get_args(TraceStatus))}; {', '.join(get_args(TraceMode))}. Both may be "
            "left out."
        )
    if status == "valid" and not any(text.strip() for text in texts):
        raise ValueError(
            "the chain is empty, so there is nothing to measure. Leave the line out, or say so: "
            '"status": "empty"'
        )
    answer = task.read_answer(_answer_text(record["answer"]))
    if status == "valid" and not answer and "ids" not in record:
        raise ValueError(
            f"the answer is read by task {task.name!r}, which finds none in {record['answer']!r}. "
            f"Give it in the form {example.answer!r} has (right or wrong), or leave the line out."
        )
    prompt_ids = encode(tokenizer, example.question)
    steps = encode_steps(tokenizer, texts)
    answer_ids = encode_answer(tokenizer, task.layout, answer)
    if "ids" in record:
        steps, answer_ids = _ids_of(record["ids"], tokenizer, texts, prompt_ids)
    else:
        _check_steps(texts, task)
    return Trace(
        example=example.id,
        problem=example.problem,
        task=task.name,
        writer=str(record.get("writer", "imported")),
        mode=mode,
        status=status,
        prompt_ids=prompt_ids,
        steps=steps,
        answer=answer,
        answer_ids=answer_ids,
        correct=status != "truncated" and answer == example.answer,
        logprobs=tuple(record.get("logprobs", ())),
        seed=record.get("seed", 0),
    )


def _check_kinds(record: Mapping[str, Any]) -> None:
    for name, (kind, words) in _KINDS.items():
        value = record.get(name)
        # True is an int to Python, and NaN a number to JSON.
        is_odd = isinstance(value, bool) or value != value
        if value is not None and (is_odd or not isinstance(value, kind)):
            raise ValueError(f"{name!r} is {words}, and {_short(value)} was received")
    for name, kind in (("steps", str), ("logprobs", (int, float))):
        for at, value in enumerate(record.get(name, ()), start=1):
            if not isinstance(value, kind):
                words = _KINDS[name][1]
                raise ValueError(f"{name!r} is {words}, and entry {at} is {_short(value)}")


def _check_steps(texts: Sequence[str], task: Task) -> None:
    """A chain from elsewhere holds neither blank steps nor the tags that stand around it."""
    layout = task.layout
    tags = [tag.strip() for tag in (layout.think_open, layout.think_close, *TAGS)]
    for at, text in enumerate(texts, start=1):
        if not text.strip() and len(texts) > 1:
            raise ValueError(f"step {at} of {len(texts)} is blank. Leave it out")
        for tag in filter(None, tags):
            if tag in text:
                raise ValueError(
                    f"step {at} holds {tag!r}. A chain is given without the tags around it, "
                    f"which the task adds: remove them"
                )


def _answer_text(answer: str | int | float) -> str:
    """An answer as text; pandas writes whole numbers as 3.0 where a column has a gap."""
    is_whole = isinstance(answer, float) and answer.is_integer()
    return str(int(answer) if is_whole else answer)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _example_of(record: Mapping[str, Any], task: Task, examples: Mapping[str, Example]) -> Example:
    missing = [key for key in ("example", "answer") if key not in record]
    if missing or not {"chain", "steps"} & record.keys():
        raise ValueError(
            f"example, chain (or steps) and answer are needed; this line has "
            f"{', '.join(map(str, record)) or 'nothing'}"
        )
    if record["example"] not in examples:
        raise ValueError(
            f"unknown example {record['example']!r}; task {task.name!r} has {len(examples)}, such "
            f"as {', '.join(list(examples)[:3])}. Likely cause: the task was made with another "
            "seed or n than the traces."
        )
    return examples[record["example"]]


def _texts_of(record: Mapping[str, Any], task: Task, example: Example) -> tuple[str, ...]:
    """Step texts; each begins with white space where the task's own steps do."""
    own = example.steps[0] if example.steps else ""
    space = own[: len(own) - len(own.lstrip())]
    if "steps" in record:
        return tuple(_begun(text, space) for text in record["steps"])
    return task.split_steps(_begun(record["chain"], space))


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
            f"'ids' is {_KINDS['ids'][1]}, and {_short(dict(ids))} was received"
        ) from error
    spelled = decode(tokenizer, [token for group in groups for token in group])
    # White space aside: a joiner stands between steps and belongs to the text of none.
    same_text = "".join(spelled.split()) == "".join("".join(texts).split())
    if prompt != prompt_ids or len(groups) != len(texts) or not same_text:
        raise ValueError(
            "the token ids do not spell the question and the steps with this tokenizer. Likely "
            "cause: the traces were written with another one. Remove 'ids' from the file to have "
            "the text encoded again."
        )
    steps = tuple(Step(text, group) for text, group in zip(texts, groups, strict=True))
    return steps, answer
