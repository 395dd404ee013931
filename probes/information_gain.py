"""Information gain: how much does each step tell about the right answer?

After each step the reader's log-probability of the right answer A* is read. With N answer tokens,
lp_k = (1/N) sum_j log p(A*_j | question, first k steps, cue, A*_<j), in nats per answer token;
lp_0 has no chain at all. The gain of step i is lp_i - lp_(i-1), the total is G = lp_t - lp_0
(the drop in cross-entropy of Ton et al. 2024, arXiv 2411.11984, with the reader as scorer).

Whose gain? At a fixed reader, the writer's: how informative its text is. At a fixed text, the
reader's: how much it uses it. The published metric has one fixed outside reader.

* per step G/t, per token G / (tokens of the chain);
* concentration: the largest gain over the sum of the positive gains (1: one step says it all);
* negative share: sum of |negative gains| over the sum of |gains| (backtracking, or noise);
* before_answer: the same total up to, not including, the first step that states the answer. The
  last step usually does, and copying it is no inference; the rest is what the reader inferred;
* nulls, each a total from the same lp_0: the steps *shuffled*, and *another item's chain*;
* empty_block: lp of an empty think block minus lp_0. Zero unless that form is itself strange.

`infogain_ppl` is the published formula (Wu et al. 2025, arXiv 2506.02126): with
PPL_k = exp(-lp_k), the mean over steps of PPL_(k-1) - PPL_k. It telescopes to (PPL_0 - PPL_t)/t,
so no middle step moves it, and more steps make it smaller.

Example: a one-token answer among eleven, uniform without the chain, certain after the second of
two steps: gains 0 and ln 11 = 2.398 nats, G = 2.398, concentration 1, infogain_ppl = 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.chains.chain import Chain, count_tokens, encode_answer
from interp.chains.edits import shuffle, states_answer, truncate
from interp.results.rows import Item
from interp.tasks import Task
from probes.probe import (
    Case,
    Readers,
    Record,
    Traces,
    at_percents,
    cases,
    donor_chains,
    read_cases,
    unreadable,
)

NO_SHUFFLE = "the steps have no other order"
NO_OTHER = "no other problem's chain at hand"
STATED_AT_ONCE = "the first step already states the answer"
NO_GAIN = "no step changed the log-probability"


@dataclass(frozen=True)
class InformationGain:
    """Reads log p of the right answer after every step."""

    name: ClassVar[str] = "information_gain"
    title: ClassVar[str] = "Information gain"
    question: ClassVar[str] = "How much does each step tell the reader about the right answer?"
    reading: ClassVar[tuple[str, ...]] = (
        "The curve is the reader's mean log-probability of the right answer after k steps, in nats "
        "per answer token; k = 0 has no chain. The total is the last point minus the first.",
        "'Before answer' stops before the first step that states the answer: copying a stated "
        "answer is no inference. Shuffled steps and another item's chain are the nulls.",
        "infogain_ppl is the published formula (Wu et al. 2025). It telescopes to "
        "(PPL_0 - PPL_t)/t, so no middle step moves it and longer chains score lower.",
    )

    nulls: bool = True
    """Also read the shuffled chain and another item's chain."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """A curve, its summaries and its nulls for each chain, writer and reader."""
        items = unreadable(self.name, "chain", ("total",), readers, task, traces)
        for reader, writer, model, found in cases(readers, task, traces, seed=seed):
            others = donor_chains(found, task)
            asked = []
            for case, other in zip(found, others, strict=True):
                target = encode_answer(model.tokenizer, task.layout, case.example.answer)
                asked.append((case, case.ask(self._chains(case, other), target)))
            label = f"information gain: {reader} reads {writer}"
            for (case, readings), other in zip(
                read_cases(model, asked, label), others, strict=True
            ):
                t = len(case.chain)
                record = Record(self.name, task.name, case)
                free, *lp = [reading.mean_logprob for reading in readings]
                stated = states_answer(case.chain, case.example.answer, task.rewriter)
                _curve(record, free, lp[: t + 1])
                _summaries(record, [free, *lp[1 : t + 1]], case, stated)
                if self.nulls:
                    has_order = shuffle(case.chain, case.rng("shuffle")) is not None
                    _nulls(record, free, lp[t + 1 :], has_order, other is not None)
                items += record.items
        return tuple(items)

    def _chains(self, case: Case, other: Chain | None) -> list[Chain | None]:
        """No chain, then 0..t steps, then the nulls (an impossible null repeats the chain)."""
        chain = case.chain
        cuts: list[Chain | None] = [None, *(truncate(chain, k) for k in range(len(chain) + 1))]
        if not self.nulls:
            return cuts
        return [
            *cuts,
            shuffle(chain, case.rng("shuffle")) or chain,
            chain if other is None else other,
        ]


def _curve(record: Record, free: float, lp: Sequence[float]) -> None:
    """The curve from no chain (k = 0) to the full chain, and its steps' gains."""
    points = [free, *lp[1:]]
    for k, value in enumerate(points):
        record.add("chain", "logprob", value, step=k)
    for i, gain in enumerate(gains(points)):
        record.add("chain", "gain", gain, step=i)
    for percent, value in at_percents(points):
        record.add("share", "logprob", value, step=percent)
    record.add("chain", "empty_block", lp[0] - free)


def _summaries(record: Record, points: Sequence[float], case: Case, stated: int | None) -> None:
    t = len(points) - 1
    total = points[-1] - points[0]
    record.add("chain", "total", total)
    record.add("chain", "per_step", total / t)
    record.add("chain", "per_token", total / count_tokens(case.chain))
    record.add("chain", "concentration", concentration(gains(points)), note=NO_GAIN)
    record.add("chain", "negative_share", negative_share(gains(points)), note=NO_GAIN)
    record.add("chain", "infogain_ppl", infogain_ppl(points))
    before = points[t if stated is None else stated] - points[0] if stated != 0 else float("nan")
    record.add("before_answer", "total", before, note=STATED_AT_ONCE)


def _nulls(
    record: Record, free: float, lp: Sequence[float], has_order: bool, has_other: bool
) -> None:
    shuffled, swapped = lp
    nan = float("nan")
    record.add("shuffled", "total", shuffled - free if has_order else nan, note=NO_SHUFFLE)
    record.add("swapped", "total", swapped - free if has_other else nan, note=NO_OTHER)


def gains(points: Sequence[float]) -> list[float]:
    """Gain of each step: lp_i - lp_(i-1), nats per answer token."""
    return [after - before for before, after in zip(points, points[1:], strict=False)]


def concentration(values: Sequence[float]) -> float:
    """Largest gain over the sum of positive gains; NaN when no gain is positive."""
    positive = [value for value in values if value > 0]
    return max(positive) / sum(positive) if positive else float("nan")


def negative_share(values: Sequence[float]) -> float:
    """Sum of |negative gains| over the sum of |gains|; NaN when all gains are 0."""
    size = sum(abs(value) for value in values)
    return sum(-value for value in values if value < 0) / size if size else float("nan")


def infogain_ppl(points: Sequence[float]) -> float:
    """Mean over steps of PPL_(k-1) - PPL_k, PPL_k = exp(-lp_k) (arXiv 2506.02126, section 3)."""
    ppl = [math.exp(-value) for value in points]
    drops = [before - after for before, after in zip(ppl, ppl[1:], strict=False)]
    return sum(drops) / len(drops)
