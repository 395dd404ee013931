"""The page itself: words, figures, rows and chains put into one file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from interp.files import write_file
from interp.results.plots import Figure, save
from interp.results.report.svg import inline_svg
from interp.results.report.tables import (
    format_name,
    make_listing,
    make_matrix,
    make_summary,
    typeset,
)
from interp.results.report.viewer import embed_json, viewer_data
from interp.results.rows import Measurement
from interp.results.run_folder import RunData, load_run

FIGURES, REPORT = "figures", "report.html"
HEADLINE = "headline"
"""Name of the figure of the first screen, if there is one."""
NUMBERS = (
    "mean (median for KL and perplexity) [95\u00a0% interval over problems]; q over all contrasts "
    "of this run"
)
"""What the first screen says of the numbers of a run on one pair."""
ABOUT_NUMBERS = (
    "A value is a mean over problems; of KL divergences and perplexities the median is given, "
    "and some measures are ratios of two means, or statistics of all problems together. Intervals "
    "are 95\u00a0% intervals over problems, made as the kind of each measure asks; there is none "
    "below 6 problems. q is p after Benjamini and Hochberg over all contrasts of this run. What "
    "the headline says of changes is a family of its own (Holm, 5\u00a0%); that a chain is "
    "load-bearing, or not, rests on one 95\u00a0% interval each. n counts problems with a value, "
    "missing counts items that could not be measured."
)
"""The same at the foot of the page, in full."""
HEADS = {"metric": "measure", "writer": "chains of"}
"""How the tables write the names of columns."""


@dataclass(frozen=True)
class Verdict:
    """The result of a run in words."""

    headline: str
    """One or two sentences."""
    lines: tuple[str, ...]
    """The numbers behind the headline, one sentence each."""


@dataclass(frozen=True)
class Section:
    """The words around one probe's rows."""

    probe: str
    title: str
    question: str
    text: tuple[str, ...]
    """How to read the numbers, a paragraph each."""
    figures: tuple[str, ...]
    """Names of figures, in order."""


def write_report(
    folder: Path,
    sections: Sequence[Section],
    verdict: Verdict,
    figures: Mapping[str, Figure],
    *,
    facts: Sequence[tuple[str, str]] = (),
    about_numbers: str = ABOUT_NUMBERS,
) -> Path:
    """Draws the figures into the run folder and writes `report.html`.

    Everything else comes from the folder, so the page can be made again at any time.

    Args:
        folder: A finished run folder.
        sections: In the order of the page. Probes with rows but no section come last, by name.
        verdict: For the first screen.
        figures: Every figure that the sections name, and `HEADLINE` for the first screen.
        facts: What the first screen says of the run's size (name and text); of its problems, seed
            and date where none are given.
        about_numbers: What the foot of the page says of values, intervals, q and counts.

    Returns:
        The path of the page.

    Raises:
        ValueError: The folder is no finished run, or a section names a figure that is not given.
    """
    data = load_run(folder)
    rows = _in_task_order(data)
    named = [name for section in sections for name in section.figures]
    missing = [name for name in named if name not in figures]
    # Names become file names, and parts of ids in the page.
    odd = [name for name in figures if not re.fullmatch(r"[\w-]+", name)]
    if missing or odd:
        raise ValueError(
            f"every figure that a section names is given, under a name of letters, digits, '-' and "
            f"'_'; not given: {missing}, badly named: {odd}, received: {sorted(figures)}"
        )
    drawings = {
        name: inline_svg(save(figure, folder / FIGURES, name)[0].read_text("utf-8"), name=name)
        for name, figure in figures.items()
    }
    page = _template().render(
        pair=rows[0].pair if rows else "no rows",
        verdict=verdict,
        drawings=drawings,
        headline=drawings.get(HEADLINE),
        parts=[_part(section, rows) for section in _all_sections(sections, rows)],
        facts=facts or _facts(data),
        numbers=about_numbers,
        manifest=json.dumps(data.manifest, indent=2, ensure_ascii=False),
        viewer=embed_json(viewer_data(data)) if data.traces else "",
        heads=HEADS,
        style=_asset("style.css"),
        script=_asset("viewer.js"),
    )
    write_file(folder / REPORT, page.encode())
    return folder / REPORT


def _in_task_order(data: RunData) -> list[Measurement]:
    """Rows with the tasks in the order of the run, which is that of its chains."""
    order = list(dict.fromkeys(trace["task"] for trace in data.traces))
    places = {task: place for place, task in enumerate(order)}
    return sorted(data.rows, key=lambda row: places.get(row.task, len(order)))


def _all_sections(sections: Sequence[Section], rows: Sequence[Measurement]) -> list[Section]:
    known = {section.probe for section in sections}
    others = dict.fromkeys(row.probe for row in rows if row.probe not in known)
    return [*sections, *(Section(probe, probe, "", (), ()) for probe in others)]


def _part(section: Section, rows: Sequence[Measurement]) -> Mapping[str, Any]:
    """What the template needs of one section."""
    own = [row for row in rows if row.probe == section.probe]
    return {
        "section": section,
        "summary": make_summary(own),
        "matrix": make_matrix(own),
        "listing": make_listing(own),
    }


def _facts(data: RunData) -> list[tuple[str, str]]:
    """Size, seed and date of the run, for the first screen."""
    tasks = dict.fromkeys(row.task for row in _in_task_order(data))
    ns = {task: max(row.n for row in data.rows if row.task == task) for task in tasks}
    facts = [("Problems", ", ".join(f"{n} of {task}" for task, n in ns.items()))]
    if data.rows:
        facts.append(("Seed", str(data.rows[0].seed)))
    facts.append(("Date", str(data.manifest.get("created", "unknown"))[:10]))
    return [*facts, ("Numbers", NUMBERS)]


def _asset(name: str) -> str:
    return files("interp.results.report").joinpath(name).read_text("utf-8")


def _template() -> Any:
    """The page's template; every value is escaped unless it is ours and marked safe."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["label"] = format_name
    environment.filters["typeset"] = typeset
    return environment.from_string(_asset("page.html"))
