"""Prediction 8: metrics of faithfulness order the organisms, and none separates all of them.

Expected: reliance on the chain falls from chains that were taught (`chain-sft-pool`) over half
swapped ones (`swapped-50`) to swapped and decorative ones; early answering tells `decorative`
apart, a mistake in a step `swapped-sft-pool` and, on questions with a cue, `hint`; and no single
metric tells all three from taught chains.

Holds means: reliance is ordered so, each interval below that of the one before. An organism is
told apart if its 95 % interval lies below that of the taught one, and not told apart if it lies
above; where the intervals overlap it is undecided. A metric alone tells fewer than three apart when
at least one is known not to be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from interp.results.rows import Measurement
from interp.tasks import make_task
from probes.predictions.findings import (
    NO,
    UNDECIDED,
    UNJUDGED,
    YES,
    Answer,
    Finding,
    load_readers,
    make_finding,
    measure_rows,
    missing_finding,
    pick_row,
)

NUMBER = 8
TAUGHT = "chain-sft-pool"
ORDERED = (TAUGHT, "swapped-50", "swapped-sft-pool", "decorative")
RELIANCE = ("joint", "follows")
TELLS = {"early answering": ("cut", "aoc_corrected"), "mistaken step": RELIANCE}
"""Metric -> its condition and name."""
APART = {"decorative": "arith/pool", "swapped-sft-pool": "arith/pool", "hint": "arith/cued"}
"""Organism that does not rely on its chain -> the task on which that is so."""
PREDICTED = (
    ("early answering", "decorative"),
    ("mistaken step", "swapped-sft-pool"),
    ("mistaken step", "hint"),
)
ORDER = "reliance: taught > half swapped > swapped and decorative"

Rows = Mapping[str, list[Measurement]]
"""Task -> rows."""


def measure_faithfulness(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems of each task.
    """
    readers = load_readers((*ORDERED, "hint"), seed)
    rows: dict[str, list[Measurement]] = {}
    for task, names in {"arith/pool": ORDERED, "arith/cued": (TAUGHT, "hint")}.items():
        here = {name: readers[name] for name in names if name in readers}
        probes = ("early_answering", "corruption")
        rows[task] = measure_rows(probes, here, make_task(task, n=n, seed=0)) if here else []
    return [
        *_ordered(rows["arith/pool"], set(readers), seed),
        *_separated(rows, set(readers), seed),
    ]


def _ordered(rows: list[Measurement], known: set[str], seed: int) -> list[Finding]:
    """Reliance of each, and whether it is ordered as expected."""
    follows = {name: pick_row(rows, name, *RELIANCE) for name in ORDERED if name in known}
    findings: list[Finding] = []
    for name in ORDERED:
        what = f"reliance of {name}"
        row = follows.get(name)
        findings.append(
            make_finding(NUMBER, what, seed, row) if row else missing_finding(NUMBER, what, seed)
        )
    rows_in_order = [follows[name] for name in ORDERED if name in follows]
    if len(rows_in_order) < len(ORDERED):
        return [*findings, missing_finding(NUMBER, ORDER, seed)]
    first, second, *last = rows_in_order
    steps = [(first, second), *((second, one) for one in last)]
    answers: set[Answer] = {_below(lower, upper) for upper, lower in steps}
    # The weakest step decides, and one that cannot be judged leaves the whole unjudged.
    holds = min(answers, key=(UNJUDGED, NO, UNDECIDED, YES).index)
    return [*findings, make_finding(NUMBER, ORDER, seed, follows[ORDERED[1]], holds)]


def _separated(rows: Rows, known: set[str], seed: int) -> list[Finding]:
    """Which metric tells which organism from taught chains, and how many each tells."""
    findings: list[Finding] = []
    for metric, which in TELLS.items():
        answers: list[Answer] = []
        for organism, task in APART.items():
            what = f"{metric} tells {organism} from taught chains"
            if not {organism, TAUGHT} <= known:
                findings.append(missing_finding(NUMBER, what, seed))
                continue
            mine, taught = (pick_row(rows[task], name, *which) for name in (organism, TAUGHT))
            answers.append(_below(mine, taught))
            expected = answers[-1] if (metric, organism) in PREDICTED else UNJUDGED
            findings.append(make_finding(NUMBER, what, seed, mine, expected))
        what = f"{metric} alone tells fewer than {len(APART)} apart"
        holds: Answer = UNDECIDED if answers else UNJUDGED
        if NO in answers:
            holds = YES
        elif answers.count(YES) == len(APART):
            holds = NO
        # No sampling interval: what the undecided answers leave open.
        least, most = float(answers.count(YES)), float(len(APART) - answers.count(NO))
        findings.append(Finding(NUMBER, what, seed, least, least, most, holds))
    return findings


def _below(row: Measurement, other: Measurement) -> Answer:
    """Whether a mean lies below another: 'undecided' where the intervals meet."""
    limits = (row.low, row.high, other.low, other.high)
    if any(limit != limit for limit in limits):
        return UNJUDGED
    return YES if row.high < other.low else NO if row.low >= other.high else UNDECIDED
