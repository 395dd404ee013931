"""Direction by corruption: does a direction change how much the answer depends on the chain?

Two interventions are crossed. The chain is edited (cut to half, filled with filler, or a mistake
carried through it), and a direction is added to the reader or projected out of it. With y the
log-probability (nats) of the answer of the full chain as written, the interaction of one trace is
the difference of differences

    [y(edited, steered) - y(full, steered)] - [y(edited, plain) - y(full, plain)]

and likewise for `same`: 1 if the most likely answer is still that of the full chain *under the same
direction* (among the candidates where the task has them, else: greedy decoding would write it), so
that 'same' of a full chain is 1 by definition and the interaction is the change in reliance. An
interaction below 0 means that the reader relies more on the chain. At dose 0 it is exactly 0.

A steered reader may rely less on anything because it is broken. So random directions of the same
length at the same site are crossed in the same way (ablated ones with the mean edit norm of the
direction's own ablation; `draw` is the number of such a direction), and `summarise_interactions`
compares the mean with their band.

Example: a cut chain costs the plain reader 2.0 nats and the steered one 5.0: interaction -3.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from interp.chains.chain import Chain, find_answer_ends
from interp.chains.edits import add_mistake, fill, truncate
from interp.chains.rendering import render
from interp.chains.texts import Ids
from interp.engine import run
from interp.interventions import Intervention, Positions, project_out
from interp.methods.directions import (
    Activations,
    Direction,
    collect,
    mean_difference,
    project,
    random_directions,
    with_reference,
)
from interp.methods.steering import steer
from interp.models import Model
from interp.results.plots import dots
from interp.results.rows import Item, Measurement
from interp.sites import Site, steering_layer
from interp.stats import estimates
from interp.stats.kinds import Kind
from interp.stats.proportion_intervals import describe_interval
from interp.tasks import Task
from probes.cases import Case, CaseItems, cases, not_applicable
from probes.cross_patching import PAIR
from probes.probe import Drawing, Headline, Probe, Readers, Results, Traces
from probes.unreadable import add_unreadable

EDITS = ("truncated", "filled", "mistake_propagated")
METRICS = ("interaction_logprob", "interaction_same")
RANDOM = "random_logprob"
KINDS: dict[str, Kind] = dict(zip((*METRICS, RANDOM), ("real", "difference", "real"), strict=True))
KINDS["random_same"] = "difference"
WORDS = {
    "truncated": "cut to half",
    "filled": "all filler",
    "mistake_propagated": "mistake carried on",
    "interaction_logprob": "direction",
    RANDOM: "random directions (range)",
}
NO_EDIT = "the chain cannot be edited in this way"
NEEDS_PAIR = "the direction is the difference of a pair: give a base and a post model"
NO_DIFFERENCE = "base and post do not differ at this site"
UNREACHABLE = (
    "after the last layer an edit of the question reaches no later token, so every interaction "
    "would be 0; name an earlier layer, or edit all positions"
)


@dataclass(frozen=True)
class DirectionByCorruption(Probe):
    """Crosses edits of the chain with a direction in the reader."""

    name: ClassVar[str] = "direction_by_corruption"
    title: ClassVar[str] = "Direction by corruption"
    question: ClassVar[str] = "Does a direction change how much the answer depends on the chain?"
    reading: ClassVar[tuple[str, ...]] = (
        "The direction is the mean difference post - base at the last question token. It is added "
        "to either model (or projected out) there or at all positions.",
        "Interaction: the effect of an edit of the chain on the answer with the direction, minus "
        "its effect without. Below 0: with the direction, the reader relies more on the chain.",
        "Rows of metric random_... are the same for random directions of the same length, one for "
        "each draw. An interaction within their range is what any edit of that size does.",
    )
    n: ClassVar[int] = 60
    check_settings: ClassVar[Mapping[str, Any]] = {"n_random": 1}
    kinds: ClassVar[Mapping[str, Kind]] = KINDS
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            "truncated", "interaction_logprob",
            "with the direction added, truncating the chain changes base's log-probability of the "
            "answer, compared with truncation without it, by (nats):",
            reader="base",
        ),
    )  # fmt: skip
    no_truth: ClassVar[str] = (
        "no organism is known in which a direction changes the reliance on the chain"
    )

    layer: int | None = None
    """Layer of the edited resid_post (default: 37 % of the depth; negative: from the end)."""
    operator: Literal["add", "ablate"] = "add"
    """Add the direction, or project it out."""
    dose: float = 0.5
    """Mean residual norms at the positions of the direction, or the share that is projected out."""
    positions: Literal["question", "all"] = "question"
    """The last question token alone, where the direction was found, or every token."""
    n_random: int = 8
    """Random control directions of the same length."""
    batch_size: int = 256
    """Texts in a forward pass."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Interactions of each chain, writer and reader, and those of random directions."""
        none = partial(not_applicable, self.name, EDITS[0], METRICS[0], readers, task)
        if set(readers) != set(PAIR):
            return none(reason=NEEDS_PAIR)
        n_layers = readers["base"].n_layers
        layer = steering_layer(n_layers) if self.layer is None else self.layer
        if layer in (-1, n_layers - 1) and self.positions == "question":
            return none(reason=UNREACHABLE)
        direction = pair_direction(readers, traces, layer)
        if direction is None:
            return none(reason=NO_DIFFERENCE)
        items: list[Item] = []
        for _, _, model, readable in cases(readers, task, traces, seed=seed):
            items += self.crossed(model, task, readable, direction, seed=seed)
        return add_unreadable(items, self.name, (EDITS[0], METRICS), readers, task, traces)

    def figures(self, results: Results) -> list[Drawing]:
        """Interactions in nats beside the range of random directions, a figure for each reader."""
        return [
            Drawing(
                f"direction_by_corruption_{reader}", dots, _beside_random(results, reader),
                {"xlabel": f"interaction in {reader} (nats)", "by": "metric", "names": WORDS},
            )
            for reader in PAIR
        ]  # fmt: skip

    def describe(self, results: Results) -> list[str]:
        """Every interaction with its interval, q and random range."""
        is_specific = {True: "beyond random", False: "no more than random"}
        rows = summarise_interactions(results.items)
        return [
            f"{row.task}: {row.reader} reads {row.writer}, {row.edit}, {row.metric}: "
            f"{describe_interval(row.value, row.low, row.high, decimals=3)}, q {row.q:.3f}; random "
            f"{row.band_low:+.3f} to {row.band_high:+.3f} ({is_specific[row.is_specific]})"
            for row in rows
        ] or sorted({item.note for item in results.items})

    def crossed(
        self, model: Model, task: Task, readable: Sequence[Case], direction: Direction, *, seed: int
    ) -> list[Item]:
        """Interactions of one direction with the edits of these chains.

        Args:
            model: The reader.
            task: Of the cases.
            readable: Traces as this reader sees them.
            direction: Its dose unit becomes this reader's own mean norm where it is edited.
            seed: Of the random directions.

        Returns:
            Items of the direction and, with `draw` its number, of each random one.
        """
        if not readable:
            return []
        read = self._read(model, readable, direction.site)
        unit = with_reference(direction, read.mean_norm)
        arms = [(unit, self.dose)]
        for one in random_directions(unit, self.n_random, seed=seed):
            sizes = [float(project(each, read.values).abs().mean()) for each in (unit, one)]
            scale = 1.0 if self.operator == "add" else sizes[0] / sizes[1]
            arms.append((one, self.dose * scale))
        edits = [[case.chain, *_edits(task, case)] for case in readable]
        plain = self._answers(model, readable, edits, None)
        items: list[Item] = []
        for number, arm in enumerate(arms):
            steered = self._answers(model, readable, edits, arm)
            for case, before, after in zip(readable, plain, steered, strict=True):
                record = CaseItems(self.name, task.name, case)
                _record(record, before, after, draw=number - 1 if number else None)
                items += record.items
        return items

    def _read(self, model: Model, readable: Sequence[Case], site: Site) -> Activations:
        """Activations of the reader at the positions that are edited, on the full chains."""
        rows = [render(c.trace.prompt_ids, c.chain, c.layout) for c in readable]
        lasts = [len(case.trace.prompt_ids) - 1 for case in readable]
        where = [
            tuple(range(len(row))) if self.positions == "all" else (last,)
            for row, last in zip(rows, lasts, strict=True)
        ]
        return collect(model, rows, where, site)

    def _answers(
        self,
        model: Model,
        readable: Sequence[Case],
        edits: Sequence[Sequence[Chain | None]],
        arm: tuple[Direction, float] | None,
    ) -> list[list[tuple[float, Ids] | None]]:
        """Per case and chain: log-probability of the trace's answer, and the answer preferred."""
        rows: list[tuple[int, ...]] = []
        wanted: list[tuple[Case, int]] = []
        places: list[tuple[int, int]] = []
        for at, (case, chains) in enumerate(zip(readable, edits, strict=True)):
            for k, chain in enumerate(chains):
                if chain is not None:
                    text = render(case.trace.prompt_ids, chain, case.layout)
                    rows.append(text + case.trace.answer_ids + case.layout.answer_end[:1])
                    wanted.append((case, len(text)))
                    places.append((at, k))
        answers: list[list[tuple[float, Ids] | None]] = [[None] * len(c) for c in edits]
        for start in range(0, len(rows), self.batch_size):
            part = slice(start, start + self.batch_size)
            here = wanted[part]
            logits = run(model, rows[part], interventions=self._edits(here, arm)).logits
            for (case, first), row, (at, k) in zip(here, logits, places[part], strict=True):
                answers[at][k] = _answer(case, row[first - 1 : -1].double().log_softmax(-1))
        return answers

    def _edits(
        self, here: Sequence[tuple[Case, int]], arm: tuple[Direction, float] | None
    ) -> list[Intervention]:
        if arm is None:
            return []
        direction, dose = arm
        groups: dict[Positions, list[int]] = {}
        for row, (case, _) in enumerate(here):
            last: Positions = (len(case.trace.prompt_ids) - 1,)
            groups.setdefault("all" if self.positions == "all" else last, []).append(row)
        if self.operator == "add":
            return [steer(direction, dose, positions=at, rows=(*n,)) for at, n in groups.items()]
        site, vector = direction.site, direction.vector
        return [
            Intervention(site, project_out, vector, dose, positions=at, rows=(*n,))
            for at, n in groups.items()
        ]


def pair_direction(readers: Readers, traces: Traces, layer: int) -> Direction | None:
    """Mean of post minus mean of base at the last question token; None if they are equal there.

    Args:
        readers: Base and post.
        traces: Their questions are read.
        layer: Whose resid_post; negative counts from the end.
    """
    prompts = list(dict.fromkeys(t.prompt_ids for written in traces.values() for t in written))
    base = readers["base"]
    site = Site(layer + base.n_layers if layer < 0 else layer, "resid_post")
    if not prompts:
        return None
    where = [(-1,)] * len(prompts)
    sides = [collect(readers[name], prompts, where, site) for name in ("post", "base")]
    if torch.equal(sides[0].values, sides[1].values):  # a zero vector has no direction
        return None
    return mean_difference(*sides)


def _edits(task: Task, case: Case) -> list[Chain | None]:
    """The chain cut to its first half, all filler, and with a mistake carried through."""
    steps = range(len(case.chain))
    mistakes = (
        add_mistake(
            case.tokenizer, task.rewriter, case.example, case.chain, at, propagate=True,
            rng=case.rng(f"mistake {at}"),
        )
        for at in steps
    )  # fmt: skip
    return [
        truncate(case.chain, len(case.chain) // 2),
        fill(case.chain, case.layout.filler, last=len(case.chain)),
        next((made for made in mistakes if made is not None), None),
    ]


def _answer(case: Case, logp: torch.Tensor) -> tuple[float, Ids]:
    """Log-probability of the trace's answer, and the answer that the reader prefers there.

    Where the task's candidates are one token each, that is the likeliest of them; else the
    likeliest tokens in place of the trace's answer.
    """
    ends = find_answer_ends(case.tokenizer, case.layout.answer_end, case.layout.ends)
    value = sum(float(logp[k, token]) for k, token in enumerate(case.trace.answer_ids))
    value += float(logp[-1, [*ends]].logsumexp(0))
    if case.candidates and all(len(ids) == 1 for ids in case.candidates):
        return value, max(case.candidates, key=lambda ids: float(logp[0, ids[0]]))
    *best, last = logp.argmax(-1).tolist()
    return value, (*best, ends[0] if last in ends else last)


def _record(
    record: CaseItems,
    before: Sequence[tuple[float, Ids] | None],
    after: Sequence[tuple[float, Ids] | None],
    *,
    draw: int | None,
) -> None:
    """Differences of differences of one trace; the first of its chains is the full one."""
    prefix = "interaction" if draw is None else "random"
    for k, edit in enumerate(EDITS, start=1):
        values = [math.nan, math.nan]
        ends = (before[0], before[k], after[0], after[k])
        full, edited, full_steered, edited_steered = ends
        if full and edited and full_steered and edited_steered:
            plain = edited[0] - full[0]
            values[0] = (edited_steered[0] - full_steered[0]) - plain
            same = float(edited[1] == full[1])
            values[1] = float(edited_steered[1] == full_steered[1]) - same
        for metric, value in zip(("logprob", "same"), values, strict=True):
            record.add(edit, f"{prefix}_{metric}", value, draw=draw, note=NO_EDIT)


def _beside_random(results: Results, reader: str) -> list[Measurement]:
    """Rows of the direction, each with a row that spans the means of the random directions."""
    rows: list[Measurement] = []
    here = (reader, results.writer, "")
    known = [row for row in results.rows if (row.reader, row.writer, row.contrast) == here]
    for own in (row for row in known if row.metric == METRICS[0]):
        key = (own.task, own.condition, RANDOM)
        means = [row.value for row in known if (row.task, row.condition, row.metric) == key]
        rows.append(own)
        if means:
            ends = {"value": fmean(means), "low": min(means), "high": max(means)}
            rows.append(replace(own, metric=RANDOM, **ends))
    return sorted(rows, key=lambda row: EDITS.index(row.condition))


@dataclass(frozen=True)
class Interaction:
    """One interaction, and what random directions of the same length give."""

    task: str
    writer: str
    reader: str
    edit: str
    metric: str
    value: float
    low: float
    high: float
    """95 %, over problems."""
    q: float
    """Two-sided p against 0, adjusted over all rows (Benjamini and Hochberg 1995)."""
    band_low: float
    """Smallest and largest mean of the random directions; NaN if there are none."""
    band_high: float
    n: int

    @property
    def is_specific(self) -> bool:
        """Whether it lies outside the band and its interval does not hold 0."""
        outside = not self.band_low <= self.value <= self.band_high
        return outside and (self.low > 0 or self.high < 0)  # both False where there is no interval


def summarise_interactions(items: Sequence[Item]) -> tuple[Interaction, ...]:
    """Means of interactions with intervals, beside their random bands.

    Args:
        items: Of `DirectionByCorruption`.

    Returns:
        One row for each task, writer, reader, edit and metric that could be measured.
    """
    cells: dict[tuple[str, str, str, str, str], dict[int | None, list[Item]]] = {}
    for item in items:
        if item.condition in EDITS and not math.isnan(item.value):
            metric = item.metric.partition("_")[2]  # interaction_... and random_... share a cell
            key = (item.task, item.writer, item.reader, item.condition, metric)
            cells.setdefault(key, {}).setdefault(item.draw, []).append(item)
    rows: list[Interaction] = []
    for key, arms in cells.items():
        own = arms.get(None, [])
        kind = KINDS[f"interaction_{key[-1]}"]
        values, problems = np.array([one.value for one in own]), [one.problem for one in own]
        sample = estimates.collect(values, problems, kind)
        (estimate,) = estimates.estimate_all([sample])
        means = [fmean(one.value for one in arm) for draw, arm in arms.items() if draw is not None]
        band = (min(means), max(means)) if means else (math.nan, math.nan)
        value, low, high, n, p = estimate
        rows.append(Interaction(*key, value, low, high, p, *band, n))
    adjusted = estimates.benjamini_hochberg(np.array([row.q for row in rows], dtype=np.float64))
    return tuple(replace(row, q=float(q)) for row, q in zip(rows, adjusted, strict=True))
