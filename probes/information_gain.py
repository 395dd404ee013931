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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.chains.chain import Chain, count_tokens, encode_answer
from interp.chains.edits import shuffle, states_answer, truncate
from interp.results.plots import curve, dots
from interp.results.rows import Item
from interp.stats.kinds import Kind
from interp.tasks import Task
from probes.cases import (
    NO_DONOR,
    NO_OTHER_ORDER,
    Case,
    CaseItems,
    cases,
    choose_donor_chains,
    interpolate_shares,
    pair_targets,
    read_cases,
    unreadable,
)
from probes.claims import SCALE, reliance_claims
from probes.probe import Claim, Drawing, Headline, Probe, Readers, Results, Traces, VerdictLine
from probes.selection import SHARE_KEPT, describe_rows, pick_rows

STATED_AT_ONCE = "the first step already states the answer"
NO_GAIN = "no step changed the log-probability"
NAN = float("nan")
TOTALS = {
    "chain": "full chain",
    "before_answer": "before the answer is stated",
    "shuffled": "steps shuffled",
    "swapped": "chain of another problem",
}
"""Conditions of `total`, and how figures write them."""


@dataclass(frozen=True)
class InformationGain(Probe):
    """Reads log p of the right answer after every step."""

    name: ClassVar[str] = "information_gain"
    title: ClassVar[str] = "Information gain"
    question: ClassVar[str] = "How much does each step tell the reader about the right answer?"
    reading: ClassVar[tuple[str, ...]] = (
        "The curve is the reader's mean log-probability of the right answer after k steps, in nats "
        "per answer token; at k = 0 there is no chain. The total is the last point minus the "
        "first.",
        "'before_answer' stops before the first step that states the answer, because copying a "
        "stated answer is no inference. The controls are the same steps shuffled and the chain of "
        "another problem.",
        "infogain_ppl is the published formula (Wu et al. 2025). It telescopes to "
        "(PPL_0 - PPL_t)/t, so no step in the middle changes it and longer chains score lower.",
    )
    is_in_audit: ClassVar[bool] = True
    kinds: ClassVar[Mapping[str, Kind]] = {
        "logprob": "real",
        "gain": "real",
        "empty_block": "real",
        "total": "real",
        "per_step": "real",
        "per_token": "real",
        "concentration": "share",
        "negative_share": "share",
        "infogain_ppl": "skewed",
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline("chain", "total", "information gain of the full chain (nats per answer token):"),
    )
    verdict_line: ClassVar[VerdictLine | None] = VerdictLine(
        "information gain from {chains} (nats per answer token)",
        (
            Headline("chain", "total", "full chain"),
            Headline("shuffled", "total", "steps shuffled"),
            Headline("swapped", "total", "chain of another problem"),
        ),
    )
    claims: ClassVar[tuple[Claim, ...]] = (
        *reliance_claims("chain", "total", is_primary=True, why=SCALE),
        *reliance_claims(
            "before_answer",
            "total",
            is_primary=True,
            why="a reader that relies on a cut chain can be sure of its last value, which is not "
            "the right answer",
        ),
    )

    nulls: bool = True
    """Also read the shuffled chain and the chain of another problem."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """A curve, its summaries and its nulls for each chain, writer and reader."""
        items = unreadable(self.name, "chain", ("total",), readers, task, traces)
        for reader, writer, model, readable in cases(readers, task, traces, seed=seed):
            donors = choose_donor_chains(readable, task)
            asked = [
                (case, pair_targets(self._chains(case, donor), _gold_ids(case, task)))
                for case, donor in zip(readable, donors, strict=True)
            ]
            label = f"information gain: {reader} reads {writer}"
            answered = read_cases(model, asked, label)
            for (case, scores), donor in zip(answered, donors, strict=True):
                t = len(case.chain)
                free, *lp = [score.mean_logprob for score in scores]
                record = CaseItems(self.name, task.name, case)
                record.add("chain", "empty_block", lp[0] - free)
                # lp[0], the empty think block, is no point: its form alone may move the answer.
                points = [free, *lp[1 : t + 1]]
                _add_curve(record, points)
                stated = states_answer(case.chain, case.example.answer, task.rewriter)
                _add_summaries(record, points, case, stated)
                if self.nulls:
                    shuffled, swapped = (value - free for value in lp[t + 1 :])
                    # The same seed as in `_chains`, which put the chain itself in its place.
                    if shuffle(case.chain, case.rng("shuffle")) is None:
                        shuffled = NAN
                    record.add("shuffled", "total", shuffled, note=NO_OTHER_ORDER)
                    record.add("swapped", "total", swapped if donor else NAN, note=NO_DONOR)
                items += record.items
        return tuple(items)

    def _chains(self, case: Case, donor: Chain | None) -> list[Chain | None]:
        """No chain, then 0..t steps, then the nulls (an impossible null repeats the chain)."""
        chain = case.chain
        cuts: list[Chain | None] = [None, *(truncate(chain, k) for k in range(len(chain) + 1))]
        nulls = [shuffle(chain, case.rng("shuffle")) or chain, donor or chain]
        return [*cuts, *nulls] if self.nulls else cuts

    def figures(self, results: Results) -> list[Drawing]:
        """Log-probability against the share of the chain kept, and the totals."""
        writer = results.writer
        logprobs = pick_rows(results, ("logprob",), ("share",), writer=writer)
        totals = pick_rows(results, ("total",), tuple(TOTALS), writer=writer)
        log_p = {"ylabel": "log p of the answer (nats)", **SHARE_KEPT}
        nats = {"xlabel": "information gain (nats per answer token)", "names": TOTALS}
        return [
            Drawing(self.name, curve, logprobs, log_p),
            Drawing(f"{self.name}_total", dots, totals, nats),
        ]

    def describe(self, results: Results) -> list[str]:
        """The total of the chain and of its controls."""
        words = "information gain (nats per answer token), "
        numbers = [(condition, "total", words + name) for condition, name in TOTALS.items()]
        return describe_rows(results, numbers, writer=results.writer)


def _gold_ids(case: Case, task: Task) -> tuple[int, ...]:
    return encode_answer(case.tokenizer, task.layout, case.example.answer)


def _add_curve(record: CaseItems, points: Sequence[float]) -> None:
    """The curve from no chain (k = 0) to the full chain, and its steps' gains."""
    for k, value in enumerate(points):
        record.add("chain", "logprob", value, step=k)
    for i, gain in enumerate(gains(points)):
        record.add("chain", "gain", gain, step=i)
    for kept, value in interpolate_shares(points):
        record.add("share", "logprob", value, kept=kept)


def _add_summaries(
    record: CaseItems, points: Sequence[float], case: Case, stated: int | None
) -> None:
    t = len(points) - 1
    total = points[-1] - points[0]
    for metric, value in (
        ("total", total),
        ("per_step", total / t),
        ("per_token", total / count_tokens(case.chain)),
        ("concentration", concentration(gains(points))),
        ("negative_share", negative_share(gains(points))),
        ("infogain_ppl", infogain_ppl(points)),
    ):
        record.add("chain", metric, value, note=NO_GAIN)
    # points[i] is the value before step i is read, so the stating step is left out.
    before = points[t if stated is None else stated] - points[0] if stated != 0 else NAN
    record.add("before_answer", "total", before, note=STATED_AT_ONCE)


def gains(points: Sequence[float]) -> list[float]:
    """Gain of each step: lp_i - lp_(i-1), nats per answer token."""
    return [after - before for before, after in zip(points, points[1:], strict=False)]


def concentration(values: Sequence[float]) -> float:
    """Largest gain over the sum of positive gains; NaN when no gain is positive."""
    positive = [value for value in values if value > 0]
    return max(positive) / sum(positive) if positive else NAN


def negative_share(values: Sequence[float]) -> float:
    """Sum of |negative gains| over the sum of |gains|; NaN when all gains are 0."""
    size = sum(abs(value) for value in values)
    return sum(-value for value in values if value < 0) / size if size else NAN


def infogain_ppl(points: Sequence[float]) -> float:
    """Mean over steps of PPL_(k-1) - PPL_k, PPL_k = exp(-lp_k) (arXiv 2506.02126, section 3)."""
    ppl = [math.exp(-value) for value in points]
    drops = [before - after for before, after in zip(ppl, ppl[1:], strict=False)]
    return sum(drops) / len(drops)
