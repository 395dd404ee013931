"""The verdict over seeds: the rules of a pair's verdict, applied to rows whose unit is the seed.

`probes.audit.verdict.judge` reads intervals only, so it says of the training what it would say of a
pair. Beside its headline stand what the numbers hold for, how far seeds lie apart, how many
contrasts remain once seeds are the unit, and what each pair's own report says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from interp.results.plots import Figure, dots
from interp.results.report import Verdict
from interp.results.report.tables import ALPHA
from interp.results.rows import CONTRAST, Measurement
from interp.results.run_folder import RunData
from interp.stats.seeds import MIN_SEEDS
from probes.audit.changes import find_changes
from probes.audit.evidence import READERS
from probes.audit.named import make_probes, names_of_tasks, own_classes
from probes.audit.plan import AuditSettings
from probes.audit.verdict import judge
from probes.seeds.names import PairNames
from probes.seeds.rows import SeedRow, key_of
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
    plain = judge(
        [each.row for each in rows],
        tasks=names_of_tasks(settings.tasks),
        writers=settings.writers,
        smallest=settings.smallest,
        own=own_classes(make_probes(settings.probes, settings.options)),
    )
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


ABOUT_NUMBERS = (
    "A value is the mean over seeds of what each pair's own report says. Intervals are 95\u00a0% t "
    f"intervals over seeds; there is none below {MIN_SEEDS} seeds. q is p after Benjamini and "
    "Hochberg over all contrasts of the run. n counts seeds with a value, missing "
    "counts seeds without one."
)
"""The foot of the page."""


def list_facts(runs: Sequence[RunData]) -> list[tuple[str, str]]:
    """What the first screen says of the size of the run."""
    return [
        ("Pairs", f"{len(runs)}, each with a report of its own in pairs/"),
        ("Problems", f"{_problems(runs)} for each pair, of its own"),
        ("Seeds", ", ".join(str(run.rows[0].seed) for run in runs if run.rows)),
        ("Date", str(runs[0].manifest.get("created", "unknown"))[:10]),
        (
            "Numbers",
            "mean over seeds [95\u00a0% t interval over seeds]; q over the contrasts of each probe "
            "and measure; n counts seeds",
        ),
    ]


def draw_by_seed(
    rows: Sequence[SeedRow], settings: AuditSettings, pairs: Sequence[str]
) -> dict[str, Figure]:
    """Each seed with the interval over its problems, above the mean with the interval over seeds.

    Args:
        rows: From `summarise_seeds`.
        settings: Of the runs.
        pairs: Names of the pairs, in the order of the runs.

    Returns:
        Figures of the headline's numbers, under names that begin with the probe's.
    """
    by_key = {key_of(each.row): each for each in rows}
    lines = [*pairs, OVER_SEEDS]
    figures: dict[str, Figure] = {}
    for name, contrasts in _claims(rows, settings).items():
        drawn: list[Measurement] = []
        for each in contrasts:
            for reader in READERS:
                found = by_key.get(key_of(_side_of(each.row, reader)))
                own = (*found.own, found.row) if found else ()
                drawn += [
                    replace(row, pair=line) for row, line in zip(own, lines, strict=bool(own))
                ]
        # Sorted, since a figure draws lines in the order in which they first occur.
        drawn.sort(key=lambda row: lines.index(row.pair))
        if drawn:
            row = drawn[0]
            of = [row.probe, row.condition, row.metric]
            of += [] if contrasts[0].row.writer == CONTRAST else [row.writer]
            figures[f"{'_'.join(of)}_by_seed"] = dots(drawn, xlabel=name, y="pair")
    return figures


def _claims(rows: Sequence[SeedRow], settings: AuditSettings) -> dict[str, list[SeedRow]]:
    """The contrasts that the headline may make claims of: name -> one for each task."""
    is_own = set(READERS) <= set(settings.writers)
    writer = "" if is_own or not settings.writers else settings.writers[0]
    plain = [each.row for each in rows]
    tasks = names_of_tasks(settings.tasks)
    changes = find_changes(plain, tasks, writer, smallest=settings.smallest)
    by_key = {key_of(each.row): each for each in rows}
    claims: dict[str, list[SeedRow]] = {}
    for of_task in changes.values():
        for name, change in of_task.items():
            claims.setdefault(name, []).append(by_key[key_of(change.row)])
    return claims


def _side_of(contrast: Measurement, reader: str) -> Measurement:
    """A row with the key of one side of a contrast."""
    roles: dict[str, Any] = dict.fromkeys(contrast.contrast.split("+"), reader)
    return replace(contrast, contrast="", **roles)


def _say_spread(rows: Sequence[SeedRow], settings: AuditSettings) -> list[str]:
    """How far the seeds lie apart, beside the interval of one of them: a line for each task."""
    said: dict[str, list[str]] = {}
    for name, contrasts in _claims(rows, settings).items():
        for each in contrasts:
            known = [own.value for own in each.own if not math.isnan(own.value)]
            if known:
                values = ", ".join(f"{value:z.2f}" for value in known)
                said.setdefault(each.row.task, []).append(
                    f"{name} {values} (standard deviation {each.between:.2f}; one seed's own "
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
