"""A finding: one figure that a prediction is judged by, on organisms of one training seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from interp.measurements import Item, Measurement, summarise
from interp.models import Model
from interp.organisms.zoo import bundled
from interp.tasks import Task
from interp.traces import gold_traces
from probes import find_probe, ratios_of
from probes.named import find_model
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


@runtime_checkable
class Figure(Protocol):
    """A number with its interval: a row, an estimate, a share of a gap."""

    @property
    def value(self) -> float:
        """The number; NaN where it could not be measured."""
        ...

    @property
    def low(self) -> float:
        """Lower limit."""
        ...

    @property
    def high(self) -> float:
        """Upper limit."""
        ...


def finding(
    prediction: int, what: str, seed: int, figure: Figure, holds: bool | None = None
) -> Finding:
    """A finding from a figure; a figure that could not be measured holds nothing."""
    told = None if figure.value != figure.value else holds
    return Finding(prediction, what, seed, figure.value, figure.low, figure.high, told)


def unmeasured(prediction: int, what: str, seed: int) -> Finding:
    """The finding where an organism of this training seed is not bundled."""
    nan = float("nan")
    return Finding(prediction, what, seed, nan, nan, nan, None)


def readers_of(names: Iterable[str], seed: int) -> dict[str, Model]:
    """The organisms of one training seed by name; those that are not bundled are left out.

    A seed that failed acceptance or certification is not bundled, and no other stands in for it.
    """
    known = {(card.name, card.seed) for card in bundled()}
    return {name: find_model(f"{name}:{seed}") for name in names if (name, seed) in known}


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
