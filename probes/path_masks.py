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
KL has no upper bound and is dominated by near-certain tokens; read JS first.

`cot_share` is the sum of necessity over problems, divided by the sum of `moved_js` = necessity +
direct effect: 1 when the answers hang on the chain alone. It is no mean of shares, in which an
answer that neither path moves, a share of rounding and noise, would count as much as any other.
Answers moved by less than `LEAST_MOVED` have no `moved_js`; where these are more than half of a
reader's answers, the reader has no share.

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

from interp.chains.rendering import lay_out
from interp.methods.attention import PathRow, path_logprobs
from interp.results.plots import dots
from interp.results.rows import Item, Ratio
from interp.stats.divergences import jensen_shannon, kullback_leibler
from interp.stats.kinds import Kind
from interp.tasks import Task
from probes.cases import Case, CaseItems, cases
from probes.claims import reliance_claims
from probes.probe import Claim, Drawing, Headline, Probe, Readers, Reliance, Results, Traces
from probes.selection import describe_rows, drop_unasked, pick_rows
from probes.setting_bounds import Bounds
from probes.unreadable import add_unreadable

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
SHARE_OF = ("necessity_js", "moved_js")
"""Metrics whose ratio is `cot_share`."""
LEAST_MOVED = 0.01
"""Necessity and direct effect together (JS, nats; at most 1.386) that give an answer a share."""
NO_EFFECT = f"the two masks together move the answer by less than {LEAST_MOVED} nats"
RARELY_MOVED = "the masks move fewer than half of the answers"


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
        "the prompt. Leakage: what the chain carries over from the prompt. cot_share is the summed "
        "necessity of all problems over their summed necessity and direct effect (moved_js). "
        f"Problems on which the two add up to less than {LEAST_MOVED} nats are left out. If these "
        "are more than half, cot_share is not measurable. Control (sink_control): the answer may "
        "attend to neither prompt nor chain. It shows how far the answer changes when both are "
        "hidden.",
        "The first tokens stay visible under every mask, because hiding an attention sink changes "
        "any answer. The model never saw masked text in training, so an effect is an upper bound.",
    )
    is_in_audit: ClassVar[bool] = True
    # JS lies between 0 and ln 2, by its formula.
    kinds: ClassVar[Mapping[str, Kind]] = {
        **{f"{effect}_js": "share" for effect in EFFECTS},
        **{f"{effect}_kl": "skewed" for effect in EFFECTS},
        "moved_js": "real",  # up to 2 ln 2
    }
    ratios: ClassVar[tuple[Ratio, ...]] = (
        Ratio("path_masks", "cot_share", "necessity_js", "moved_js", low=0.0, high=1.0),
    )
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline("masks", "cot_share", "the chain's share of the change (cot_share):"),
    )
    reliance: ClassVar[Reliance | None] = Reliance(
        "masks", "cot_share", 0.5, doubt="masked attention is a form that the model never saw"
    )
    claims: ClassVar[tuple[Claim, ...]] = reliance_claims("masks", "cot_share", is_primary=True)

    bounds: ClassVar[Mapping[str, Bounds]] = {"n_sink": Bounds(0, 1e9)}

    n_sink: int = 1
    """Leading tokens that stay visible under every mask."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Direct effect, necessity, leakage and control for each chain, writer and reader."""
        items: list[Item] = []
        for reader, writer, model, readable in cases(readers, task, traces, seed=seed):
            label = f"path masks: {reader} reads {writer}"
            rows = [_row(case) for case in readable]
            paths = path_logprobs(model, rows, n_sink=self.n_sink, progress=label)
            effects = [_measure_effects(logprobs) for logprobs in paths]
            moved = [js["necessity_js"] + js["direct_effect_js"] for js in effects]
            is_moved = 2 * sum(value >= LEAST_MOVED for value in moved) >= len(moved)
            for case, effect, value in zip(readable, effects, moved, strict=True):
                record = CaseItems(self.name, task.name, case)
                for metric, nats in effect.items():
                    record.add("masks", metric, nats)
                has_share = is_moved and value >= LEAST_MOVED
                note = NO_EFFECT if is_moved else RARELY_MOVED
                record.add("masks", "moved_js", value if has_share else float("nan"), note=note)
                items += record.items
        return add_unreadable(items, self.name, ("masks", SHARE_OF), readers, task, traces)

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
    # The closing tokens count to the answer: the token that predicts its first one must not lie
    # in the chain, which some masks hide.
    text = lay_out(case.trace.prompt_ids, case.chain, case.layout)
    question, chain, cue = (
        text.ids[part.start : part.stop] for part in (text.question, text.chain, text.cue)
    )
    return PathRow(question, chain, cue + case.trace.answer_ids, len(cue))


def _measure_effects(logprobs: Mapping[str, Tensor]) -> dict[str, float]:
    """Divergences between the answer's distributions under two masks, averaged over its tokens."""
    effects: dict[str, float] = {}
    for effect, (first, second) in EFFECTS.items():
        p, q = logprobs[first], logprobs[second]
        effects[f"{effect}_js"] = float(jensen_shannon(p, q).mean())
        effects[f"{effect}_kl"] = float(kullback_leibler(p, q).mean())
    return effects
