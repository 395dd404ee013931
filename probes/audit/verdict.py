"""The verdict: what the rows say about a pair, in words a reader can check against them.

Whether the answer depends on the chain is read on chains that each model **wrote itself**
(`probes.audit.readings`), since that is what it does; how it reads reference chains and the other
model's stands beside it, and a headline that would differ on reference chains says so. A run
without a model's own chains is read on the first writer, and says that.

What moved between base and post is claimed within one family of claims (`probes.audit.changes`). A
model that hardly ever opens a chain unasked is spoken of *when made to think*, and where answers
without a chain explain a rise of accuracy, the headline says that too.

A run of one probe has the headline that its class declares (`Probe.headline`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interp.results.report import Verdict
from interp.results.rows import Item, Measurement
from probes import PROBES, find_probe
from probes.audit.changes import CHAIN, DIRECT, FORCED, FREE, Change, find_changes
from probes.audit.readings import (
    LOAD_BEARING,
    NOT,
    NOT_MEASURABLE,
    Reading,
    find_row,
    read_chain,
    reliance_probes,
)
from probes.mixture import Facts, Mixture, read_mixture
from probes.probe import OWN, Headline, VerdictLine

READERS = ("base", "post")
ABSENT = "not measurable"
GOLD = "gold"
SMALLEST = 0.02
"""Size of a difference that matters, unless the user gives another."""
RARE = 0.5
"""A model that opens a chain in fewer of its texts is spoken of when made to think."""


NUMBERS = {1: "this one checkpoint", 2: "these two checkpoints"}
"""Number of models -> what a run of them speaks of."""


@dataclass(frozen=True)
class _Run:
    """What a verdict is made of."""

    rows: Sequence[Measurement]
    readers: tuple[str, ...]
    """Of the models of a pair."""
    writers: tuple[str, ...]
    probes: tuple[str, ...]
    """Those that have rows."""
    items: Sequence[Item]
    facts: Facts

    @property
    def writer(self) -> str:
        """The writer whose chains stand for all in lines that compare readers."""
        return self.writers[0] if self.writers else ""

    @property
    def is_own(self) -> bool:
        """Whether each model has chains that it wrote itself."""
        return set(self.readers) <= set(self.writers)

    def writer_of(self, reader: str) -> str:
        """Whose chains decide what is said of a reader."""
        return reader if self.is_own else self.writer

    def read(self, task: str, reader: str, writer: str = "") -> Reading:
        """What is said of a reader and a writer's chains; its own where none is named."""
        return read_chain(self.rows, task, reader, writer or self.writer_of(reader))

    def mixture(self, task: str, reader: str) -> Mixture | None:
        """Whether a reader follows its chain in part of the problems."""
        return read_mixture(
            self.rows, task, reader, self.writer_of(reader), items=self.items, facts=self.facts
        )

    def find(self, probe: str, condition: str, metric: str, task: str, reader: str) -> Measurement:
        """The row of what a reader does by itself; one without a value if there is none."""
        found = find_row(
            self.rows, probe, condition, metric, task=task, reader=reader, writer=reader
        )
        return found or _NO_ROW


def judge(
    rows: Sequence[Measurement],
    *,
    tasks: Sequence[str],
    writers: Sequence[str],
    described: Sequence[str] = (),
    smallest: float = SMALLEST,
    items: Sequence[Item] = (),
    facts: Facts | None = None,
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

    Returns:
        A headline, and all lines with the numbers it rests on.
    """
    run = _Run(
        rows,
        tuple(name for name in READERS if any(row.reader == name for row in rows)),
        tuple(writers),
        tuple(name for name in PROBES if any(row.probe == name for row in rows)),
        items,
        facts or {},
    )
    changes = find_changes(rows, tasks, "" if run.is_own else run.writer, smallest=smallest)
    lines: list[str] = []
    headlines: list[str] = []
    for task in tasks:
        lines += _lines(run, task)
        headlines.append(f"{task}: {_headline(run, task, changes[task])}.")
    return Verdict(headline=" ".join(headlines), lines=(*lines, *described))


def _lines(run: _Run, task: str) -> list[str]:
    """The lines about one task."""
    decides = next(iter(reliance_probes()))
    lines: list[str] = []
    for probe in run.probes:
        line = find_probe(probe).verdict_line
        lines += [] if line is None else [_line(run, probe, line, task)]
    if decides in run.probes:
        own = [run.read(task, reader) for reader in run.readers]
        lines += [_reliance_line(run, task, own), *_other_readings(run, task)]
        lines += [
            f"{task}, {decides} of {row.reader} on {_name(row.writer)}: {row.note}."
            for row in _unmeasured(run, task)
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


def _line(run: _Run, probe: str, line: VerdictLine, task: str) -> str:
    opening = line.opening.format(readers=" -> ".join(run.readers), chains=_name(run.writer))
    said = [_say(run, probe, number, task) for number in line.numbers]
    return f"{task}: {opening}: {'; '.join(part for part in said if part) or ABSENT}."


def _reliance_line(run: _Run, task: str, readings: Sequence[Reading]) -> str:
    decides = next(iter(reliance_probes()))
    writer = OWN if run.is_own else run.writer
    said = [_say(run, decides, one, task, writer) for one in find_probe(decides).headline]
    share = "; ".join(part for part in said if part) or ABSENT
    chains = ", ".join(f"{one} for {one.reader}" for one in readings)
    on = "each model on its own chains" if run.is_own else f"on {_name(run.writer)}"
    return f"{task}, {on}: {share}. Chain: {chains}."


def _other_readings(run: _Run, task: str) -> list[str]:
    """How each model reads chains that do not decide."""
    parts = [
        f"{_name(writer)}: "
        + ", ".join(
            f"{run.read(task, reader, writer)} for {reader}"
            for reader in run.readers
            if writer != run.writer_of(reader)
        )
        for writer in run.writers
        if any(writer != run.writer_of(reader) for reader in run.readers)
    ]
    return [f"{task}, read beside it: {'; '.join(parts)}."] if parts else []


def _unmeasured(run: _Run, task: str) -> list[Measurement]:
    """The rows of the probe that decides that have no value, one for each such model."""
    decides, reliance = next(iter(reliance_probes().items()))
    rows = [
        find_row(
            run.rows, decides, reliance.condition, reliance.metric, task=task, reader=reader,
            writer=run.writer_of(reader),
        )
        for reader in run.readers
    ]  # fmt: skip
    return [row for row in rows if row is not None and math.isnan(row.value) and row.note]


def _first_reason(row: Measurement) -> str:
    """``not measurable: the chain is empty (60); ...`` without all but the reason."""
    return row.note.removeprefix("not measurable: ").split(" (")[0]


def _disagreements(task: str, readings: Sequence[Reading]) -> list[str]:
    return [
        f"{task}: {name.replace('_', ' ')} alone would call {one.reader}'s chain {said}; "
        f"{reliance_probes()[name].doubt}."
        for one in readings
        for name, said in one.each.items()
        if {one.said, said} == {LOAD_BEARING, NOT}  # undecided contradicts nothing
    ]


def _headline(run: _Run, task: str, changes: Mapping[str, Change]) -> str:
    parts: list[str] = []
    if len(run.probes) == 1:
        headlines = find_probe(run.probes[0]).headline
        parts = [_say(run, run.probes[0], one, task) for one in headlines]
    parts += _say_accuracy(changes)
    if next(iter(reliance_probes())) in run.probes:
        is_said = bool(parts) and FORCED in parts[-1]
        parts.append(_say_chain(run, task, changes.get(CHAIN), is_said=is_said))
    return ", ".join(part for part in parts if part) or (
        "no number could be measured; the rows say why"
    )


def _say_accuracy(changes: Mapping[str, Change]) -> list[str]:
    """What became of the accuracies, and what explains a rise."""
    moves = [changes[name] for name in (FREE, FORCED) if name in changes]
    told = [str(move) for move in moves if move.is_clear] or [str(move) for move in moves[:1]]
    free, direct = changes.get(FREE), changes.get(DIRECT)
    if free is None or direct is None or not (free.is_clear and direct.is_clear):
        return told
    # Answers without a chain explain the whole rise if they may have risen by as much.
    if not free.is_small and 0 < free.row.value <= direct.row.high:
        told.insert(1, f"which answers without a chain explain ({direct})")
    return told


def _say_chain(run: _Run, task: str, change: Change | None, *, is_said: bool) -> str:
    """What became of the chain, base first; `is_said`: the words before are *made to think*."""
    own = [run.read(task, reader) for reader in run.readers]
    text = _compare(own, change)
    if change is not None and change.doubt:
        text = f"{text} ({change.doubt})"
    for reader in run.readers:
        if mixture := run.mixture(task, reader):
            text = f"{text}, {reader} follows it {mixture.words}"
    for row in _unmeasured(run, task):
        text = f"{text} ({row.reader}: {_first_reason(row)})"
    rare = [
        f"{reader} {row.value:.2f}"
        for reader in run.readers
        if (row := run.find("accuracy", "free", "valid_trace", task, reader)).high < RARE
    ]
    if rare:
        when = "then" if is_said else "when made to think"
        text = f"{when} {text} (free texts with a chain: {', '.join(rare)})"
    if not run.is_own:
        return f"{text} (on {_name(run.writer)})"
    gold = [run.read(task, reader, GOLD) for reader in run.readers]
    is_other = [one.said for one in gold] != [one.said for one in own]
    if GOLD in run.writers and is_other:
        text = f"{text} (on {_name(GOLD)} instead: {_compare(gold, None)})"
    return text


def _compare(readings: Sequence[Reading], change: Change | None) -> str:
    first, *others = readings
    if not others:
        return f"the chain is {first}"
    (second,) = others
    if first.said == second.said == NOT_MEASURABLE:
        return "reliance on the chain is not measurable"
    if first.said == second.said:
        return f"the chain stayed {first.said}"
    if (change is None or change.is_clear) and (first.said, second.said) == (LOAD_BEARING, NOT):
        return "the answer no longer follows the chain"
    text = f"the chain is {first} for {first.reader} and {second} for {second.reader}"
    if change is None or change.is_clear or math.isnan(change.row.p):
        return text
    return f"{text}, not clearly different"


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


def _name(writer: str) -> str:
    """Whose chains, in words."""
    return "reference chains" if writer == GOLD else f"{writer}'s chains"


def _say(run: _Run, probe: str, one: Headline, task: str, writer: str = "") -> str:
    """One number of a probe's headline, of one reader or of each; empty where it has no row."""
    coordinates = {"source": one.source, "variant": one.variant, "position": one.position}
    chains = one.writer or writer or run.writer
    texts = [
        _interval(
            find_row(
                run.rows, probe, one.condition, one.metric, task=task, reader=reader,
                writer=reader if chains == OWN else chains, **coordinates,
            )
        )
        for reader in ([one.reader] if one.reader else run.readers)
    ]  # fmt: skip
    return f"{one.words} {' -> '.join(texts)}" if any(text != ABSENT for text in texts) else ""


def _interval(row: Measurement | None) -> str:
    if row is None or math.isnan(row.value):
        return ABSENT
    return row.describe()


_NO_ROW = Measurement(
    probe="", task="", condition="", metric="", pair="", value=math.nan, low=math.nan,
    high=math.nan, n=0, n_missing=0, chance=math.nan, seed=0,
)  # fmt: skip
