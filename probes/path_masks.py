"""Path masks: along which path does the answer get its information?

The text is cut into prompt P, chain C and answer A (the answer begins with what closes the
chain). The same weights read it under attention masks that close one path each (the test of
arXiv 2605.24286, our own implementation):

* full: nothing closed;
* via_cot: the answer may not attend to the prompt, so the prompt reaches it through C only;
* no_cot: nobody attends to C;
* no_prompt: nobody attends to P;
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

import torch
from torch import Tensor

from interp.chains.answer_scoring import chain_ids
from interp.methods.attention import PathRow, path_logprobs
from interp.results.rows import Item
from interp.tasks import Task
from probes.probe import Case, Readers, Record, Traces, cases, unreadable

EFFECTS = {
    "direct_effect": ("full", "via_cot"),
    "necessity": ("full", "no_cot"),
    "leakage": ("via_cot", "no_prompt"),
    "sink_control": ("full", "sink_only"),
}
NO_EFFECT = "neither path moves the answer"
NOISE = 1e-5
"""Divergence (nats) below which two float32 distributions cannot be told apart."""


@dataclass(frozen=True)
class PathMasks:
    """Closes the paths prompt -> answer and chain -> answer, one at a time."""

    name: ClassVar[str] = "path_masks"
    title: ClassVar[str] = "Attention paths"
    question: ClassVar[str] = "Does the answer come through the chain, or past it?"
    reading: ClassVar[tuple[str, ...]] = (
        "Attention masks close one path at a time; the number is how far the answer's "
        "distribution moves (Jensen-Shannon, 0 to 0.693 nats).",
        "Necessity: nobody sees the chain. Direct effect: the answer does not see the prompt. "
        "Leakage: what the chain carries over from the prompt. cot_share is necessity over "
        "necessity plus direct effect.",
        "The first tokens stay visible under every mask, because hiding an attention sink moves "
        "any answer. A masked form is one that the model never saw: an effect is an upper bound.",
    )

    n_sink: int = 1
    """Leading tokens that stay visible under every mask."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Direct effect, necessity, leakage and control for each chain, writer and reader."""
        items = unreadable(self.name, "masks", ("cot_share",), readers, task, traces)
        for reader, writer, model, found in cases(readers, task, traces, seed=seed):
            label = f"path masks: {reader} reads {writer}"
            rows = [_row(case) for case in found]
            paths = path_logprobs(model, rows, n_sink=self.n_sink, progress=label)
            for case, logprobs in zip(found, paths, strict=True):
                record = Record(self.name, task.name, case)
                _effects(record, logprobs)
                items += record.items
        return tuple(items)


def _row(case: Case) -> PathRow:
    layout, trace = case.layout, case.trace
    chain = layout.think_open + chain_ids(case.chain)
    cue = layout.think_close + layout.answer_cue
    return PathRow(trace.prompt_ids, chain, cue + trace.answer_ids, len(cue))


def _effects(record: Record, kept: Mapping[str, Tensor]) -> None:
    js = {}
    for effect, (p, q) in EFFECTS.items():
        js[effect] = jensen_shannon(kept[p], kept[q])
        record.add("masks", f"{effect}_js", js[effect])
        record.add("masks", f"{effect}_kl", kullback_leibler(kept[p], kept[q]))
    moved = js["necessity"] + js["direct_effect"]
    share = js["necessity"] / moved if moved > NOISE else float("nan")
    record.add("masks", "cot_share", share, note=NO_EFFECT)


def kullback_leibler(p: Tensor, q: Tensor) -> float:
    """Mean over positions of KL(p || q), nats; both are log-probabilities [pos d_vocab]."""
    weight = p.exp()
    return float((weight * (p - q)).where(weight > 0, 0.0).sum(-1).mean())


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Mean over positions of the Jensen-Shannon divergence, nats (0 to ln 2)."""
    mean = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, dtype=p.dtype))
    return max(0.0, (kullback_leibler(p, mean) + kullback_leibler(q, mean)) / 2)
