"""The verdict over seeds: the rules of a pair's verdict, applied to rows whose unit is the seed.

`probes.audit.verdict.judge` reads intervals only, so it says of the training what it would say of a
pair. Beside its headline stand what the numbers hold for, how far seeds lie apart, how many
contrasts remain once seeds are the unit, and what each pair's own report says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from interp.results.plots import Figure, dots
from interp.results.report import Verdict
from interp.results.report.tables import ALPHA
from interp.results.rows import CONTRAST, Measurement
from interp.results.run_folder import RunData
from interp.stats.seeds import MIN_SEEDS
from probes import find_probe
from probes.audit.run import AuditSettings
from probes.audit.verdict import READERS, find_row, judge, reliance_probes
from probes.seeds.names import PairNames
from probes.seeds.rows import SeedRow
from probes.seeds.words import say_scope, say_sides

OVER_SEEDS = "mean over seeds"


def judge_seeds(
    rows: Sequence[SeedRow],
    settings: AuditSettings,
    pairs: Sequence[PairNames],
    own: Sequence[Verdict],
) -> Verdict:
    """The verdict over seeds.

    Args:
        rows: From `summarise_seeds`.
        settings: Of the runs.
        pairs: Names of the models, in the order of the runs.
        own: What each pair's own report says.
    """
    is_one_base = len({pair.base for pair in pairs}) == 1
    over = say_sides(len(pairs), is_one_base=is_one_base)
    plain = judge([row.row for row in rows], tasks=settings.tasks, writers=settings.writers)
    headline = f"{over.capitalize()}. {plain.headline}"
    lines = plain.lines
    if len(pairs) < MIN_SEEDS:
        headline = (
            f"{over.capitalize()}: too few to say anything of the training ({MIN_SEEDS} are "
            "needed). What each pair shows by itself stands below."
        )
        lines = ()
    return Verdict(
        headline,
        (
            say_scope(len(pairs), is_one_base=is_one_base),
            *lines,
            *_say_spread(rows, settings),
            *_count_clear(rows),
            *(f"{pair}: {verdict.headline}" for pair, verdict in zip(pairs, own, strict=True)),
        ),
    )


def list_facts(runs: Sequence[RunData]) -> list[tuple[str, str]]:
    """What the first screen says of the size of the run."""
    return [
        ("Pairs", f"{len(runs)}, each with a report of its own in pairs/"),
        ("Problems", f"{_problems(runs)} for each pair, of its own"),
        ("Seeds", ", ".join(str(run.rows[0].seed) for run in runs if run.rows)),
        ("Date", str(runs[0].manifest.get("created", "unknown"))[:10]),
        ("Numbers", "mean over seeds [95\u00a0% t interval over seeds]; n counts seeds"),
    ]


def draw_by_seed(
    rows: Sequence[SeedRow], settings: AuditSettings, pairs: Sequence[str]
) -> dict[str, Figure]:
    """Each seed with the interval over its problems, above the mean with the interval over seeds.

    Returns:
        Figures of the headline's numbers, under names that begin with the probe's.
    """
    figures: dict[str, Figure] = {}
    for words, name, chosen in _headline_rows(rows, settings):
        means = [each for each in chosen if not each.row.contrast]
        drawn = [
            replace(own, pair=pair)
            for each in means
            for own, pair in zip(each.own, pairs, strict=True)
        ]
        drawn += [replace(each.row, pair=OVER_SEEDS) for each in means]
        # A figure needs one kind of line for all tasks, in the order of the pairs.
        drawn.sort(key=lambda row: [*pairs, OVER_SEEDS].index(row.pair))
        if drawn:
            figures[name] = dots(drawn, xlabel=words, y="pair")
    return figures


def _headline_rows(
    rows: Sequence[SeedRow], settings: AuditSettings
) -> Iterator[tuple[str, str, list[SeedRow]]]:
    """Words, name of a figure, and rows of each number that the headline rests on."""
    decides, read = next(iter(reliance_probes().items()))
    words_of = {(one.condition, one.metric): one.words for one in find_probe(decides).headline}
    numbers = (
        ("accuracy, free", "accuracy", "free", "accuracy", ""),
        ("accuracy, made to think", "accuracy", "forced", "accuracy", ""),
        (
            words_of.get((read.condition, read.metric), read.metric),
            decides,
            read.condition,
            read.metric,
            settings.writers[0] if settings.writers else "",
        ),
    )
    plain = [each.row for each in rows]
    places = {id(row): at for at, row in enumerate(plain)}
    for words, probe, condition, metric, writer in numbers:
        found = [
            find_row(
                plain, probe, condition, metric, task=task, reader=reader, writer=writer or reader
            )
            for task in settings.tasks
            for reader in (*READERS, CONTRAST)
        ]
        chosen = [rows[places[id(row)]] for row in found if row is not None]
        yield words, f"{probe}_{condition}_by_seed", chosen


def _say_spread(rows: Sequence[SeedRow], settings: AuditSettings) -> list[str]:
    """How far the seeds lie apart, beside the interval of one of them: a line for each task."""
    said: dict[str, list[str]] = {}
    for words, _, chosen in _headline_rows(rows, settings):
        for each in chosen:
            known = [own.value for own in each.own if not math.isnan(own.value)]
            if each.row.contrast and known:
                values = ", ".join(f"{value:.2f}" for value in known)
                said.setdefault(each.row.task, []).append(
                    f"{words} {values} (standard deviation {each.between:.2f}; one seed's own "
                    f"interval reaches {each.within:.2f} to each side)"
                )
    return [
        f"{task}: post - base, seed by seed: {'; '.join(parts)}." for task, parts in said.items()
    ]


def _count_clear(rows: Sequence[SeedRow]) -> list[str]:
    """How many contrasts are clear with seeds as the unit, and in the single pairs."""
    contrasts = [each for each in rows if each.row.contrast]
    over = sum(each.row.q < ALPHA for each in contrasts)
    alone = sum(own.q < ALPHA for each in contrasts for own in each.own)
    if not contrasts:
        return []
    return [
        f"Contrasts with q < {ALPHA}: {over} of {len(contrasts)} over seeds, "
        f"{alone / len(contrasts[0].own):.0f} in a single pair on average."
    ]


def _problems(runs: Sequence[RunData]) -> str:
    """Number of problems of each task, of the first run."""
    rows: Sequence[Measurement] = runs[0].rows
    tasks = dict.fromkeys(row.task for row in rows)
    return ", ".join(f"{max(r.n for r in rows if r.task == task)} of {task}" for task in tasks)
