"""Notes of rows: why items are missing, and what there is to know about a value and its interval.

Example: "not measurable in 7 of 60: the chain is truncated (5); the chain is empty (2)".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from interp.results.rows import Item, Measurement
from interp.stats.auroc import PooledSample
from interp.stats.estimates import MIN_PROBLEMS, Estimate, Sample

REASONS_SHOWN = 3
NO_POOLED_VALUE = {
    "auroc": "not measurable: only one of the two kinds of item occurs",
    "precision": "not measurable: no item is flagged",
}
TOO_RARE = "not measurable: too few problems, or a denominator too near 0, for a ratio"
MEDIAN = "median over problems"
MEDIAN_CONTRAST = "median of the differences over problems"


def count_reasons(missing: Sequence[Item], n_all: int, *, no_partner: int = 0) -> str:
    """How many items are missing and why, the most frequent reasons first.

    Args:
        missing: Items without a value.
        n_all: How many items there are, with and without one.
        no_partner: Examples of a contrast that one side lacks.
    """
    counts = Counter(item.note or "no reason given" for item in missing)
    if no_partner:
        counts["no value on one side"] += no_partner
    if not counts:
        return ""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{reason} ({count})" for reason, count in ordered[:REASONS_SHOWN]]
    if len(ordered) > REASONS_SHOWN:
        shown.append(f"{len(ordered) - REASONS_SHOWN} other reasons")
    total = sum(counts.values())
    how_many = "" if total == n_all else f" in {total} of {n_all}"
    return f"not measurable{how_many}: {'; '.join(shown)}"


def complete_note(row: Measurement, sample: Sample | PooledSample, estimate: Estimate) -> str:
    """The reasons for missing items, and what there is to know about value and interval."""
    notes = [row.note] if row.note else []
    if estimate.n == 0 and not notes and isinstance(sample, PooledSample):
        notes.append(NO_POOLED_VALUE[sample.statistic])
    if isinstance(sample, Sample) and sample.kind == "skewed" and estimate.n:
        notes.append(MEDIAN_CONTRAST if row.contrast else MEDIAN)
    if 0 < estimate.n < MIN_PROBLEMS:
        problems = "1 problem" if estimate.n == 1 else f"{estimate.n} problems"
        notes.append(f"no interval from {problems}: it takes {MIN_PROBLEMS}")
    elif estimate.n and estimate.low == estimate.high:
        # A median has none as soon as more than half do.
        alike = "most" if MEDIAN in notes or MEDIAN_CONTRAST in notes else "all"
        notes.append(f"{alike} problems have the same value: the interval has no width")
    return ". ".join(notes)
