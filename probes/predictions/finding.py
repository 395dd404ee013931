"""A finding: one figure that a prediction is judged by, on organisms of one training seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from interp.chains.trace_writing import gold_traces
from interp.models import Model
from interp.organisms.zoo import bundled
from interp.results.rows import Item, Measurement, summarise
from interp.tasks import Task
from probes import find_probe, ratios_of
from probes.model_names import find_model
from probes.probe import DIFFERENCES, Readers

Outcome = Literal["held", "held in part", "did not hold", "undecided"]
Answer = Literal["yes", "no", "undecided", ""]
YES: Final = "yes"
NO: Final = "no"
UNDECIDED: Final = "undecided"
UNJUDGED: Final = ""


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
    holds: str
    """Whether it came out as predicted (`Answer`): 'undecided' where the interval holds the bound,
    empty where nothing was predicted of this figure or it could not be measured."""


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
    prediction: int, what: str, seed: int, figure: Figure, holds: bool | Answer = UNJUDGED
) -> Finding:
    """A finding from a figure; a figure that could not be measured holds nothing."""
    told: Answer = holds if isinstance(holds, str) else YES if holds else NO
    if figure.value != figure.value:
        told = UNJUDGED
    return Finding(prediction, what, seed, figure.value, figure.low, figure.high, told)


def at_least(figure: Figure, bound: float) -> Answer:
    """Whether a figure reaches a bound: its interval must lie on one side, or it is undecided."""
    if figure.low != figure.low or figure.high != figure.high:
        return UNJUDGED
    return YES if figure.low >= bound else NO if figure.high < bound else UNDECIDED


def at_most(figure: Figure, bound: float) -> Answer:
    """The reverse of `at_least`."""
    if figure.low != figure.low or figure.high != figure.high:
        return UNJUDGED
    return YES if figure.high <= bound else NO if figure.low > bound else UNDECIDED


def unmeasured(prediction: int, what: str, seed: int) -> Finding:
    """The finding where an organism of this training seed is not bundled."""
    nan = float("nan")
    return Finding(prediction, what, seed, nan, nan, nan, UNJUDGED)


def readers_of(names: Iterable[str], seed: int) -> dict[str, Model]:
    """The organisms of one training seed by name; those that are not bundled are left out.

    A seed that failed acceptance or certification is not bundled, and no other stands in for it.
    """
    known = {(card.name, card.seed) for card in bundled()}
    return {name: find_model(f"{name}:{seed}") for name in names if (name, seed) in known}


def outcome(findings: Iterable[Finding]) -> Outcome:
    """Held if every finding that was judged holds, and one at least was.

    In part: some hold, and others do not or are undecided. It did not hold where none holds and one
    at least is known not to.
    """
    told = {finding.holds for finding in findings} - {UNJUDGED}
    if told == {YES}:
        return "held"
    return "held in part" if YES in told else "did not hold" if NO in told else "undecided"


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
