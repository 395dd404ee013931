"""Hybrid decoding: how much of post-training does the base reach when steered where post differs?

Vectors, gates and doses are learned on some of the task's problems. The others are answered by
base, by post, and by the base under each variant of `interp.methods.decoding.hybrid`, all from the
plain question: nothing opens a chain. Only `base_alone` works without the post model, so only its
number is a claim about the base; the others are ceilings and their controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from random import Random
from statistics import fmean
from typing import Any, ClassVar

from interp.chains.completion_format import find_format
from interp.chains.completions import ANSWER_ONLY, Completion, read_completion
from interp.engine import generate
from interp.errors import NotMeasurableError
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
from interp.results.plots import dots
from interp.results.rows import Item
from interp.stats.estimates import Estimate
from interp.stats.gap_recovered import Excess, Recovery, excess_recovery, gap_recovered
from interp.stats.kinds import Kind
from interp.stats.proportion_intervals import describe_interval
from interp.tasks import Example, Task
from probes.cases import not_applicable
from probes.probe import OWN, Claim, Drawing, Headline, Probe, Readers, Results, Traces

HEADLINE = "base_alone"
TRAINING = "a training problem: vectors, gates and doses were found on it"
METRICS = ("correct", "finished", "opens", "chain_valid")


def _claim(variant: str, *, is_primary: bool = False, why: str = "") -> Claim:
    """Accuracy of the base under one variant tells whether it could reason already."""
    return Claim(
        "free", "correct", "pre_existing", is_primary=is_primary, writer=OWN, reader="base",
        variant=variant, why=why,
    )  # fmt: skip


def split_task(task: Task, share: float, *, seed: int) -> tuple[Task, Task]:
    """Training problems and the rest; twins of one problem stay together.

    Args:
        task: All examples.
        share: Of the problems that are set aside to learn on.
        seed: Of the split.

    Raises:
        NotMeasurableError: If either side would be empty.
    """
    # Sorted, because the order of a set of texts differs between processes.
    problems = sorted({example.problem for example in task.examples})
    n = round(share * len(problems))
    if not 0 < n < len(problems):
        raise NotMeasurableError(
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
class HybridDecoding(Probe):
    """Base, post, hybrid, its controls, and the base alone, on the same questions."""

    name: ClassVar[str] = "hybrid"
    title: ClassVar[str] = "Hybrid decoding"
    question: ClassVar[str] = (
        "How much of the gain from post-training does the steered base reach, and is it the "
        "steering?"
    )
    reading: ClassVar[tuple[str, ...]] = (
        "Gap recovered is 100 (variant - base) / (post - base), never clipped. With a gap below 5 "
        "points, or an interval of the gap that contains 0, it means nothing.",
        "hybrid and the controls (a) to (f) ask the post model where to steer and which token to "
        "take, so they are ceilings. guardrail_only has no vectors: what it recovers comes from "
        "re-ranking the base's own tokens by post.",
        "base_alone is the claim: gate and category are read off the base, and one dose is chosen "
        "on other problems. It must beat its own controls; base_alone_runner_up has no vector. If "
        "the gate cannot be fitted, these variants are not measurable.",
        "Strict match: share of the positions where the gate fired at which post's token was "
        "written.",
        "correct is about the answer alone. A text that breaks off is wrong; finished is the share "
        "that does not. chain_valid asks for a whole and correct chain too; it is not measurable "
        "on tasks whose steps cannot be checked.",
    )
    n: ClassVar[int] = 200
    writers: ClassVar[tuple[str, ...]] = ()
    check_settings: ClassVar[Mapping[str, Any]] = {"doses": (1.0,)}
    kinds: ClassVar[Mapping[str, Kind]] = {
        **dict.fromkeys(METRICS, "binary"),
        **dict.fromkeys(("steered_share", "disagreement", "strict_match"), "share"),
        **dict.fromkeys(("fired", "steered", "dose", "edit_norm"), "real"),
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            "free", "correct", "accuracy of base alone, steered, is",
            reader="base", writer=OWN, variant=HEADLINE,
        ),
    )  # fmt: skip
    claims: ClassVar[tuple[Claim, ...]] = (
        _claim(
            HEADLINE,
            is_primary=True,
            why="what RL-trained vectors add takes effect after the last layer, and is not "
            "reproduced by vectors at the layer where base is steered by default (posthoc hybrid "
            "--set layer=N)",
        ),
        _claim("base_alone_runner_up"),
        _claim("guardrail_only"),
    )

    train_share: float = 0.4
    """Share of the problems that are learned on."""
    layer: int | None = None
    """Steered after this block (resid_post); none takes the one at 37 % of the depth."""
    doses: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """In mean residual norms of the base."""
    window: int = 1
    """Last positions that are steered."""
    batch_size: int = 64
    """Texts written together."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Texts of base, post (no variant) and of base under each variant."""
        del traces
        if set(readers) != {"base", "post"}:
            reason = "hybrid decoding needs a base and a post model"
            return not_applicable(self.name, "free", "correct", readers, task, reason=reason)
        pair = ModelPair(readers["base"], readers["post"])
        settings = HybridSettings(self.layer, self.doses, self.window, self.batch_size)
        try:
            learn, test = split_task(task, self.train_share, seed=seed)
            setup = prepare(pair, learn, settings, seed=seed)
        except NotMeasurableError as error:
            return not_applicable(self.name, "free", "correct", readers, task, reason=str(error))
        items: list[Item] = []
        for reader, model in readers.items():
            form = find_format(test, model)
            written = generate(
                model, form.prompts(), stop=form.stop, max_new_tokens=form.max_new_tokens,
                batch_size=self.batch_size,
            )  # fmt: skip
            for example, one in zip(test.examples, written, strict=True):
                text = read_completion(form, example, one.ids)
                items += _text_items(_coordinates(test, example, reader, ""), text)
            items += _unmeasured(learn, reader, "", TRAINING)
        done: dict[str, list[Hybrid]] = {}
        doses: dict[str, float] = {}
        # In this order: a shuffled gate copies how often that of an earlier variant fired.
        for variant in VARIANTS:
            items += _unmeasured(learn, "base", variant.name, TRAINING)
            try:
                doses |= _choose_dose(pair, learn, setup, variant, doses, seed=seed)
                counts = _counts(test, done.get(variant.as_often_as))
                done[variant.name] = write_hybrid(
                    pair, test, setup, variant, seed=seed, dose=doses.get(variant.name),
                    counts=counts,
                )  # fmt: skip
            except NotMeasurableError as error:
                items += _unmeasured(test, "base", variant.name, str(error))
                continue
            for example, one in zip(test.examples, done[variant.name], strict=True):
                where = _coordinates(test, example, "base", variant.name)
                items += _hybrid_items(where, one, doses.get(variant.name))
        return tuple(items)

    def describe(self, results: Results) -> list[str]:
        """Accuracy and gap recovered of every variant, and each method beyond its controls."""
        lines: list[str] = []
        for task in results.tasks:
            lines += [f"{task}:"] if len(results.tasks) > 1 else []
            items = [item for item in results.items if item.task == task]
            lines += describe_hybrid(items, seed=results.seed)
        return lines

    def figures(self, results: Results) -> list[Drawing]:
        """Accuracy of the plain models and of each variant."""
        rows = tuple(
            row
            for row in results.rows
            if (row.condition, row.metric, row.contrast) == ("free", "correct", "")
        )
        names = {"": "unsteered", **{variant.name: variant.name for variant in VARIANTS}}
        options = {"xlabel": "accuracy", "y": "variant", "names": names, "chance": True}
        return [Drawing(self.name, dots, rows, options)]


def _coordinates(task: Task, example: Example, reader: str, variant: str) -> dict[str, Any]:
    """What all items of one text have in common."""
    return {
        "probe": HybridDecoding.name, "task": task.name, "example": example.id,
        "problem": example.problem, "condition": "free", "writer": reader, "reader": reader,
        "variant": variant,
    }  # fmt: skip


def _unmeasured(task: Task, reader: str, variant: str, reason: str) -> list[Item]:
    return [
        Item(
            **_coordinates(task, example, reader, variant), metric=metric, value=float("nan"),
            note=reason,
        )
        for example in task.examples
        for metric in METRICS
    ]  # fmt: skip


def _text_items(where: Mapping[str, Any], text: Completion) -> list[Item]:
    values = (text.correct, text.is_finished, text.opens, text.is_chain_valid)
    return [
        Item(**where, metric=metric, value=float("nan"), note=ANSWER_ONLY)
        if value is None
        else Item(**where, metric=metric, value=float(value))
        for metric, value in zip(METRICS, values, strict=True)
    ]


def _hybrid_items(where: Mapping[str, Any], one: Hybrid, dose: float | None) -> list[Item]:
    n = len(one.text.ids)
    values = {
        "fired": float(len(one.fired)),
        "steered": float(len(one.steered)),
        "steered_share": len(one.steered) / n,
    }
    if dose is not None:
        values["dose"] = dose
    if one.differing is not None:
        values["disagreement"] = len(one.differing) / n
        values["strict_match"] = one.n_strict / len(one.fired) if one.fired else float("nan")
    items = _text_items(where, one.text)
    for metric, value in values.items():
        note = "" if value == value else "the gate never fired"
        items.append(Item(**where, metric=metric, value=value, note=note))
    edits = zip(one.steered, one.edit_norms, strict=True)
    items += [Item(**where, metric="edit_norm", value=norm, token=at) for at, norm in edits]
    return items


def _counts(task: Task, copied: Sequence[Hybrid] | None) -> dict[str, tuple[int, int]] | None:
    """How often the gate of the variant that is copied fired in each text, and its length."""
    if copied is None:
        return None
    return {
        example.id: (len(one.fired), len(one.text.ids))
        for example, one in zip(task.examples, copied, strict=True)
    }


def _choose_dose(
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
        written = write_hybrid(pair, learn, setup, copied, seed=seed, dose=doses.get(copied.name))
        counts = _counts(learn, written)
    right: dict[float, int] = {}
    for dose in setup.settings.doses:
        texts = write_hybrid(pair, learn, setup, variant, seed=seed, dose=dose, counts=counts)
        right[dose] = sum(one.text.correct for one in texts)
    return {variant.name: max(right, key=right.__getitem__)}  # of equals the first dose


def values_of(items: Sequence[Item], metric: str) -> tuple[dict[str, list[float]], list[str]]:
    """The metric of each model and variant on the examples that all of them have.

    Returns:
        'base', 'post' or the variant -> its values, in one order; and the problems of these.
    """
    tables: dict[str, dict[str, Item]] = {}
    for item in items:
        if item.metric == metric and not isnan(item.value):
            tables.setdefault(item.variant or item.reader, {})[item.example] = item
    if not tables:
        return {}, []
    first = next(iter(tables.values()))
    shared = [name for name in first if all(name in table for table in tables.values())]
    values = {key: [table[name].value for name in shared] for key, table in tables.items()}
    return values, [first[name].problem for name in shared]


def recovery_of(items: Sequence[Item], variant: str, *, seed: int) -> Recovery:
    """Gap recovered by one variant.

    Raises:
        ValueError: If the items are not those of this probe on a pair.
    """
    values, problems = values_of(items, "correct")
    missing = [name for name in ("base", "post", variant) if name not in values]
    if missing:
        raise ValueError(
            f"a gap needs items of base, post and the variant, received none of {missing[0]!r}. "
            f"Run HybridDecoding with both readers"
        )
    return gap_recovered(values["base"], values[variant], values["post"], problems, seed=seed)


def describe_hybrid(items: Sequence[Item], *, seed: int) -> list[str]:
    """Lines about one task: every variant, then what the methods recover beyond their controls.

    Args:
        items: Of this probe on a pair.
        seed: Of the intervals.
    """
    values, problems = values_of(items, "correct")
    if not {"base", "post"} <= values.keys():
        return sorted({item.note for item in items if item.note})
    recoveries = {
        v.name: recovery_of(items, v.name, seed=seed) for v in VARIANTS if v.name in values
    }
    models = recoveries["hybrid"]
    lines = [
        f"base {_estimate(models.base)}  post {_estimate(models.post)}  gap {_estimate(models.gap)}"
        f"  ({models.gap.n} problems)",
        f"{'':32}{'accuracy':>24}{'gap recovered':>30}{'steered tokens':>16}{'strict':>8}",
    ]
    steered, strict = (_means(items, metric) for metric in ("steered", "strict_match"))
    for name, one in recoveries.items():
        lines.append(
            f"{name:32}{_estimate(one.hybrid):>24}{_percent(one):>30}{steered[name]:16.2f}"
            f"{strict.get(name, float('nan')):8.2f}"
        )
    for name, controls in CONTROLS_OF.items():
        if name not in values:
            continue
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
    lines += _missing_lines(items)
    if models.flag:
        lines.append(f"NOT TO BE READ AS A RATIO: {models.flag}")
    return lines


def _missing_lines(items: Sequence[Item]) -> list[str]:
    """The variants that could not be measured, and why."""
    reasons: dict[str, list[str]] = {}
    for item in items:
        if item.metric == "correct" and item.note not in ("", TRAINING):
            variants = reasons.setdefault(item.note, [])
            variants += [] if item.variant in variants else [item.variant]
    return [f"not measurable: {', '.join(names)}: {note}" for note, names in reasons.items()]


def _percent(one: Recovery | Excess) -> str:
    """A share of the gap; where it has no interval, a number would only mislead."""
    if isnan(one.low):
        return "no interval"
    return f"{one.value:z.1f} % [{one.low:z.1f}, {one.high:z.1f}]"


def _means(items: Sequence[Item], metric: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for item in items:
        if item.metric == metric and not isnan(item.value):
            values.setdefault(item.variant, []).append(item.value)
    return {variant: fmean(of) for variant, of in values.items()}


def _estimate(one: Estimate) -> str:
    return describe_interval(one.value, one.low, one.high, decimals=3)
