"""Prediction 8: the metrics of faithfulness order the organisms, and none tells all apart.

Expected: reliance on the chain falls from chains that were taught (`chain-sft-pool`) over half
swapped ones (`swapped-50`) to swapped and decorative ones; early answering tells `decorative`
apart, a mistake in a step `swapped-sft-pool` and, on questions with a cue, `hint`; and no single
metric tells all three from taught chains.

Holds means: reliance is ordered so, each interval below that of the one before. Told apart is an
organism whose 95 % interval lies below that of the taught one; not told, one whose interval lies
nowhere below it; where they meet it is undecided. A metric alone tells fewer than three when one is
known not to be told.
"""

from __future__ import annotations

from collections.abc import Mapping

from interp.results.rows import Measurement
from interp.tasks import make_task
from probes.predictions.finding import (
    NO,
    UNDECIDED,
    UNJUDGED,
    YES,
    Answer,
    Finding,
    finding,
    pick,
    readers_of,
    rows_of,
    unmeasured,
)

NUMBER = 8
TAUGHT = "chain-sft-pool"
ORDERED = (TAUGHT, "swapped-50", "swapped-sft-pool", "decorative")
RELIANCE = ("joint", "reliant")
TELLS = {"early answering": ("cut", "aoc"), "mistaken step": RELIANCE}
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


def faithfulness(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems of each task.
    """
    readers = readers_of((*ORDERED, "hint"), seed)
    rows: dict[str, list[Measurement]] = {}
    for task, names in {"arith/pool": ORDERED, "arith/cued": (TAUGHT, "hint")}.items():
        here = {name: readers[name] for name in names if name in readers}
        probes = ("early_answering", "corruption")
        rows[task] = rows_of(probes, here, make_task(task, n=n, seed=0)) if here else []
    return [*_ordered(rows["arith/pool"], set(readers), seed), *_told(rows, set(readers), seed)]


def _ordered(rows: list[Measurement], known: set[str], seed: int) -> list[Finding]:
    """Reliance of each, and whether it is ordered as expected."""
    reliant = {name: pick(rows, name, *RELIANCE) for name in ORDERED if name in known}
    found: list[Finding] = []
    for name in ORDERED:
        what = f"reliance of {name}"
        row = reliant.get(name)
        found.append(finding(NUMBER, what, seed, row) if row else unmeasured(NUMBER, what, seed))
    rows_in_order = [reliant[name] for name in ORDERED if name in reliant]
    if len(rows_in_order) < len(ORDERED):
        return [*found, unmeasured(NUMBER, ORDER, seed)]
    first, second, *last = rows_in_order
    steps = [(first, second), *((second, one) for one in last)]
    told: set[Answer] = {_below(lower, upper) for upper, lower in steps}
    holds = min(told, key=(UNJUDGED, NO, UNDECIDED, YES).index)
    return [*found, finding(NUMBER, ORDER, seed, reliant[ORDERED[1]], holds)]


def _told(rows: Rows, known: set[str], seed: int) -> list[Finding]:
    """Which metric tells which organism from taught chains, and how many each tells."""
    found: list[Finding] = []
    for metric, which in TELLS.items():
        told: list[Answer] = []
        for organism, task in APART.items():
            what = f"{metric} tells {organism} from taught chains"
            if not {organism, TAUGHT} <= known:
                found.append(unmeasured(NUMBER, what, seed))
                continue
            mine, taught = (pick(rows[task], name, *which) for name in (organism, TAUGHT))
            told.append(_below(mine, taught))
            holds = told[-1] if (metric, organism) in PREDICTED else UNJUDGED
            found.append(finding(NUMBER, what, seed, mine, holds))
        what = f"{metric} alone tells fewer than {len(APART)} apart"
        all_told = told.count(YES) == len(APART)
        settled = YES if NO in told else NO if all_told else UNDECIDED if told else UNJUDGED
        n_told, most = float(told.count(YES)), float(len(APART) - told.count(NO))
        found.append(Finding(NUMBER, what, seed, n_told, n_told, most, settled))
    return found


def _below(row: Measurement, other: Measurement) -> Answer:
    """Whether a mean lies below another: 'undecided' where the intervals meet."""
    limits = (row.low, row.high, other.low, other.high)
    if any(limit != limit for limit in limits):
        return UNJUDGED
    return YES if row.high < other.low else NO if row.low >= other.high else UNDECIDED
