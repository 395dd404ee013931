"""Tasks by name: the table of everything that can be asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

from interp.organisms.arith.splits import Split as ArithSplit
from interp.organisms.clinic.splits import Split as ClinicSplit
from interp.tasks.arith import arith_task
from interp.tasks.clinic import clinic_task
from interp.tasks.dispatch import Split as DispatchSplit
from interp.tasks.dispatch import dispatch_task
from interp.tasks.gsm8k import gsm8k_task
from interp.tasks.sums import sums_task
from interp.tasks.task import Task


def make_task(name: str, *, n: int, seed: int, data: str | Path | None = None) -> Task:
    """A task by its name.

    Args:
        name: ``arith/pool``, ``arith/fresh``, ``arith/cued``, ``arith/uncued``, ``arith/twins``,
            ``arith/single``, ``arith/abstain``, ``arith/shifts``, ``clinic/known``,
            ``clinic/all``, ``clinic/domain``, ``clinic/facts``, ``clinic/abstain``,
            ``clinic/shifts``, ``dispatch/plain``, ``dispatch/abstain``, ``dispatch/shifts``,
            ``sums``, ``sums/two`` or ``gsm8k``.
        n: How many examples.
        seed: Which ones; equal arguments give equal tasks.
        data: Folder of data sets, for tasks that read one (gsm8k).

    Returns:
        The task.

    Raises:
        ValueError: If the name is unknown, or the source has fewer than `n` examples.
        FileNotFoundError: If a data set is not there.
    """
    sources = _sources(None if data is None else Path(data))
    if name not in sources:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(sources)}")
    if n < 1:
        raise ValueError(f"a task needs at least one example, but n={n} was received")
    return sources[name](n=n, seed=seed)


def _sources(data: Path | None) -> dict[str, Callable[..., Task]]:
    sources: dict[str, Callable[..., Task]] = {
        f"arith/{split}": partial(arith_task, split) for split in get_args(ArithSplit)
    }
    sources |= {f"clinic/{split}": partial(clinic_task, split) for split in get_args(ClinicSplit)}
    sources |= {
        f"dispatch/{split}": partial(dispatch_task, split) for split in get_args(DispatchSplit)
    }
    sources["sums"] = partial(sums_task, 3)
    sources["sums/two"] = partial(sums_task, 2)
    sources["gsm8k"] = partial(gsm8k_task, data=data)
    return sources


TASK_NAMES = tuple(_sources(None))
"""The names that `make_task` knows."""
