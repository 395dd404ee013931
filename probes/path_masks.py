"""Path masks: along which path does the answer get its information?

The text is cut into prompt P, chain C and answer A (the answer begins with what closes the
chain). The same weights read it under attention masks that close one path each (the test of
arXiv 2605.24286, our own implementation):

* full: nothing closed;
* via_cot: the answer may not attend to the prompt, so the prompt reaches it through C only;
* no_cot: no token attends to C;
* no_prompt: no token attends to P;
* sink_only: both closed, the control.

The first tokens of the text stay visible under every mask. Models park attention on them (the
attention sink), and hiding them moves the answer for reasons that have nothing to do with content.

Per answer token, then averaged, between the distributions of the next token:

* direct effect = D(full, via_cot): what the prompt does past the chain. Low: the chain mediates;
* necessity = D(full, no_cot): what the chain does;
* leakage = D(via_cot, no_prompt): what the chain carries over from the prompt;

with D the Jensen-Shannon divergence (`_js`, 0 to ln 2 nats) and KL (`_kl`, in the order written).
KL has no upper bound and is dominated by near-certain tokens; read JS first. `cot_share` is
necessity / (necessity + direct effect), in JS: 1 when the answer hangs on the chain alone.

Where the question is asked by demonstrations (few-shot text), they are part of the prompt and are
closed with it.

Example: a reader that copies the last result of the chain has direct effect 0 and a large
necessity, cot_share 1. One that has memorised the answer to the question: the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from interp.chains.answer_scoring import chain_ids
from interp.methods.attention import PathRow, path_logprobs
from interp.results.plots import dots
from interp.results.rows import Item
from interp.stats.divergences import jensen_shannon, kullback_leibler
from interp.stats.kinds import Kind
from interp.tasks import Task
from probes.cases import Case, CaseItems, cases, unreadable
from probes.claims import reliance_claims
from probes.probe import Claim, Drawing, Headline, Probe, Readers, Reliance, Results, Traces
from probes.selection import describe_rows, drop_unasked, pick_rows

EFFECTS = {
    "direct_effect": ("full", "via_cot"),
    "necessity": ("full", "no_cot"),
    "leakage": ("via_cot", "no_prompt"),
    "sink_control": ("full", "sink_only"),
}
NAMES = {
    "direct_effect_js": "direct effect",
    "necessity_js": "necessity",
    "leakage_js": "leakage",
    "sink_control_js": "control",
}
"""Metrics that the figure shows, and how it writes them."""
NO_EFFECT = "neither path moves the answer"
NOISE = 1e-5
"""Divergence (nats) below which two float32 distributions cannot be told apart."""


@dataclass(frozen=True)
class PathMasks(Probe):
    """Closes the paths prompt -> answer and chain -> answer, one at a time."""

    name: ClassVar[str] = "path_masks"
    title: ClassVar[str] = "Attention paths"
    question: ClassVar[str] = "Does the answer draw on the chain, or on the prompt directly?"
    reading: ClassVar[tuple[str, ...]] = (
        "Attention masks close one path at a time. The number is the change of the answer's "
        "distribution (Jensen-Shannon divergence, 0 to 0.693 nats).",
        "Necessity: no token may attend to the chain. Direct effect: the answer may not attend to "
        "the prompt. Leakage: what the chain carries over from the prompt. cot_share is necessity "
        "over the sum of necessity and direct effect.",
        "The first tokens stay visible under every mask, because hiding an attention sink changes "
        "any answer. The model never saw masked text in training, so an effect is an upper bound.",
    )
    is_in_audit: ClassVar[bool] = True
    # JS lies between 0 and ln 2, by its formula.
    kinds: ClassVar[Mapping[str, Kind]] = {
        **{f"{effect}_js": "share" for effect in EFFECTS},
        **{f"{effect}_kl": "skewed" for effect in EFFECTS},
        "cot_share": "share",
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline("masks", "cot_share", "the chain's share of the change (cot_share):"),
    )
    reliance: ClassVar[Reliance | None] = Reliance(
        "masks", "cot_share", 0.5, doubt="masked attention is a form that the model never saw"
    )
    claims: ClassVar[tuple[Claim, ...]] = reliance_claims("masks", "cot_share", is_primary=True)

    n_sink: int = 1
    """Leading tokens that stay visible under every mask."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Direct effect, necessity, leakage and control for each chain, writer and reader."""
        items = unreadable(self.name, "masks", ("cot_share",), readers, task, traces)
        for reader, writer, model, readable in cases(readers, task, traces, seed=seed):
            label = f"path masks: {reader} reads {writer}"
            rows = [_row(case) for case in readable]
            paths = path_logprobs(model, rows, n_sink=self.n_sink, progress=label)
            for case, logprobs in zip(readable, paths, strict=True):
                record = CaseItems(self.name, task.name, case)
                _add_effects(record, logprobs)
                items += record.items
        return tuple(items)

    def figures(self, results: Results) -> list[Drawing]:
        """Change of the answer under each mask."""
        rows = pick_rows(results, tuple(NAMES), ("masks",), writer=results.writer)
        options = {"xlabel": "change of the answer (JS, nats)", "y": "metric", "names": NAMES}
        return [Drawing(self.name, dots, drop_unasked(rows), options)]

    def describe(self, results: Results) -> list[str]:
        """The chain's share, and the two effects that it is made of."""
        numbers = (
            ("masks", "cot_share", "the chain's share of the change (cot_share)"),
            ("masks", "necessity_js", "change without the chain (necessity, JS in nats)"),
            ("masks", "direct_effect_js", "change without the prompt (direct effect, JS in nats)"),
        )
        return describe_rows(results, numbers, writer=results.writer)


def _row(case: Case) -> PathRow:
    layout, trace = case.layout, case.trace
    chain = layout.think_open + chain_ids(case.chain)
    # The closing tokens count to the answer: the token that predicts its first one must not lie
    # in the chain, which some masks hide.
    cue = layout.think_close + layout.answer_cue
    return PathRow(trace.prompt_ids, chain, cue + trace.answer_ids, len(cue))


def _add_effects(record: CaseItems, logprobs: Mapping[str, Tensor]) -> None:
    """Divergences between the answer's distributions under two masks, averaged over its tokens."""
    js: dict[str, float] = {}
    for effect, (first, second) in EFFECTS.items():
        p, q = logprobs[first], logprobs[second]
        js[effect] = float(jensen_shannon(p, q).mean())
        record.add("masks", f"{effect}_js", js[effect])
        record.add("masks", f"{effect}_kl", float(kullback_leibler(p, q).mean()))
    moved = js["necessity"] + js["direct_effect"]
    share = js["necessity"] / moved if moved > NOISE else float("nan")
    record.add("masks", "cot_share", share, note=NO_EFFECT)
