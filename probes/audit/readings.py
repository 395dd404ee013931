"""Readings: whether a model's answer depends on a chain, read from the rows.

Some probes tell whether a reader's answer depends on its chain (`Probe.reliance`). From the
interval of a row, never from the point alone, each reads *load-bearing*, *not load-bearing* or
*undecided*; a row that could not be measured is *not measurable*. Where a mistake in the chain
changes the answers, but not to what it leads to, the chain is *read but not followed*. A reader
that is no better than the best constant answer when it is shown the chain may depend on it and
still not reason, so its *load-bearing* is read as *not measurable* too.

One of these probes decides. Where it cannot be measured, because no step states a value that could
be changed, the others are read instead: at least two, if they agree, of a reader that is better
than a constant answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interp.results.rows import Measurement
from probes import PROBES, find_probe
from probes.probe import Reliance

LOAD_BEARING, NOT, UNFOLLOWED, UNDECIDED, NOT_MEASURABLE = (
    "load-bearing",
    "not load-bearing",
    "read but not followed",
    "undecided",
    "not measurable",
)


AT_CHANCE = "no better than the best constant answer when it reads the chain"


@dataclass(frozen=True)
class Reading:
    """What the rows say about one reader and the chains of one writer."""

    reader: str
    writer: str
    each: Mapping[str, str]
    """Probe -> its reading; the one that decides comes first."""
    by: str
    """The probe that the reading rests on."""
    is_at_chance: bool = False
    """Whether the reader is not shown to be better than a constant answer, given the chain."""

    @property
    def said(self) -> str:
        """One of the five words above."""
        return self.each[self.by]

    @property
    def is_unmeasurable(self) -> bool:
        """Whether nothing can be said."""
        return self.said == NOT_MEASURABLE

    def __str__(self) -> str:
        is_second = self.by != next(iter(self.each))
        return f"{self.said} (by {self.by.replace('_', ' ')})" if is_second else self.said


def find_row(
    rows: Iterable[Measurement], probe: str, condition: str, metric: str, **where: str
) -> Measurement | None:
    """The row about the whole with these names.

    Args:
        rows: All rows of a run.
        probe: Its probe.
        condition: Its condition.
        metric: Its metric.
        where: Its task and coordinates; those not given are empty.

    Returns:
        The row; None if the run has none.
    """
    names = {"task": "", "writer": "", "reader": "", "source": "", "variant": "", "position": ""}
    wanted = names | where
    for row in rows:
        if (
            (row.probe, row.condition, row.metric) == (probe, condition, metric)
            and row.is_whole
            and all(getattr(row, name) == value for name, value in wanted.items())
        ):
            return row
    return None


def reliance_probes() -> dict[str, Reliance]:
    """The probes that tell whether the answer depends on the chain; the first decides."""
    found = {name: find_probe(name).reliance for name in PROBES}
    told = [(name, reliance) for name, reliance in found.items() if reliance is not None]
    return dict(sorted(told, key=lambda pair: bool(pair[1].doubt)))


def read_reliance(
    rows: Sequence[Measurement], probe: str, task: str, reader: str, writer: str
) -> str:
    """What a probe says about how the answer depends on the chain.

    Args:
        rows: All rows of a run.
        probe: One of `reliance_probes`.
        task: The questions.
        reader: Whose answers.
        writer: Whose chains.

    Returns:
        One of the five words above.
    """
    reliance = reliance_probes()[probe]
    says = {reliance.metric: LOAD_BEARING, reliance.against: NOT, reliance.sensitive: UNFOLLOWED}
    sides = {
        said: _side(
            find_row(
                rows, probe, reliance.condition, metric, task=task, reader=reader, writer=writer
            ),
            reliance.threshold,
        )
        for metric, said in says.items()
        if metric
    }
    # `_side` calls any interval above the threshold load-bearing; it means what its metric says.
    above = [said for said, side in sides.items() if side == LOAD_BEARING]
    if above or len(sides) == 1:
        return above[0] if above else sides[LOAD_BEARING]
    return NOT_MEASURABLE if NOT_MEASURABLE in sides.values() else UNDECIDED


def read_chain(rows: Sequence[Measurement], task: str, reader: str, writer: str) -> Reading:
    """What every probe of reliance says, where the reader is above chance given the chain."""
    given = find_row(
        rows, "accuracy", "given_chain", "accuracy", task=task, reader=reader, writer=writer
    )
    # "not >" and not "<=": with a NaN limit it is not shown to be above chance either.
    at_chance = given is not None and not given.low > given.chance
    each = {name: read_reliance(rows, name, task, reader, writer) for name in reliance_probes()}
    by, *others = each
    measured = [name for name in others if each[name] != NOT_MEASURABLE]
    is_agreed = len(measured) >= 2 and len({each[name] for name in measured}) == 1
    if each[by] == NOT_MEASURABLE and is_agreed and not at_chance:
        by = measured[0]
    if at_chance:
        each = {n: NOT_MEASURABLE if said == LOAD_BEARING else said for n, said in each.items()}
    return Reading(reader, writer, each, by, at_chance)


def _side(row: Measurement | None, threshold: float) -> str:
    if row is None or math.isnan(row.low) or math.isnan(row.high):
        return NOT_MEASURABLE
    if row.low > threshold:
        return LOAD_BEARING
    return NOT if row.high < threshold else UNDECIDED
