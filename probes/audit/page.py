"""What of a run goes on the page: the figures of each probe, and a section for each.

Figures are made of what the run folder holds, so that the page of a finished run can be drawn again
without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from interp.results.plots import Figure, headline, write_above
from interp.results.report import Section
from interp.results.rows import Measurement
from probes.audit.readings import reliance_probes
from probes.calibration.table import CalibrationRow, cite
from probes.probe import Probe, Results
from probes.selection import name_chains

READERS = ("base", "post")
ACCURACIES = {"Accuracy, free": "free", "Accuracy, made to think": "forced"}
"""Panels of the first figure -> condition. The headline speaks of both, and they may differ."""


def make_sections(
    probes: Mapping[str, Probe], drawn: Mapping[str, Figure], calibration: Sequence[CalibrationRow]
) -> tuple[Section, ...]:
    """One section for each probe, with those of its figures that were drawn.

    Args:
        probes: By name, in the order of the page.
        drawn: Figures by file name.
        calibration: The table that says how often each is right; empty if there is none.
    """
    sections: list[Section] = []
    for name, probe in probes.items():
        # A figure's name begins with that of its probe (checked by `check_probe`).
        figures = tuple(figure for figure in drawn if figure.startswith(name))
        text = (*probe.reading, cite(calibration, name))
        sections.append(Section(name, probe.title, probe.question, text, figures))
    return tuple(sections)


def draw_figures(
    rows: Sequence[Measurement],
    probes: Mapping[str, Probe],
    results: Mapping[str, Results],
    writers: Sequence[str],
) -> dict[str, Figure]:
    """All figures that a run allows.

    Args:
        rows: All rows of the run.
        probes: Under their settings, by name.
        results: What the run has of each.
        writers: Whose chains were read: reliance is shown on those that each model wrote itself, or
            on the first writer's.

    Returns:
        File name without ending -> figure; `headline` is the one of the first screen.
    """
    tasks = next(iter(results.values())).tasks
    figures: dict[str, Figure] = {}
    accuracy, reliance = _headline_rows(rows, tasks, writers)
    if accuracy and reliance:
        figures["headline"] = headline(accuracy, {_title(reliance): reliance})
    for name, probe in probes.items():
        for drawing in probe.figures(results[name]):
            if not drawing.data:
                continue
            options = dict(drawing.options)
            if "names" in signature(drawing.draw).parameters:  # they set the order of the panels
                options["names"] = {task: task for task in tasks} | options.get("names", {})
            figure = drawing.draw(drawing.data, **options)
            if chains := _find_chains(drawing.data):
                write_above(figure, f"On {chains}")
            figures[drawing.name] = figure
    return figures


def _find_chains(data: Sequence[Any]) -> str:
    """Whose chains all rows of a figure are about; empty where they are each model's own."""
    rows = [row for row in data if isinstance(row, Measurement)]
    writers = {row.writer for row in rows}
    if len(writers) != 1 or all(row.writer in ("", row.reader) for row in rows):
        return ""
    return name_chains(*writers)


def _title(reliance: Sequence[Measurement]) -> str:
    """Title of the panel of reliance, which says whose chains decide."""
    return f"Answer follows {_find_chains(reliance) or 'its own chain'}"


def _headline_rows(
    rows: Sequence[Measurement], tasks: Sequence[str], writers: Sequence[str]
) -> tuple[dict[str, list[Measurement]], list[Measurement]]:
    """Accuracies of each reader by panel, and its reliance on the chains that are compared."""
    decides, read = next(iter(reliance_probes().items()))
    chosen = [row for row in rows if row.is_whole and row.reader in READERS and not row.contrast]

    def pick(*names: str) -> list[Measurement]:
        return [row for row in chosen if (row.probe, row.condition, row.metric) == names]

    every = {title: pick("accuracy", name, "accuracy") for title, name in ACCURACIES.items()}
    accuracy = {title: picked for title, picked in every.items() if picked}
    is_own = {row.reader for row in chosen} <= set(writers)
    reliance = [
        row
        for row in pick(decides, read.condition, read.metric)
        if row.writer == (row.reader if is_own else writers[0])
    ]
    order = {task: at for at, task in enumerate(tasks)}
    for side in (*accuracy.values(), reliance):
        side.sort(key=lambda row: order[row.task])
    return accuracy, reliance
