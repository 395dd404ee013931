"""Abstention: does the model know when a question has no answer?

Asked of tasks whose examples come as twins, one that can be answered and one that lacks a premise,
so that its right answer is to abstain (`Task.abstention`). Each reader answers both *direct* and
*forced* (made to think), greedily, and the probability of the abstention is read by a forward pass
after the question alone and after the reader's own chain. In each condition

* recall = P(abstains | unanswerable) and false_abstention = P(abstains | answerable);
* precision = abstentions on unanswerable questions / all abstentions;
* accuracy_answerable, and appropriate = the right answer, or the right abstention, over all
  (AbstentionBench: Kirichenko et al. 2025, arXiv 2506.09038);
* p_unanswerable and p_answerable: mean probability of the abstention on either kind;
* auroc: P(a random unanswerable question has more of it than a random answerable one): how well
  the two are told apart at any threshold. A model can abstain less and know as much;
* twin_auroc: the same within twins, which differ in the missing premise alone.

`recall_change` is forced minus direct: the effect of thinking. Writer and reader are the same.

An answer that never ends is no abstention: recall, false_abstention, recall_change and what is read
after a chain leave it out (`finished` is the share that ends), and `recall_strict` counts it as not
abstaining. accuracy_answerable and appropriate count it as wrong; `appropriate_if_finished` leaves
it out. A model that always abstains has an `appropriate` of the share of unanswerable questions, so
it shows skill only above chance (`Task.chance`).

Precision and AUROC are of all questions together (`interp.stats.auroc`). Precision depends on the
share of unanswerable questions: compare it only between tasks with the same share.

Example: of two questions without an answer and their two answerable twins, a model abstains on one
of each kind: recall 1/2, false abstention 1/2, precision 1/2. The AUROC tells whether it was still
more inclined to abstain where there is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.chains.answer_scoring import read_answers
from interp.chains.chain import encode_answer, find_layout
from interp.chains.trace import Trace
from interp.models import Model
from interp.results.plots import dots
from interp.results.rows import Item, PooledStatistic
from interp.stats.kinds import Kind
from interp.tasks import Example, Task
from interp.tasks.presentation import present
from probes.cases import answer_alone, make_items, not_applicable
from probes.probe import OWN, Drawing, Headline, Probe, Readers, Results, Traces
from probes.selection import describe_rows, drop_unasked, pick_rows
from probes.unreadable import NEVER_ENDS

CONDITIONS = {"direct": "no chain", "forced": "chain forced"}
NO_TWINS = "the task does not ask questions both with and without an answer"
NO_TWIN = "its answerable twin is not among the examples"
NAN = float("nan")
NAMES = {
    "recall": "abstains, no answer",
    "false_abstention": "abstains, has answer",
    "precision": "precision",
    "auroc": "AUROC",
    "appropriate": "appropriate",
}
"""Metrics that the figures show, and how they write them."""


@dataclass(frozen=True)
class Abstention(Probe):
    """Asks questions that can and that cannot be answered."""

    name: ClassVar[str] = "abstention"
    title: ClassVar[str] = "Abstention"
    question: ClassVar[str] = "Does the model abstain if and only if a question has no answer?"
    reading: ClassVar[tuple[str, ...]] = (
        "Recall: share of unanswerable questions on which the model abstains. False abstention: "
        "the same share on answerable questions. Direct: no chain. Forced: the chain is opened. "
        "recall_change is forced minus direct.",
        "Recall can fall because the model no longer notices that a premise is missing, or because "
        "it has learned to answer anyway. auroc separates the two cases: it asks how well the "
        "probability of abstaining separates the two kinds of question at any threshold.",
        "Appropriate: right answers and right abstentions together; it shows skill only above "
        "chance, which a model that always abstains reaches. Precision depends on the "
        "share of unanswerable questions, which is one half where every question has its twin.",
        "Texts that break off are left out of recall and false abstention (finished is the share "
        "that ends). recall_strict counts them as no abstention, appropriate as wrong.",
    )
    is_in_audit: ClassVar[bool] = True
    kinds: ClassVar[Mapping[str, Kind]] = {
        "appropriate": "binary",
        "appropriate_if_finished": "binary",
        "finished": "binary",
        "recall": "binary",
        "recall_strict": "binary",
        "false_abstention": "binary",
        "accuracy_answerable": "binary",
        "p_unanswerable": "share",
        "p_answerable": "share",
        "twin_auroc": "share",
        "recall_change": "difference",
    }
    tasks: ClassVar[tuple[str, ...]] = ("arith/abstain",)
    writers: ClassVar[tuple[str, ...]] = ()
    pooled: ClassVar[tuple[PooledStatistic, ...]] = tuple(
        statistic
        for condition in CONDITIONS
        for statistic in (
            PooledStatistic("abstention", condition, "recall", "false_abstention", "precision"),
            PooledStatistic("abstention", condition, "p_unanswerable", "p_answerable", "auroc"),
        )
    )
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(
            "direct", "recall", "share of unanswerable questions on which it abstains:",
            writer=OWN,
        ),
    )  # fmt: skip
    no_truth: ClassVar[str] = "no recipe trains an organism to abstain, or not to"

    batch_size: int = 64
    """Questions answered at a time."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Abstention and its probability, direct and forced, for each example and reader."""
        kinds = {example.answer == task.abstention for example in task.examples}
        if not task.abstention or len(kinds) < 2:
            return not_applicable(self.name, "direct", "recall", readers, task, reason=NO_TWINS)
        items: list[Item] = []
        for reader, model in readers.items():
            own = answer_alone(reader, model, task, traces, seed=seed, batch_size=self.batch_size)
            probability = abstention_probability(model, task, own["forced"], reader)
            wins = {mode: _twin_wins(task, p) for mode, p in probability.items()}
            for at, example in enumerate(task.examples):
                values = [
                    (mode, *value)
                    for mode in CONDITIONS
                    for value in _values(example, task, own[mode][at], probability[mode][at])
                ]
                if example.answer == task.abstention:
                    values += [(mode, "twin_auroc", *wins[mode][at]) for mode in CONDITIONS]
                    direct, forced = own["direct"][at], own["forced"][at]
                    # Here the right answer is to abstain, so `correct` is recall.
                    change = float(forced.correct) - float(direct.correct)
                    change = NAN if "truncated" in (direct.status, forced.status) else change
                    values.append(("forced", "recall_change", change, NEVER_ENDS))
                items += make_items(self.name, task, example, values, writer=reader, reader=reader)
        return tuple(items)

    def figures(self, results: Results) -> list[Drawing]:
        """Rates of abstention, with and without a chain."""
        return [
            Drawing(
                f"{self.name}_{condition}", dots,
                drop_unasked(pick_rows(results, tuple(NAMES), (condition,), writer=OWN)),
                {"xlabel": words, "y": "metric", "names": NAMES},
            )
            for condition, words in CONDITIONS.items()
        ]  # fmt: skip

    def describe(self, results: Results) -> list[str]:
        """Abstention on both kinds of question, how well they are separated, and the change."""
        numbers = (
            ("direct", "recall", "abstains on unanswerable questions (no chain)"),
            ("direct", "false_abstention", "abstains on answerable questions (no chain)"),
            ("direct", "auroc", "AUROC of the probability of abstaining (no chain)"),
            ("forced", "recall_change", "change of recall with a forced chain"),
        )
        return [*describe_rows(results, numbers, writer=OWN), *_describe_appropriate(results)]


def _describe_appropriate(results: Results) -> list[str]:
    """Right answers and abstentions of each task, beside the chance that always abstaining has."""
    lines: list[str] = []
    for task in results.tasks:
        picked = pick_rows(results, ("appropriate",), ("forced",), writer=OWN)
        rows = [row for row in picked if row.task == task]
        sides = [
            f"{row.reader} {row.describe()} ({'' if row.low > row.chance else 'not '}above chance)"
            for row in rows
        ]
        words = "right answers and right abstentions with a forced chain"
        if rows:
            lines.append(f"{task}, {words}: {'; '.join(sides)}; chance {rows[0].chance:.2f}.")
    return lines


def abstention_probability(
    model: Model, task: Task, forced: Sequence[Trace], reader: str
) -> dict[str, list[float]]:
    """P(the answer is the abstention) after the question alone and after the reader's own chain.

    Args:
        model: The reader.
        task: Its questions.
        forced: The chains, one for each example, in order.
        reader: Its name, for the progress bar.

    Returns:
        Condition -> one probability per example; NaN after a chain that was truncated.
    """
    layout = find_layout(present(task, model), model)
    target = encode_answer(model.tokenizer, layout.text, task.abstention)
    scores = read_answers(
        model,
        layout,
        [trace.prompt_ids for trace in forced],
        [trace.steps for trace in forced],
        # None shows no think block, which is how the direct answer was asked for.
        [[(None, target), (trace.steps, target)] for trace in forced],
        progress=f"abstention: {reader}",
    )
    after = [
        NAN if trace.status == "truncated" else math.exp(chained.logprob)
        for trace, (_, chained) in zip(forced, scores, strict=True)
    ]
    return {"direct": [math.exp(free.logprob) for free, _ in scores], "forced": after}


def _values(
    example: Example, task: Task, trace: Trace, probability: float
) -> list[tuple[str, float, str]]:
    """Metric, value, and why there is none where there is none."""
    right, is_finished = float(trace.correct), trace.status != "truncated"
    abstains = float(trace.answer == task.abstention) if is_finished else NAN
    values = [
        ("appropriate", right, ""),
        ("appropriate_if_finished", right if is_finished else NAN, NEVER_ENDS),
        ("finished", float(is_finished), ""),
    ]
    if example.answer == task.abstention:
        return [
            *values,
            ("recall", abstains, NEVER_ENDS),
            ("recall_strict", right, ""),
            ("p_unanswerable", probability, NEVER_ENDS),
        ]
    return [
        *values,
        ("false_abstention", abstains, NEVER_ENDS),
        ("p_answerable", probability, NEVER_ENDS),
        ("accuracy_answerable", right, ""),
    ]


def _twin_wins(task: Task, probability: Sequence[float]) -> dict[int, tuple[float, str]]:
    """By index, for each unanswerable example: the share of its twins that it beats, ties half."""
    rivals: dict[str, list[float]] = {}
    for example, p in zip(task.examples, probability, strict=True):
        if example.answer != task.abstention:
            rivals.setdefault(example.problem, []).append(p)
    wins: dict[int, tuple[float, str]] = {}
    for at, (example, p) in enumerate(zip(task.examples, probability, strict=True)):
        if example.answer == task.abstention:
            others = rivals.get(example.problem, [])
            won = [(p > other) + (p == other) / 2 for other in others]
            is_known = bool(others) and not math.isnan(p + sum(others))  # one NaN makes the sum NaN
            value = sum(won) / len(won) if is_known else NAN
            wins[at] = (value, NEVER_ENDS if others else NO_TWIN)
    return wins
