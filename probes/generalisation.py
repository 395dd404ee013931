"""Generalisation: what is left of the skill when the question is shifted?

Asked of tasks whose examples say how they differ from what was trained on (``facts["shift"]``):
``none`` for a held-out question as trained, and for example ``n_minus_1`` (one element removed,
the procedure unchanged), ``depth`` (longer than trained) or ``rule`` (an element that training
never showed). Shifted forms share the problem of their origin, so they are compared with *it*:

* accuracy in each shift, made to think, and direct_accuracy without a chain;
* drop = origin right (0 or 1) minus shifted form right, made to think; direct_drop likewise.
  SFT memorises, RL generalises (Chu et al. 2025, arXiv 2501.17161) would show as a larger drop.

Where the form of an answer and its content come apart (`Task.grade`), they are reported apart
(after Bernier et al. 2026, arXiv 2603.23004): format_valid, feasible (possible under the question's
constraints), and infeasible_in_form, an answer in perfect form that cannot be, which is what a
model shows that has learned the form alone. Each also with `direct_` before it. Writer and reader
are the same.

Example: an origin answered right and its form with one operation fewer answered wrong: drop 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from interp.chains.trace import Trace
from interp.results.rows import Item
from interp.tasks import Task
from probes.probe import Readers, Traces, not_applicable, own_answers

AS_TRAINED = "none"
NO_SHIFTS = "the task has no shifted questions beside their origins"
NO_ORIGIN = "its origin is not among the examples"
PREFIX = {"forced": "", "direct": "direct_"}
"""What stands before a metric's name."""


@dataclass(frozen=True)
class Generalisation:
    """Asks each question as trained and in shifted forms."""

    name: ClassVar[str] = "generalisation"
    title: ClassVar[str] = "Generalisation"
    question: ClassVar[str] = "What is left of the skill when the question is shifted?"
    reading: ClassVar[tuple[str, ...]] = (
        "Accuracy by shift, made to think (accuracy) and without a chain (direct_accuracy). "
        "'none' is a held-out question as trained; every other form is made from one of these.",
        "Drop: the origin's 0 or 1 minus the shifted form's, paired by problem. A model at chance "
        "on the origins has nothing to lose: read it beside the accuracy there.",
        "A shift that takes even the base to chance ('rule' in the bundled worlds: operations "
        "that no training showed) says nothing about what post-training did.",
        "Where form and content can be told apart: format_valid, feasible, and infeasible_in_form "
        "(perfect form, impossible content), which a model shows that learned the form alone.",
    )

    batch_size: int = 64
    """Questions answered at a time."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Right or wrong in each shift, and the drop from the origin, direct and forced."""
        shifts = [str(example.facts.get("shift", AS_TRAINED)) for example in task.examples]
        if len(set(shifts)) < 2 or AS_TRAINED not in shifts:
            return not_applicable(self.name, AS_TRAINED, "accuracy", NO_SHIFTS, readers, task)
        items: list[Item] = []
        for reader, model in readers.items():
            own = own_answers(reader, model, task, traces, seed=seed, batch_size=self.batch_size)
            for mode, prefix in PREFIX.items():
                found = _outcomes(task, shifts, own[mode])
                for example, shift, values in zip(task.examples, shifts, found, strict=True):
                    items += [
                        Item(
                            self.name, reader, reader, task.name, example.id, example.problem,
                            shift, prefix + metric, value,
                            note=NO_ORIGIN if value != value else "",
                        )
                        for metric, value in values
                    ]  # fmt: skip
        return tuple(items)


def _outcomes(
    task: Task, shifts: Sequence[str], answers: Sequence[Trace]
) -> list[list[tuple[str, float]]]:
    """By example: right or not, the drop if it is shifted, its grade if there is one."""
    origins: dict[str, list[float]] = {}
    for example, shift, trace in zip(task.examples, shifts, answers, strict=True):
        if shift == AS_TRAINED:
            origins.setdefault(example.problem, []).append(float(trace.correct))
    found: list[list[tuple[str, float]]] = []
    for example, shift, trace in zip(task.examples, shifts, answers, strict=True):
        values = [("accuracy", float(trace.correct))]
        if shift != AS_TRAINED:
            origin = origins.get(example.problem)
            drop = fmean(origin) - float(trace.correct) if origin else float("nan")
            values.append(("drop", drop))
        if task.grade is not None:
            valid, feasible = task.grade(example, trace.answer)
            values += [
                ("format_valid", float(valid)),
                ("feasible", float(feasible)),
                ("infeasible_in_form", float(valid and not feasible)),
            ]
        found.append(values)
    return found
