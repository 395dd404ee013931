r"""Tasks by name, and tasks of files.

`make_task` takes a name of the table below, such as ``arith/fresh`` or ``gsm8k``, or a file of
questions (``problems.jsonl``, `interp.tasks.file_task`). Most tasks of one's own need no more than
a file; or a `Task` made in Python, which every function that takes a task takes as well.

To give a task a name, write one module and add one line to `SOURCES`. The module defines `SPLITS`:
name of a split -> the function that makes it, called as ``make(n=20, seed=0)``. A function with the
parameter ``data`` also gets the user's folder of data sets (a `Path`, or None if the user named
none); `interp.tasks.gsm8k` is an example. Equal `n` and `seed` must give equal examples, since
results are compared between runs.

Sources are named, not imported, because the worlds of the organisms come later in the order of
imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from inspect import signature
from pathlib import Path

from interp.tasks.file_task import file_task
from interp.tasks.table_files import ENDINGS, is_table
from interp.tasks.task import Task

SOURCES = {
    "arith": "interp.organisms.worlds.arith.task",
    "clinic": "interp.organisms.worlds.clinic.task",
    "dispatch": "interp.organisms.worlds.dispatch.task",
    "sums": "interp.tasks.sums",
    "gsm8k": "interp.tasks.gsm8k",
}
"""First part of a task's name -> the module that makes it. The second part is the split."""


def make_task(
    name: str, *, n: int, seed: int, data: str | Path | None = None, grader: str | None = None
) -> Task:
    """Makes a task by its name.

    Args:
        name: One of `task_names()`, such as ``arith/fresh`` or ``gsm8k``, or a file of questions.
        n: How many examples.
        seed: Which ones; equal arguments give equal tasks.
        data: Folder of data sets, for tasks that read questions from a file (gsm8k).
        grader: How answers to the questions of a file are compared
            (`interp.tasks.graders.GRADERS`); chosen from its gold answers where it is not given.

    Returns:
        The task.

    Raises:
        ValueError: If the name is unknown, the source has fewer than `n` examples, a row of a file
            is malformed, or a grader is given for a task that has its own.
        FileNotFoundError: If a data set is not there.
    """
    if n < 1:
        raise ValueError(f"a task needs at least one example; received n={n}")
    source, _, split = name.partition("/")
    makers = _splits(source) if source in SOURCES else {}
    if split not in makers:
        if is_table(name):
            return file_task(Path(name), n=n, seed=seed, grader=grader)
        raise ValueError(
            f"unknown task {name!r}; known: {', '.join(task_names())}; or a file of questions that "
            f"ends in {', '.join(ENDINGS)}"
        )
    if grader is not None:
        raise ValueError(
            f"a grader is chosen for the questions of a file; the task {name!r} has its own, and "
            f"{grader!r} was received. Leave the grader out"
        )
    make = makers[split]
    if "data" in signature(make).parameters:
        make = partial(make, data=None if data is None else Path(data))
    return make(n=n, seed=seed)


def name_task(name: str) -> str:
    """The `Task.name` of what `make_task` makes of a name: a file's own name without its folder."""
    source, _, split = name.partition("/")
    is_known = source in SOURCES and split in _splits(source)
    return Path(name).name if not is_known and is_table(name) else name


def task_names() -> tuple[str, ...]:
    """The names that `make_task` knows."""
    return tuple(
        f"{source}/{split}" if split else source for source in SOURCES for split in _splits(source)
    )


@cache
def _splits(source: str) -> Mapping[str, Callable[..., Task]]:
    """Name of a split (empty if the source has only one) -> the function that makes it."""
    return import_module(SOURCES[source]).SPLITS
