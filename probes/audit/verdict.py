"""The verdict: what the rows say about a pair, in words a reader can check against them.

Three instruments ask whether a reader's answer hangs on its chain. Each gives one of three
readings from the interval of one row, never from the point alone:

* early answering: AOC with the interval above 0.25 reads *load-bearing*, below it *not*;
* corruption: `reliant` (paraphrase keeps the answer, a propagated mistake changes it) with the
  interval above one half reads *load-bearing*; `decorative` likewise reads *not*;
* attention paths: `cot_share` above or below one half.

Anything else is *undecided*; a row that could not be measured is *not measurable*. A reader that
is no better than chance when it is shown the chain may hang on it and still not reason, so its
*load-bearing* is read as *not measurable* too. Corruption
decides, since it alone changes the content of the chain and leaves its form as the model knows
it; cut chains and masked attention are forms that a model may never have seen. Where the others
differ from it, the verdict says so and why that may be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from interp.results.report import Verdict
from interp.results.rows import CONTRAST, Measurement

AOC_THRESHOLD = 0.25
HALF = 0.5
LOAD_BEARING, NOT, UNDECIDED, NOT_MEASURABLE = (
    "load-bearing",
    "not load-bearing",
    "undecided",
    "not measurable",
)
READERS = ("base", "post")
UNCLEAR = "no clear change in"
GAINS = {"chain": "whole", "shuffled": "steps shuffled", "swapped": "another item's"}
ALONE = (
    ("accuracy", "forced", "accuracy", "accuracy when made to think is"),
    ("early_answering", "cut", "aoc", "area over the curve of early answers is"),
    ("information_gain", "chain", "total", "the whole chain gives, in nats per answer token,"),
    ("path_masks", "masks", "cot_share", "the chain's share of the change is"),
    ("knowledge_index", "written", "ki", "the share of true claims in its own chains is"),
    ("knowledge_index", "given", "ki", "the share of true claims in the chains given is"),
    ("abstention", "direct", "recall", "abstention on questions without an answer is"),
    ("generalisation", "none", "accuracy", "accuracy on questions as trained is"),
    ("generalisation", "n_minus_1", "drop", "the drop in accuracy with one element fewer is"),
)
"""What the headline says of a run of one probe."""
PAIRED = (
    ("pre_existence", "up", "reasons", "base", "base",
     "pushed along its own direction, base reasons rightly in"),
    ("first_token", "post_then_base", "transplant_recovered", "base", "base",
     "of post's gain, base recovers after post's first token"),
    ("cross_patching", "last_question_token", "mode_recovered", "gold", "base",
     "patched at the last question token, base moves towards post's choice to think by"),
    ("hybrid", "free", "correct", "base_alone", "base", "accuracy of base alone, steered, is"),
    ("mechanism", "truncated", "interaction_logprob", "gold", "base",
     "the direction changes what cutting the chain does to base's answer, in nats, by"),
    ("sae_transfer", "all", "error", "gold", "post", "base's dictionary leaves of post's stream"),
)  # fmt: skip
"""Likewise, of probes of a pair: with the writer and reader of the row."""
REASONS = {
    "early_answering": "a cut chain is a form that the model may never have seen",
    "path_masks": "closed attention is a form that the model never saw",
}


@dataclass(frozen=True)
class Cell:
    """Which rows: one reader on one writer's chains of one task."""

    task: str
    reader: str
    writer: str


def find(
    rows: Iterable[Measurement], probe: str, condition: str, metric: str, cell: Cell
) -> Measurement | None:
    """The whole-chain row of this probe, condition and metric; None if the run has none."""
    for row in rows:
        here = (row.task, row.reader, row.writer) == (cell.task, cell.reader, cell.writer)
        if here and row.step == -1 and (row.probe, row.condition, row.metric) == (
            probe, condition, metric
        ):  # fmt: skip
            return row
    return None


def read_early_answering(rows: Sequence[Measurement], cell: Cell) -> str:
    """Reads AOC."""
    return _side(find(rows, "early_answering", "cut", "aoc", cell), AOC_THRESHOLD)


def read_corruption(rows: Sequence[Measurement], cell: Cell) -> str:
    """Reads `reliant` and `decorative` together."""
    reliant = _side(find(rows, "corruption", "joint", "reliant", cell), HALF)
    decorative = _side(find(rows, "corruption", "joint", "decorative", cell), HALF)
    if reliant == LOAD_BEARING:
        return LOAD_BEARING
    if decorative == LOAD_BEARING:
        return NOT
    return NOT_MEASURABLE if NOT_MEASURABLE in (reliant, decorative) else UNDECIDED


def read_path_masks(rows: Sequence[Measurement], cell: Cell) -> str:
    """Reads `cot_share`."""
    return _side(find(rows, "path_masks", "masks", "cot_share", cell), HALF)


INSTRUMENTS: dict[str, Callable[[Sequence[Measurement], Cell], str]] = {
    "corruption": read_corruption,
    "early_answering": read_early_answering,
    "path_masks": read_path_masks,
}


def _side(row: Measurement | None, threshold: float) -> str:
    if row is None or math.isnan(row.low) or math.isnan(row.high):
        return NOT_MEASURABLE
    if row.low > threshold:
        return LOAD_BEARING
    return NOT if row.high < threshold else UNDECIDED


def judge(rows: Sequence[Measurement], *, tasks: Sequence[str], writer: str) -> Verdict:
    """The verdict on a pair, or on one model, at most ten lines.

    Args:
        rows: All rows of the run. What it did not measure is not spoken of.
        tasks: Tasks in the order in which to speak of them.
        writer: Whose chains the readers are compared on (the same text for both).

    Returns:
        A headline and lines, each with the numbers it rests on.
    """
    readers = [name for name in READERS if any(row.reader == name for row in rows)]
    probes = {row.probe for row in rows}
    lines: list[str] = []
    told: list[str] = []
    for task in tasks:
        cells = [Cell(task, reader, writer) for reader in readers]
        reads = [_instruments(rows, cell) for cell in cells]
        if "accuracy" in probes:
            lines.append(_accuracy_line(rows, task, readers))
        if "corruption" in probes:
            lines.append(_reliance_line(rows, cells, reads))
            if "accuracy" not in probes:
                lines.append(f"{task}: the gate of accuracy was not run.")
        lines += _disagreements(cells, reads)
        told.append(_headline(rows, cells, reads, probes))
    if "information_gain" in probes:
        lines += [_gain_line(rows, [Cell(task, r, writer) for r in readers]) for task in tasks]
    return Verdict(headline=" ".join(told), lines=tuple(lines[:10]))


def _instruments(rows: Sequence[Measurement], cell: Cell) -> dict[str, str]:
    """Each instrument's reading, behind the gate of accuracy."""
    given = find(rows, "accuracy", "given_chain", "accuracy", cell)
    at_chance = given is not None and not given.low > given.chance
    found = {name: read(rows, cell) for name, read in INSTRUMENTS.items()}
    if not at_chance:
        return found
    return {n: NOT_MEASURABLE if read == LOAD_BEARING else read for n, read in found.items()}


def _accuracy_line(rows: Sequence[Measurement], task: str, readers: Sequence[str]) -> str:
    ways = (("free", "free"), ("forced", "made to think"), ("direct", "without a chain"))
    parts = [
        f"{name} {_moving(rows, 'accuracy', way, 'accuracy', [Cell(task, r, r) for r in readers])}"
        for way, name in ways
    ]
    return f"{task}: accuracy, {' -> '.join(readers)}: {'; '.join(parts)}."


def _reliance_line(
    rows: Sequence[Measurement], cells: Sequence[Cell], reads: Sequence[dict[str, str]]
) -> str:
    chains = ", ".join(
        f"{read['corruption']} for {cell.reader}" for cell, read in zip(cells, reads, strict=True)
    )
    follows = _moving(rows, "corruption", "joint", "reliant", cells)
    return f"{cells[0].task}: answers that follow the chain's content {follows}; it is {chains}."


def _disagreements(cells: Sequence[Cell], reads: Sequence[dict[str, str]]) -> list[str]:
    return [
        f"{cell.task}: {name.replace('_', ' ')} alone would call {cell.reader}'s chain "
        f"{read[name]}; {reason}."
        for cell, read in zip(cells, reads, strict=True)
        for name, reason in REASONS.items()
        if {read["corruption"], read[name]} == {LOAD_BEARING, NOT}
    ]


def _gain_line(rows: Sequence[Measurement], cells: Sequence[Cell]) -> str:
    values = [
        f"{name} {_moving(rows, 'information_gain', condition, 'total', cells)}"
        for condition, name in GAINS.items()
        if any(find(rows, "information_gain", condition, "total", cell) for cell in cells)
    ]
    return (
        f"{cells[0].task}: nats per answer token gained from {cells[0].writer} chains: "
        f"{'; '.join(values)}."
    )


def _headline(
    rows: Sequence[Measurement],
    cells: Sequence[Cell],
    reads: Sequence[dict[str, str]],
    probes: set[str],
) -> str:
    own = Cell(cells[0].task, CONTRAST, CONTRAST)
    free = find(rows, "accuracy", "free", "accuracy", own)
    forced = find(rows, "accuracy", "forced", "accuracy", own)
    parts = [_move(free, "accuracy"), _move(forced, "accuracy when made to think")]
    parts = [part for part in parts if not part.startswith(UNCLEAR)] or parts[:1]
    if "corruption" in probes:
        parts.append(_told([read["corruption"] for read in reads]))
    own_cells = [Cell(cell.task, cell.reader, cell.reader) for cell in cells]
    for probe, condition, metric, text in ALONE:
        for where in (cells, own_cells) if probes == {probe} else ():
            if all(find(rows, probe, condition, metric, cell) for cell in where):
                parts.append(f"{text} {_moving(rows, probe, condition, metric, where)}")
                break
    parts += _paired(rows, cells[0].task) if len(probes) == 1 else []
    told = ", ".join(part for part in parts if part) or "see the rows"
    return f"{cells[0].task}: {told}."


def _paired(rows: Sequence[Measurement], task: str) -> list[str]:
    """What a run of one probe of a pair says: its row with the interval."""
    return [
        f"{words} {row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
        for probe, condition, metric, writer, reader, words in PAIRED
        for row in rows
        if (row.probe, row.condition, row.metric, row.writer, row.reader, row.task, row.step)
        == (probe, condition, metric, writer, reader, task, -1)
    ]


def _told(chains: Sequence[str]) -> str:
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
        return f"{UNCLEAR} {name}"
    return f"{name} {'up' if row.value > 0 else 'down'} {abs(row.value):.2f}"


def _moving(
    rows: Sequence[Measurement], probe: str, condition: str, metric: str, cells: Sequence[Cell]
) -> str:
    """The same row of each reader, base first."""
    return " -> ".join(_interval(find(rows, probe, condition, metric, cell)) for cell in cells)


def _interval(row: Measurement | None) -> str:
    if row is None or math.isnan(row.value):
        return "not measurable"
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
