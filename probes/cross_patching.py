"""Cross-model patching: at which positions does what post-training changed have its place?

Both models of a pair read one text. At one class of positions (`interp.chains.position_classes`)
the residual stream of one model is replaced by that of the other, at one layer or at all, and the
patched model's log-odds are read at three kinds of places: *mode* (open a chain, or answer), *step*
(the result of a step), *answer*. After cross-model activation patching (Prakash et al. 2024, arXiv
2402.14811), with positions in the place of heads. For example i with donor value d_i, own value o_i
and patched value p_i, in nats:

    gap_i = |d_i - o_i|        moved_i = (p_i - o_i) * sign(d_i - o_i)
    recovered = sum_i moved_i / sum_i gap_i

so 1 is a patched model that predicts as the donor does, and examples count by how much the models
differ on them. The reader is the model that is patched: reader base is post put into base, what
helps it; reader post is base put into post, what it loses.

A patch changes nothing before it: a chain's slots cannot move the mode, so those cells do not
exist. All positions at all layers leave only the last norm and the unembedding of the patched
model, so what is missing from 1 there is what post-training did to *them*.

Example: if GRPO changed only the decision to think, patching the last question token recovers the
mode, and there is no gap at the steps that could be recovered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from interp.chains.chain import encode_answer
from interp.chains.position_classes import ALL, MODE, READS, SLOTS, Slots, find_slots
from interp.engine import run
from interp.methods.patching import Donor
from interp.methods.patching.spans import JOINTLY, PatchedSpans, patch_spans
from interp.models import Model
from interp.results.rows import Item, Ratio
from interp.tasks import Task
from probes.model_names import find_model
from probes.probe import Case, Readers, Record, Traces, cases, not_applicable, unreadable

PAIR = ("base", "post")
CONTROL, IDENTITY, PLAIN = " from control", "identity", "plain"
CONDITIONS = (*SLOTS, *(f"{slot}{CONTROL}" for slot in SLOTS))
RATIOS = tuple(
    Ratio("cross_patching", condition, f"{read}_recovered", f"{read}_moved", f"{read}_gap")
    for condition in CONDITIONS
    for read in READS
)
NO_PAIR = "patching across a pair needs a base and a post model"
NO_CANDIDATE = "the writer's answer is none of the candidates"
NO_ODDS = "the answers of this task are not candidates of one token each"


@dataclass(frozen=True)
class CrossPatching:
    """Puts activations of one model of a pair into the other, one class of positions at a time."""

    name: ClassVar[str] = "cross_patching"
    title: ClassVar[str] = "Patching across the pair"
    question: ClassVar[str] = "At which positions does what post-training changed have its place?"
    reading: ClassVar[tuple[str, ...]] = (
        "One class of positions of one model takes the activations of the other; `recovered` is "
        "how far predictions move to the donor's (1: all the way). The reader is the patched "
        "model. Step is the layer; -1 patches all layers jointly.",
        "Mode is the choice to open a chain; step and answer are the odds of a result and of the "
        "answer. Log-odds differ even where both models are certain: a gap tells of behaviour only "
        "where the plain probabilities of the readers differ.",
        "Patched shortly before a readout, any donor transports its prediction: recovery there "
        "does not say where the change is computed. Compare with the control and with slots "
        "further back.",
    )

    control: str = ""
    """A model after another post-training, as find_model names it: a donor that should not recover
    what is particular to this pair."""

    def _control(self, like: Model) -> Model | None:
        if not self.control:
            return None
        dtype = str(like.dtype).removeprefix("torch.")
        return find_model(self.control, device=str(like.device), dtype=dtype)

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Gap and movement of each readout for each text, slot and layer, in both directions."""
        none = partial(not_applicable, self.name, ALL, f"{MODE}_moved", readers=readers, task=task)
        if set(readers) != set(PAIR):
            return none(reason=NO_PAIR)
        if not all(has_odds(readers["base"], task, example.id) for example in task.examples):
            return none(reason=NO_ODDS)
        control = self._control(readers["base"])
        items = unreadable(self.name, ALL, (f"{MODE}_moved",), readers, task, traces)
        for reader, _, model, found in cases(readers, task, traces, seed=seed):
            (giver,) = (readers[name] for name in PAIR if name != reader)
            donors = {"": giver} | ({CONTROL: control} if control else {})
            for case in found:
                slots = slots_of(case, task)
                items += (
                    _items(task, case, slots, model, donors)
                    if slots is not None
                    else strange_answer(self.name, f"{MODE}_moved", task, case)
                )
        return tuple(items)


def has_odds(model: Model, task: Task, example_id: str) -> bool:
    """Whether an example's candidates are single tokens, at least two."""
    example = next(example for example in task.examples if example.id == example_id)
    each = [encode_answer(model.tokenizer, task.layout, text) for text in example.candidates]
    return len(each) > 1 and all(len(ids) == 1 for ids in each)


def slots_of(case: Case, task: Task) -> Slots | None:
    """The slots of a trace with its own answer; None if that is no candidate."""
    if case.trace.answer_ids not in case.candidates:
        return None
    return find_slots(
        case.tokenizer,
        case.layout,
        task.rewriter,
        case.trace.prompt_ids,
        case.chain,
        case.trace.answer_ids,
        case.candidates,
    )


def strange_answer(probe: str, metric: str, task: Task, case: Case) -> list[Item]:
    """The item of a trace whose answer has no odds."""
    record = Record(probe, task.name, case)
    record.add(ALL, metric, float("nan"), note=NO_CANDIDATE)
    return record.items


def _items(
    task: Task, case: Case, slots: Slots, model: Model, donors: Mapping[str, Model]
) -> list[Item]:
    record = Record(CrossPatching.name, task.name, case)
    whole = {ALL: slots.positions[ALL]}
    itself = patch_spans(model, slots.ids, Donor(model, slots.ids), whole)
    _add(record, slots, itself, itself.plain, {ALL: IDENTITY})
    for read in slots.readouts:
        record.add(PLAIN, f"{read}_probability", float(slots.read(read, itself.plain).sigmoid()))
    (partner,) = run(donors[""], [slots.ids]).logits
    for suffix, giver in donors.items():
        names = {slot: f"{slot}{suffix}" for slot in slots.positions}
        found = patch_spans(model, slots.ids, Donor(giver, slots.ids), slots.positions)
        _add(record, slots, found, partner, names)
    return record.items


def _add(
    record: Record,
    slots: Slots,
    found: PatchedSpans,
    donor: Float[Tensor, "pos d_vocab"],
    names: Mapping[str, str],
) -> None:
    """Gap and movement, towards the donor of the pair, of every readout that a patch can reach."""
    for read in slots.readouts:
        own = float(slots.read(read, found.plain))
        whole = float(slots.read(read, donor)) - own
        sign = -1.0 if whole < 0 else 1.0
        for (slot, layer), logits in found.patched.items():
            if not slots.reaches(slot, read):
                continue
            moved = (float(slots.read(read, logits)) - own) * sign
            step = -1 if layer == JOINTLY else layer
            record.add(names[slot], f"{read}_moved", moved, step=step)
            record.add(names[slot], f"{read}_gap", abs(whole), step=step)
