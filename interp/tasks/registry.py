r"""Tasks by name, and tasks of files.

`make_task` takes a name of the table below, such as ``arith/fresh`` or ``gsm8k``, or a file of
questions (``problems.jsonl``, `interp.tasks.file_task`). Most tasks of one's own need no more than
a file; or a `Task` made in Python, which every function that takes a task takes as well.

To give a task a name, write one module and add one line to `SOURCES`. The module defines `SPLITS`:
name of a split -> the function that makes it, called as ``make(n=20, seed=0)``. A function with the
parameter ``data`` also gets the user's folder of data sets (a `Path`, or None if the user named
none), and may get ``n=None``, which asks for all questions there are; `interp.tasks.gsm8k` is an
example. Equal `n` and `seed` must give equal examples, since results are compared between runs.

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
    name: str,
    *,
    n: int | None,
    seed: int,
    data: str | Path | None = None,
    grader: str | None = None,
) -> Task:
    """Makes a task by its name.

    Args:
        name: One of `task_names()`, such as ``arith/fresh`` or ``gsm8k``, or a file of questions.
        n: How many examples; None for all of a task that reads questions from a file.
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
    has_end = reads_file(name)
    if n is not None and n < 1:
        raise ValueError(f"a task needs at least one example; received n={n}")
    if n is None and not has_end:
        raise ValueError(
            f"n=None asks for all questions of a file, and task {name!r} draws its own without an "
            "end: say how many, such as n=100"
        )
    make = _find_maker(name)
    if make is None:
        return file_task(Path(name), n=n, seed=seed, grader=grader)
    if grader is not None:
        raise ValueError(
            f"a grader is chosen for the questions of a file; the task {name!r} has its own, and "
            f"{grader!r} was received. Leave the grader out"
        )
    if has_end:
        make = partial(make, data=None if data is None else Path(data))
    return make(n=n, seed=seed)


def reads_file(name: str) -> bool:
    """Whether a task reads its questions from a file, so that there is an end to them.

    Raises:
        ValueError: The name is unknown.
    """
    make = _find_maker(name)
    if make is not None:
        return "data" in signature(make).parameters
    if is_table(name):
        return True
    raise ValueError(
        f"unknown task {name!r}; known: {', '.join(task_names())}; or a file of questions that "
        f"ends in {', '.join(ENDINGS)}"
    )


def name_task(name: str) -> str:
    """The `Task.name` of what `make_task` makes of a name: a file's own name without its folder."""
    return Path(name).name if _find_maker(name) is None and is_table(name) else name


def task_names() -> tuple[str, ...]:
    """The names that `make_task` knows."""
    return tuple(
        f"{source}/{split}" if split else source for source in SOURCES for split in _splits(source)
    )


def _find_maker(name: str) -> Callable[..., Task] | None:
    """The function that makes the task of a name of the table."""
    source, _, split = name.partition("/")
    return _splits(source).get(split) if source in SOURCES else None


@cache
def _splits(source: str) -> Mapping[str, Callable[..., Task]]:
    """Name of a split (empty if the source has only one) -> the function that makes it."""
    return import_module(SOURCES[source]).SPLITS
