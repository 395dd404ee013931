"""Examining a pair: all cells, the four answers, the verdict, in one record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interp.models import Model
from interp.results.plots.cells import CellDose
from interp.results.rows import Item
from interp.tasks import Task
from probes.pre_existence.arms import Bench, Outcome
from probes.pre_existence.cells import Cell, Want, Workshop, halves
from probes.pre_existence.decoding import decodable
from probes.pre_existence.judging import (
    Finding,
    Quantity,
    Verdict,
    decide,
    difference,
    judge_cell,
    rate,
)
from probes.pre_existence.settings import Settings
from probes.pre_existence.sources import SOURCES, find_directions

NAME = "pre_existence"
READERS = ("base", "post")


@dataclass(frozen=True, eq=False)
class Examination:
    """Everything that was found about a pair, on the second half of the problems."""

    pair: str
    task: str
    seed: int
    declared: Mapping[str, Any]
    """Settings, fixed before the run, and the minimal detectable effect."""
    verdict: Verdict
    reason: str
    is_explained: bool
    """Whether post reasons at all; False: there is nothing to explain."""
    findings: Mapping[str, Finding]
    """'decodable', 'transferable', 'usable', 'necessary'."""
    unsteered: Mapping[str, tuple[Quantity, Quantity]]
    """Of base and post: rates of reasoning rightly, and of opening a chain."""
    cells: tuple[Cell, ...]
    curves: tuple[CellDose, ...]
    items: tuple[Item, ...]

    def record(self) -> dict[str, Any]:
        """What is saved: all but cells and items, which are rows of their own."""
        unsteered = {
            name: {"reasons": asdict(right), "opens": asdict(opens)}
            for name, (right, opens) in self.unsteered.items()
        }
        return {
            "pair": self.pair, "task": self.task, "seed": self.seed,
            "declared": dict(self.declared), "verdict": self.verdict, "reason": self.reason,
            "is_explained": self.is_explained, "unsteered": unsteered,
            "findings": {name: asdict(found) for name, found in self.findings.items()},
            "curves": [asdict(row) for row in self.curves],
        }  # fmt: skip

    def write(self, folder: Path) -> Path:
        """Saves the record as pre_existence.json."""
        from interp.files import write_file

        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.record(), indent=1)
        write_file(folder / f"{NAME}.json", f"{text}\n".encode())
        return folder / f"{NAME}.json"


def examine(base: Model, post: Model, task: Task, settings: Settings, *, seed: int) -> Examination:
    """The 2 x 2 test of a pair.

    Args:
        base: Before post-training.
        post: After it.
        task: The questions; its layout must have something that opens a chain.
        settings: Fixed beforehand.
        seed: Of random directions, probes and bootstrap.

    Returns:
        The examination.

    Raises:
        ValueError: The task has too few problems, or nothing opens a chain.
    """
    sides = halves(task)
    models = dict(zip(READERS, (base, post), strict=True))
    benches = [
        {name: Bench(model, side, batch_size=settings.batch_size) for name, model in models.items()}
        for side in sides
    ]
    sites = settings.sites(base)
    directions = find_directions(benches[0], sites, settings.contrast)
    shops = {
        name: Workshop(
            name, benches[0][name], benches[1][name], directions[name], settings, seed=seed
        )
        for name in READERS
    }
    known = [name for name in SOURCES if name in directions["base"][sites[0]]]
    wants: dict[str, Want] = {"base": "up", "post": "down" if shops["post"].reasons else "up"}
    cells = [shops[name].steered(source, wants[name]) for source in known for name in READERS]
    ablations = [shops["post"].ablated(source) for source in known]
    seen = decodable(benches[0]["base"], benches[1]["base"], sites, settings, seed=seed)
    return _judged(shops, (*cells, *ablations), seen, settings, seed=seed)


def _judged(
    shops: Mapping[str, Workshop],
    cells: tuple[Cell, ...],
    seen: Finding,
    settings: Settings,
    *,
    seed: int,
) -> Examination:
    task = shops["base"].test.task
    problems = [example.problem for example in task.examples]

    def best(*found: Cell) -> Cell:
        return max(found, key=lambda cell: cell.promise)

    usable = best(*(c for c in cells if c.steered == "base"))
    moved = next(c for c in cells if c.steered == "post" and c.source == "base")
    removed = best(*(c for c in cells if c.want == "ablated"))
    asked = {
        "transferable": (moved, ("random", "token")),
        "usable": (usable, ("random",)),
        "necessary": (removed, ("random",)),
    }
    findings = {"decodable": seen} | {
        name: judge_cell(name, cell, controls, problems, settings, seed=seed)
        for name, (cell, controls) in asked.items()
    }
    plain = {name: shop.unsteered for name, shop in shops.items()}
    unsteered = {
        name: (
            rate(one.reasons, problems, settings, seed=seed),
            rate(one.opens, problems, settings, seed=seed),
        )
        for name, one in plain.items()
    }
    lead = difference(
        settings.share * plain["post"].reasons, plain["base"].reasons, problems, settings, seed=seed
    )
    verdict, reason = decide(findings, unsteered["base"][0], lead, settings.bound)
    return Examination(
        f"{shops['base'].test.model.name} -> {shops['post'].test.model.name}", task.name, seed,
        settings.declared(len(set(problems))), verdict, reason,
        not unsteered["post"][0].upper < settings.bound, findings, unsteered, cells,
        _curves(cells, problems, settings, seed=seed), _items(task, plain, cells),
    )  # fmt: skip


def _curves(
    cells: tuple[Cell, ...], problems: list[str], settings: Settings, *, seed: int
) -> tuple[CellDose, ...]:
    rows: list[CellDose] = []
    for cell in cells:
        plain = cell.values(cell.unsteered)
        for dose, outcome in cell.curve.items():
            found = difference(plain, cell.values(outcome), problems, settings, seed=seed)
            drawn = (cell.random_curve[dose] - plain).mean(1)
            rows.append(
                CellDose(
                    cell.source, cell.steered, cell.metric, dose, found.value, found.low,
                    found.high, float(drawn.min()), float(drawn.max()), dose == cell.dose, found.n,
                )
            )  # fmt: skip
    return tuple(rows)


def _items(task: Task, plain: Mapping[str, Outcome], cells: tuple[Cell, ...]) -> tuple[Item, ...]:
    """Per example: rates unsteered and in each cell, and the cell's metric under controls."""
    items: list[Item] = []

    def add(writer: str, reader: str, condition: str, **metrics: np.ndarray) -> None:
        items.extend(
            Item(
                NAME, writer, reader, task.name, example.id, example.problem, condition, metric,
                float(values[at]),
            )
            for metric, values in metrics.items()
            for at, example in enumerate(task.examples)
        )  # fmt: skip

    for reader, one in plain.items():
        add(reader, reader, "unsteered", reasons=one.reasons, opens=one.opens)
    for cell in cells:
        one = cell.outcome
        drawn = [values for name, values in cell.controls.items() if name.startswith("random")]
        add(
            cell.source, cell.steered, cell.want, reasons=one.reasons, opens=one.opens,
            **{f"{cell.metric}_random": np.mean(drawn, axis=0)},
        )  # fmt: skip
    return tuple(items)
