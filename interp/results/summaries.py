"""Summaries: the means and paired contrasts of items, with intervals.

`summarise` turns the items of any probes into `Measurement`s:

- a **mean** for each set of columns (`RowKey`) that items have;
- a **contrast** 'post - base' for each role (`ROLES`) that base and post play: of *readers* at a
  fixed writer (the same text read by both models, so that what differs is how much the reader
  relies on it), of *writers* at a fixed reader (what differs is the text), of *sources* of a
  direction in a fixed model, and of several roles at once (each model on its own chains: the sum of
  a writer and a reader contrast, which cannot tell the two apart). `Measurement.contrast` names the
  roles that differ, and a contrast of own chains says what either side lost
  (`interp.results.worst_case`);
- each declared `Ratio` and `PooledStatistic`.

Contrasts are paired by example and use only examples that both sides could measure. An item that is
NaN was not measurable. It is counted and its reason is kept; a key without any measurable item has
the value NaN and says why in its note. Intervals resample problems (`interp.stats`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import combinations
from operator import attrgetter
from typing import Any

import numpy as np

from interp.results.rows import (
    CONTRAST,
    NAN,
    POINTS,
    ROLES,
    Item,
    Measurement,
    PooledStatistic,
    Ratio,
    RowKey,
    rank,
)
from interp.results.worst_case import describe_losses
from interp.stats.auroc import PooledSample, ScoredItem, collect_scores, estimate_pooled
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

REASONS_SHOWN = 3
NO_POOLED_VALUE = {
    "auroc": "not measurable: only one of the two kinds of item occurs",
    "precision": "not measurable: no item is flagged",
}
TOO_RARE = "not measurable: the denominator is too rare for a ratio"
KEY = tuple(field.name for field in fields(RowKey))
"""The columns that say what a row is about."""
EMPTY: dict[str, Any] = {
    "pair": "",
    "value": 0.0,
    "low": 0.0,
    "high": 0.0,
    "n": 0,
    "n_missing": 0,
    "chance": 0.0,
    "seed": 0,
    "p": 0.0,
    "q": 0.0,
}
"""The columns that are filled in last."""
EMPTY_KINDS: Mapping[tuple[str, str], str] = {}


Items = Mapping[str, Item]
"""Example -> its item, for one row."""


Draft = tuple[Measurement, Sample | PooledSample]
"""A row that has no value yet, and what the value is made of."""


def summarise(
    items: Iterable[Item],
    *,
    pair: str,
    chance: Mapping[str, float],
    seed: int,
    ratios: Sequence[Ratio] = (),
    pooled: Sequence[PooledStatistic] = (),
    differences: Collection[tuple[str, str]] = (),
    kinds: Mapping[tuple[str, str], str] = EMPTY_KINDS,
    n_boot: int = 2000,
) -> list[Measurement]:
    """Means and paired contrasts of items, with intervals, in a fixed order.

    The rows depend on the items and the seed only, not on the order of the items; adding other
    probes changes no row beyond rounding.

    Args:
        items: one number per example and key; NaN where not measurable.
        pair: name of the pair, kept in every row.
        chance: accuracy of guessing in each task, kept in every row that is a mean.
        seed: of the bootstrap, kept in every row.
        ratios: ratios of means to be made beside the means.
        pooled: statistics of all items together (AUROC), with their contrasts.
        differences: (probe, metric) whose items are differences of two 0/1 numbers (a drop).
        kinds: (probe, metric) -> its kind; 'real' where none is named, which assumes nothing.
        n_boot: resamples.

    Raises:
        ValueError: two items of one example with the same key; an infinite value; a task without a
            chance level.
    """
    groups = _group(items)
    _check_chance(groups, chance)
    drafts = [_mean_draft(row, members, differences) for row, members in groups.items()]
    drafts += [
        _contrast_draft(row, groups[a], groups[b], kinds.get((a.probe, a.metric), "real"))
        for row, a, b in _contrasts(groups)
    ]
    drafts += [draft for ratio in ratios for draft in _ratio_drafts(groups, ratio)]
    drafts += [draft for statistic in pooled for draft in _pooled_drafts(groups, statistic)]
    drafts.sort(key=lambda draft: _sort_key(draft[0]))
    estimates = _estimates([sample for _, sample in drafts], seed=seed, n_boot=n_boot)
    q = _adjust([row for row, _ in drafts], estimates)
    return [
        replace(
            row,
            pair=pair,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            n=estimate.n,
            chance=NAN if row.contrast else chance[row.task],
            seed=seed,
            p=estimate.p if row.contrast else NAN,
            q=adjusted,
            note=_note(row.note, sample, estimate),
        )
        for (row, sample), estimate, adjusted in zip(drafts, estimates, q, strict=True)
    ]


def _check_chance(rows: Iterable[Measurement], chance: Mapping[str, float]) -> None:
    unknown = sorted({row.task for row in rows} - set(chance))
    if unknown:
        raise ValueError(
            f"every task needs its chance level, received none for {unknown} "
            f"(known: {sorted(chance)}). Pass chance={{{unknown[0]!r}: task.chance, ...}}."
        )


def _group(items: Iterable[Item]) -> dict[Measurement, dict[str, Item]]:
    """Empty row -> the items that it is about, both in a fixed order."""
    read_columns = attrgetter(*KEY)
    groups: dict[tuple[Any, ...], dict[str, Item]] = {}
    for item in items:
        key = read_columns(item)
        members = groups.setdefault(key, {})
        if item.example in members:
            raise ValueError(
                f"one example has one value for a key, received two for example {item.example!r} "
                f"and {dict(zip(KEY, key, strict=True))}. Give the values different conditions or "
                "coordinates, or average them first."
            )
        if math.isinf(item.value):
            raise ValueError(
                f"an item is a finite number, or NaN with a note that says why it could not be "
                f"measured; received {item.value} for example {item.example!r} and "
                f"{dict(zip(KEY, key, strict=True))}."
            )
        members[item.example] = item
    rows = {
        Measurement(**dict(zip(KEY, key, strict=True)), **EMPTY): members
        for key, members in groups.items()
    }
    # Sums of floats depend on their order, and rows must not depend on that of the items.
    return {row: dict(sorted(rows[row].items())) for row in sorted(rows, key=_sort_key)}


def _sort_key(row: Measurement) -> tuple[Any, ...]:
    """Rows about the whole come before the points of their curves, roles side by side."""
    values = [getattr(row, point) for point in POINTS]
    # None cannot be compared with numbers; the flag puts it first.
    points = tuple((value is not None, value or 0) for value in values)
    roles = tuple(rank(getattr(row, role)) for role in ROLES)
    names = (row.probe, row.task, row.condition, row.metric, row.variant, row.position)
    return (*names, points, roles)


def _mean_draft(
    row: Measurement, members: Items, differences: Collection[tuple[str, str]]
) -> Draft:
    known = [item for item in members.values() if not math.isnan(item.value)]
    missing = [item for item in members.values() if math.isnan(item.value)]
    values = np.array([item.value for item in known], dtype=np.float64)
    add_up = collect_differences if (row.probe, row.metric) in differences else collect
    sample = add_up(values, [item.problem for item in known])
    note = _reasons(missing, len(members))
    return replace(row, n_missing=len(missing), note=note), sample


def _contrasts(
    rows: Iterable[Measurement],
) -> Iterator[tuple[Measurement, Measurement, Measurement]]:
    """Each contrast 'post - base' that the rows allow, with its two sides, base first."""
    known = set(rows)
    for row in rows:
        played = [role for role in ROLES if getattr(row, role) == "base"]
        # Each role alone, and several at once: on its own chains a model is writer and reader.
        for n in range(1, len(played) + 1):
            for roles in combinations(played, n):
                other = replace(row, **dict.fromkeys(roles, "post"))
                if other in known:
                    sides: dict[str, Any] = dict.fromkeys(roles, CONTRAST)
                    yield replace(row, **sides, contrast="+".join(roles)), row, other


def _contrast_draft(row: Measurement, base: Items, post: Items, kind: str) -> Draft:
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
    worst, losses = describe_losses(row, base, post, kind)
    note = ". ".join(filter(None, (_reasons(missing, n_pairs, no_partner=n_alone), losses)))
    return replace(row, n_missing=len(missing) + n_alone, note=note, **worst), sample


def _ratio_drafts(groups: Mapping[Measurement, Items], ratio: Ratio) -> list[Draft]:
    """One draft for each row of the numerator; problems are resampled, so both means move."""
    drafts: list[Draft] = []
    for row, members in groups.items():
        under = groups.get(replace(row, metric=ratio.under), {})
        if (row.probe, row.metric) != (ratio.probe, ratio.over) or not under:
            continue
        pairs = [(members[example], under[example]) for example in members if example in under]
        known = [(a, b) for a, b in pairs if not math.isnan(a.value + b.value)]
        problems = [a.problem for a, _ in known]
        sums = collect(np.array([a.value for a, _ in known], dtype=np.float64), problems).sums
        weights = collect(np.array([b.value for _, b in known], dtype=np.float64), problems).sums
        named = replace(row, metric=ratio.metric)
        if is_too_rare(weights):  # the row is kept, so that the page says why it has no value
            empty = collect(np.array([], dtype=np.float64), [])
            drafts.append((replace(named, n_missing=len(members), note=TOO_RARE), empty))
        else:
            is_bounded = all(max(abs(a.value), abs(b.value)) <= 1 for a, b in known)
            sample = Sample(sums, weights, "ratio" if is_bounded else "real")
            drafts.append((replace(named, n_missing=len(pairs) - len(known)), sample))
    return drafts


def _pooled_drafts(groups: Mapping[Measurement, Items], pooled: PooledStatistic) -> list[Draft]:
    """The statistic for each row that has scores of both kinds, and its contrasts."""
    scores: dict[Measurement, dict[str, ScoredItem]] = {}
    missing: dict[Measurement, list[Item]] = {}
    for row, positives in groups.items():
        negatives = groups.get(replace(row, metric=pooled.negative))
        about = (row.probe, row.condition, row.metric)
        if about != (pooled.probe, pooled.condition, pooled.positive) or negatives is None:
            continue
        kinds = [(item, True) for item in positives.values()]
        kinds += [(item, False) for item in negatives.values()]
        named = replace(row, metric=pooled.statistic)
        missing[named] = [item for item, _ in kinds if math.isnan(item.value)]
        scores[named] = {
            item.example: ScoredItem(item.example, item.problem, item.value, is_positive)
            for item, is_positive in kinds
            if not math.isnan(item.value)
        }
    drafts: list[Draft] = [
        (
            replace(
                row,
                n_missing=len(missing[row]),
                note=_reasons(missing[row], len(scored) + len(missing[row])),
            ),
            collect_scores(pooled.statistic, [*scored.values()]),
        )
        for row, scored in scores.items()
    ]
    for row, base, post in _contrasts(scores):
        a, b = scores[base], scores[post]
        shared = [example for example in a if example in b]
        sides = ([a[example] for example in shared], [b[example] for example in shared])
        unmeasured = {item.example for item in (*missing[base], *missing[post])}
        n_missing = len(unmeasured | (a.keys() ^ b.keys()))
        drafts.append((replace(row, n_missing=n_missing), collect_scores(pooled.statistic, *sides)))
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


def _note(reason: str, sample: Sample | PooledSample, estimate: Estimate) -> str:
    """The reasons for missing items, and what there is to know about the interval."""
    notes = [reason] if reason else []
    if estimate.n == 0 and not notes and isinstance(sample, PooledSample):
        notes.append(NO_POOLED_VALUE[sample.statistic])
    if estimate.n == 1:
        notes.append("one problem: no interval")
    if estimate.n > 1 and estimate.low == estimate.high:
        notes.append("all problems have the same value: the interval has no width")
    return ". ".join(notes)


def _adjust(rows: Sequence[Measurement], estimates: Sequence[Estimate]) -> list[float]:
    """Benjamini-Hochberg q over the contrasts of each probe and metric."""
    q = [NAN] * len(rows)
    families: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        if row.contrast:
            families.setdefault((row.probe, row.metric), []).append(index)
    for members in families.values():
        adjusted = benjamini_hochberg(np.array([estimates[i].p for i in members], dtype=np.float64))
        for index, value in zip(members, adjusted, strict=True):
            q[index] = float(value)
    return q
