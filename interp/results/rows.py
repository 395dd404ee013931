"""Rows: per-example items, and the measurements made of them.

Probes produce `Item`s, one number per example and condition. `summarise` turns items into
`Measurement` rows, and nothing else is saved as a result:

- a **mean** for each probe, task, condition, metric and set of coordinates (`COORDINATES`);
- a **contrast** 'post - base' for each role (`ROLES`) that base and post play: of *readers* at a
  fixed writer (the same text read by both models, so that what differs is how much the reader
  relies on it), of *writers* at a fixed reader (what differs is the text), of *sources* of a
  direction in a fixed model, and of several roles at once (each model on its own chains: the sum of
  a writer and a reader contrast, which cannot tell the two apart). `Measurement.contrast` names the
  roles that differ.

Contrasts are paired by example and use only examples that both sides could measure. An item that is
NaN was not measurable. It is counted and its reason is kept; a cell without any measurable item has
the value NaN and says why in its note. Intervals resample problems (`interp.stats`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from interp.stats.auroc import Pooled, PooledSample, Scored, estimate_pooled, pool
from interp.stats.estimates import (
    Estimate,
    Sample,
    benjamini_hochberg,
    collect,
    collect_differences,
    collect_pairs,
    estimate_all,
    is_too_rare,
)

CONTRAST = "post - base"
"""Stands in the columns of the roles that a contrast compares."""
ORDER = ("gold", "base", "post", CONTRAST)
"""Order of writers, readers and sources in every table."""
ROLES = ("writer", "reader", "source")
"""Columns that name a model of the pair, and are therefore contrasted."""
NAMES = (*ROLES, "variant", "position")
"""Coordinates that are names; empty where a probe does not use them."""
POINTS = ("layer", "dose", "step", "kept", "k", "draw", "token")
"""Coordinates that are numbers: points of a curve or grid. None in a row about the whole."""
COORDINATES = (*NAMES, *POINTS)
REASONS_SHOWN = 3
ONE_SIDED = "not measurable: only one of the two kinds of item occurs"
TOO_RARE = "not measurable: the denominator is too rare for a ratio"
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One number about one example. NaN means not measurable, and `note` says why."""

    probe: str
    task: str
    example: str
    problem: str
    condition: str
    metric: str
    value: float
    writer: str = ""
    """Who wrote the chain: 'base', 'post' or 'gold'."""
    reader: str = ""
    """Whose answer was read: 'base' or 'post'."""
    source: str = ""
    """The model that a direction or an activation comes from."""
    variant: str = ""
    """Way of decoding, elicitation method, or latent."""
    position: str = ""
    """Class of positions (`interp.chains.position_classes`)."""
    layer: int | None = None
    """Layer of an intervention; None for all layers together."""
    dose: float | None = None
    """Dose of a direction, in mean residual norms."""
    step: int | None = None
    """Index of a step of the chain, or how many steps were kept."""
    kept: float | None = None
    """Share of the chain that was kept, 0 to 1."""
    k: int | None = None
    """Number of samples (pass@k)."""
    draw: int | None = None
    """Number of a random control, or of an alternative first token."""
    token: int | None = None
    """Index of a token of the written text."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One row of results: a mean, or a paired contrast. Coordinates are those of `Item`."""

    probe: str
    pair: str
    task: str
    condition: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    """Number of problems (clusters) behind the value; items without a value do not count."""
    n_missing: int
    """Items that were not measurable."""
    chance: float
    seed: int
    writer: str = ""
    reader: str = ""
    source: str = ""
    variant: str = ""
    position: str = ""
    layer: int | None = None
    dose: float | None = None
    step: int | None = None
    kept: float | None = None
    k: int | None = None
    draw: int | None = None
    token: int | None = None
    contrast: str = ""
    """The roles that a contrast compares, joined by '+' ('reader', 'writer+reader'); empty for a
    mean."""
    p: float = NAN
    """Two-sided p of a contrast against 0, from the same bootstrap; NaN for plain means."""
    q: float = NAN
    """p after Benjamini-Hochberg over the contrasts of one probe and metric."""
    note: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the row is about the whole: no point of a curve or grid."""
        return all(getattr(self, name) is None for name in POINTS)


@dataclass(frozen=True)
class Ratio:
    """A ratio of two means over the same items, such as a rate over its rate by chance."""

    probe: str
    metric: str
    """Name of the ratio."""
    over: str
    """Metric of the numerator."""
    under: str
    """Metric of the denominator, in the same condition and at the same coordinates."""


class Cell(NamedTuple):
    """What one row is about: the fields of an item that say neither which example nor its value."""

    probe: str
    task: str
    condition: str
    metric: str
    writer: str
    reader: str
    source: str
    variant: str
    position: str
    layer: int | None
    dose: float | None
    step: int | None
    kept: float | None
    k: int | None
    draw: int | None
    token: int | None


@dataclass(frozen=True)
class Draft:
    """A row before its interval is known."""

    cell: Cell
    sample: Sample | PooledSample
    n_missing: int
    note: str


def summarise(
    items: Iterable[Item],
    *,
    pair: str,
    chance: Mapping[str, float],
    seed: int,
    ratios: Sequence[Ratio] = (),
    pooled: Sequence[Pooled] = (),
    differences: Collection[tuple[str, str]] = (),
    n_boot: int = 2000,
) -> list[Measurement]:
    """Means and paired contrasts of items, with intervals, in a fixed order.

    The rows depend on the items and the seed only, not on the order of the items; adding other
    probes changes no row beyond rounding.

    Args:
        items: one number per example and condition; NaN where not measurable.
        pair: name of the pair, kept in every row.
        chance: accuracy of guessing in each task, kept in every row that is a mean.
        seed: of the bootstrap, kept in every row.
        ratios: ratios of means to be made beside the means.
        pooled: statistics of all items together (AUROC), with their contrasts.
        differences: (probe, metric) whose items are differences of two numbers (a drop).
        n_boot: resamples.

    Raises:
        ValueError: two items for one example in one cell; an infinite value; a task without a
            chance level.
    """
    cells = _group(items)
    _check_chance(cells, chance)
    drafts = [_mean_draft(cell, members, differences) for cell, members in cells.items()]
    drafts += _contrast_drafts(cells)
    drafts += [draft for ratio in ratios for draft in _ratio_drafts(cells, ratio)]
    drafts += [draft for statistic in pooled for draft in _pooled_drafts(cells, statistic)]
    drafts.sort(key=lambda draft: _sort_key(draft.cell))
    estimates = _estimates([draft.sample for draft in drafts], seed=seed, n_boot=n_boot)
    q = _adjusted(drafts, estimates)
    rows: list[Measurement] = []
    for draft, found, adjusted in zip(drafts, estimates, q, strict=True):
        cell, contrast = draft.cell, contrast_of(draft.cell)
        rows.append(
            Measurement(
                **cell._asdict(),
                contrast=contrast,
                pair=pair,
                value=found.value,
                low=found.low,
                high=found.high,
                n=found.n,
                n_missing=draft.n_missing,
                chance=NAN if contrast else chance[cell.task],
                seed=seed,
                p=found.p if contrast else NAN,
                q=adjusted,
                note=_note(draft, found),
            )
        )
    return rows


def _check_chance(cells: Iterable[Cell], chance: Mapping[str, float]) -> None:
    unknown = sorted({cell.task for cell in cells} - set(chance))
    if unknown:
        raise ValueError(
            f"Every task needs its chance level, got none for {unknown} "
            f"(known: {sorted(chance)}). Pass chance={{{unknown[0]!r}: task.chance, ...}}."
        )


def contrast_of(cell: Cell) -> str:
    """The roles that a cell compares, joined by '+'; empty for a mean."""
    return "+".join(role for role in ROLES if getattr(cell, role) == CONTRAST)


def rank(name: str) -> tuple[int, str]:
    """Sort key of a model's role: gold, base, post, contrast, then others by name."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def _group(items: Iterable[Item]) -> dict[Cell, dict[str, Item]]:
    cells: dict[Cell, dict[str, Item]] = {}
    for item in items:
        cell = Cell(*(getattr(item, field) for field in Cell._fields))
        members = cells.setdefault(cell, {})
        if item.example in members:
            raise ValueError(
                f"One example has one value in a cell, got two for example {item.example!r} in "
                f"{cell}. Give the values different conditions or coordinates, or average them first."
            )
        if math.isinf(item.value):
            raise ValueError(
                f"An item is a finite number, or NaN with a note that says why it could not be "
                f"measured; got {item.value} for example {item.example!r} in {cell}."
            )
        members[item.example] = item
    return {cell: dict(sorted(cells[cell].items())) for cell in sorted(cells, key=_sort_key)}


def _sort_key(cell: Cell) -> tuple[Any, ...]:
    points = tuple((value is not None, value or 0) for value in cell[4 + len(NAMES) :])
    roles = tuple(rank(getattr(cell, role)) for role in ROLES)
    return (*cell[:4], cell.variant, cell.position, points, roles)


def _mean_draft(
    cell: Cell, members: Mapping[str, Item], differences: Collection[tuple[str, str]]
) -> Draft:
    known = [item for item in members.values() if not math.isnan(item.value)]
    missing = [item for item in members.values() if math.isnan(item.value)]
    values = np.array([item.value for item in known], dtype=np.float64)
    add_up = collect_differences if (cell.probe, cell.metric) in differences else collect
    sample = add_up(values, [item.problem for item in known])
    return Draft(cell, sample, len(missing), _reasons(missing, len(members)))


def _contrast_drafts(cells: Mapping[Cell, Mapping[str, Item]]) -> list[Draft]:
    return [_contrast_draft(c, cells[base], cells[post]) for c, base, post in _contrasts(cells)]


def _contrasts(cells: Iterable[Cell]) -> Iterator[tuple[Cell, Cell, Cell]]:
    """Each contrast 'post - base' that the cells allow, with its two sides, base first."""
    known = set(cells)
    for cell in cells:
        played = [role for role in ROLES if getattr(cell, role) == "base"]
        for n in range(1, len(played) + 1):
            for roles in combinations(played, n):
                other = cell._replace(**dict.fromkeys(roles, "post"))
                if other in known:
                    yield cell._replace(**dict.fromkeys(roles, CONTRAST)), cell, other


def _contrast_draft(cell: Cell, base: Mapping[str, Item], post: Mapping[str, Item]) -> Draft:
    first: list[float] = []
    second: list[float] = []
    problems: list[str] = []
    missing: list[Item] = []
    n_alone = len(base.keys() ^ post.keys())
    for example in (example for example in base if example in post):
        a, b = base[example], post[example]
        if math.isnan(a.value) or math.isnan(b.value):
            missing.append(a if math.isnan(a.value) else b)
        else:
            first.append(a.value)
            second.append(b.value)
            problems.append(a.problem)
    sample = collect_pairs(np.array(first), np.array(second), problems)
    n_pairs = len(first) + len(missing) + n_alone
    note = _reasons(missing, n_pairs, no_partner=n_alone)
    return Draft(cell, sample, len(missing) + n_alone, note)


def _ratio_drafts(cells: Mapping[Cell, Mapping[str, Item]], ratio: Ratio) -> list[Draft]:
    """One draft for each cell of the numerator; problems are resampled, so both means move."""
    drafts: list[Draft] = []
    for cell, members in cells.items():
        under = cells.get(cell._replace(metric=ratio.under), {})
        if (cell.probe, cell.metric) != (ratio.probe, ratio.over) or not under:
            continue
        pairs = [(members[example], under[example]) for example in members if example in under]
        known = [(a, b) for a, b in pairs if not math.isnan(a.value + b.value)]
        problems = [a.problem for a, _ in known]
        sums = collect(np.array([a.value for a, _ in known], dtype=np.float64), problems).sums
        weights = collect(np.array([b.value for _, b in known], dtype=np.float64), problems).sums
        named = cell._replace(metric=ratio.metric)
        if is_too_rare(weights):
            empty = collect(np.array([], dtype=np.float64), [])
            drafts.append(Draft(named, empty, len(members), TOO_RARE))
        else:
            is_bounded = all(max(abs(a.value), abs(b.value)) <= 1 for a, b in known)
            sample = Sample(sums, weights, "ratio" if is_bounded else "real")
            drafts.append(Draft(named, sample, len(pairs) - len(known), ""))
    return drafts


def _pooled_drafts(cells: Mapping[Cell, Mapping[str, Item]], wanted: Pooled) -> list[Draft]:
    """The statistic of each cell that has scores of both kinds, and its contrasts."""
    scores: dict[Cell, dict[str, Scored]] = {}
    missing: dict[Cell, list[Item]] = {}
    for cell, positives in cells.items():
        negatives = cells.get(cell._replace(metric=wanted.negative))
        here = (cell.probe, cell.condition, cell.metric)
        if here != (wanted.probe, wanted.condition, wanted.positive) or negatives is None:
            continue
        kinds = [(item, True) for item in positives.values()]
        kinds += [(item, False) for item in negatives.values()]
        named = cell._replace(metric=wanted.statistic)
        missing[named] = [item for item, _ in kinds if math.isnan(item.value)]
        scores[named] = {
            item.example: Scored(item.example, item.problem, item.value, is_positive)
            for item, is_positive in kinds
            if not math.isnan(item.value)
        }
    drafts = [
        Draft(cell, pool(wanted.statistic, [*found.values()]), len(missing[cell]),
              _reasons(missing[cell], len(found) + len(missing[cell])))
        for cell, found in scores.items()
    ]  # fmt: skip
    for cell, base, post in _contrasts(scores):
        a, b = scores[base], scores[post]
        shared = [example for example in a if example in b]
        sides = ([a[example] for example in shared], [b[example] for example in shared])
        gone = [*missing[base], *missing[post]]
        n_missing = len({item.example for item in gone} | (a.keys() ^ b.keys()))
        drafts.append(Draft(cell, pool(wanted.statistic, *sides), n_missing, ""))
    return drafts


def _estimates(
    samples: Sequence[Sample | PooledSample], *, seed: int, n_boot: int
) -> list[Estimate]:
    plain = [sample for sample in samples if isinstance(sample, Sample)]
    means = iter(estimate_all(plain, seed=seed, n_boot=n_boot))
    return [
        next(means) if isinstance(sample, Sample)
        else estimate_pooled(sample, seed=seed, n_boot=n_boot)
        for sample in samples
    ]  # fmt: skip


def _reasons(missing: Sequence[Item], n_all: int, *, no_partner: int = 0) -> str:
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


def _note(draft: Draft, found: Estimate) -> str:
    notes = [draft.note] if draft.note else []
    if found.n == 0 and not notes:
        notes.append(ONE_SIDED)
    if found.n == 1:
        notes.append("one problem: no interval")
    if found.n > 1 and found.low == found.high:
        notes.append("all problems have the same value: the interval has no width")
    return ". ".join(notes)


def _adjusted(drafts: Sequence[Draft], estimates: Sequence[Estimate]) -> list[float]:
    """Benjamini-Hochberg q over the contrasts of each probe and metric."""
    q = [NAN] * len(drafts)
    families: dict[tuple[str, str], list[int]] = {}
    for index, draft in enumerate(drafts):
        if contrast_of(draft.cell):
            families.setdefault((draft.cell.probe, draft.cell.metric), []).append(index)
    for members in families.values():
        adjusted = benjamini_hochberg(np.array([estimates[i].p for i in members], dtype=np.float64))
        for index, value in zip(members, adjusted, strict=True):
            q[index] = float(value)
    return q
