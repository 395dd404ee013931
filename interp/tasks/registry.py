"""Tasks by name: the table of everything that can be asked.

A source is a module that defines `SPLITS`: the name of each of its tasks and the function that
makes it from `n` and `seed` (and from `data`, the user's folder of data sets, if it has that
parameter). a task means writing such a module and adding its line to `SOURCES`. Modules are named,
not imported, because the worlds of the organisms build on everything below them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from inspect import signature
from pathlib import Path

from interp.tasks.task import Task

SOURCES = {
    "arith": "interp.organisms.worlds.arith.task",
    "clinic": "interp.organisms.worlds.clinic.task",
    "dispatch": "interp.organisms.worlds.dispatch.task",
    "sums": "interp.tasks.sums",
    "gsm8k": "interp.tasks.gsm8k",
}
"""First part of a task's name -> the module that makes it."""


def make_task(name: str, *, n: int, seed: int, data: str | Path | None = None) -> Task:
    """Makes a task by its name.

    Args:
        name: One of `task_names()`, such as ``arith/fresh`` or ``gsm8k``.
        n: How many examples.
        seed: Which ones; equal arguments give equal tasks.
        data: Folder of data sets, for tasks that read one (gsm8k).

    Returns:
        The task.

    Raises:
        ValueError: If the name is unknown, or the source has fewer than `n` examples.
        FileNotFoundError: If a data set is not there.
    """
    source, _, split = name.partition("/")
    makers = _splits(source) if source in SOURCES else {}
    if split not in makers:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(task_names())}")
    if n < 1:
        raise ValueError(f"a task needs at least one example, but n={n} was received")
    make = makers[split]
    if "data" in signature(make).parameters:
        make = partial(make, data=None if data is None else Path(data))
    return make(n=n, seed=seed)


def task_names() -> tuple[str, ...]:
    """The names that `make_task` knows."""
    return tuple(
        f"{source}/{split}" if split else source for source in SOURCES for split in _splits(source)
    )


@cache
def _splits(source: str) -> Mapping[str, Callable[..., Task]]:
    """Name of a split, empty for the only one -> its maker."""
    return import_module(SOURCES[source]).SPLITS
