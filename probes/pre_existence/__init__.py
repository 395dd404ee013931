"""Pre-existence: was the reasoning in the base before post-training?

The 2 x 2 test: directions found in base and in post, each added to base and to post (after Ward et
al. 2025, arXiv 2507.12638), with the difference post - base as a third source, and ablation in
post. The behaviour that counts is *reasoning that is right*: the model opens a chain after the bare
question, the chain is valid, and the answer that follows it is right. A direction that only raises
the probability of the opening, in a model that then writes nonsense, does not count; this
probability is reported beside it.

Example: base -> grpo. The base reasons in 8 % of its texts, with its own direction added in 100 %,
with the best of 19 random directions in 44 %: the verdict is *latent-usable*.

Modules, in the order in which they are used: `settings` (fixed before a run), `arms` (one edit and
what is measured under it), `directions` (which model each comes from), `steering_cells` (choose on
one half of the problems, test on the other), `decodability`, `verdict` (four questions and what
they amount to), `examination` (one record of all of it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from interp.errors import NotMeasurableError
from interp.results.plots.steering_cells import CellDose, four_cells
from interp.results.rows import Item
from interp.results.run_folder import Part
from interp.stats.kinds import Kind
from interp.stats.proportion_intervals import describe_interval
from interp.tasks import Task
from probes.cases import not_applicable
from probes.pre_existence.examination import Examination, examine
from probes.pre_existence.settings import PreExistenceSettings
from probes.probe import OWN, Claim, Drawing, Headline, Probe, Readers, Results, Traces

__all__ = ["Examination", "PreExistence", "PreExistenceSettings", "describe_record", "examine"]
NEEDS_PAIR = "asks about a pair: give a base and a post model"


@dataclass(frozen=True)
class PreExistence(PreExistenceSettings, Probe):
    """Steers base and post by directions of either; its settings are those of the test."""

    name: ClassVar[str] = "pre_existence"
    title: ClassVar[str] = "Pre-existence"
    question: ClassVar[str] = "Was the reasoning in the base before post-training?"
    reading: ClassVar[tuple[str, ...]] = (
        "'reasons' is the probability that the model opens a chain after the bare question, "
        "counted only where the chain and the answer that follow are right. 'opens' is the "
        "probability of opening alone. The source is the model from which the direction comes "
        "('pair': post minus base), the reader the model that is steered.",
        "'up': steered towards opening a chain. 'down': away from it. 'ablated': the direction is "
        "projected out. Doses and sites are chosen on one half of the problems, and the numbers "
        "are from the other half. '_random' is the mean under random directions of the same "
        "length, each at its own best dose, chosen by the same rule.",
        "A direction that raises 'opens' and not 'reasons' has found the token that opens a chain "
        "in a model that cannot go on. A base direction that lowers 'opens' in post no further "
        "than the direction of that token is no evidence of reasoning that both models share.",
    )
    writers: ClassVar[tuple[str, ...]] = ()
    # An alpha of .25 is the smallest that three random directions can reach.
    check_settings: ClassVar[Mapping[str, Any]] = {
        "doses": (1.0,), "layers": (2,), "alpha": 0.25, "n_random": 3
    }  # fmt: skip
    kinds: ClassVar[Mapping[str, Kind]] = dict.fromkeys(
        ("reasons", "opens", "reasons_random", "opens_random"), "share"
    )
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            "up", "reasons", "steered along its own direction, base reasons rightly in",
            reader="base", writer=OWN, source="base",
        ),
    )  # fmt: skip
    claims: ClassVar[tuple[Claim, ...]] = tuple(
        Claim(
            "up", metric, "pre_existing", is_primary=metric == "reasons", writer=OWN,
            reader="base", source="base",
        )
        for metric in ("reasons", "opens")
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Checks its own numbers, and those of any probe."""
        Probe.__post_init__(self)
        PreExistenceSettings.__post_init__(self)

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Rates unsteered, steered and ablated on the second half of the problems."""
        del traces
        return self._examine(readers, task, seed).items

    def examine(
        self, readers: Readers, task: Task, traces: Traces, *, seed: int, folder: Path
    ) -> Part:
        """The rates, with answers, verdict and curves as the record."""
        del traces, folder
        return self._examine(readers, task, seed)

    def _examine(self, readers: Readers, task: Task, seed: int) -> Part:
        try:
            if set(readers) != {"base", "post"}:
                raise NotMeasurableError(NEEDS_PAIR)
            examination = examine(readers["base"], readers["post"], task, self, seed=seed)
        except NotMeasurableError as error:
            reason = str(error)
            return Part(
                not_applicable(self.name, "unsteered", "reasons", readers, task, reason=reason)
            )
        return Part(examination.items, examination.record())

    def describe(self, results: Results) -> list[str]:
        """Verdict, answers and cells of each task."""
        records = [results.records[task] for task in results.tasks if results.records.get(task)]
        return [line for record in records for line in describe_record(record)]

    def figures(self, results: Results) -> list[Drawing]:
        """Effect against dose in each cell, a figure for each task."""
        is_one = len(results.tasks) == 1
        return [
            Drawing(
                self.name if is_one else f"{self.name}_{task.replace('/', '-')}",
                four_cells,
                [CellDose(**row) for row in record["curves"]],
            )
            for task, record in results.records.items()
            if record
        ]


def describe_record(record: Mapping[str, Any]) -> list[str]:
    """An examination in words and numbers.

    Args:
        record: Of `Examination.record`.
    """
    lines = [f"{record['pair']}, {record['task']}: {record['verdict']} ({record['reason']})"]
    if not record["is_explained"]:
        lines.append("  post does not reason either: the pair has nothing to explain")
    for name, rates in record["unsteered"].items():
        reasons, opens = _interval(rates["reasons"]), _interval(rates["opens"])
        once = _interval(rates["once_opened"])
        lines.append(
            f"  {name} unsteered: reasons {reasons}, opens {opens}; reasons once its chain is "
            f"opened for it {once}"
        )
    for result in record["findings"].values():
        control = result["control"]
        if result["excess"]:
            control = f"over {control}: {_interval(result['excess'])}"
        lines.append(
            f"  {result['name']}: {result['answer']}; {_interval(result['effect'])} ({control}); "
            f"{result['where']}"
        )
    for cell in record["cells"]:
        changes = ", ".join(
            f"{metric} {cell[metric][0]:.2f} -> {cell[metric][1]:.2f}"
            for metric in ("reasons", "opens")
        )
        lines.append(
            f"  {cell['source']} direction in {cell['steered']}, {cell['want']} ({cell['site']}, "
            f"dose {cell['dose']:g}): {changes}, KL {cell['kl']:.3f}"
        )
    declared = record["declared"]
    scales = {name: scale for name, scale in declared["dose_scales"].items() if scale != 1}
    if scales:
        said = ", ".join(f"{name} {scale:.3g}" for name, scale in scales.items())
        lines.append(f"  doses were scaled to stay within the budget of KL: {said}")
    return [
        *lines,
        f"  chosen on one half, tested on {declared['n_test']} problems; effects below "
        f"{declared['bound']:g} count as none; smallest effect found with power "
        f"{declared['power']:g}: {declared['minimal_detectable_effect']:.2f} at most",
    ]


def _interval(quantity: Mapping[str, float]) -> str:
    return describe_interval(quantity["value"], quantity["low"], quantity["high"])
