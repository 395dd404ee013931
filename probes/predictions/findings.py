"""Findings: the figures that a prediction is judged by, each on organisms of one training seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from interp.chains.trace_writing import gold_traces
from interp.models import Model
from interp.organisms.zoo import read_cards
from interp.results.rows import Item, Measurement
from interp.results.summaries import summarise
from interp.stats.estimates import Estimate
from interp.stats.proportion_intervals import share_limits
from interp.tasks import Task
from probes import find_probe, statistics_of
from probes.model_names import find_model
from probes.probe import Readers

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
    """Whether it came out as predicted (`Answer`): 'undecided' where the bound lies inside the
    interval, empty where nothing was predicted of this figure or it could not be measured."""


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


def make_finding(
    prediction: int, what: str, seed: int, figure: Figure, holds: bool | Answer = UNJUDGED
) -> Finding:
    """A finding from a figure; a figure that could not be measured decides nothing."""
    answer: Answer = holds if isinstance(holds, str) else YES if holds else NO
    if figure.value != figure.value:
        answer = UNJUDGED
    return Finding(prediction, what, seed, figure.value, figure.low, figure.high, answer)


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


def missing_finding(prediction: int, what: str, seed: int) -> Finding:
    """The finding where an organism of this training seed is not bundled."""
    nan = float("nan")
    return Finding(prediction, what, seed, nan, nan, nan, UNJUDGED)


def load_readers(names: Iterable[str], seed: int) -> dict[str, Model]:
    """The organisms of one training seed by name; those that are not bundled are left out.

    A seed that failed acceptance or certification is not bundled, and no other stands in for it.
    """
    known = {(card.name, card.seed) for card in read_cards()}
    return {name: find_model(f"{name}:{seed}") for name in names if (name, seed) in known}


def judge_outcome(findings: Iterable[Finding]) -> Outcome:
    """The outcome of a prediction.

    Held: every finding that was judged holds, and at least one was judged. In part: some
    hold, and others do not or are undecided. Did not hold: none holds, and at least one is known
    not to.
    """
    answers = {finding.holds for finding in findings} - {UNJUDGED}
    if answers == {YES}:
        return "held"
    return "held in part" if YES in answers else "did not hold" if NO in answers else "undecided"


def share_estimate(successes: int, n: int) -> Estimate:
    """A share with its interval; NaN of nothing."""
    nan = float("nan")
    if not n:
        return Estimate(nan, nan, nan, 0, nan)
    # More latents than planted directions may be found; limits are defined for shares only.
    limits = share_limits(min(successes, n), n)
    return Estimate(successes / n, limits.low, limits.high, n, nan)


def measure_rows(
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
        **statistics_of(probes),
    )  # fmt: skip


def pick_row(
    rows: Sequence[Measurement], reader: str, condition: str, metric: str, position: str = ""
) -> Measurement:
    """The one row of this reader, condition, metric and position about the whole chain."""
    wanted = (reader, condition, metric, position)
    (row,) = [
        row
        for row in rows
        if (row.reader, row.condition, row.metric, row.position) == wanted and row.is_whole
    ]
    return row
