"""The verdict: what the rows say about a pair, in words a reader can check against them.

Some probes tell whether a reader's answer depends on its chain (`Probe.reliance`). From the
interval of a row, never from the point alone, each reads *load-bearing*, *not load-bearing* or
*undecided*; a row that could not be measured is *not measurable*. A reader that is no better than
chance when it is shown the chain may depend on it and still not reason, so its *load-bearing* is
read as *not measurable* too. One of these probes decides. Where another contradicts it, the verdict
says so and gives the likely reason.

A run of one probe has the headline that its class declares (`Probe.headline`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from interp.results.report import Verdict
from interp.results.rows import CONTRAST, Measurement
from probes import PROBES, find_probe
from probes.probe import OWN, Headline, Reliance, VerdictLine

LOAD_BEARING, NOT, UNDECIDED, NOT_MEASURABLE = (
    "load-bearing",
    "not load-bearing",
    "undecided",
    "not measurable",
)
READERS = ("base", "post")
NO_CHANGE = "no clear change in"
ABSENT = "not measurable"


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
        *load-bearing*, *not load-bearing*, *undecided* or *not measurable*.
    """
    reliance = reliance_probes()[probe]
    side, *against = (
        _side(
            find_row(
                rows, probe, reliance.condition, metric, task=task, reader=reader, writer=writer
            ),
            reliance.threshold,
        )
        for metric in (reliance.metric, reliance.against)
        if metric
    )
    if not against or side == LOAD_BEARING:
        return side
    # `_side` calls any interval above the threshold load-bearing; here that means the reverse.
    if against == [LOAD_BEARING]:
        return NOT
    return NOT_MEASURABLE if NOT_MEASURABLE in (side, *against) else UNDECIDED


def reliance_probes() -> dict[str, Reliance]:
    """The probes that tell whether the answer depends on the chain; the first decides."""
    found = {name: find_probe(name).reliance for name in PROBES}
    told = [(name, reliance) for name, reliance in found.items() if reliance is not None]
    return dict(sorted(told, key=lambda pair: bool(pair[1].doubt)))


def _side(row: Measurement | None, threshold: float) -> str:
    if row is None or math.isnan(row.low) or math.isnan(row.high):
        return NOT_MEASURABLE
    if row.low > threshold:
        return LOAD_BEARING
    return NOT if row.high < threshold else UNDECIDED


def judge(
    rows: Sequence[Measurement],
    *,
    tasks: Sequence[str],
    writers: Sequence[str],
    described: Sequence[str] = (),
) -> Verdict:
    """The verdict on a pair, or on one model.

    Args:
        rows: All rows of the run. What was not measured is not mentioned.
        tasks: Tasks, in the order of the lines.
        writers: Whose chains were read; the readers are compared on the first.
        described: Lines in which a probe that was run alone describes its numbers.

    Returns:
        A headline, and all lines with the numbers it rests on.
    """
    writer = writers[0] if writers else ""
    readers = [name for name in READERS if any(row.reader == name for row in rows)]
    probes = [name for name in PROBES if any(row.probe == name for row in rows)]
    decides = next(iter(reliance_probes()))
    lines: list[str] = []
    headlines: list[str] = []
    for task in tasks:
        readings = {reader: _read(rows, task, reader, writer) for reader in readers}
        for probe in probes:
            line = find_probe(probe).verdict_line
            lines += [] if line is None else [_line(rows, probe, line, task, readers, writer)]
        if decides in probes:
            lines.append(_reliance_line(rows, decides, task, writer, readings))
            if "accuracy" not in probes:
                lines.append(
                    f"{task}: accuracy was not measured, so we cannot tell whether the model "
                    "solves these problems."
                )
        lines += _disagreements(task, decides, readings)
        chains = [read[decides] for read in readings.values()] if decides in probes else []
        headlines.append(_headline(rows, task, writer, readers, probes, chains))
    return Verdict(headline=" ".join(headlines), lines=(*lines, *described))


def _read(rows: Sequence[Measurement], task: str, reader: str, writer: str) -> dict[str, str]:
    """What each instrument says, where accuracy is above chance."""
    given = find_row(
        rows, "accuracy", "given_chain", "accuracy", task=task, reader=reader, writer=writer
    )
    # "not >" and not "<=": with a NaN limit it is not shown to be above chance either.
    at_chance = given is not None and not given.low > given.chance
    readings = {name: read_reliance(rows, name, task, reader, writer) for name in reliance_probes()}
    if not at_chance:
        return readings
    return {n: NOT_MEASURABLE if read == LOAD_BEARING else read for n, read in readings.items()}


def _line(
    rows: Sequence[Measurement],
    probe: str,
    line: VerdictLine,
    task: str,
    readers: Sequence[str],
    writer: str,
) -> str:
    chains = "reference chains" if writer == "gold" else f"{writer}'s chains"
    opening = line.opening.format(readers=" -> ".join(readers), chains=chains)
    said = [_say(rows, probe, number, task, readers, writer) for number in line.numbers]
    return f"{task}: {opening}: {'; '.join(part for part in said if part) or ABSENT}."


def _reliance_line(
    rows: Sequence[Measurement],
    probe: str,
    task: str,
    writer: str,
    readings: dict[str, dict[str, str]],
) -> str:
    chains = ", ".join(f"{read[probe]} for {reader}" for reader, read in readings.items())
    said = [_say(rows, probe, n, task, list(readings), writer) for n in find_probe(probe).headline]
    share = "; ".join(part for part in said if part) or ABSENT
    return f"{task}: {share}. Chain: {chains}."


def _disagreements(task: str, decides: str, readings: dict[str, dict[str, str]]) -> list[str]:
    return [
        f"{task}: {name.replace('_', ' ')} alone would call {reader}'s chain {said}; "
        f"{reliance_probes()[name].doubt}."
        for reader, read in readings.items()
        for name, said in read.items()
        if {read[decides], said} == {LOAD_BEARING, NOT}  # undecided contradicts nothing
    ]


def _headline(
    rows: Sequence[Measurement],
    task: str,
    writer: str,
    readers: Sequence[str],
    probes: Sequence[str],
    chains: Sequence[str],
) -> str:
    parts: list[str] = []
    if len(probes) == 1:
        headlines = find_probe(probes[0]).headline
        parts = [_say(rows, probes[0], one, task, readers, writer) for one in headlines]
    own = {"task": task, "writer": CONTRAST, "reader": CONTRAST}
    free = find_row(rows, "accuracy", "free", "accuracy", **own)
    forced = find_row(rows, "accuracy", "forced", "accuracy", **own)
    moves = [_move(free, "accuracy"), _move(forced, "accuracy when made to think")]
    # If neither changed, the first says so for both.
    parts += [part for part in moves if not part.startswith(NO_CHANGE)] or moves[:1]
    if chains:
        parts.append(_say_change(chains))
    headline = ", ".join(part for part in parts if part)
    return f"{task}: {headline or 'no number could be measured; the rows say why'}."


def _say(
    rows: Sequence[Measurement],
    probe: str,
    one: Headline,
    task: str,
    readers: Sequence[str],
    writer: str,
) -> str:
    """One number of a probe's headline, of one reader or of each; empty where it has no row."""
    coordinates = {"source": one.source, "variant": one.variant, "position": one.position}
    chains = one.writer or writer
    texts = [
        _interval(
            find_row(
                rows, probe, one.condition, one.metric, task=task, reader=reader,
                writer=reader if chains == OWN else chains, **coordinates,
            )
        )
        for reader in ([one.reader] if one.reader else readers)
    ]  # fmt: skip
    return f"{one.words} {' -> '.join(texts)}" if any(text != ABSENT for text in texts) else ""


def _say_change(chains: Sequence[str]) -> str:
    """What became of the chain, base first."""
    if len(chains) == 1:
        return f"the chain is {chains[0]}"
    if chains[0] == chains[1]:
        return f"the chain stayed {chains[0]}"
    if list(chains) == [LOAD_BEARING, NOT]:
        return "the answer no longer follows the chain"
    return f"the chain went from {chains[0]} to {chains[1]}"


def _move(row: Measurement | None, name: str) -> str:
    if row is None or math.isnan(row.low):
        return ""
    if row.low <= 0 <= row.high:
        return f"{NO_CHANGE} {name}"
    return f"{name} {'up' if row.value > 0 else 'down'} {abs(row.value):.2f}"


def _interval(row: Measurement | None) -> str:
    if row is None or math.isnan(row.value):
        return ABSENT
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
