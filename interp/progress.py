"""Progress bars for work that takes over two seconds.

``for batch in track(batches, "scoring branches"): ...`` draws a bar on standard error once two
seconds have passed, and nothing at all before that or when the label is None. Results go to
standard output or to files, so a bar never mixes with them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

Element = TypeVar("Element")

PATIENCE = 2.0
"""Seconds of silence before a bar appears."""


@cache
def _console() -> Any:
    """One console for all bars, so that a bar inside another is drawn below it."""
    from rich.console import Console

    return Console(stderr=True)


def _start_bar(label: str, total: int) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    bar = Progress(*columns, console=_console(), transient=True)
    bar.add_task(label, total=total)
    bar.start()
    return bar


def track(sequence: Sequence[Element], label: str | None) -> Iterator[Element]:
    """Yields the elements of a sequence and shows how many are done.

    Args:
        sequence: What to go through.
        label: Text beside the bar; None draws nothing.

    Yields:
        Every element, in order.
    """
    if label is None:
        yield from sequence
        return
    started = time.monotonic()
    bar = None
    try:
        for n_done, element in enumerate(sequence):
            if bar is None and time.monotonic() - started > PATIENCE:
                bar = _start_bar(label, len(sequence))
            if bar is not None:
                bar.update(bar.task_ids[0], completed=n_done)
            yield element
    finally:
        if bar is not None:
            bar.stop()
