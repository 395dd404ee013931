r"""Tasks by name: the table of all tasks.

To add a task, write one module and add one line to `SOURCES`. The module defines `SPLITS`: name of
a split -> the function that makes it, called as ``make(n=20, seed=0)``. A function with the
parameter ``data`` also gets the user's folder of data sets (a `Path`, or None if the user named
none), and may get ``n=None``, which asks for all questions there are. A task that reads questions
from a file looks like this, `interp.tasks.gsm8k` being the full example::

    # interp/tasks/fares.py
    import json
    from pathlib import Path
    from random import Random

    from interp.tasks import NumberRewriter, read_number
    from interp.tasks.step_splitting import split_lines
    from interp.tasks.task import Example, Layout, Task

    LAYOUT = Layout(think_open="", think_close="", answer_cue="\nThe answer is",
                    answer_end=".\n", filler=" ...", joiner="", answer_open=" ")

    def fares_task(*, n: int | None, seed: int, data: Path | None) -> Task:
        path = (data or Path(".")) / "fares.json"
        records = json.loads(path.read_text(encoding="utf-8"))
        n = len(records) if n is None else n
        if n > len(records):
            raise ValueError(f"{path} holds {len(records)} questions, n={n} was received. "
                             f"Ask for fewer (--n {len(records)})")
        examples = tuple(
            Example(id=f"fares:{record['id']}", problem=f"fares:{record['id']}",
                    question=f"Question: {record['question']}\nAnswer: Step by step.",
                    answer=str(record["answer"]), steps=tuple(f"\n{s}" for s in record["steps"]))
            for record in Random(f"fares {seed}").sample(records, n)
        )
        return Task(name="fares", examples=examples, layout=LAYOUT,
                    rewriter=NumberRewriter(), split_steps=split_lines,
                    read_answer=read_number, max_chain_tokens=200, max_answer_tokens=10)

    SPLITS = {"": fares_task}

    # in SOURCES, below
    "fares": "interp.tasks.fares",

Then ``make_task("fares", n=20, seed=0, data="FOLDER")`` makes it, and the command line knows the
name. `Task` and `Example` (`interp.tasks.task`) explain every field. Equal `n` and `seed` must give
equal examples, since results are compared between runs.

Sources are named, not imported, because the worlds of the organisms come later in the order of
imports.
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
"""First part of a task's name -> the module that makes it. The second part is the split."""


def make_task(name: str, *, n: int | None, seed: int, data: str | Path | None = None) -> Task:
    """Makes a task by its name.

    Args:
        name: One of `task_names()`, such as ``arith/fresh`` or ``gsm8k``.
        n: How many examples; None for all of a task that reads questions from a file.
        seed: Which ones; equal arguments give equal tasks.
        data: Folder of data sets, for tasks that read questions from a file (gsm8k).

    Returns:
        The task.

    Raises:
        ValueError: If the name is unknown, or the source has fewer than `n` examples.
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
    source, _, split = name.partition("/")
    make = _splits(source)[split]
    if has_end:
        make = partial(make, data=None if data is None else Path(data))
    return make(n=n, seed=seed)


def reads_file(name: str) -> bool:
    """Whether a task reads its questions from a file, so that there is an end to them.

    Raises:
        ValueError: The name is unknown.
    """
    source, _, split = name.partition("/")
    makers = _splits(source) if source in SOURCES else {}
    if split not in makers:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(task_names())}")
    return "data" in signature(makers[split]).parameters


def task_names() -> tuple[str, ...]:
    """The names that `make_task` knows."""
    return tuple(
        f"{source}/{split}" if split else source for source in SOURCES for split in _splits(source)
    )


@cache
def _splits(source: str) -> Mapping[str, Callable[..., Task]]:
    """Name of a split (empty if the source has only one) -> the function that makes it."""
    return import_module(SOURCES[source]).SPLITS
