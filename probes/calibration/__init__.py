"""Calibration: how often is each probe right, on organisms whose truth is known?

`claims` says what each number is held to tell, `scores` measures it on every certified organism,
`agreement` and `nulls` compare it with the truth and with nothing, and `table` gives each claim
a verdict that reports cite.

The organisms are the clear cases and, beside them, partial, noisy and decorative ones, so that a
perfect score is not built in. Settings were chosen on some training seeds (`Recipe.tuned_on`); what
is said counts the others alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from interp.files import write_file
from interp.organisms.recipes import find_recipe
from interp.results.plots import Judged, calibration, save
from interp.workers import on_devices
from probes.calibration.scores import (
    Settings,
    certified,
    folder_of,
    measure_share,
    read_units,
    tasks_of,
)
from probes.calibration.table import (
    EVALUATION,
    KEPT,
    YES,
    Row,
    cite,
    judge_all,
    markdown,
    read_table,
    write_table,
)

__all__ = ["KEPT", "Row", "Settings", "calibrate", "cite", "judged", "read_table", "shown"]


def calibrate(
    out: Path,
    *,
    keep: Path,
    root: Path | None = None,
    workers: int = 1,
    settings: Settings = Settings(),  # noqa: B008  (frozen)
) -> str:
    """Measures all certified organisms, judges every claim, and writes table and figure.

    Args:
        out: Folder of the table (`calibration.parquet`), the figure and `made_of.json`.
        keep: Folder of the items; what is there already is not measured again.
        root: Folder of organisms; the bundled ones unless given.
        workers: Processes of one thread each.
        settings: How much is measured.

    Returns:
        The table in Markdown, the organisms that were left out and why, and the path.

    Raises:
        ValueError: No organism counts; the message says why each was left out.
    """
    cards, left = certified(root)
    if not cards:
        raise ValueError(
            "Calibration needs certified organisms of known truth, found none: "
            f"{'; '.join(f'{name}: {why}' for name, why in left.items()) or 'the folder is empty'}."
        )
    began = time.perf_counter()
    work = partial(measure_share, keep=keep, settings=settings)
    n_run = on_devices(work, [folder_of(card, root) for card in cards], ["cpu"] * workers)
    measured = time.perf_counter() - began
    rows = judge_all(read_units(cards, keep, settings, root))
    file = out / KEPT.name
    write_table(file, rows)
    save(calibration(judged(rows)), out, "calibration")
    made_of = {
        "settings": asdict(settings),
        "organisms": {f"{card.name}:{card.seed}": card.weights_sha256 for card in cards},
        "left_out": left,
        "probes_run": sum(n_run),
        "probes_kept": sum(len(tasks_of(find_recipe(card.name))) for card in cards) - sum(n_run),
        "seconds_measuring": round(measured),
        "seconds_judging": round(time.perf_counter() - began - measured),
        "workers": workers,
    }
    write_file(out / "made_of.json", (json.dumps(made_of, indent=1) + "\n").encode())
    told = [f"left out: {name}: {why}" for name, why in left.items()]
    return "\n".join([shown(file), "", *told, str(file)])


def shown(file: Path) -> str:
    """The kept table in Markdown: primary claims, then the others.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no table of calibration.
    """
    return markdown(read_table(file))


def judged(rows: Sequence[Row]) -> list[Judged]:
    """The primary rows on evaluation seeds, as the figure draws them."""
    return [
        Judged(
            f"{row.probe}\n{row.condition} {row.metric}".replace("_", " "),
            row.value, row.low, row.high, row.null_seeds, row.coverage, row.verdict == YES,
        )
        for row in rows
        if (row.role, row.seeds) == ("primary", EVALUATION)
    ]  # fmt: skip
