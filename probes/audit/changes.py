"""Changes: what a headline may claim of the difference between two models.

A headline over several tasks makes several claims: that accuracy moved when the model answers
freely, when it is made to think and when it answers at once, that it opens a chain more often or
less, and that its answers follow the chain, its own and the reference chain, more or less. Each at
its own 5 %, they would give a false claim in more than a tenth of the reports on two models that do
not differ. So all claims of one headline are one family, whose error Holm's method holds at 5 %
(Holm 1979, Scandinavian Journal of Statistics 6:65): sorted by p, the i-th of m counts only if
p_j <= .05 / (m - j + 1) for all j <= i.

A difference can be certain and too small to matter. `smallest` says below which size, and such a
difference is named and not claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from interp.results.rows import CONTRAST, Measurement
from probes.audit.readings import find_row, reliance_probes

LEVEL = 0.05
FREE, FORCED, DIRECT, WRITES, CHAIN, GOLD_CHAIN = (
    "accuracy",
    "accuracy when made to think",
    "accuracy without a chain",
    "free texts with a chain",
    "reliance on the chain",
    "reliance on reference chains",
)


@dataclass(frozen=True)
class Change:
    """One claim that a headline may make."""

    name: str
    row: Measurement
    """The contrast 'post - base'."""
    is_clear: bool
    """Whether it differs from 0 within the family of all claims."""
    is_small: bool
    """Whether the whole interval is below the size that matters."""

    @property
    def is_claimed(self) -> bool:
        """Whether it is clear and may matter."""
        return self.is_clear and not self.is_small

    @property
    def doubt(self) -> str:
        """The worst case, where items that are missing could explain the change; else empty."""
        low, high = self.row.worst_low, self.row.worst_high  # NaN where little is missing
        is_doubtful = self.is_clear and low <= 0 <= high
        return (
            f"chains that could not be read may explain it: worst case [{low:.2f}, {high:.2f}]"
            if is_doubtful
            else ""
        )

    def __str__(self) -> str:
        bound = _bound(self.row)
        if math.isnan(bound):
            return f"change of {self.name} not measurable"
        if not self.is_clear:
            return f"no clear change in {self.name} (95 % limit {bound:.2f})"
        if self.is_small:
            value = f"{self.row.value:+.3f} (95 % limit {bound:.3f})"
            return f"{self.name} changed by {value}, too little to matter"
        size = abs(self.row.value)
        return f"{self.name} {'up' if self.row.value > 0 else 'down'} {size:.{2 + (size < 0.05)}f}"


def _bound(row: Measurement) -> float:
    """The limit that is farther from 0."""
    return max(abs(row.low), abs(row.high))


def find_changes(
    rows: Sequence[Measurement], tasks: Sequence[str], writer: str, *, smallest: float
) -> dict[str, dict[str, Change]]:
    """The claims that a headline may make, one family.

    Args:
        rows: All rows of a run.
        tasks: Of the headline.
        writer: Whose chains both models read; empty where each reads its own.
        smallest: Size of a difference that matters.

    Returns:
        Task -> name of the claim -> the change; without those that have no row.
    """
    decides, reliance = next(iter(reliance_probes().items()))
    sought = {
        FREE: ("accuracy", "free", "accuracy", CONTRAST),
        FORCED: ("accuracy", "forced", "accuracy", CONTRAST),
        DIRECT: ("accuracy", "direct", "accuracy", CONTRAST),
        WRITES: ("accuracy", "free", "valid_trace", CONTRAST),
        CHAIN: (decides, reliance.condition, reliance.metric, writer or CONTRAST),
    }
    if not writer:
        sought[GOLD_CHAIN] = (decides, reliance.condition, reliance.metric, "gold")
    found = [
        (task, name, row)
        for task in tasks
        for name, (probe, condition, metric, wrote) in sought.items()
        if (
            row := find_row(
                rows, probe, condition, metric, task=task, reader=CONTRAST, writer=wrote
            )
        )
    ]
    clear = _hold_family([row.p for _, _, row in found])
    changes: dict[str, dict[str, Change]] = {task: {} for task in tasks}
    for (task, name, row), is_clear in zip(found, clear, strict=True):
        changes[task][name] = Change(name, row, is_clear, _bound(row) < smallest)
    return changes


def _hold_family(p: Sequence[float]) -> list[bool]:
    """Which of a family of tests count, by Holm's method; NaN is no test and never counts."""
    order = sorted((value, at) for at, value in enumerate(p) if not math.isnan(value))
    n_clear = 0
    while n_clear < len(order) and order[n_clear][0] <= LEVEL / (len(order) - n_clear):
        n_clear += 1
    clear = {at for _, at in order[:n_clear]}
    return [at in clear for at in range(len(p))]
