"""Traces that are given to a run, from files or as objects, and the tasks that they answer.

A file is named as ``FILE`` or ``WRITER=FILE`` (`interp.chains.trace_formats` says which are read).
Its traces go by the name before ``=``, else by the name that the file has for their writer. A
writer called ``base``, ``post`` or ``gold`` takes the place of the chains that this model or the
task would give, so the verdict on a model can rest on chains that it wrote elsewhere.

Each trace is matched to an example of the run's tasks, and **only examples that a trace answers
stay in the run**; at most `n` of each task, drawn with the seed, where its questions come from a
file. Where no task is named, it is the one that the lines name, else one is made of the questions
and right answers in the files. A second trace of one writer on one example is left out, and counted
in the account, since probes pair chains by example.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from interp.chains.chain import chain_ids, step_texts
from interp.chains.text_trace import ExampleFinder, TextTrace, keep_examples
from interp.chains.texts import decode
from interp.chains.trace import Trace
from interp.chains.trace_files import make_trace
from interp.chains.trace_formats import TraceFile, read_trace_file
from interp.chains.traced_task import make_traced_task
from interp.tasks import Task, make_task
from interp.tasks.registry import reads_file


@dataclass(frozen=True)
class GivenTraces:
    """Traces by task and writer, and the tasks with the examples that they answer."""

    tasks: tuple[Task, ...]
    traces: Mapping[str, Mapping[str, tuple[TextTrace | Trace, ...]]]
    """Task -> writer -> one trace for each example that it answered, in the order of the task."""
    account: tuple[str, ...]
    """What was read, for the reader of the report."""

    @property
    def writers(self) -> tuple[str, ...]:
        """All writers, in order."""
        return tuple(dict.fromkeys(name for each in self.traces.values() for name in each))

    @property
    def sha256(self) -> str:
        """Checksum of everything that was given, wherever the files lie."""
        plain = {
            task: {writer: [_unplaced(one) for one in found] for writer, found in by.items()}
            for task, by in self.traces.items()
        }
        return hashlib.sha256(repr(plain).encode()).hexdigest()

    def encode(self, task: Task, tokenizer: Any) -> dict[str, Sequence[Trace]]:
        """The traces on a task, as models with this tokenizer read them.

        Raises:
            ValueError: A text cannot be read as an answer to its question, or the tokens of a
                trace belong to another tokenizer.
        """
        finder = ExampleFinder.of(task)
        return {
            writer: tuple(
                make_trace(one, finder, tokenizer)
                if isinstance(one, TextTrace)
                else _checked(one, tokenizer)
                for one in given
            )
            for writer, given in self.traces[task.name].items()
        }


def gather_traces(
    files: Sequence[str],
    objects: Mapping[str, Sequence[Trace]],
    *,
    tasks: Sequence[str | Task],
    n: int,
    seed: int,
    data: str | None,
    grader: str | None = None,
) -> GivenTraces:
    """Reads files of traces, and finds the example that each trace answers.

    Args:
        files: As FILE or WRITER=FILE.
        objects: Writer -> traces.
        tasks: Names or tasks; empty for those that the traces name or bring with them.
        n: Examples of each task, at most.
        seed: Of the examples.
        data: Folder of data sets.
        grader: Of tasks that are files.

    Raises:
        ValueError: A trace answers no example of the tasks; the message has file, line and field.
        OSError: A file cannot be read.
    """
    read = [_read(name) for name in files]
    texts = [text for file in read for text in file.traces]
    given: list[TextTrace | Trace] = [*texts]
    given += [replace(one, writer=writer) for writer, each in objects.items() for one in each]
    if not given:
        raise ValueError("no traces were given: name a file, or hand over at least one trace")
    made = _make_tasks(given, texts, read, tasks, n=n, seed=seed, data=data, grader=grader)
    finders = {task.name: ExampleFinder.of(task) for task in made}
    n_other = n_again = 0
    found: dict[str, dict[str, dict[str, TextTrace | Trace]]] = {name: {} for name in finders}
    for one in given:
        if one.task and one.task not in finders:
            n_other += 1
            continue
        for task, example in _places(one, finders):
            of_writer = found[task].setdefault(one.writer, {})
            n_again += example in of_writer
            named = replace(one, example=example)
            of_writer.setdefault(example, named)
    kept = [_narrow(task, found[task.name], n, seed) for task in made]
    kept = [task for task in kept if task.examples]
    if not kept:
        raise ValueError(
            f"the traces answer other tasks ({given[0].task}, ...) than the run has: "
            f"{', '.join(finders)}. Name theirs (--task)"
        )
    return GivenTraces(
        tuple(kept),
        {task.name: _in_order(task, found[task.name]) for task in kept},
        tuple(_account(read, objects, kept, found, n_other=n_other, n_again=n_again)),
    )


def _read(name: str) -> TraceFile:
    path, writer = Path(name), ""
    if not path.exists() and "=" in name:
        writer, _, rest = name.partition("=")
        path = Path(rest)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {path} of traces. It is named as FILE or WRITER=FILE, such as "
            "--traces post=samples.jsonl"
        )
    file = read_trace_file(path)
    if writer:
        file = replace(file, traces=tuple(replace(one, writer=writer) for one in file.traces))
    return file


def _make_tasks(
    given: Sequence[TextTrace | Trace],
    texts: Sequence[TextTrace],
    read: Sequence[TraceFile],
    tasks: Sequence[str | Task],
    *,
    n: int,
    seed: int,
    data: str | None,
    grader: str | None,
) -> list[Task]:
    names = tasks or tuple(dict.fromkeys(one.task for one in given if one.task))
    if names and (tasks or all(one.task for one in given)):
        return [
            make_task(
                task, n=None if reads_file(task) else n, seed=seed, data=data, grader=grader
            )  # all of a file, since any of its questions may be answered
            if isinstance(task, str)
            else task
            for task in names
        ]
    name = "+".join(dict.fromkeys(file.path.resolve().name.split(".")[0] for file in read))
    return [make_traced_task(name, [replace(one, task="") for one in texts])]


def _places(one: TextTrace | Trace, finders: Mapping[str, ExampleFinder]) -> list[tuple[str, str]]:
    """Task and id of each example that a trace answers."""
    asked = [finders[one.task]] if one.task else list(finders.values())
    if isinstance(one, Trace):
        one = TextTrace(f"trace of {one.writer!r} on {one.example!r}", "", example=one.example)
    found: list[tuple[str, str]] = []
    errors: list[ValueError] = []
    for finder in asked:
        try:
            found.append((finder.task.name, finder.find(one).id))
        except ValueError as error:
            errors.append(error)
    if not found:
        raise ValueError(f"{one.place}: {errors[0]}") from errors[0]
    return found


def _narrow(
    task: Task, found: Mapping[str, Mapping[str, TextTrace | Trace]], n: int, seed: int
) -> Task:
    """The task with the examples that were answered, at most `n` of them."""
    answered = {example for of_writer in found.values() for example in of_writer}
    ids = [example.id for example in task.examples if example.id in answered]
    if len(ids) > n:
        ids = Random(f"traces {task.name} {seed}").sample(ids, n)
    return keep_examples(task, set(ids))


def _in_order(
    task: Task, found: Mapping[str, Mapping[str, TextTrace | Trace]]
) -> dict[str, tuple[TextTrace | Trace, ...]]:
    ordered = {
        writer: tuple(by_id[e.id] for e in task.examples if e.id in by_id)
        for writer, by_id in found.items()
    }
    return {writer: traces for writer, traces in ordered.items() if traces}


def _account(
    read: Sequence[TraceFile],
    objects: Mapping[str, Sequence[Trace]],
    kept: Sequence[Task],
    found: Mapping[str, Mapping[str, Mapping[str, TextTrace | Trace]]],
    *,
    n_other: int,
    n_again: int,
) -> Iterable[str]:
    yield from (f"Traces from {file.account}." for file in read)
    yield from (f"{len(each)} traces of {name} were handed over." for name, each in objects.items())
    for task in kept:
        n_all = len({example for by_id in found[task.name].values() for example in by_id})
        rest = f", of {n_all} that they answer" if n_all > len(task.examples) else ""
        yield f"{task.name}: {len(task.examples)} examples with given traces{rest}."
    if n_other:
        yield f"{n_other} traces of other tasks were left out."
    if n_again:
        yield f"{n_again} further traces of the same writer on the same example were left out."


def _checked(trace: Trace, tokenizer: Any) -> Trace:
    """Refuses a trace whose tokens do not spell its steps with this tokenizer."""
    spelled = decode(tokenizer, chain_ids(trace.steps))
    # White space aside: a joiner stands between steps and belongs to the text of none.
    if "".join(spelled.split()) != "".join("".join(step_texts(trace.steps)).split()):
        raise ValueError(
            f"the tokens of the trace of {trace.writer!r} on {trace.example!r} do not spell its "
            "steps with the tokenizer of these models. Likely cause: it was written with another "
            "one. Export it, remove 'ids' from the file, and give the file"
        )
    return trace


def _unplaced(one: TextTrace | Trace) -> TextTrace | Trace:
    return replace(one, place="") if isinstance(one, TextTrace) else one
