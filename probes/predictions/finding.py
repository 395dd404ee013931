"""A finding: one figure that a prediction is judged by, on organisms of one training seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from interp.measurements import Item, Measurement, summarise
from interp.models import Model
from interp.tasks import Task
from interp.traces import gold_traces
from probes import find_probe, ratios_of
from probes.probe import DIFFERENCES, Readers

Outcome = Literal["held", "held in part", "did not hold", "undecided"]
HELD, IN_PART, NOT_HELD, UNDECIDED = "held", "held in part", "did not hold", "undecided"


@dataclass(frozen=True)
class Finding:
    """One figure with what was predicted of it."""

    prediction: int
    what: str
    """What was measured and what was predicted, in words; the same at every seed."""
    seed: int
    value: float
    low: float
    high: float
    holds: bool | None
    """Whether it came out as predicted; None where it could not be told."""


def outcome(findings: Iterable[Finding]) -> Outcome:
    """Held if every finding that can be told holds, and one at least can.

    In part: every prediction that holds somewhere holds at every seed, and another holds at none,
    or seeds differ.
    """
    told = [finding.holds for finding in findings if finding.holds is not None]
    if not told:
        return UNDECIDED
    return HELD if all(told) else IN_PART if any(told) else NOT_HELD


def rows_of(
    probes: Sequence[str], readers: Readers, task: Task, *, seed: int = 0
) -> list[Measurement]:
    """Rows of probes on the task's own correct chains."""
    first: Model = next(iter(readers.values()))
    traces = {"gold": gold_traces(first.tokenizer, task)}
    items: list[Item] = []
    for name in probes:
        items += find_probe(name)().run(readers, task, traces, seed=seed)
    return summarise(
        items, pair=" -> ".join(readers), chance={task.name: task.chance}, seed=seed,
        ratios=ratios_of(probes), differences=DIFFERENCES,
    )  # fmt: skip


def pick(rows: Sequence[Measurement], reader: str, condition: str, metric: str) -> Measurement:
    """The one row of this reader, condition and metric (whole chain)."""
    (row,) = [
        r for r in rows
        if (r.reader, r.condition, r.metric, r.step) == (reader, condition, metric, -1)
    ]  # fmt: skip
    return row
