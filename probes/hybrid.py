"""Hybrid decoding: how much of post-training does the base reach when steered where post differs?

Some of the task's problems are set aside to learn on (vectors, gates, doses); the rest is written
by base, by post, and by the base under each variant of `interp.methods.decoding.hybrid`, all on the
plain question: nothing opens a chain. Only `base_alone` works without the post model, so only its
number is a claim about the base; the others are ceilings and their controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from random import Random
from statistics import fmean
from typing import ClassVar

from interp.chains.completions import Text, form_of, read_text
from interp.engine import generate
from interp.methods.decoding.hybrid import (
    CONTROLS_OF,
    VARIANTS,
    Hybrid,
    HybridSettings,
    Setup,
    Variant,
    prepare,
    write_hybrid,
)
from interp.models import ModelPair
from interp.results.rows import Item
from interp.stats.estimates import Estimate
from interp.stats.gap_recovered import Excess, Recovery, excess_recovery, gap_recovered
from interp.tasks import Task
from probes.probe import Readers, Traces, not_applicable

HEADLINE = "base_alone"
TRAINING = "a training problem: vectors, gates and doses were found on it"
METRICS = ("correct", "opens", "chain_valid")


def split_task(task: Task, share: float, *, seed: int) -> tuple[Task, Task]:
    """Training problems and the rest; twins of one problem stay together.

    Args:
        task: All examples.
        share: Of the problems that are set aside to learn on.
        seed: Of the split.

    Raises:
        ValueError: If either side would be empty.
    """
    problems = sorted({example.problem for example in task.examples})
    n = round(share * len(problems))
    if not 0 < n < len(problems):
        raise ValueError(
            f"some problems are learned on and others measured; a share of {share:g} of "
            f"{len(problems)} problems leaves one side empty. Ask for more examples"
        )
    drawn = set(Random(f"training {seed}").sample(problems, n))
    sides = (
        tuple(e for e in task.examples if (e.problem in drawn) == wanted)
        for wanted in (True, False)
    )
    first, second = (replace(task, examples=side) for side in sides)
    return first, second


@dataclass(frozen=True)
class HybridDecoding:
    """Base, post, hybrid, its controls, and the base alone, on the same questions."""

    name: ClassVar[str] = "hybrid"
    title: ClassVar[str] = "Hybrid decoding"
    question: ClassVar[str] = (
        "How much of the gain does the base reach when it is steered, and is it the steering?"
    )
    reading: ClassVar[tuple[str, ...]] = (
        "Gap recovered is 100 (hybrid - base) / (post - base), never clipped; with a gap below 5 "
        "points or an interval that holds 0 it means nothing.",
        "hybrid and the controls (a) to (f) ask the post model where to steer and what to take: "
        "they are ceilings. guardrail_only has no vectors at all: what it recovers, re-ranking of "
        "the base's own tokens by post does.",
        "base_alone is the headline: gate and category by probes on the base, one dose chosen on "
        "other problems. It must beat its own controls; base_alone_runner_up has no vector.",
        "Strict match: the share of the gate's positions at which the token of post was written.",
    )

    train_share: float = 0.4
    """Share of the problems that are learned on."""
    layer: int | None = None
    doses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    window: int = 1
    batch_size: int = 64

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Items whose writer is the variant; the reader says which model wrote."""
        del traces
        if not {"base", "post"} <= set(readers):
            reason = "hybrid decoding needs a base and a post model"
            return not_applicable(self.name, "free", "correct", reason, readers, task)
        pair = ModelPair(readers["base"], readers["post"])
        learn, test = split_task(task, self.train_share, seed=seed)
        settings = HybridSettings(self.layer, self.doses, self.window, self.batch_size)
        try:
            setup = prepare(pair, learn, settings, seed=seed)
        except ValueError as reason:
            return not_applicable(self.name, "free", "correct", str(reason), readers, task)
        items: list[Item] = []
        for reader, model in readers.items():
            form = form_of(task, model.tokenizer)
            written = generate(
                model, form_of(test, model.tokenizer).prompts(), stop=form.stop,
                max_new_tokens=form.max_new_tokens, batch_size=self.batch_size,
            )  # fmt: skip
            for example, one in zip(test.examples, written, strict=True):
                where = (self.name, reader, reader, task.name, example.id, example.problem, "free")
                items += _of_text(where, read_text(form, example, one.ids))
            items += self._set_aside(reader, reader, learn)
        done: dict[str, list[Hybrid]] = {}
        doses: dict[str, float] = {}
        for variant in VARIANTS:
            doses |= _chosen_dose(pair, learn, setup, variant, doses, seed=seed)
            counts = _counts(test, done.get(variant.as_often_as))
            done[variant.name] = write_hybrid(
                pair, test, setup, variant, seed=seed, dose=doses.get(variant.name), counts=counts
            )
            for example, one in zip(test.examples, done[variant.name], strict=True):
                where = (self.name, variant.name, "base", task.name, example.id, example.problem)
                items += _of_hybrid((*where, "free"), one, doses.get(variant.name))
            items += self._set_aside(variant.name, "base", learn)
        return tuple(items)

    def _set_aside(self, writer: str, reader: str, learn: Task) -> list[Item]:
        return [
            Item(
                self.name, writer, reader, learn.name, e.id, e.problem, "free", metric,
                float("nan"), note=TRAINING,
            )
            for e in learn.examples
            for metric in METRICS
        ]  # fmt: skip


Where = tuple[str, str, str, str, str, str, str]


def _of_text(where: Where, text: Text) -> list[Item]:
    values = (text.correct, text.opens, text.is_chain_valid)
    return [Item(*where, metric, float(v)) for metric, v in zip(METRICS, values, strict=True)]


def _of_hybrid(where: Where, one: Hybrid, dose: float | None) -> list[Item]:
    n = len(one.text.ids)
    items = [
        *_of_text(where, one.text),
        Item(*where, "fired", float(len(one.fired))),
        Item(*where, "steered", float(len(one.steered))),
        Item(*where, "steered_share", len(one.steered) / n),
    ]
    if dose is not None:
        items.append(Item(*where, "dose", dose))
    if one.differing is not None:
        items.append(Item(*where, "disagreement", len(one.differing) / n))
        strict = one.n_strict / len(one.fired) if one.fired else float("nan")
        note = "" if one.fired else "the gate never fired"
        items.append(Item(*where, "strict_match", strict, note=note))
    edits = zip(one.steered, one.edit_norms, strict=True)
    items += [Item(*where, "edit_norm", norm, step=at) for at, norm in edits]
    return items


def _counts(task: Task, copied: Sequence[Hybrid] | None) -> dict[str, tuple[int, int]] | None:
    """How often the gate of the variant that is copied fired in each text, and its length."""
    if copied is None:
        return None
    return {
        example.id: (len(one.fired), len(one.text.ids))
        for example, one in zip(task.examples, copied, strict=True)
    }


def _chosen_dose(
    pair: ModelPair,
    learn: Task,
    setup: Setup,
    variant: Variant,
    doses: Mapping[str, float],
    *,
    seed: int,
) -> dict[str, float]:
    """The dose with which a variant without post is right most often on the training problems."""
    if variant.asks_post or not variant.is_steered:
        return {}
    counts = None
    if variant.as_often_as:
        copied = next(v for v in VARIANTS if v.name == variant.as_often_as)
        written = write_hybrid(pair, learn, setup, copied, seed=seed, dose=doses[copied.name])
        counts = _counts(learn, written)
    right: dict[float, int] = {}
    for dose in setup.settings.doses:
        texts = write_hybrid(pair, learn, setup, variant, seed=seed, dose=dose, counts=counts)
        right[dose] = sum(one.text.correct for one in texts)
    return {variant.name: max(right, key=right.__getitem__)}


def values_of(items: Sequence[Item], metric: str) -> tuple[dict[str, list[float]], list[str]]:
    """Writer -> the metric on each measured example, in one order, and the problems of these."""
    tables: dict[str, dict[str, Item]] = {}
    for item in items:
        if item.metric == metric and item.step == -1 and not isnan(item.value):
            tables.setdefault(item.writer, {})[item.example] = item
    if not tables:
        return {}, []
    first = next(iter(tables.values()))
    shared = [name for name in first if all(name in table for table in tables.values())]
    values = {writer: [t[name].value for name in shared] for writer, t in tables.items()}
    return values, [first[name].problem for name in shared]


def recovery_of(items: Sequence[Item], writer: str, *, seed: int) -> Recovery:
    """Gap recovered by one variant.

    Raises:
        ValueError: If the items are not those of this probe on a pair.
    """
    values, problems = values_of(items, "correct")
    missing = [name for name in ("base", "post", writer) if name not in values]
    if missing:
        raise ValueError(
            f"a gap needs items of base, post and the variant; there are none of {missing[0]!r}. "
            f"Run HybridDecoding with both readers"
        )
    return gap_recovered(values["base"], values[writer], values["post"], problems, seed=seed)


def hybrid_lines(items: Sequence[Item], *, seed: int) -> list[str]:
    """The result in lines to print: every variant, then what the methods have beyond controls.

    Args:
        items: Of this probe on a pair.
        seed: Of the intervals.
    """
    values, problems = values_of(items, "correct")
    if not {"base", "post"} <= values.keys():
        return sorted({item.note for item in items if item.note})
    found = {v.name: recovery_of(items, v.name, seed=seed) for v in VARIANTS}
    any_of = found[HEADLINE]
    lines = [
        f"base {_estimate(any_of.base)}  post {_estimate(any_of.post)}  gap {_estimate(any_of.gap)}"
        f"  ({any_of.gap.n} problems)",
        f"{'':32}{'accuracy':>24}{'gap recovered':>30}{'steered tokens':>16}{'strict':>8}",
    ]
    steered, strict = (_means(items, metric) for metric in ("steered", "strict_match"))
    for name, one in found.items():
        lines.append(
            f"{name:32}{_estimate(one.hybrid):>24}{_percent(one):>30}{steered[name]:16.2f}"
            f"{strict.get(name, float('nan')):8.2f}"
        )
    for name, controls in CONTROLS_OF.items():
        excess = excess_recovery(
            values["base"], values[name], values["post"], {c: values[c] for c in controls},
            problems, seed=seed,
        )  # fmt: skip
        lines.append(
            f"gap recovered by {name} beyond its best control ({excess.control}): "
            f"{_percent(excess)}"
        )
    share = _means(items, "disagreement")["hybrid"]
    lines.append(f"along the hybrid's texts base and post differ at {share:.1%} of the tokens")
    if any_of.flag:
        lines.append(f"NOT TO BE READ AS A RATIO: {any_of.flag}")
    return lines


def _percent(one: Recovery | Excess) -> str:
    """A share of the gap; where resamples hold no gap, a number would only mislead."""
    if isnan(one.low):
        return "no gap to share"
    return f"{one.value:.1f} % [{one.low:.1f}, {one.high:.1f}]"


def _means(items: Sequence[Item], metric: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for item in items:
        if item.metric == metric and not isnan(item.value):
            values.setdefault(item.writer, []).append(item.value)
    return {writer: fmean(of) for writer, of in values.items()}


def _estimate(one: Estimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
