"""Pre-existence: was the reasoning in the base before post-training?

The 2 x 2 test: directions found in base and in post, each added to base and to post (after Ward et
al. 2025, arXiv 2507.12638), with the difference post - base as a third source and ablation in post.
The behaviour is *reasoning that is right*: a chain opened from the bare question, followed, and
correct. Raising the probability of the opening in a model that then writes nonsense is reported
beside it and counts for nothing.

Modules, in the order of the flow: `settings` (fixed before a run and saved with it), `arms` (one
edit, what is measured), `sources` (where directions come from), `cells` (choose on one half of the
problems, test on the other), `decoding`, `judging` (the four answers and the verdict),
`examining` (one record of all of it).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

from interp.models import ModelPair
from interp.results.rows import Item
from interp.tasks import Task
from probes.pre_existence.examining import Examination, examine
from probes.pre_existence.judging import Finding, Quantity
from probes.pre_existence.settings import Settings
from probes.probe import Readers, Traces, not_applicable

__all__ = ["Examination", "PreExistence", "Settings", "examine", "examined"]
NEEDS_PAIR = "asks about a pair: give a base and a post model"
NO_OPENING = "nothing in the task's layout opens a chain"


@dataclass(frozen=True)
class PreExistence(Settings):
    """Steers base and post by directions of either; its settings are those of the test."""

    name: ClassVar[str] = "pre_existence"
    title: ClassVar[str] = "Pre-existence"
    question: ClassVar[str] = "Was the reasoning in the base before post-training?"
    reading: ClassVar[tuple[str, ...]] = (
        "'reasons' is the probability that the model opens a chain after the bare question, where "
        "the chain and answer that follow are right; 'opens' is that of opening alone. The writer "
        "is where the direction is from, the reader the model that is steered.",
        "'up': pushed towards opening a chain; 'down': away from it; 'ablated': the direction is "
        "projected out. Doses and sites are chosen on one half of the problems; what is shown is "
        "the other half. '_random' is the mean under random directions of the same length, each "
        "at the dose that it chose by the same rule.",
        "A direction that raises 'opens' and not 'reasons' has found the token that opens a chain "
        "in a model that cannot follow it. A base direction that lowers 'opens' in post no further "
        "than the token's own direction does says nothing of reasoning that both share.",
    )

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Rates unsteered, steered and ablated on the second half of the problems."""
        del traces
        reason = NEEDS_PAIR if set(readers) != {"base", "post"} else ""
        reason = reason or ("" if task.layout.think_open else NO_OPENING)
        if reason:
            return not_applicable(self.name, "unsteered", "reasons", reason, readers, task)
        return examine(readers["base"], readers["post"], task, self.settings, seed=seed).items

    @property
    def settings(self) -> Settings:
        """The settings alone."""
        return Settings(**{field.name: getattr(self, field.name) for field in fields(Settings)})


def examined(
    pair: ModelPair, task: Task, out: Path, settings: Settings | None = None, *, seed: int = 0
) -> list[str]:
    """Examines a pair, writes record and figure, and says what was found, in lines.

    Args:
        pair: Base and post.
        task: The questions.
        out: Folder of pre_existence.json and of the figure.
        settings: Fixed beforehand; the declared defaults where not given.
        seed: Of random directions, probes and bootstrap.

    Returns:
        Lines to print.

    Raises:
        ValueError: The task has too few problems, or nothing opens a chain.
    """
    from interp.results.plots import save
    from interp.results.plots.cells import four_cells

    found = examine(pair.base, pair.post, task, settings or Settings(), seed=seed)
    record = found.write(out)
    save(four_cells(found.curves), out, "pre_existence")
    return [*lines(found), f"Written: {record}"]


def lines(found: Examination) -> list[str]:
    """An examination in words and numbers."""
    shown = [f"{found.pair}, {found.task}: {found.verdict} ({found.reason})"]
    if not found.is_explained:
        shown.append("  post does not reason either: the pair has nothing to explain")
    for name, (right, opens) in found.unsteered.items():
        shown.append(f"  {name} unsteered: reasons {_said(right)}, opens {_said(opens)}")
    shown += [f"  {_described(finding)}" for finding in found.findings.values()]
    for cell in found.cells:
        before, after = cell.unsteered, cell.outcome
        shown.append(
            f"  {cell.source} direction in {cell.steered}, {cell.want} ({cell.site}, dose "
            f"{cell.dose:g}): reasons {before.reasons.mean():.2f} -> {after.reasons.mean():.2f}, "
            f"opens {before.opens.mean():.2f} -> {after.opens.mean():.2f}, KL {after.kl.mean():.3f}"
        )
    declared = found.declared
    shown.append(
        f"  chosen on one half, tested on {declared['n_test']} problems; effects below "
        f"{declared['bound']:g} count as none; smallest effect found with power "
        f"{declared['power']:g}: {declared['minimal_detectable_effect']:.2f} at most"
    )
    return shown


def _described(finding: Finding) -> str:
    excess = finding.excess
    over = f" (over {finding.control}: {_said(excess)})" if excess else f" ({finding.control})"
    return f"{finding.name}: {finding.answer}; {_said(finding.effect)}{over}; {finding.where}"


def _said(one: Quantity) -> str:
    return f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"
