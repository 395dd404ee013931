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
- each declared `Ratio` and `PooledStatistic`, with its contrasts.

How a mean gets its interval depends on the *kind* of its metric alone (`interp.stats.kinds`), which
its probe declares; rows of the kind 'skewed' are medians and say so in their note. Problems are
what varies, not items (`interp.stats`).

Contrasts are paired by example and use only examples that both sides could measure. An item that is
NaN was not measurable. It is counted and its reason is kept; a key without any measurable item has
the value NaN and says why in its note.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import combinations
from operator import attrgetter
from typing import Any

import numpy as np

from interp.results.notes import TOO_RARE, complete_note, count_reasons
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
    collect_pairs,
    collect_ratio,
    estimate_all,
    is_too_rare,
)
from interp.stats.kinds import Kind
from interp.stats.proportion_intervals import Interval

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
EMPTY_KINDS: Mapping[tuple[str, str], Kind] = {}

Items = Mapping[str, Item]
"""Example -> its item, for one row."""
Pairs = Mapping[str, tuple[Item, Item]]
"""Example -> its items in the numerator and in the denominator of a ratio."""
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
    kinds: Mapping[tuple[str, str], Kind] = EMPTY_KINDS,
    n_boot: int = 2000,
) -> list[Measurement]:
    """Means and paired contrasts of items, with intervals, in a fixed order.

    The rows depend on the items and the seed only, not on the order of the items; adding other
    probes changes only q.

    Args:
        items: one number per example and key; NaN where not measurable.
        pair: name of the pair, kept in every row.
        chance: accuracy of guessing in each task, kept in every row that is a mean.
        seed: of the bootstrap of pooled statistics, kept in every row.
        ratios: ratios of means to be made beside the means.
        pooled: statistics of all items together (AUROC), with their contrasts.
        kinds: (probe, metric) -> its kind; 'real' where none is named, which assumes nothing.
        n_boot: resamples of pooled statistics.

    Raises:
        ValueError: two items of one example with the same key; an infinite value, or one that the
            kind of its metric cannot have; a task without a chance level.
    """
    groups = _group(items)
    _check_chance(groups, chance)

    kind: dict[Any, Kind] = {row: kinds.get((row.probe, row.metric), "real") for row in groups}
    drafts = [_mean_draft(row, members, kind[row]) for row, members in groups.items()]
    drafts += [
        _contrast_draft(row, groups[a], groups[b], kind[a]) for row, a, b in _contrasts(groups)
    ]
    drafts += [draft for ratio in ratios for draft in _ratio_drafts(groups, ratio, kinds)]
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
            note=complete_note(row, sample, estimate),
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


def _mean_draft(row: Measurement, members: Items, kind: Kind) -> Draft:
    known = [item for item in members.values() if not math.isnan(item.value)]
    missing = [item for item in members.values() if math.isnan(item.value)]
    values = np.array([item.value for item in known], dtype=np.float64)
    try:
        sample = collect(values, [item.problem for item in known], kind)
    except ValueError as error:
        raise ValueError(f"{row.probe}, {row.condition}, {row.metric}: {error}") from None
    note = count_reasons(missing, len(members))
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


def _contrast_draft(row: Measurement, base: Items, post: Items, kind: Kind) -> Draft:
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
    sample = collect_pairs(np.array(first), np.array(second), problems, kind)
    n_pairs = len(first) + len(missing) + n_alone
    worst, losses = describe_losses(row, base, post, kind)
    note = ". ".join(filter(None, (count_reasons(missing, n_pairs, no_partner=n_alone), losses)))
    return replace(row, n_missing=len(missing) + n_alone, note=note, **worst), sample


def _ratio_drafts(
    groups: Mapping[Measurement, Items], ratio: Ratio, kinds: Mapping[tuple[str, str], Kind]
) -> list[Draft]:
    """One draft for each row of the numerator, and one for each contrast of two of these."""
    names = [(ratio.probe, metric) for metric in (ratio.over, ratio.under)]
    of_both = (kinds.get(names[0], "real"), kinds.get(names[1], "real"))
    pairs: dict[Measurement, Pairs] = {}
    for row, members in groups.items():
        under = groups.get(replace(row, metric=ratio.under), {})
        if (row.probe, row.metric) == (ratio.probe, ratio.over) and under:
            pairs[replace(row, metric=ratio.metric)] = {
                example: (members[example], under[example])
                for example in members
                if example in under
            }
    sides: list[tuple[Measurement, tuple[Pairs, ...]]]
    sides = [(row, (of_row,)) for row, of_row in pairs.items()]
    sides += [(row, (pairs[base], pairs[post])) for row, base, post in _contrasts(pairs)]
    bounds = Interval(ratio.low, ratio.high)
    return [_ratio_draft(row, of_row, of_both, bounds) for row, of_row in sides]


def _ratio_draft(
    row: Measurement, sides: Sequence[Pairs], kinds: tuple[Kind, Kind], bounds: Interval
) -> Draft:
    """The ratio of one side, or the second less the first on the examples that both could measure.

    Problems are what varies, so numerators and denominators vary together.
    """
    every = sorted(set().union(*sides))
    shared = [
        example
        for example in sides[0]
        if all(example in side for side in sides)
        and not math.isnan(sum(item.value for side in sides for item in side[example]))
    ]
    problems = [sides[0][example][0].problem for example in shared]
    samples: list[Sample] = []
    for side in sides:
        over, under = (
            np.array([side[example][at].value for example in shared], dtype=np.float64)
            for at in (0, 1)
        )
        samples.append(collect_ratio(over, under, problems, kinds, bounds=bounds))
    note = _ratio_reasons(every, sides)
    if any(is_too_rare(sample.counts) for sample in samples):
        # The row is kept, so that the page says why it has no value.
        empty = collect(np.array([], dtype=np.float64), [], "real")
        note = f"{TOO_RARE}. {note}" if shared and note else note or TOO_RARE
        return replace(row, n_missing=len(every), note=note), empty
    sample = samples[0] if len(samples) == 1 else replace(samples[1], against=samples[0])
    return replace(row, n_missing=len(every) - len(shared), note=note), sample


def _ratio_reasons(every: Sequence[str], sides: Sequence[Pairs]) -> str:
    """Why examples have no part in a ratio: the first of their items that has no value."""
    missing: list[Item] = []
    n_alone = 0
    for example in every:
        items = [item for side in sides for item in side.get(example, ())]
        unknown = next((item for item in items if math.isnan(item.value)), None)
        if unknown:
            missing.append(unknown)
        else:
            n_alone += len(items) < 2 * len(sides)
    return count_reasons(missing, len(every), no_partner=n_alone)


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
                note=count_reasons(missing[row], len(scored) + len(missing[row])),
            ),
            collect_scores(pooled.statistic, [*scored.values()]),
        )
        for row, scored in scores.items()
    ]
    for row, base, post in _contrasts(scores):
        a, b = scores[base], scores[post]
        shared = [example for example in a if example in b]
        sides = ([a[example] for example in shared], [b[example] for example in shared])
        unmeasured = {item.example: item for item in (*missing[base], *missing[post])}
        n_alone = len((a.keys() ^ b.keys()) - unmeasured.keys())
        n_missing = len(unmeasured) + n_alone
        note = count_reasons([*unmeasured.values()], len(shared) + n_missing, no_partner=n_alone)
        row = replace(row, n_missing=n_missing, note=note)
        drafts.append((row, collect_scores(pooled.statistic, *sides)))
    return drafts


def _estimates(
    samples: Sequence[Sample | PooledSample], *, seed: int, n_boot: int
) -> list[Estimate]:
    plain = [sample for sample in samples if isinstance(sample, Sample)]
    means = iter(estimate_all(plain))
    return [
        next(means) if isinstance(sample, Sample)
        else estimate_pooled(sample, seed=seed, n_boot=n_boot)
        for sample in samples
    ]  # fmt: skip


def _adjust(rows: Sequence[Measurement], estimates: Sequence[Estimate]) -> list[float]:
    """Benjamini-Hochberg q over all contrasts of the table.

    Over one family for each metric, a third of the tables about two equal models would hold some
    q below .05.
    """
    q = [NAN] * len(rows)
    contrasts = [index for index, row in enumerate(rows) if row.contrast]
    p = np.array([estimates[index].p for index in contrasts], dtype=np.float64)
    for index, value in zip(contrasts, benjamini_hochberg(p), strict=True):
        q[index] = float(value)
    return q
