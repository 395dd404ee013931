"""The verdict: what the rows say about a pair, in words a reader can check against them.

Whether the answer depends on the chain is read on chains that each model **wrote itself**
(`probes.audit.readings`), since that is what it does; how it reads reference chains and the other
model's stands beside it, and a headline that would differ on reference chains says so. A run
without a model's own chains is read on the first writer, and says that.

What moved between base and post is claimed within one family of claims (`probes.audit.changes`) and
said in the headline (`probes.audit.headline`). A run of one probe has the headline that its class
declares (`Probe.headline`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interp.results.report import Verdict
from interp.results.rows import Item, Measurement
from probes import PROBES, find_probe
from probes.audit.changes import find_changes
from probes.audit.evidence import ABSENT, READERS, Evidence
from probes.audit.headline import say_headline
from probes.audit.readings import LOAD_BEARING, NOT, Reading, reliance_probes
from probes.audit.unread import say_shares
from probes.mixture import Facts
from probes.probe import OWN, Probe, VerdictLine
from probes.selection import name_chains

SMALLEST = 0.02
"""Size of a difference that matters, unless the user gives another."""
NUMBERS = {1: "this one checkpoint", 2: "these two checkpoints"}
"""Number of models -> what a run of them speaks of."""


def judge(
    rows: Sequence[Measurement],
    *,
    tasks: Sequence[str],
    writers: Sequence[str],
    described: Sequence[str] = (),
    smallest: float = SMALLEST,
    items: Sequence[Item] = (),
    facts: Facts | None = None,
    own: Mapping[str, type[Probe]] | None = None,
) -> Verdict:
    """The verdict on a pair, or on one model.

    Args:
        rows: All rows of the run. What was not measured is not mentioned.
        tasks: Tasks, in the order of the lines.
        writers: Whose chains were read.
        described: Lines in which a probe that was run alone describes its numbers.
        smallest: Size of a difference that matters.
        items: Of the run, to tell by which property of the problems a mixture splits.
        facts: What is known about the examples.
        own: Probes that are not in the table, by name.

    Returns:
        A headline, and all lines with the numbers it rests on.
    """
    known = {name: find_probe(name) for name in PROBES} | dict(own or {})
    run = Evidence(
        rows,
        tuple(name for name in READERS if any(row.reader == name for row in rows)),
        tuple(writers),
        {name: probe for name, probe in known.items() if any(row.probe == name for row in rows)},
        items,
        facts or {},
    )
    changes = find_changes(rows, tasks, "" if run.is_own else run.writer, smallest=smallest)
    lines: list[str] = []
    headlines: list[str] = []
    for task in tasks:
        lines += _lines(run, task)
        headlines.append(f"{task}: {say_headline(run, task, changes[task])}.")
    return Verdict(headline=" ".join(headlines), lines=(*lines, *described))


def _lines(run: Evidence, task: str) -> list[str]:
    """The lines about one task."""
    decides = next(iter(reliance_probes()))
    lines: list[str] = []
    for name, probe in run.probes.items():
        line = probe.verdict_line
        lines += [] if line is None else [_line(run, name, line, task)]
    lines += say_shares(run, task)
    if decides in run.probes:
        own = [run.read(task, reader) for reader in run.readers]
        lines += [_reliance_line(run, task, own), *_other_readings(run, task)]
        lines += [
            f"{task}, {decides} of {row.reader} on {name_chains(row.writer)}: {row.note}."
            for row in run.unmeasured(task)
        ]
        if "accuracy" not in run.probes:
            lines.append(
                f"{task}: accuracy was not measured, so we cannot tell whether the model "
                "solves these problems."
            )
        lines += _disagreements(task, own)
        mixtures = [run.mixture(task, reader) for reader in run.readers]
        lines += [mixture.sentence for mixture in mixtures if mixture is not None]
    return lines


def _line(run: Evidence, probe: str, line: VerdictLine, task: str) -> str:
    opening = line.opening.format(readers=" -> ".join(run.readers), chains=name_chains(run.writer))
    said = [run.say(probe, number, task) for number in line.numbers]
    return f"{task}: {opening}: {'; '.join(part for part in said if part) or ABSENT}."


def _reliance_line(run: Evidence, task: str, readings: Sequence[Reading]) -> str:
    decides = next(iter(reliance_probes()))
    writer = OWN if run.is_own else run.writer
    said = [run.say(decides, one, task, writer) for one in find_probe(decides).headline]
    share = "; ".join(part for part in said if part) or ABSENT
    chains = ", ".join(f"{one} for {one.reader}" for one in readings)
    on = "each model on its own chains" if run.is_own else f"on {name_chains(run.writer)}"
    return f"{task}, {on}: {share}. Chain: {chains}."


def _other_readings(run: Evidence, task: str) -> list[str]:
    """How each model reads chains that do not decide."""
    parts = [
        f"{name_chains(writer)}: "
        + ", ".join(
            f"{run.read(task, reader, writer)} for {reader}"
            for reader in run.readers
            if writer != run.writer_of(reader)
        )
        for writer in run.writers
        if any(writer != run.writer_of(reader) for reader in run.readers)
    ]
    return [f"{task}, read beside it: {'; '.join(parts)}."] if parts else []


def _disagreements(task: str, readings: Sequence[Reading]) -> list[str]:
    return [
        f"{task}: {name.replace('_', ' ')} alone would call {one.reader}'s chain {said}; "
        f"{reliance_probes()[name].doubt}."
        for one in readings
        for name, said in one.each.items()
        if {one.said, said} == {LOAD_BEARING, NOT}  # undecided contradicts nothing
    ]


def say_checkpoints(n_models: int) -> str:
    """What a run without several seeds speaks of; stands under its verdict.

    Args:
        n_models: Number of models that were read.

    Example:
        >>> say_checkpoints(2).split(":")[0]
        'These numbers speak of these two checkpoints only'
    """
    which = NUMBERS.get(n_models, f"these {n_models} checkpoints")
    return (
        f"These numbers speak of {which} only: another seed of the same training can lie outside "
        "of the intervals. To speak of the training, give three or more seeds of each side: "
        "posthoc audit BASE_1,BASE_2,BASE_3 POST_1,POST_2,POST_3."
    )
