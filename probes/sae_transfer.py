"""SAE transfer: does a dictionary of the base model explain the post-trained one, slot by slot?

Both models read the same chains; an SAE trained on the base reconstructs the activations of each
(`interp.methods.saes.transfer` has the formulas). The contrast of readers, post - base, of `error`
is the extra error: what post-training added that the dictionary of the base lacks. It costs one
forward pass per model and text.

Example: the dictionary explains post as well as base at all slots but the last question token:
there, and only there, is something that base never wrote.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from interp.chains.position_classes import ALL, Slots
from interp.methods.directions import collect
from interp.methods.saes.transfer import TransferErrors, transfer_errors
from interp.results.rows import Item
from interp.sites import parse_site
from interp.tasks import Task
from probes.cross_patching import NO_ODDS, PAIR, has_odds, slots_of, strange_answer
from probes.probe import Case, Readers, Record, Traces, cases, not_applicable, unreadable

NO_SAE = "no SAE of the base model was given"
NO_PAIR = "transfer needs a base and a post model"


@dataclass(frozen=True)
class SaeTransfer:
    """Reconstructs both models' activations with an SAE of the base model."""

    name: ClassVar[str] = "sae_transfer"
    title: ClassVar[str] = "The base model's dictionary"
    question: ClassVar[str] = "Does a dictionary of the base model explain the post-trained one?"
    reading: ClassVar[tuple[str, ...]] = (
        "error is the squared error of the SAE at a class of positions, in units of the variance "
        "of the base activations; post - base is what the dictionary lacks.",
        "shift is how far post-training moved the activations, shift_error what of that lies "
        "outside the dictionary, in the same unit.",
        "The first position of a text is left out: its outsized norm hides all others.",
    )

    sae: str = ""
    """Folder of an SAE of sae-lens, trained on the base model; its metadata name the site."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Mean errors of each slot of each chain, for both readers."""
        for reason, is_so in (
            (NO_PAIR, set(readers) != set(PAIR)),
            (NO_SAE, not self.sae),
            (NO_ODDS, not all(has_odds(readers[n], task, e.id) for n in readers
                              for e in task.examples)),
        ):  # fmt: skip
            if is_so:
                return not_applicable(self.name, ALL, "error", reason, readers, task)
        sae = load_sae(self.sae)
        items = unreadable(self.name, ALL, ("error",), readers, task, traces)
        base_only = {"base": readers["base"]}
        found = [case for *_, some in cases(base_only, task, traces, seed=seed) for case in some]
        return (*items, *transfer_items(sae, sae.cfg.metadata.hook_name, readers, task, found))


def load_sae(folder: str) -> Any:
    """An SAE of sae-lens from its folder, in its inference form."""
    with warnings.catch_warnings():
        # sae-lens imports names that TransformerLens calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        from sae_lens import SAE
    return SAE.load_from_disk(folder)


def transfer_items(
    sae: Any, site: str, readers: Readers, task: Task, found: Sequence[Case]
) -> list[Item]:
    """Items of both readers for these cases.

    Args:
        sae: With `encode` and `decode`.
        site: Name of the site that it reads.
        readers: Base and post.
        task: The task.
        found: Cases, whatever their reader.
    """
    items: list[Item] = []
    laid: list[tuple[Case, Slots]] = []
    for case in found:
        slots = slots_of(case, task)
        if slots is not None:
            laid.append((case, slots))
        else:
            items += strange_answer("sae_transfer", "error", task, case)
    if not laid:
        return items
    texts = [slots.ids for _, slots in laid]
    every = [range(1, len(text)) for text in texts]
    at = parse_site(site)
    base, post = (collect(readers[name], texts, every, at).values for name in PAIR)
    errors = transfer_errors(sae, base, post)
    start = -1  # position 0 of a text is not among the activations
    for case, slots in laid:
        for name in PAIR:
            record = Record("sae_transfer", task.name, replace(case, reader=name))
            for slot, positions in slots.positions.items():
                rows = [start + p for p in positions if p > 0]
                if rows:
                    _add(record, slot, name, errors, rows)
            items += record.items
        start += len(slots.ids) - 1
    return items


def _add(
    record: Record, slot: str, reader: str, errors: TransferErrors, rows: Sequence[int]
) -> None:
    record.add(slot, "error", float(getattr(errors, reader)[rows].mean()))
    if reader == "post":
        record.add(slot, "shift", float(errors.shift[rows].mean()))
        record.add(slot, "shift_error", float(errors.shift_error[rows].mean()))
