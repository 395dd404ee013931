"""Calibration: how often is each probe right, on organisms whose truth is known?

The class of each probe states its claims (`probes.probe.Claim`). `constructs` says what is known of
the organisms, `scores` measures every claimed number on each certified organism, `agreement` and
`nulls` compare it with the truth and with nulls, `verdicts` judges each claim by the limits of what
was found, and `table` keeps the verdicts, which reports cite.

Beside the clear cases there are partial, noisy and decorative organisms, so that a perfect score is
not built in. Settings were chosen on some training seeds (`Recipe.tuned_on`); verdicts use only the
remaining seeds.
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
from interp.workers import run_jobs
from probes.calibration.scores import (
    CalibrationSettings,
    find_certified,
    folder_of,
    measure,
    read_units,
    tasks_of,
)
from probes.calibration.table import (
    EVALUATION,
    CalibrationRow,
    judge_all,
    read_table,
    to_markdown,
    write_table,
)

__all__ = ["CalibrationSettings", "calibrate", "plot_points", "read_markdown"]
TABLE = "calibration.parquet"


def calibrate(
    out: Path,
    *,
    keep: Path,
    root: Path | None = None,
    workers: int = 1,
    settings: CalibrationSettings = CalibrationSettings(),  # noqa: B008  (frozen)
) -> str:
    """Measures all certified organisms, judges every claim, and writes table and figure.

    Args:
        out: Folder of the table (`calibration.parquet`), the figure and `made_of.json`.
        keep: Folder of the items; items that are there already are not measured again.
        root: Folder of organisms; the bundled ones unless given.
        workers: Processes of one thread each.
        settings: How much is measured.

    Returns:
        The table in Markdown, the organisms that were left out and why, and the path.

    Raises:
        ValueError: No organism counts; the message says why each was left out.
    """
    cards, left_out = find_certified(root)
    if not cards:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ValueError(
            "calibration needs certified organisms of known truth and received none: "
            f"{reasons or 'the folder is empty'}"
        )
    began = time.perf_counter()
    folders = [folder_of(card, root) for card in cards]
    work = partial(measure, keep=keep, settings=settings)
    # Workers return counts only: their items are in files, from which `read_units` takes them.
    n_run = sum(n for _, n in run_jobs(work, folders, ["cpu"] * workers))
    measured = time.perf_counter() - began
    rows = judge_all(read_units(cards, keep, settings, root))
    file = out / TABLE
    write_table(file, rows)
    save(calibration(plot_points(rows)), out, "calibration")
    made_of = {
        "settings": asdict(settings),
        "organisms": {f"{card.name}:{card.seed}": card.weights_sha256 for card in cards},
        "left_out": left_out,
        "probes_run": n_run,
        "probes_kept": sum(len(tasks_of(find_recipe(card.name))) for card in cards) - n_run,
        "seconds_measuring": round(measured),
        "seconds_judging": round(time.perf_counter() - began - measured),
        "workers": workers,
    }
    write_file(out / "made_of.json", (json.dumps(made_of, indent=1) + "\n").encode())
    lines = [f"left out: {name}: {why}" for name, why in left_out.items()]
    return "\n".join([read_markdown(file), "", *lines, str(file)])


def read_markdown(file: Path) -> str:
    """A kept table in Markdown: primary claims, then the others.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no table of calibration.
    """
    return to_markdown(read_table(file))


def plot_points(rows: Sequence[CalibrationRow]) -> list[Judged]:
    """The primary rows on evaluation seeds, as the figure draws them."""
    return [
        Judged(
            f"{row.probe}\n{row.condition} {row.metric}".replace("_", " "),
            row.value, row.low, row.high, row.null_seeds, row.coverage, row.verdict,
        )
        for row in rows
        if (row.role, row.seeds) == ("primary", EVALUATION)
    ]  # fmt: skip
