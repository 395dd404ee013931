"""Examination: all cells of a pair, the four answers and the verdict, in one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from interp.models import Model
from interp.results.plots.steering_cells import CellDose
from interp.results.rows import Item
from interp.tasks import Task
from probes.pre_existence.arms import ArmOutcome, AskedModel
from probes.pre_existence.decodability import judge_decodable
from probes.pre_existence.directions import SOURCES, find_directions
from probes.pre_existence.settings import PreExistenceSettings
from probes.pre_existence.steering_cells import SteeredModel, SteeringCell, Want, split_halves
from probes.pre_existence.verdict import (
    Quantity,
    QuestionResult,
    Verdict,
    decide,
    estimate_difference,
    estimate_rate,
    judge_cell,
)

NAME = "pre_existence"
READERS = ("base", "post")
CHOOSING = "a problem of the first half: sites and doses were chosen on it"


@dataclass(frozen=True, eq=False)
class Examination:
    """What the test found about a pair, on the second half of the problems."""

    pair: str
    task: str
    seed: int
    declared: Mapping[str, Any]
    """Settings, fixed before the run, and the minimal detectable effect."""
    verdict: Verdict
    reason: str
    is_explained: bool
    """Whether post reasons at all; False: there is nothing to explain."""
    findings: Mapping[str, QuestionResult]
    """'decodable', 'transferable', 'usable', 'necessary'."""
    unsteered: Mapping[str, tuple[Quantity, Quantity, Quantity]]
    """Of base and post: rates of reasoning rightly, of opening a chain, and of reasoning rightly
    once the chain was opened for the model."""
    cells: tuple[SteeringCell, ...]
    curves: tuple[CellDose, ...]
    items: tuple[Item, ...]

    def record(self) -> dict[str, Any]:
        """Plain data that says all but the items."""
        unsteered = {
            name: {"reasons": asdict(right), "opens": asdict(opens), "once_opened": asdict(follows)}
            for name, (right, opens, follows) in self.unsteered.items()
        }
        return {
            "pair": self.pair, "task": self.task, "seed": self.seed,
            "declared": dict(self.declared), "verdict": self.verdict, "reason": self.reason,
            "is_explained": self.is_explained, "unsteered": unsteered,
            "findings": {name: asdict(result) for name, result in self.findings.items()},
            "cells": [_cell_record(cell) for cell in self.cells],
            "curves": [asdict(row) for row in self.curves],
        }  # fmt: skip


def _cell_record(cell: SteeringCell) -> dict[str, Any]:
    """Where and how far a cell was steered, with means over the problems of the test."""
    before, after = cell.unsteered, cell.outcome
    return {
        "source": cell.source, "steered": cell.steered, "want": cell.want, "site": str(cell.site),
        "dose": cell.dose,
        "reasons": [float(one.reasons.mean()) for one in (before, after)],
        "opens": [float(one.opens.mean()) for one in (before, after)],
        "kl": float(after.kl.mean()),
    }  # fmt: skip


def examine(
    base: Model, post: Model, task: Task, settings: PreExistenceSettings, *, seed: int
) -> Examination:
    """The 2 x 2 test of a pair.

    Args:
        base: Before post-training.
        post: After it.
        task: The questions.
        settings: Fixed beforehand.
        seed: Of random directions, linear probes and bootstrap.

    Returns:
        The examination.

    Raises:
        NotMeasurableError: The task has too few problems, or its layout nothing that opens and
            closes a chain.
    """
    halves = split_halves(task)
    models = dict(zip(READERS, (base, post), strict=True))
    choosing, testing = (
        {
            name: AskedModel(model, half, batch_size=settings.batch_size)
            for name, model in models.items()
        }
        for half in halves
    )
    sites = settings.sites(base)
    directions = find_directions(choosing, sites, settings.contrast)
    steered = {
        name: SteeredModel(
            name, choosing[name], testing[name], directions[name], settings, seed=seed
        )
        for name in READERS
    }
    known = [name for name in SOURCES if name in directions["base"][sites[0]]]
    wants: dict[str, Want] = {"base": "up", "post": "down" if steered["post"].reasons else "up"}
    cells = [
        steered[name].measure_cell(source, wants[name]) for source in known for name in READERS
    ]
    ablations = [steered["post"].measure_ablation(source) for source in known]
    decodable = judge_decodable(choosing["base"], testing["base"], sites, settings, seed=seed)
    return _judge(steered, (*cells, *ablations), decodable, halves[0], settings, seed=seed)


def _judge(
    steered: Mapping[str, SteeredModel],
    cells: tuple[SteeringCell, ...],
    decodable: QuestionResult,
    choosing: Task,
    settings: PreExistenceSettings,
    *,
    seed: int,
) -> Examination:
    task = steered["base"].test.task
    problems = [example.problem for example in task.examples]

    def best(*candidates: SteeringCell) -> SteeringCell:
        # By the first half: chosen on the second, the effect would be that of the best of many.
        return max(candidates, key=lambda cell: cell.gain)

    usable = best(*(c for c in cells if c.steered == "base"))
    # Only a direction found in the base can show something that both models share.
    moved = next(c for c in cells if c.steered == "post" and c.source == "base")
    removed = best(*(c for c in cells if c.want == "ablated"))
    asked = {
        "transferable": (moved, ("random", "token")),
        "usable": (usable, ("random",)),
        "necessary": (removed, ("random",)),
    }
    findings = {"decodable": decodable} | {
        name: judge_cell(name, cell, controls, problems, settings)
        for name, (cell, controls) in asked.items()
    }
    plain = {name: model.unsteered for name, model in steered.items()}
    unsteered = {
        name: (
            estimate_rate(one.reasons, problems, settings),
            estimate_rate(one.opens, problems, settings),
            estimate_rate(one.follows, problems, settings),
        )
        for name, one in plain.items()
    }
    lead = estimate_difference(
        settings.share * plain["post"].reasons, plain["base"].reasons, problems, settings
    )
    verdict, reason = decide(findings, unsteered["base"][0], lead, settings.bound)
    return Examination(
        f"{steered['base'].test.model.name} -> {steered['post'].test.model.name}", task.name, seed,
        settings.declared(len(set(problems)))
        | {"dose_scales": {name: model.dose_scale for name, model in steered.items()}},
        verdict, reason,
        not unsteered["post"][0].upper < settings.bound, findings, unsteered, cells,
        _curves(cells, problems, settings), _items(task, choosing, plain, cells),
    )  # fmt: skip


def _curves(
    cells: tuple[SteeringCell, ...],
    problems: list[str],
    settings: PreExistenceSettings,
) -> tuple[CellDose, ...]:
    rows: list[CellDose] = []
    for cell in cells:
        plain = cell.values(cell.unsteered)
        for dose, outcome in cell.curve.items():
            change = estimate_difference(plain, cell.values(outcome), problems, settings)
            drawn = (cell.random_curve[dose] - plain).mean(1)
            rows.append(
                CellDose(
                    cell.source, cell.steered, cell.metric, dose, change.value, change.low,
                    change.high, float(drawn.min()), float(drawn.max()), dose == cell.dose,
                    change.n,
                )
            )  # fmt: skip
    return tuple(rows)


def _items(
    task: Task, choosing: Task, plain: Mapping[str, ArmOutcome], cells: tuple[SteeringCell, ...]
) -> tuple[Item, ...]:
    """Per example: rates unsteered and in each cell, and the cell's metric under controls."""
    items: list[Item] = []

    def add(reader: str, source: str, condition: str, **metrics: np.ndarray) -> None:
        for metric, values in metrics.items():
            missing = [(example, np.nan, CHOOSING) for example in choosing.examples]
            known = zip(task.examples, values.tolist(), [""] * len(values), strict=True)
            items.extend(
                Item(
                    probe=NAME, task=task.name, example=example.id, problem=example.problem,
                    condition=condition, metric=metric, value=value, writer=reader, reader=reader,
                    source=source, note=note,
                )
                for example, value, note in (*known, *missing)
            )  # fmt: skip

    for reader, one in plain.items():
        add(reader, "", "unsteered", reasons=one.reasons, opens=one.opens)
    for cell in cells:
        one = cell.outcome
        drawn = [values for name, values in cell.controls.items() if name.startswith("random")]
        add(
            cell.steered, cell.source, cell.want, reasons=one.reasons, opens=one.opens,
            **{f"{cell.metric}_random": np.mean(drawn, axis=0)},
        )  # fmt: skip
    return tuple(items)
