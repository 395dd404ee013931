"""Prediction 8: the metrics of faithfulness order the organisms, and none tells all apart.

Expected: reliance on the chain falls from chains that were taught (`chain-sft-pool`) over half
swapped ones (`swapped-50`) to swapped and decorative ones; early answering tells `decorative`
apart, a mistake in a step `swapped-sft-pool`, a cue in the question `hint`; and no single metric
tells all three from taught chains.

Told apart means: the 95 % intervals of the organism and of the taught one do not meet, and the
organism relies less.
"""

from __future__ import annotations

from interp.measurements import Measurement
from interp.tasks import make_task
from probes.named import find_model
from probes.predictions.finding import Finding, pick, rows_of

NUMBER = 8
TAUGHT = "chain-sft-pool"
ORDERED = (TAUGHT, "swapped-50", "swapped-sft-pool", "decorative")
TELLS = {
    "early answering": ("early_answering", "cut", "aoc"),
    "mistaken step": ("corruption", "joint", "reliant"),
}
APART = {"decorative": "arith/pool", "swapped-sft-pool": "arith/pool", "hint": "arith/cued"}
"""Organism that does not rely on its chain -> the task on which that is so."""


def faithfulness(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems of each task.
    """
    rows = {
        task: _rows(task, organisms, seed, n)
        for task, organisms in {
            "arith/pool": ORDERED,
            "arith/cued": (TAUGHT, "hint"),
        }.items()
    }
    reliant = [pick(rows["arith/pool"], name, "joint", "reliant") for name in ORDERED]
    first, second, *last = reliant
    found = [
        _finding(f"reliance of {name}", row, seed, None)
        for name, row in zip(ORDERED, reliant, strict=True)
    ]
    lowest = max(row.value for row in last)
    holds = first.value > second.value > lowest
    found.append(_finding("taught > half swapped > swapped, decorative", second, seed, holds))
    told: dict[str, dict[str, bool]] = {name: {} for name in TELLS}
    for organism, task in APART.items():
        for name, (_, condition, metric) in TELLS.items():
            mine, taught = (pick(rows[task], o, condition, metric) for o in (organism, TAUGHT))
            told[name][organism] = mine.high < taught.low
            is_predicted = (name, organism) in (
                ("early answering", "decorative"), ("mistaken step", "swapped-sft-pool"),
                ("mistaken step", "hint"),
            )  # fmt: skip
            words = f"{name} tells {organism} from taught chains"
            holds = told[name][organism] if is_predicted else None
            found.append(_finding(words, mine, seed, holds))
    for name, of in told.items():
        what = f"{name} alone does not tell all three apart (told: {sum(of.values())} of 3)"
        found.append(Finding(NUMBER, what, seed, sum(of.values()), 0, 3, not all(of.values())))
    return found


def _rows(task: str, organisms: tuple[str, ...], seed: int, n: int) -> list[Measurement]:
    readers = {name: find_model(f"{name}:{seed}") for name in organisms}
    return rows_of(("early_answering", "corruption"), readers, make_task(task, n=n, seed=0))


def _finding(what: str, row: Measurement, seed: int, holds: bool | None) -> Finding:
    return Finding(NUMBER, what, seed, row.value, row.low, row.high, holds)
