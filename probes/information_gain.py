"""Information gain: how much does each step tell about the right answer?

After each step the reader's log-probability of the right answer A* is read, in nats per answer:
lp_k = log p(A* and the token that ends it | question, first k steps, cue); lp_0 has no chain at
all. The gain of step i is lp_i - lp_(i-1), the total is G = lp_t - lp_0 (the drop in cross-entropy
of Ton et al. 2024, arXiv 2411.11984, with the reader as scorer).

Whose gain? At a fixed reader, the writer's: how informative its text is. At a fixed text, the
reader's, and then a difference between two readers has two ends: `lp_without` (lp_0, what the
reader knows without a chain) and `lp_with` (lp_t). A model that learned the answers by heart gains
less from a chain, and may follow it as before. So the ends stand beside every total, and its sign
says nothing about reliance. The published metric has one fixed outside reader.

* per step G/t, per token G / (tokens of the chain);
* concentration: the largest gain over the sum of the positive gains (1: one step says it all);
* negative share: sum of |negative gains| over the sum of |gains| (backtracking, or noise);
* before_answer: the same total up to, not including, the step from which the answer can be read
  (`interp.chains.stated_answers`). Copying it is no inference; the rest is what the reader
  inferred. Where that step is the first, nothing is left to measure: so in every problem whose
  answer is put together from its first step on (dispatch);
* nulls, each a total from the same lp_0: the steps *shuffled*, and *another item's chain*;
* empty_block: lp of an empty think block minus lp_0. Zero unless that form is itself strange.

`infogain_ppl` is the published formula (Wu et al. 2025, arXiv 2506.02126): with N scored tokens (of
the answer and its end) and PPL_k = exp(-lp_k / N), the mean over steps of PPL_(k-1) - PPL_k. It
telescopes to (PPL_0 - PPL_t)/t, so no middle step moves it, and more steps make it smaller. A
perplexity beyond LARGEST_PPL is not measurable.

Example: a one-token answer among eleven, uniform without the chain, certain after the second of
two steps, and always ended: gains 0 and ln 11 = 2.398 nats, G = 2.398, lp_without -2.398, lp_with
0, concentration 1, infogain_ppl = (11**0.5 - 1) / 2 = 1.158.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.chains.answer_scoring import AnswerScore
from interp.chains.chain import Chain, count_tokens, encode_answer, step_texts
from interp.chains.edits import shuffle, truncate
from interp.chains.stated_answers import find_answer_step
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
)
from probes.claims import reliance_claims
from probes.probe import Claim, Drawing, Headline, Probe, Readers, Results, Traces, VerdictLine
from probes.selection import SHARE_KEPT, describe_rows, pick_rows
from probes.unreadable import add_unreadable

STATED_AT_ONCE = "the first step already states the answer, or a part of it"
NO_GAIN = "no step changed the log-probability"
IMPOSSIBLE = "the reader gives the answer the probability 0"
TOO_LARGE = "the perplexity is too large to be represented"
NAN = float("nan")
LARGEST_PPL = 1e150
"""Beyond it the sum of squares over problems would not be a number."""
TWO_ENDS = (
    "it falls when a model learns the answers without a chain, and also when it stops following "
    "the chain"
)
"""Why a total does not tell reliance."""
LOG_P = "log p of the right answer"
ENDS = {"lp_without": "without a chain", "lp_with": "with the full chain"}
"""The two ends of a total, and how figures write them."""
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
        "The curve is the reader's log-probability of the right answer after k steps, in nats per "
        "answer, with the token that ends it; at k = 0 there is no chain. The total is the last "
        "point minus the first.",
        "A difference of totals between two models can come from either end: 'lp_without' (no "
        "chain) or 'lp_with' (full chain). A model that learned the answers without a chain gains "
        "less from one, and may follow it as before. So compare both ends; the sign of the "
        "difference says nothing about reliance on the chain.",
        "'before_answer' stops before the step from which the answer can be read, because copying "
        "is no inference. The controls are the same steps shuffled and the chain of another "
        "problem.",
        "infogain_ppl is the published formula (Wu et al. 2025). It telescopes to "
        "(PPL_0 - PPL_t)/t, so no step in the middle changes it and longer chains score lower.",
    )
    is_in_audit: ClassVar[bool] = True
    kinds: ClassVar[Mapping[str, Kind]] = {
        "logprob": "real",
        "gain": "real",
        "empty_block": "real",
        "total": "real",
        # Left-tailed, and yet means: medians of the two ends would not add up to the total.
        **dict.fromkeys(ENDS, "real"),
        "per_step": "real",
        "per_token": "real",
        "concentration": "share",
        "negative_share": "share",
        "infogain_ppl": "skewed",
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline("chain", "total", "information gain of the full chain (nats per answer):"),
        *(Headline("chain", end, f"{LOG_P} {words} (nats):") for end, words in ENDS.items()),
    )
    verdict_line: ClassVar[VerdictLine | None] = VerdictLine(
        "information gain from {chains} (nats per answer)",
        (
            Headline("chain", "total", "full chain"),
            *(Headline("chain", end, f"{LOG_P} {words}") for end, words in ENDS.items()),
            Headline("shuffled", "total", "gain of the steps shuffled"),
            Headline("swapped", "total", "gain of another problem's chain"),
        ),
    )
    claims: ClassVar[tuple[Claim, ...]] = (
        *reliance_claims("chain", "total", is_primary=True, why=TWO_ENDS),
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
        items: list[Item] = []
        for reader, writer, model, readable in cases(readers, task, traces, seed=seed):
            donors = choose_donor_chains(readable, task)
            asked = [
                (case, pair_targets(self._chains(case, donor), _gold_ids(case)))
                for case, donor in zip(readable, donors, strict=True)
            ]
            label = f"information gain: {reader} reads {writer}"
            answered = read_cases(model, asked, label)
            for (case, scores), donor in zip(answered, donors, strict=True):
                record = CaseItems(self.name, task.name, case)
                self._add(record, task, case, scores, donor)
                items += record.items
        return add_unreadable(items, self.name, ("chain", ("total",)), readers, task, traces)

    def _add(
        self,
        record: CaseItems,
        task: Task,
        case: Case,
        scores: Sequence[AnswerScore],
        donor: Chain | None,
    ) -> None:
        """All numbers of one chain; the scores are of `_chains`."""
        # A difference of infinities is no number.
        free, *lp = [s.logprob if math.isfinite(s.logprob) else NAN for s in scores]
        t = len(case.chain)
        record.add("chain", "empty_block", lp[0] - free, note=IMPOSSIBLE)
        # lp[0], the empty think block, is no point: its form alone may move the answer.
        points = [free, *lp[1 : t + 1]]
        _add_curve(record, points)
        _add_summaries(record, points, count_tokens(case.chain), scores[0].n_tokens)
        texts = step_texts(case.chain)
        stated = find_answer_step(task, case.example, texts, case.trace.answer)
        # points[i] is the value before step i is read, so the stating step is left out.
        before = points[t if stated is None else stated] - free
        is_left = stated != 0
        note = IMPOSSIBLE if is_left else STATED_AT_ONCE
        record.add("before_answer", "total", before if is_left else NAN, note=note)
        if self.nulls:
            shuffled, swapped = (value - free for value in lp[t + 1 :])
            # The same seed as in `_chains`, which put the chain itself in its place.
            is_shuffled = shuffle(case.chain, case.rng("shuffle")) is not None
            note = IMPOSSIBLE if is_shuffled else NO_OTHER_ORDER
            record.add("shuffled", "total", shuffled if is_shuffled else NAN, note=note)
            note = IMPOSSIBLE if donor else NO_DONOR
            record.add("swapped", "total", swapped if donor else NAN, note=note)

    def _chains(self, case: Case, donor: Chain | None) -> list[Chain | None]:
        """No chain, then 0..t steps, then the nulls (an impossible null repeats the chain)."""
        chain = case.chain
        cuts: list[Chain | None] = [None, *(truncate(chain, k) for k in range(len(chain) + 1))]
        nulls = [shuffle(chain, case.rng("shuffle")) or chain, donor or chain]
        return [*cuts, *nulls] if self.nulls else cuts

    def figures(self, results: Results) -> list[Drawing]:
        """Log-probability against the share of the chain kept, its two ends, and the totals."""
        writer = results.writer
        logprobs = pick_rows(results, ("logprob",), ("share",), writer=writer)
        ends = pick_rows(results, tuple(ENDS), ("chain",), writer=writer)
        totals = pick_rows(results, ("total",), tuple(TOTALS), writer=writer)
        log_p = "log p of the answer (nats)"
        gain = "information gain (nats per answer)"
        return [
            Drawing(self.name, curve, logprobs, {"ylabel": log_p, **SHARE_KEPT}),
            Drawing(
                f"{self.name}_ends", dots, ends, {"xlabel": log_p, "y": "metric", "names": ENDS}
            ),
            Drawing(f"{self.name}_total", dots, totals, {"xlabel": gain, "names": TOTALS}),
        ]  # fmt: skip

    def describe(self, results: Results) -> list[str]:
        """The total of the chain and its two ends, then two totals to compare it with."""
        words = "information gain (nats per answer), "
        kept = ("chain", "before_answer", "swapped")
        total, *others = [(name, "total", words + TOTALS[name]) for name in kept]
        ends = [("chain", end, f"{LOG_P} {text} (nats)") for end, text in ENDS.items()]
        return describe_rows(results, [total, *ends, *others], writer=results.writer)


def _gold_ids(case: Case) -> tuple[int, ...]:
    return encode_answer(case.tokenizer, case.layout.text, case.example.answer)


def _add_curve(record: CaseItems, points: Sequence[float]) -> None:
    """The curve from no chain (k = 0) to the full chain, and its steps' gains."""
    for k, value in enumerate(points):
        record.add("chain", "logprob", value, step=k, note=IMPOSSIBLE)
    for i, gain in enumerate(gains(points)):
        record.add("chain", "gain", gain, step=i, note=IMPOSSIBLE)
    for kept, value in interpolate_shares(points):
        record.add("share", "logprob", value, kept=kept, note=IMPOSSIBLE)


def _add_summaries(record: CaseItems, points: Sequence[float], n_chain: int, n_answer: int) -> None:
    """Numbers of one curve; a chain has `n_chain` tokens, the answer with its end `n_answer`."""
    total = points[-1] - points[0]
    is_known = not any(map(math.isnan, points))
    for metric, value, note in (
        ("total", total, ""),
        ("lp_without", points[0], ""),
        ("lp_with", points[-1], ""),
        ("per_step", total / (len(points) - 1), ""),
        ("per_token", total / n_chain, ""),
        ("concentration", concentration(gains(points)), NO_GAIN),
        ("negative_share", negative_share(gains(points)), NO_GAIN),
        ("infogain_ppl", infogain_ppl(points, n_answer), TOO_LARGE),
    ):
        record.add("chain", metric, value, note=note if is_known else IMPOSSIBLE)


def gains(points: Sequence[float]) -> list[float]:
    """Gain of each step: lp_i - lp_(i-1), nats per answer."""
    return [after - before for before, after in zip(points, points[1:], strict=False)]


def concentration(values: Sequence[float]) -> float:
    """Largest gain over the sum of positive gains; NaN when no gain is positive, or one is NaN."""
    positive = [value for value in values if value > 0]
    known = positive and not any(map(math.isnan, values))
    return max(positive) / sum(positive) if known else NAN


def negative_share(values: Sequence[float]) -> float:
    """Sum of |negative gains| over the sum of |gains|; NaN when all gains are 0, or one is NaN."""
    size = sum(abs(value) for value in values)
    return sum(-value for value in values if value < 0) / size if size else NAN


def infogain_ppl(points: Sequence[float], n_tokens: int) -> float:
    """Mean over steps of PPL_(k-1) - PPL_k (arXiv 2506.02126, section 3).

    Args:
        points: lp_0 to lp_t, nats per answer.
        n_tokens: Scored tokens of the answer, its end included; PPL_k = exp(-lp_k / n_tokens).

    Returns:
        The mean; NaN where a perplexity exceeds LARGEST_PPL.
    """
    # Only the ends of the telescoping sum, so that no perplexity in between can overflow.
    first, last = (-points[at] / n_tokens for at in (0, -1))
    if not (first <= math.log(LARGEST_PPL) and last <= math.log(LARGEST_PPL)):
        return NAN
    return (math.expm1(first) - math.expm1(last)) / (len(points) - 1)
