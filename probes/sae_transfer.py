"""SAE transfer: does an SAE of the base model explain the post-trained one at every position?

Both models read the same chains; an SAE trained on the base reconstructs the activations of each
(`interp.methods.saes.transfer` has the formulas). The contrast of readers, post - base, of `error`
is the extra error: what post-training added that the SAE of the base lacks. It costs one forward
pass per model and text.

Example: the SAE explains post as well as base at all positions but the last question token: there,
and only there, is something that base never wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from interp.chains.position_classes import ALL, POSITION_CLASSES, PositionClasses
from interp.errors import NotMeasurableError
from interp.methods.directions import collect
from interp.methods.saes import load_sae, sae_site
from interp.methods.saes.transfer import Dictionary, TransferErrors, transfer_errors
from interp.organisms.saes.bundled_saes import find_sae, hash_sae
from interp.results.plots import dots
from interp.results.rows import CONTRAST, Item, Measurement
from interp.sites import Site
from interp.stats.kinds import Kind
from interp.tasks import Task
from probes.cases import Case, CaseItems, cases, not_applicable
from probes.cross_patching import NO_CANDIDATE, NO_ODDS, PAIR, WORDS, find_classes, has_odds
from probes.probe import Drawing, Headline, Probe, Readers, Results, Traces
from probes.unreadable import add_unreadable

RECONSTRUCTED = "reconstructed"
"""Condition of all rows."""
NO_PAIR = "transfer needs a base and a post model"


@dataclass(frozen=True)
class SaeTransfer(Probe):
    """Reconstructs both models' activations with an SAE of the base model."""

    name: ClassVar[str] = "sae_transfer"
    title: ClassVar[str] = "The base model's SAE on the post-trained model"
    question: ClassVar[str] = "Does an SAE of the base model explain the post-trained one?"
    reading: ClassVar[tuple[str, ...]] = (
        "error is the squared error of the SAE's reconstruction at a class of positions, in units "
        "of the variance of the base activations. The contrast post - base is what the SAE lacks "
        "of post-training.",
        "shift is how far post-training moved the activations; shift_error is the part of that "
        "which the SAE does not reconstruct. Both are in the same unit.",
        "The first position of a text is left out: its outsized norm would dominate the average.",
    )
    kinds: ClassVar[Mapping[str, Kind]] = dict.fromkeys(("error", "shift", "shift_error"), "real")
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            RECONSTRUCTED, "error",
            "reconstruction error of base's SAE, in variances of base's activations:",
            position=ALL,
        ),
    )  # fmt: skip
    no_truth: ClassVar[str] = "a base's SAE fits post badly where the reasoning did pre-exist, too"

    sae: str = ""
    """Folder of an SAE of the base model, whose metadata name the site; the bundled one, found by
    the model's weights, if empty."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Mean errors at each class of positions of each chain, for both readers."""
        none = partial(not_applicable, self.name, RECONSTRUCTED, "error", readers, task)
        if set(readers) != set(PAIR):
            return none(reason=NO_PAIR)
        # No odds are read here, but `find_position_classes` needs candidates of one token each.
        if not has_odds(readers, task):
            return none(reason=NO_ODDS)
        try:
            folder = Path(self.sae) if self.sae else find_sae(readers["base"])
        except NotMeasurableError as error:
            return none(reason=str(error))
        sae = load_sae(folder)
        # Both readers read the same texts, so the cases of one will do.
        base_only = {"base": readers["base"]}
        readable = [case for *_, some in cases(base_only, task, traces, seed=seed) for case in some]
        items = transfer_items(sae, sae_site(sae), readers, task, readable)
        main = (RECONSTRUCTED, ("error",))
        return add_unreadable(items, self.name, main, readers, task, traces, position=ALL)

    def hash_inputs(self, readers: Readers) -> Mapping[str, str]:
        """Of the SAE, if there is one."""
        return hash_sae(self.sae, readers["base"]) if "base" in readers else {}

    def figures(self, results: Results) -> list[Drawing]:
        """Error of both models by class of positions."""
        names = {name: WORDS[name] for name in POSITION_CLASSES}
        options = {"y": "position", "xlabel": "SAE error (base variances)", "names": names}
        rows = [row for row in _errors(results) if not row.contrast]
        return [Drawing("sae_transfer", dots, rows, options)]

    def describe(self, results: Results) -> list[str]:
        """Error of base and post, and the extra error, by class of positions."""
        lines: dict[tuple[str, str], list[str]] = {}
        for row in _errors(results):
            parts = lines.setdefault((row.task, row.position), [])
            parts.append(f"{row.reader} {row.describe(3)}")
        return [
            f"{task}: SAE error, {WORDS[position]}: {', '.join(parts)}"
            for (task, position), parts in lines.items()
        ]


def _errors(results: Results) -> list[Measurement]:
    """Rows of the error on the compared writer's chains, in the order of the positions."""
    rows = [
        row
        for row in results.rows
        if (row.metric, row.writer) == ("error", results.writer)
        and row.position
        and row.reader in (*PAIR, CONTRAST)
    ]
    return sorted(rows, key=lambda row: POSITION_CLASSES.index(row.position))


def transfer_items(
    sae: Dictionary, site: Site, readers: Readers, task: Task, readable: Sequence[Case]
) -> list[Item]:
    """Items of both readers for these cases.

    Args:
        sae: With `encode` and `decode`.
        site: The site that it reads.
        readers: Base and post.
        task: The task.
        readable: Cases, whatever their reader.
    """
    items: list[Item] = []
    known: list[tuple[Case, PositionClasses]] = []
    for case in readable:
        classes = find_classes(case, task)
        if classes is not None:
            known.append((case, classes))
        else:
            record = CaseItems("sae_transfer", task.name, case)
            nan = float("nan")
            record.add(RECONSTRUCTED, "error", nan, note=NO_CANDIDATE, position=ALL)
            items += record.items
    if not known:
        return items
    texts = [classes.ids for _, classes in known]
    every = [range(1, len(text)) for text in texts]
    base, post = (collect(readers[name], texts, every, site).values for name in PAIR)
    errors = transfer_errors(sae, base, post)
    start = -1  # position 0 of a text is not among the activations
    for case, classes in known:
        for name in PAIR:
            record = CaseItems("sae_transfer", task.name, replace(case, reader=name))
            for position, places in classes.positions.items():
                rows = [start + place for place in places if place > 0]
                if rows:
                    _add(record, position, name, errors, rows)
            items += record.items
        start += len(classes.ids) - 1
    return items


def _add(
    record: CaseItems, position: str, reader: str, errors: TransferErrors, rows: Sequence[int]
) -> None:
    metrics = {"error": getattr(errors, reader)}
    if reader == "post":
        metrics |= {"shift": errors.shift, "shift_error": errors.shift_error}
    for metric, values in metrics.items():
        record.add(RECONSTRUCTED, metric, float(values[rows].mean()), position=position)
