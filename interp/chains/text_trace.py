"""A trace as text: what a file of traces says, before anything is encoded.

Whoever wrote a chain did so with a tokenizer and a prompt of their own. What all of them have in
common is text: the question, the chain (whole, or cut into steps) and the answer. Readers of files
(`interp.chains.trace_formats`) give `TextTrace`s; `interp.chains.trace_files.make_trace` is the one
place where one becomes a `Trace` for a task and a tokenizer.

A `TextTrace` belongs to an example of a task, and `ExampleFinder` says to which: the one with its
`example` as id, else the one with its `question` (white space aside), else the only one whose
question stands within the text that was asked, as it does where instructions or worked examples
stand around it. One that fits none is refused, since its answer could not be graded.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interp.chains.trace import TraceMode, TraceStatus
from interp.tasks import Example, Task

SHORTEST = 20
"""Characters of a question that is looked for within a longer text; "3 + 4" stands in many."""


@dataclass(frozen=True)
class TextTrace:
    """One chain and answer, as text."""

    place: str
    """File and line, for messages."""
    answer: str
    """As written; empty where there is none."""
    chain: str = ""
    """Running text without the tags around it; not read where there are `steps`."""
    steps: tuple[str, ...] | None = None
    """The chain as its writer, or who published it, cut it."""
    example: str = ""
    """Id of the example, or of the question in the file; empty where the file has none."""
    question: str = ""
    """What was asked; empty where the file does not say."""
    target: str = ""
    """The right answer; empty where the file does not say."""
    task: str = ""
    """Name of the task; empty where the file does not say."""
    writer: str = "imported"
    seed: int = 0
    mode: TraceMode = "imported"
    status: TraceStatus = "valid"
    is_output: bool = False
    """Whether this is what a model wrote, word for word: that it gives no readable answer is then
    a finding, and no fault of the file."""
    logprobs: tuple[float, ...] = ()
    ids: Mapping[str, Any] | None = None
    """Token ids of prompt, steps and answer, as `export_traces` writes them."""
    format: str = "task"
    """The prompt format in which the ids stand; those of another than the task's are not read."""


@dataclass(frozen=True)
class ExampleFinder:
    """The examples of one task, by id and by question."""

    task: Task
    by_id: Mapping[str, Example]
    by_question: Mapping[str, tuple[Example, ...]]
    """Question in plain white space -> the examples that ask it."""

    @staticmethod
    def of(task: Task) -> ExampleFinder:
        """Lists the examples of a task."""
        by_question: dict[str, list[Example]] = defaultdict(list)
        for example in task.examples:
            for text in dict.fromkeys(map(plain, _questions(example))):
                by_question[text].append(example)
        return ExampleFinder(
            task,
            {example.id: example for example in task.examples},
            {text: tuple(found) for text, found in by_question.items()},
        )

    def find(self, trace: TextTrace) -> Example:
        """The example that a trace answers.

        Raises:
            ValueError: There is none, or more than one; the message names the field.
        """
        found = self._with_question(trace.question) if trace.question else ()
        if trace.example in self.by_id:
            example = self.by_id[trace.example]
            if found and example not in found:
                raise ValueError(
                    f"'example' is {example.id!r}, and the question is that of {found[0].id!r}. "
                    "Likely cause: lines were paired with the wrong questions"
                )
            return example
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(example.id for example in found[:3])
            raise ValueError(
                f"the question is that of {len(found)} examples ({names}): name one in 'example'"
            )
        what = f"question {_short(trace.question)}" if trace.question else ""
        what = what or f"example {trace.example!r}"
        raise ValueError(
            f"unknown {what}; task {self.task.name!r} has {len(self.by_id)}, such as "
            f"{', '.join(list(self.by_id)[:3])}. Likely cause: another task, or one that was made "
            "with another seed or n than the traces."
        )

    def _with_question(self, asked: str) -> tuple[Example, ...]:
        text = plain(asked)
        if text in self.by_question:
            return self.by_question[text]
        inside = [q for q in self.by_question if len(q) >= SHORTEST and _stands_in(q, text)]
        # A question that is part of a longer one found there is not what was asked.
        whole = [q for q in inside if not any(q != other and q in other for other in inside)]
        return tuple(example for question in whole for example in self.by_question[question])


def keep_examples(task: Task, ids: Collection[str]) -> Task:
    """A task with only these of its examples, in their order."""
    return replace(task, examples=tuple(e for e in task.examples if e.id in ids))


def plain(text: str) -> str:
    """A text with single blanks for all white space."""
    return " ".join(text.split())


def _questions(example: Example) -> tuple[str, ...]:
    """What may be given as the question: with the worked examples of the task, or without."""
    return (str(example.facts.get("asked", example.question)), example.question)


def _stands_in(question: str, text: str) -> bool:
    if question not in text:  # fast, and mostly so
        return False
    return re.search(rf"(?<!\w){re.escape(question)}(?!\w)", text) is not None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
