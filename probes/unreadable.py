"""What breaks off: one rule for the traces without a readable chain, and answers that never end.

* A number about a chain is *missing* (NaN, with the reason) where there is no readable chain: it
  was never closed or is empty, or no answer ends after it. `add_unreadable` says so under every
  number of a probe of chains, and adds the metric `readable`, whose mean is the share of readable
  chains.
* A number about answers is given twice. `accuracy` and `correct` are strict: an answer that never
  ends is wrong. `..._if_finished` leaves it out, and the mean of `finished` is the share that ends.
  Where the plain number leaves it out (the recall of abstention), the strict one is `..._strict`.

Example: of four chains one is truncated, and the reader relies on the three others: `reliant` 1.00
with one item missing, `readable` 0.75.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from interp.results.rows import Item
from interp.tasks import Task
from probes.cases import is_readable
from probes.probe import READABLE, Readers, Traces

CHAINS = "chains"
"""Condition of the metric `readable`."""
NEVER_ENDS = "the answer never ends"
NAN = float("nan")
NOBODY: dict[str, Any] = {"example": "", "problem": "", "writer": "", "reader": "", "note": ""}


def add_unreadable(
    items: Sequence[Item],
    probe: str,
    main: tuple[str, tuple[str, ...]],
    readers: Readers,
    task: Task,
    traces: Traces,
    *,
    position: str = "",
) -> tuple[Item, ...]:
    """The items of a probe, with those of the traces that have no readable chain.

    No metric has to be named, so none can be forgotten: such a trace is missing under every key
    that a readable chain has a number for. (Not under those of single steps, which it lacks.)

    Args:
        items: All items about readable chains.
        probe: Name of the probe.
        main: Condition and metrics under which the traces are missing where none is readable.
        readers: All readers.
        task: The task.
        traces: Of every writer.
        position: That of these metrics, where they have one.

    Returns:
        `items`, `readable` (1 or 0) of every trace, and NaN with the reason for each trace without
        a readable chain, for every reader.
    """
    condition, metrics = main
    mains = [
        Item(
            probe=probe, task=task.name, condition=condition, metric=metric, position=position,
            value=0.0, **NOBODY,
        )
        for metric in metrics
    ]  # fmt: skip
    share = replace(mains[0], condition=CHAINS, metric=READABLE, position="")
    keys = _keys(items)
    added: list[Item] = []
    for writer, written in traces.items():
        for trace in written:
            note = "" if is_readable(trace) else f"the chain is {trace.status}"
            where = {"example": trace.example, "problem": trace.problem, "writer": writer}
            for reader in [writer] if writer in readers else readers:
                added.append(replace(share, **where, reader=reader, value=float(not note)))
            for reader in readers if note else ():
                wanted = _wanted(keys, writer, reader) or mains
                added += [
                    replace(key, **where, reader=reader, value=NAN, note=note) for key in wanted
                ]
    return (*items, *added)


def _keys(items: Sequence[Item]) -> dict[tuple[str, str], dict[Item, None]]:
    """Writer and reader -> one item for each key that they have, without example and value."""
    keys: dict[tuple[str, str], dict[Item, None]] = {}
    for item in items:
        if item.step is None and item.token is None:
            # NaN differs from itself, and equal keys must be one.
            same = replace(item, **NOBODY, value=0.0)
            keys.setdefault((item.writer, item.reader), {})[same] = None
    return keys


def _wanted(
    keys: dict[tuple[str, str], dict[Item, None]], writer: str, reader: str
) -> Iterable[Item]:
    """What this reader of this writer has numbers for; if for nothing, what others have."""
    if cell := keys.get((writer, reader)):
        return cell
    # Some numbers exist only where a model reads its own chains.
    alike = [of for (w, r), of in keys.items() if (w == r) == (writer == reader)]
    return {key: None for of in alike or keys.values() for key in of}
