"""What of a run goes on the page: which rows make which figure, and a section for each probe.

Figures are made of rows alone, so the page of a finished run can be drawn again without a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interp.results.plots import Figure, curve, dots, headline
from interp.results.report import Section
from interp.results.rows import Measurement
from probes import find_probe
from probes.calibration.table import Row, cite

READERS = ("base", "post")
ANSWERING = {
    "free": "free",
    "forced": "made to think",
    "direct": "no chain",
    "given_chain": "given the chain",
}
EDITS = {
    "paraphrase": "other words",
    "mistake_last": "last value wrong",
    "mistake_propagated": "mistake carried on",
    "filler_50": "half filler",
    "filler_100": "all filler",
    "shuffled": "steps shuffled",
    "swapped": "another item's chain",
}
PATHS = {
    "direct_effect_js": "direct effect",
    "necessity_js": "necessity",
    "leakage_js": "leakage",
    "sink_control_js": "control",
}

CLAIMS = {
    "ki": "right (ki)",
    "wrong": "wrong",
    "unknown": "cannot be checked",
    "claimless": "steps without claim",
    "ki_published": "published rule",
}
ABSTAINING = {
    "recall": "abstains, no answer",
    "false_abstention": "abstains, has answer",
    "precision": "precision",
    "auroc": "AUROC",
    "appropriate": "appropriate",
}
SHIFTS = {
    "none": "as trained",
    "n_minus_1": "one element fewer",
    "depth": "longer",
    "rule": "unknown rule",
}


@dataclass(frozen=True)
class Drawing:
    """One figure: its file name, which begins with the probe's, and what to draw."""

    name: str
    rows: tuple[Measurement, ...]
    draw: Callable[..., Figure]
    options: Mapping[str, Any]


def sections(
    probes: Sequence[str], drawn: Mapping[str, Figure], calibration: Sequence[Row]
) -> tuple[Section, ...]:
    """One section for each probe, with those of its figures that were drawn.

    Args:
        probes: Names, in the order of the page.
        drawn: Figures by file name.
        calibration: The table that says how often each is right; empty if there is none.
    """
    found: list[Section] = []
    for name in probes:
        probe = find_probe(name)
        figures = tuple(figure for figure in drawn if figure.startswith(name))
        text = (*probe.reading, cite(calibration, name))
        found.append(Section(name, probe.title, probe.question, text, figures))
    return tuple(found)


def draw_figures(
    rows: Sequence[Measurement], tasks: Sequence[str], writer: str
) -> dict[str, Figure]:
    """All figures that the rows allow, by file name.

    Args:
        rows: All rows of a run.
        tasks: Task names, in the order of the panels.
        writer: Whose chains the readers are compared on.

    Returns:
        File name without ending -> figure; `headline` is the one of the first screen.
    """
    accuracy, reliance = _headline_rows(rows, tasks, writer)
    figures: dict[str, Figure] = {}
    if accuracy and reliance:
        figures["headline"] = headline(accuracy, reliance)
    in_order = {task: task for task in tasks}
    for drawing in _drawings(rows, writer):
        if drawing.rows:
            options = {**drawing.options, "names": in_order | drawing.options.get("names", {})}
            figures[drawing.name] = drawing.draw(drawing.rows, **options)
    return figures


def _headline_rows(
    rows: Sequence[Measurement], tasks: Sequence[str], writer: str
) -> tuple[list[Measurement], list[Measurement]]:
    accuracy = _pick(rows, "accuracy", "accuracy", own=True, conditions=("free",))
    reliance = _pick(rows, "corruption", "reliant", writer=writer, conditions=("joint",))
    order = {task: at for at, task in enumerate(tasks)}
    return tuple(sorted(found, key=lambda row: order[row.task]) for found in (accuracy, reliance))  # type: ignore[return-value]


def _drawings(rows: Sequence[Measurement], writer: str) -> list[Drawing]:
    own = _pick(rows, "accuracy", "accuracy", own=True, conditions=tuple(ANSWERING))
    same = _pick(rows, "early_answering", "same_answer", writer=writer, conditions=("share",))
    gain = _pick(rows, "information_gain", "logprob", writer=writer, conditions=("share",))
    total = _pick(
        rows,
        "information_gain",
        "total",
        writer=writer,
        conditions=("chain", "before_answer", "shuffled", "swapped"),
    )
    edits = _pick(rows, "corruption", "same_answer", writer=writer, conditions=tuple(EDITS))
    paths = _each(rows, "path_masks", PATHS, "masks", writer=writer)
    share = {"x": _share, "xlabel": "share of the chain kept"}
    totals = {
        "chain": "whole chain",
        "before_answer": "before the answer is stated",
        "shuffled": "steps shuffled",
        "swapped": "another item's chain",
    }
    log_p = {"ylabel": "log p of the answer (nats)", **share}
    nats = {"xlabel": "information gain (nats per answer token)", "names": totals}
    moved = {"xlabel": "change of the answer (JS, nats)", "y": "metric", "names": PATHS}
    right = {"xlabel": "accuracy", "names": ANSWERING, "chance": True}
    stays = {"xlabel": "answer stays the same", "names": EDITS}
    return [
        Drawing("accuracy", own, dots, right),
        Drawing("early_answering", same, curve, {"ylabel": "same answer", **share}),
        Drawing("information_gain", gain, curve, log_p),
        Drawing("information_gain_total", total, dots, nats),
        Drawing("corruption", edits, dots, stays),
        Drawing("path_masks", paths, dots, moved),
        *_own_drawings(rows),
    ]


def _own_drawings(rows: Sequence[Measurement]) -> list[Drawing]:
    """Figures of what each model does by itself, for the tasks that can be asked about it."""
    claims = _each(rows, "knowledge_index", CLAIMS, "written")
    shares = {"xlabel": "share of claims, or of steps", "y": "metric", "names": CLAIMS}
    drawings = [Drawing("knowledge_index", claims, dots, shares)]
    for condition, words in (("direct", "no chain"), ("forced", "made to think")):
        found = _each(rows, "abstention", ABSTAINING, condition)
        shown = {"xlabel": words, "y": "metric", "names": ABSTAINING}
        drawings.append(Drawing(f"abstention_{condition}", found, dots, shown))
    conditions = dict.fromkeys(row.condition for row in rows if row.probe == "generalisation")
    shifts = [*SHIFTS, *(name for name in conditions if name not in SHIFTS)]
    for name, metric, xlabel in (
        ("generalisation", "accuracy", "accuracy, made to think"),
        ("generalisation_drop", "drop", "drop from the origin, made to think"),
        ("generalisation_form", "infeasible_in_form", "good form, impossible content"),
    ):
        found = _pick(rows, "generalisation", metric, own=True, conditions=shifts)
        shown = {"xlabel": xlabel, "names": SHIFTS, "chance": metric == "accuracy"}
        drawings.append(Drawing(name, _asked(found), dots, shown))
    return drawings


def _asked(rows: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The rows of tasks that could be asked about at all."""
    tasks = {row.task for row in rows if row.n}
    return tuple(row for row in rows if row.task in tasks)


def _each(
    rows: Sequence[Measurement],
    probe: str,
    metrics: Iterable[str],
    condition: str,
    writer: str | None = None,
) -> tuple[Measurement, ...]:
    """Rows of several metrics, in their order; of the models' own chains without a writer."""
    return _asked(
        [
            row
            for metric in metrics
            for row in _pick(
                rows, probe, metric,
                conditions=(condition,), writer=writer or "", own=writer is None,
            )
        ]
    )  # fmt: skip


def _share(row: Measurement) -> float:
    return row.step / 100


def _pick(
    rows: Sequence[Measurement],
    probe: str,
    metric: str,
    *,
    conditions: Sequence[str],
    writer: str = "",
    own: bool = False,
) -> tuple[Measurement, ...]:
    """Rows of both readers: on their own chains, or on one writer's; in the order of conditions."""
    found = [
        row
        for row in rows
        if (row.probe, row.metric) == (probe, metric)
        and row.condition in conditions
        and row.reader in READERS
        and row.writer == (row.reader if own else writer)
    ]
    return tuple(sorted(found, key=lambda row: conditions.index(row.condition)))
