"""A run over seeds: an audit of each pair in a folder of its own, then one report over all.

::

    manifest.json           the pairs, their folders and seeds, settings, versions, code
    pairs/1-base-0-grpo-0/  the ordinary run folder of the first pair; one for each pair
    measurements.parquet    one row over seeds per result (`probes.seeds.rows`)
    rows.csv                the same with the spread between seeds and the value of each pair
    figures/
    report.html

Pair number i (from 0) is audited with seed `settings.seed + i`, so on problems of its own: the
numbers of the pairs are then independent, and their spread holds what chance did to the trainings
and to the problems (`interp.stats.seeds`). `posthoc audit base:1 grpo:1 --seed 1` makes the second
pair's run again. Models are loaded one pair at a time. A run that was stopped goes on where it was,
since each pair's folder does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interp.models import Model
from interp.results.report import Verdict, write_report
from interp.results.run_folder import Run, RunData, load_run
from probes import statistics_of
from probes.audit.named import make_probes
from probes.audit.page import draw_figures, make_sections
from probes.audit.plan import AuditSettings, describe_settings, read_settings
from probes.audit.run import (
    Audit,
    audit,
    pair_readers,
    results_of,
    verdict_of,
)
from probes.audit.run import redraw as redraw_pair
from probes.calibration.table import kept_table
from probes.probe import Readers
from probes.seeds.names import PairNames, name_sides
from probes.seeds.rows import SeedRow, summarise_seeds, write_csv
from probes.seeds.verdict import ABOUT_NUMBERS, draw_by_seed, judge_seeds, list_facts

PAIRS, CSV = "pairs", "rows.csv"


@dataclass(frozen=True)
class SeedRuns:
    """A finished run over seeds, read back."""

    pairs: tuple[PairNames, ...]
    runs: tuple[RunData, ...]
    """Of each pair."""
    settings: AuditSettings
    rows: tuple[SeedRow, ...]


def audit_seeds(
    pairs: Sequence[PairNames],
    settings: AuditSettings,
    out: Path,
    *,
    load: Callable[[str, str], Model],
) -> Audit:
    """Audits each pair and reports over all of them, with seeds as the unit.

    Args:
        pairs: From `probes.seeds.names.pair_up`.
        settings: Of each audit; its seed is that of the first pair.
        out: Run folder; made, or taken up again if it was begun with the same pairs and settings.
        load: Makes a model of a name and a role, base or post.

    Returns:
        Verdict, rows over seeds, and the path of `report.html`. It has no items: those are in the
        folders of the pairs.

    Raises:
        ValueError: One training is given twice, or what `probes.audit.run.audit` refuses.
    """
    if settings.traces:
        raise ValueError(
            "each pair of a run over seeds has problems of its own, so traces from a file cannot "
            "be read in all of them. Audit the pairs one by one with --traces"
        )
    places = {
        pair: f"{PAIRS}/{at}-{_slug(pair.base)}-{_slug(pair.post)}"
        for at, pair in enumerate(pairs, start=1)
    }
    described = [
        {**pair._asdict(), "seed": settings.seed + at, "folder": place}
        for at, (pair, place) in enumerate(places.items())
    ]
    if not all(isinstance(task, str) for task in settings.tasks):
        raise ValueError(
            "a run over seeds asks each pair other questions, so that its tasks are names or files "
            "of which each pair gets a draw; a Task was received. Save its questions in a file"
        )
    probes = make_probes(settings.probes, settings.options)
    shown = {name: repr(probe) for name, probe in probes.items()}
    made_of = {PAIRS: described, "settings": describe_settings(settings), "probes": shown}
    run = Run.create(out, made_of)
    taken: dict[str, str] = {}
    for at, (pair, place) in enumerate(places.items()):
        # In a function, so that the models of one pair are freed before the next are loaded.
        _audit_pair(pair, replace(settings, seed=settings.seed + at), out / place, load, taken)
    rows = _summarise([load_run(out / place) for place in places.values()], pairs, settings)
    run.save_results((), [each.row for each in rows])
    report = redraw(out, settings)
    # Read back, so that the caller gets what a later reader of the folder will get.
    data = load_run(out)
    return Audit(report, _verdict_of(_read(data, settings)), data.rows, ())


def redraw(folder: Path, settings: AuditSettings | None = None) -> Path:
    """Draws the page of a finished run again, of a single pair or over seeds.

    Args:
        folder: Of the run.
        settings: Those of the run; read from its manifest where they are not given.

    Raises:
        ValueError: The folder holds no finished run.
    """
    data = load_run(folder)
    if PAIRS not in data.manifest:
        return redraw_pair(folder, settings)
    found = _read(data, settings)
    write_csv(folder / CSV, found.rows, [str(pair) for pair in found.pairs])
    settings, rows = found.settings, [each.row for each in found.rows]
    probes = make_probes(settings.probes, settings.options)
    figures = draw_figures(rows, probes, results_of(data, settings), settings.writers)
    figures |= draw_by_seed(found.rows, settings, [str(pair) for pair in found.pairs])
    sections = make_sections(probes, figures, kept_table())
    facts = list_facts(found.runs)
    verdict = _verdict_of(found)
    return write_report(
        folder, sections, verdict, figures, facts=facts, about_numbers=ABOUT_NUMBERS
    )


def _audit_pair(
    pair: PairNames,
    settings: AuditSettings,
    out: Path,
    load: Callable[[str, str], Model],
    taken: dict[str, str],
) -> None:
    readers = pair_readers(load(pair.base, "base"), load(pair.post, "post"))
    _check_new(readers, pair, taken)
    audit(readers, settings, out)


def _check_new(readers: Readers, pair: PairNames, taken: dict[str, str]) -> None:
    """Refuses weights that another pair has; adds those of this pair to `taken`."""
    # A pair may be a model and itself, and one base may stand in all pairs under its one name.
    here = {model.weights_sha256: name for model, name in zip(readers.values(), pair, strict=True)}
    for weights, name in here.items():
        if weights in taken and taken[weights] != pair.base:
            raise ValueError(
                f"each training counts once, and {name} has the same weights as {taken[weights]} "
                "of another pair. Copies of one training say nothing about how trainings differ: "
                "name other seeds"
            )
    taken |= here


def _summarise(
    runs: Sequence[RunData], pairs: Sequence[PairNames], settings: AuditSettings
) -> list[SeedRow]:
    probes = make_probes(settings.probes, settings.options)
    return summarise_seeds(
        [run.rows for run in runs],
        pair=name_sides(pairs),
        seed=settings.seed,
        kinds=statistics_of(map(type, probes.values())).get("kinds", {}),
    )


def _read(data: RunData, settings: AuditSettings | None = None) -> SeedRuns:
    """The pairs of a run over seeds, their runs, and the rows over them."""
    described: Sequence[dict[str, Any]] = data.manifest[PAIRS]
    runs = tuple(load_run(data.folder / pair["folder"]) for pair in described)
    pairs = tuple(PairNames(pair["base"], pair["post"]) for pair in described)
    settings = settings or read_settings(data)
    return SeedRuns(pairs, runs, settings, tuple(_summarise(runs, pairs, settings)))


def _verdict_of(found: SeedRuns) -> Verdict:
    seeds = [run.manifest["settings"]["seed"] for run in found.runs]
    own = [
        verdict_of(run, replace(found.settings, seed=seed))
        for run, seed in zip(found.runs, seeds, strict=True)
    ]
    return judge_seeds(found.rows, found.settings, found.pairs, own)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in Path(name).name)
