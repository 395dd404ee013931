"""Rows over seeds: each row that every pair's run has, with seeds as the unit.

A row over seeds has the columns of an ordinary row (`Measurement`), so that verdict, figures and
tables read it as they read one of a single pair. Its value is the mean over seeds, its limits and p
are those of `interp.stats.seeds`, its n is the number of seeds. A contrast 'post - base' is the
mean of the seeds' own contrasts, each between a post model and its base on the same problems.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from interp.files import write_file
from interp.results.rows import NAN, Measurement, RowKey
from interp.stats.estimates import benjamini_hochberg
from interp.stats.proportion_intervals import Interval
from interp.stats.seeds import ANY, MIN_SEEDS, SeedEstimate, estimate_over_seeds

BOUNDS = {
    "binary": Interval(0.0, 1.0),
    "share": Interval(0.0, 1.0),
    "difference": Interval(-1.0, 1.0),
}
"""Between which a mean lies, by the kind of its metric; twice as far for a contrast."""
MISSING = "not measurable: "
"""Opens the note of a row without a value."""
KEY = (*(field.name for field in fields(RowKey)), "contrast")
Key = tuple[object, ...]


@dataclass(frozen=True)
class SeedRow:
    """One row over seeds, and what every seed's own run says."""

    row: Measurement
    """With the mean and the interval over seeds."""
    own: tuple[Measurement, ...]
    """The row of each pair's run, in the order of the pairs."""
    between: float
    """Standard deviation of the measured values over seeds."""
    within: float
    """How far the interval of one seed reaches to each side."""

    @property
    def n_same_sign(self) -> int:
        """Number of seeds whose value has the sign of the mean."""
        return sum(own.value * self.row.value > 0 for own in self.own)


def summarise_seeds(
    runs: Sequence[Sequence[Measurement]],
    *,
    pair: str,
    seed: int,
    kinds: Mapping[tuple[str, str], str],
) -> list[SeedRow]:
    """A row over seeds for each row that all runs have, in the order of the first run.

    Rows that only some runs have (steps of chains that are longer there) are left out. Where a run
    has the row and could not measure it, the others are counted and the note says so.

    Args:
        runs: Rows of each pair's run.
        pair: Names of all models, kept in every row.
        seed: Of the first run, kept in every row.
        kinds: (probe, metric) -> kind of its items, where they are bounded.
    """
    by_key = [{key_of(row): row for row in rows} for rows in runs]
    shared = [key for key in by_key[0] if all(key in found for found in by_key)]
    made = [_over_seeds([found[key] for found in by_key], kinds) for key in shared]
    rows = [replace(each, row=replace(each.row, pair=pair, seed=seed)) for each in made]
    return _adjust(rows)


def key_of(row: Measurement) -> Key:
    """What a row is about: equal for the rows of all runs that are about the same."""
    return tuple(getattr(row, name) for name in KEY)


def write_csv(path: Path, rows: Sequence[SeedRow], pairs: Sequence[str]) -> None:
    """All rows over seeds as text, with the value of each pair in a column of its own.

    Args:
        path: Of the file.
        rows: From `summarise_seeds`.
        pairs: Names of the pairs, in the order of the runs.
    """
    names = (*KEY, "value", "low", "high", "p", "q", "n", "n_missing", "chance", "note")
    text = io.StringIO()
    # Windows' line ends are the default of csv; the files of a run have plain ones.
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*names, "between_sd", "within_half_width", "n_same_sign", *pairs))
    for each in rows:
        values = [getattr(each.row, name) for name in names]
        values += [each.between, each.within, each.n_same_sign, *(own.value for own in each.own)]
        table.writerow(_write(value) for value in values)
    write_file(path, text.getvalue().encode())


def _write(value: object) -> object:
    """Empty for what is None or NaN."""
    return "" if value is None or value != value else value


def _over_seeds(own: Sequence[Measurement], kinds: Mapping[tuple[str, str], str]) -> SeedRow:
    known = [row for row in own if not math.isnan(row.value)]
    estimate = estimate_over_seeds(
        [row.value for row in known],
        [Interval(row.low, row.high) for row in known],
        bounds=_bounds(own[0], kinds),
    )
    n_missing = len(own) - len(known)
    row = replace(
        own[0],
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        p=estimate.p if own[0].contrast else NAN,
        q=NAN,
        n=len(known),
        n_missing=n_missing,
        chance=float(np.mean([row.chance for row in own])),
        note=_note(estimate, n_missing, own),
    )
    return SeedRow(row, tuple(own), estimate.between, estimate.within)


def _bounds(row: Measurement, kinds: Mapping[tuple[str, str], str]) -> Interval:
    bounds = BOUNDS.get(kinds.get((row.probe, row.metric), ""), ANY)
    if not row.contrast:
        return bounds
    width = bounds.high - bounds.low
    return Interval(-width, width)


def _note(estimate: SeedEstimate, n_missing: int, own: Sequence[Measurement]) -> str:
    notes: list[str] = []
    if n_missing:
        reasons = dict.fromkeys(row.note for row in own if math.isnan(row.value) and row.note)
        why = f": {next(iter(reasons)).removeprefix(MISSING)}" if reasons else ""
        where = "" if n_missing == len(own) else f" in {n_missing} of {len(own)} seeds"
        notes.append(f"not measurable{where}{why}")
    elif most := max(row.n_missing for row in own):
        notes.append(f"up to {most} items of a seed were not measurable; see the pairs' reports")
    if 0 < estimate.n < MIN_SEEDS:
        seeds = "1 seed" if estimate.n == 1 else f"{estimate.n} seeds"
        notes.append(f"{seeds}: no interval ({MIN_SEEDS} or more are needed)")
    elif estimate.n and estimate.low == estimate.high:
        notes.append("all seeds and problems have the same value: the interval has no width")
    return ". ".join(notes)


def _adjust(rows: Sequence[SeedRow]) -> list[SeedRow]:
    """Benjamini-Hochberg q over all contrasts of the run."""
    contrasts = [at for at, each in enumerate(rows) if each.row.contrast]
    p = np.array([rows[at].row.p for at in contrasts])
    q = dict(zip(contrasts, map(float, benjamini_hochberg(p)), strict=True))
    return [replace(each, row=replace(each.row, q=q.get(at, NAN))) for at, each in enumerate(rows)]
