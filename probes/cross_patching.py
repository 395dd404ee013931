"""Cross-model patching: at which token positions is the effect of post-training located?

Both models of a pair read one text. At one class of positions (`interp.chains.position_classes`)
the residual stream of one model is replaced by that of the other, at one layer or at all, and the
patched model's log-odds are read at three kinds of places: *mode* (open a chain, or answer), *step*
(the result of a step), *answer*. After cross-model activation patching (Prakash et al. 2024, arXiv
2402.14811), with positions in the place of heads. For example i with donor value d_i, own value o_i
and patched value p_i, in nats:

    gap_i = |d_i - o_i|        moved_i = (p_i - o_i) * sign(d_i - o_i)
    recovered = sum_i moved_i / sum_i gap_i

so 1 is a patched model that predicts as the donor does, and examples count by how much the models
differ on them. The reader is the model that is patched: with reader base, activations of post are
put into base, and recovered is what they give it; with reader post it is what base's take away.

Conditions: *patched*, from the other model of the pair; *control*, from a third model, on the scale
of the pair; *identity*, from the model itself, which must move nothing; *plain*, unpatched. A row
has the class of positions and the layer, and no layer where all are patched jointly.

A patch changes nothing before it: no position of the chain can move the mode, so there are no such
rows. All positions at all layers leave only the last norm and the unembedding of the patched
model, so what is missing from 1 there is what post-training did to *them*.

Example: if GRPO changed only the decision to think, patching the last question token recovers the
mode, and there is no gap at the steps that could be recovered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from interp.chains.chain import encode_answer
from interp.chains.position_classes import (
    ALL,
    ANSWER,
    CUE,
    EQUALS,
    LAST,
    MODE,
    OPERANDS,
    POSITION_CLASSES,
    QUESTION,
    READS,
    RESULTS,
    STEP,
    PositionClasses,
    find_position_classes,
)
from interp.engine import run
from interp.methods.patching import Donor
from interp.methods.patching.span_patching import JOINTLY, PatchedSpans, patch_spans
from interp.models import Model
from interp.models.identity import describe_model
from interp.results.plots import curve, dots
from interp.results.rows import Item, Measurement, Ratio
from interp.stats.kinds import Kind
from interp.tasks import Task
from interp.tasks.presentation import present
from probes.cases import Case, CaseItems, cases, not_applicable
from probes.model_names import find_model
from probes.probe import Drawing, Headline, Probe, Readers, Results, Traces
from probes.unreadable import add_unreadable

PAIR = ("base", "post")
PATCHED, CONTROL, IDENTITY, PLAIN = "patched", "control", "identity", "plain"
ALONG_LAYERS = {
    MODE: (QUESTION, LAST, ALL),
    STEP: (OPERANDS, EQUALS, ALL),
    ANSWER: (LAST, RESULTS, CUE, ALL),
}
"""For each readout the classes that are drawn along the layers: those before it, and all."""
WORDS = {
    **{name: name.replace("_", " ") for name in POSITION_CLASSES},
    ALL: "all positions",
    MODE: "opening a chain",
    STEP: "step results",
    ANSWER: "answer",
    "base": "post into base",
    "post": "base into post",
}
NO_PAIR = "patching across a pair needs a base and a post model"
NO_CANDIDATE = "the writer's answer is none of the candidates"
NO_ODDS = "the answers of this task are not candidates of one token each"


@dataclass(frozen=True)
class CrossPatching(Probe):
    """Puts activations of one model of a pair into the other, one class of positions at a time."""

    name: ClassVar[str] = "cross_patching"
    title: ClassVar[str] = "Patching across the pair"
    question: ClassVar[str] = "At which token positions is the effect of post-training located?"
    reading: ClassVar[tuple[str, ...]] = (
        "One class of positions of one model takes the activations of the other model, at one "
        "layer, or at all layers where the row names none. The reader is the patched model. "
        "`recovered` is how far its predictions move to the donor's (1: all the way).",
        "Mode is the choice to open a chain; step and answer are the log-odds of the result of a "
        "step and of the answer. Log-odds differ even where both models are certain. So a gap "
        "matters for behaviour only where the plain probabilities of the two models differ.",
        "A patch shortly before the place where a prediction is read carries the donor's "
        "prediction along. Recovery there does not show where the change is computed. Compare "
        "with the control donor and with earlier positions.",
    )
    kinds: ClassVar[Mapping[str, Kind]] = {
        **{f"{read}_{what}": "real" for read in READS for what in ("moved", "gap")},
        **{f"{read}_probability": "share" for read in READS},
    }
    ratios: ClassVar[tuple[Ratio, ...]] = tuple(
        Ratio("cross_patching", f"{read}_recovered", f"{read}_moved", f"{read}_gap")
        for read in READS
    )
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            PATCHED, f"{MODE}_recovered",
            "share of the gap in the choice to think that base recovers with post's activations "
            "at the last question token:",
            reader="base", position=LAST,
        ),
    )  # fmt: skip
    no_truth: ClassVar[str] = (
        "a patch at a readout carries the donor's prediction wherever it was computed, so it "
        "claims no pre-existence"
    )

    control: str = ""
    """A model after another post-training, as find_model names it: a donor that should not recover
    what is particular to this pair."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Gap and movement of each readout for each text, position class and layer, both ways."""
        moved = f"{MODE}_moved"
        none = partial(not_applicable, self.name, PATCHED, moved, readers, task)
        if set(readers) != set(PAIR):
            return none(reason=NO_PAIR)
        if not has_odds(readers, task):
            return none(reason=NO_ODDS)
        control = self._control(readers["base"])
        items: list[Item] = []
        for reader, _, model, readable in cases(readers, task, traces, seed=seed):
            (giver,) = (readers[name] for name in PAIR if name != reader)
            donors = {PATCHED: giver} | ({CONTROL: control} if control else {})
            for case in readable:
                classes = find_classes(case, task)
                if classes is None:
                    record = CaseItems(self.name, task.name, case)
                    record.add(PATCHED, moved, float("nan"), note=NO_CANDIDATE, position=ALL)
                    items += record.items
                else:
                    items += _items(task, case, classes, model, donors)
        main = (PATCHED, (moved,))
        return add_unreadable(items, self.name, main, readers, task, traces, position=ALL)

    def _control(self, like: Model) -> Model | None:
        if not self.control:
            return None
        dtype = str(like.dtype).removeprefix("torch.")
        return find_model(self.control, device=str(like.device), dtype=dtype)

    def hash_inputs(self, readers: Readers) -> Mapping[str, str]:
        """Of the control donor."""
        control = self._control(next(iter(readers.values())))
        about = {} if control is None else describe_model(control)
        return {f"control {name}": value for name, value in about.items()}

    def figures(self, results: Results) -> list[Drawing]:
        """Recovered at each class of positions, all layers jointly, and along the layers."""
        drawings: list[Drawing] = []
        for read in READS:
            rows = _recovered(results, f"{read}_recovered")
            label = f"recovered: {WORDS[read]}"
            jointly = [row for row in rows if row.layer is None]
            along = [
                row
                for row in rows
                if row.layer is not None
                and row.reader == "base"
                and row.position in ALONG_LAYERS[read]
            ]
            drawings += [
                Drawing(
                    f"cross_patching_{read}", dots, jointly,
                    {"y": "position", "xlabel": label, "names": WORDS},
                ),
                Drawing(
                    f"cross_patching_{read}_layers", curve, along,
                    {"by": "position", "x": "layer", "xlabel": "layer (post into base)",
                     "ylabel": label, "names": WORDS},
                ),
            ]  # fmt: skip
        return drawings

    def describe(self, results: Results) -> list[str]:
        """Recovered by class of positions, all layers jointly."""
        lines: dict[tuple[str, str, str], list[str]] = {}
        for read in READS:
            for row in _recovered(results, f"{read}_recovered"):
                if row.layer is None:
                    key = (row.task, row.reader, row.position)
                    lines.setdefault(key, []).append(f"{read} {row.describe()}")
        return [
            f"{task}: {WORDS[reader]}, {WORDS[position]}, all layers: gap recovered "
            f"{', '.join(parts)}"
            for (task, reader, position), parts in sorted(lines.items(), key=_order)
        ]


def _order(line: tuple[tuple[str, str, str], list[str]]) -> tuple[str, str, int]:
    (task, reader, position), _ = line
    return task, reader, POSITION_CLASSES.index(position)


def _recovered(results: Results, metric: str) -> list[Measurement]:
    """Rows of one ratio on the compared writer's chains, in the order of the positions."""
    rows = [
        row
        for row in results.rows
        if (row.condition, row.metric, row.writer) == (PATCHED, metric, results.writer)
        and row.reader in PAIR
    ]
    return sorted(rows, key=lambda row: POSITION_CLASSES.index(row.position))


def has_odds(readers: Readers, task: Task) -> bool:
    """Whether the candidates of every example are single tokens, at least two, to each reader."""
    return all(
        len(example.candidates) > 1
        and all(
            len(encode_answer(model.tokenizer, layout, text)) == 1 for text in example.candidates
        )
        for model in readers.values()
        for layout in [present(task, model).layout]
        for example in task.examples
    )


def find_classes(case: Case, task: Task) -> PositionClasses | None:
    """The position classes of a trace with its own answer; None if that is no candidate."""
    if case.trace.answer_ids not in case.candidates:
        return None
    return find_position_classes(
        case.tokenizer,
        case.layout,
        task.rewriter,
        case.trace.prompt_ids,
        case.chain,
        case.trace.answer_ids,
        case.candidates,
    )


def _items(
    task: Task, case: Case, classes: PositionClasses, model: Model, donors: Mapping[str, Model]
) -> Sequence[Item]:
    record = CaseItems(CrossPatching.name, task.name, case)
    everywhere = {ALL: classes.positions[ALL]}
    itself = patch_spans(model, classes.ids, Donor(model, classes.ids), everywhere)
    _add(record, IDENTITY, classes, itself, itself.plain)
    for read in classes.readouts:
        probability = float(classes.read(read, itself.plain).sigmoid())
        record.add(PLAIN, f"{read}_probability", probability)
    (partner,) = run(donors[PATCHED], [classes.ids]).logits
    for condition, giver in donors.items():
        patched = patch_spans(model, classes.ids, Donor(giver, classes.ids), classes.positions)
        _add(record, condition, classes, patched, partner)
    return record.items


def _add(
    record: CaseItems,
    condition: str,
    classes: PositionClasses,
    spans: PatchedSpans,
    donor: Float[Tensor, "pos d_vocab"],
) -> None:
    """Gap and movement, towards the donor of the pair, of every readout that a patch can reach."""
    for read in classes.readouts:
        own = float(classes.read(read, spans.plain))
        whole = float(classes.read(read, donor)) - own
        # Not 0 without a gap: a patch that moves such a readout must still be counted.
        sign = -1.0 if whole < 0 else 1.0
        for (position, patched_layer), logits in spans.patched.items():
            if not classes.reaches(position, read):
                continue
            moved = (float(classes.read(read, logits)) - own) * sign
            layer = None if patched_layer == JOINTLY else patched_layer
            record.add(condition, f"{read}_moved", moved, position=position, layer=layer)
            if condition != IDENTITY:  # a model has no gap to itself, so nothing to recover
                record.add(condition, f"{read}_gap", abs(whole), position=position, layer=layer)
