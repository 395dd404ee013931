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
constraints), and infeasible_in_form, an answer in perfect form that is impossible, as a model gives
that learned only the form. Each also with `direct_` before it. Writer and reader are the same.

An answer that never ends is wrong, and has neither form nor feasible content; `finished` is the
share that ends, and `accuracy_if_finished` leaves the others out.

Example: an origin answered right and its form with one operation fewer answered wrong: drop 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from interp.chains.trace import Trace
from interp.results.plots import dots
from interp.results.rows import Item
from interp.stats.kinds import Kind
from interp.tasks import Task
from probes.cases import answer_alone, make_items, not_applicable
from probes.claims import SHIFTED_TASKS
from probes.probe import OWN, Claim, Drawing, Headline, Probe, Readers, Results, Traces
from probes.selection import describe_rows, drop_unasked, pick_rows
from probes.unreadable import NEVER_ENDS

AS_TRAINED = "none"
NO_SHIFTS = "the task has no shifted questions beside their origins"
NO_ORIGIN = "its origin is not among the examples"
PREFIX = {"forced": "", "direct": "direct_"}
"""What stands before a metric's name."""
METRICS: dict[str, Kind] = {
    "accuracy": "binary",
    "finished": "binary",
    "accuracy_if_finished": "binary",
    "drop": "difference",
    "format_valid": "binary",
    "feasible": "binary",
    "infeasible_in_form": "binary",
}
"""Metrics without what stands before them, and their kinds."""
SHIFTS = {
    "none": "as trained",
    "n_minus_1": "one element fewer",
    "depth": "longer",
    "rule": "unknown rule",
}
"""Shifts of the bundled tasks, and how figures write them."""
FIGURES = {
    "accuracy": ("generalisation", "accuracy, chain forced"),
    "drop": ("generalisation_drop", "drop from the origin, chain forced"),
    "infeasible_in_form": ("generalisation_form", "valid form, impossible content"),
}
"""Metric -> file name and axis of its figure."""


@dataclass(frozen=True)
class Generalisation(Probe):
    """Asks each question as trained and in shifted forms."""

    name: ClassVar[str] = "generalisation"
    title: ClassVar[str] = "Generalisation"
    question: ClassVar[str] = "How much of the skill is left when the question is shifted?"
    reading: ClassVar[tuple[str, ...]] = (
        "Accuracy by shift, with the chain opened for the model (accuracy) and without a chain "
        "(direct_accuracy). 'none' is a held-out question as trained; every other form is made "
        "from one of these. Answers that never end count as wrong; accuracy_if_finished leaves "
        "them out, and finished is the share that ends.",
        "Drop: right or wrong (1 or 0) on the origin minus the same on the shifted form, paired by "
        "problem. A model at chance on the origins cannot drop: read it beside accuracy on 'none'.",
        "A shift that takes even the base to chance says nothing about what post-training did. In "
        "the bundled worlds that is 'rule': operations that occur in no training text.",
        "Where form and content can be graded apart: format_valid, feasible, and "
        "infeasible_in_form (valid form, impossible content). A high infeasible_in_form shows a "
        "model that learned only the form.",
    )
    is_in_audit: ClassVar[bool] = True
    kinds: ClassVar[Mapping[str, Kind]] = {
        prefix + metric: kind for prefix in PREFIX.values() for metric, kind in METRICS.items()
    }
    tasks: ClassVar[tuple[str, ...]] = ("arith/shifts",)
    writers: ClassVar[tuple[str, ...]] = ()
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline("none", "accuracy", "accuracy on questions as trained:", writer=OWN),
        Headline("n_minus_1", "drop", "drop of accuracy with one element fewer:", writer=OWN),
    )
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "n_minus_1", "accuracy", "skill", is_primary=True, writer=OWN, tasks=SHIFTED_TASKS
        ),
    )  # fmt: skip

    batch_size: int = 64
    """Questions answered at a time."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Right or wrong in each shift, and the drop from the origin, direct and forced."""
        shifts = [str(example.facts.get("shift", AS_TRAINED)) for example in task.examples]
        if len(set(shifts)) < 2 or AS_TRAINED not in shifts:
            return not_applicable(
                self.name, AS_TRAINED, "accuracy", readers, task, reason=NO_SHIFTS
            )
        items: list[Item] = []
        for reader, model in readers.items():
            own = answer_alone(reader, model, task, traces, seed=seed, batch_size=self.batch_size)
            for mode, prefix in PREFIX.items():
                outcomes = _grade(task, shifts, own[mode])
                for example, shift, metrics in zip(task.examples, shifts, outcomes, strict=True):
                    values = [
                        (shift, prefix + m, v, NO_ORIGIN if m == "drop" else NEVER_ENDS)
                        for m, v in metrics.items()
                    ]
                    items += make_items(
                        self.name, task, example, values, writer=reader, reader=reader
                    )
        return tuple(items)

    def figures(self, results: Results) -> list[Drawing]:
        """Accuracy, drop and form without content, by shift."""
        conditions = tuple(dict.fromkeys([*SHIFTS, *(row.condition for row in results.rows)]))
        return [
            Drawing(
                name, dots,
                drop_unasked(pick_rows(results, (metric,), conditions, writer=OWN)),
                {"xlabel": xlabel, "names": SHIFTS, "chance": metric == "accuracy"},
            )
            for metric, (name, xlabel) in FIGURES.items()
        ]  # fmt: skip

    def describe(self, results: Results) -> list[str]:
        """Accuracy as trained, and the drop of each shift."""
        shifts = dict.fromkeys(row.condition for row in results.rows if row.metric == "drop")
        numbers = (
            (AS_TRAINED, "accuracy", "accuracy on questions as trained"),
            *((s, "drop", f"drop of accuracy, {SHIFTS.get(s, s)}") for s in shifts),
        )
        return describe_rows(results, numbers, writer=OWN)


def _grade(task: Task, shifts: Sequence[str], answers: Sequence[Trace]) -> list[dict[str, float]]:
    """For each example metric -> value: accuracy, the drop if it is shifted, and its grade."""
    origins: dict[str, list[float]] = {}
    for example, shift, trace in zip(task.examples, shifts, answers, strict=True):
        if shift == AS_TRAINED:
            origins.setdefault(example.problem, []).append(float(trace.correct))
    outcomes: list[dict[str, float]] = []
    for example, shift, trace in zip(task.examples, shifts, answers, strict=True):
        right, is_finished = float(trace.correct), trace.status != "truncated"
        metrics = {
            "accuracy": right,
            "finished": float(is_finished),
            "accuracy_if_finished": right if is_finished else float("nan"),
        }
        if shift != AS_TRAINED:
            origin = origins.get(example.problem)
            metrics["drop"] = fmean(origin) - right if origin else float("nan")
        if task.grade is not None:
            graded = task.grade(example, trace.answer)
            valid, feasible = graded if is_finished else (False, False)
            metrics |= {
                "format_valid": float(valid),
                "feasible": float(feasible),
                "infeasible_in_form": float(valid and not feasible),
            }
        outcomes.append(metrics)
    return outcomes
