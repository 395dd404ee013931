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
  the two are told apart, wherever the threshold lies. A model can abstain less and know as much;
* twin_auroc: the same within twins, which differ in the missing premise alone.

`recall_change` is forced minus direct: what thinking does to it. Writer and reader are the same.
Precision and AUROC are of all questions together (`interp.stats.auroc`); precision depends on how
many of them cannot be answered, and is comparable at equal shares only.

Example: of two twins a model abstains on the one without a premise and on one of the two that have
an answer: recall 1/2, false abstention 1/2, precision 1/2, and auroc says whether it was near.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.chains.answer_scoring import Ask, Query, read_answers
from interp.chains.chain import encode_answer, encode_layout
from interp.chains.trace import Trace
from interp.models import Model
from interp.results.rows import Item
from interp.stats.auroc import Pooled
from interp.tasks import Example, Task
from probes.probe import Readers, Traces, not_applicable, own_answers

CONDITIONS = ("direct", "forced")
POOLED = tuple(
    pooled
    for condition in CONDITIONS
    for pooled in (
        Pooled("abstention", condition, "recall", "false_abstention", "precision"),
        Pooled("abstention", condition, "p_unanswerable", "p_answerable", "auroc"),
    )
)
"""What `summarise` makes of all items together."""
NO_TWINS = "the task has no questions with and without an answer"
NO_TWIN = "its answerable twin is not among the examples"
NO_CHAIN = "the chain never ends"


@dataclass(frozen=True)
class Abstention:
    """Asks questions that can and that cannot be answered."""

    name: ClassVar[str] = "abstention"
    title: ClassVar[str] = "Abstention"
    question: ClassVar[str] = "Does the model abstain where there is no answer, and only there?"
    reading: ClassVar[tuple[str, ...]] = (
        "Recall: how often it abstains on questions without an answer. False abstention: on those "
        "with one. Direct: no chain. Forced: made to think. recall_change: what thinking does.",
        "Recall can fall because the model no longer sees that a premise is missing, or because "
        "it has learned to answer anyway. auroc tells these apart: it asks how well the "
        "probability of abstaining separates the two kinds, wherever the threshold lies.",
        "Appropriate: right answers and right abstentions together. Precision depends on the "
        "share of unanswerable questions, which is one half where every question has its twin.",
    )

    batch_size: int = 64
    """Questions answered at a time."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Abstention and its probability, direct and forced, for each example and reader."""
        kinds = {example.answer == task.abstention for example in task.examples}
        if not task.abstention or len(kinds) < 2:
            return not_applicable(self.name, "direct", "recall", NO_TWINS, readers, task)
        items: list[Item] = []
        for reader, model in readers.items():
            own = own_answers(reader, model, task, traces, seed=seed, batch_size=self.batch_size)
            probability = abstention_probability(model, task, own["forced"], reader)
            for condition in CONDITIONS:
                twins = _twin_wins(task, probability[condition])
                for at, example in enumerate(task.examples):
                    values = _values(example, task, own[condition][at], probability[condition][at])
                    if at in twins:
                        values.append(("twin_auroc", *twins[at]))
                    if at in twins and condition == "forced":
                        change = float(own["forced"][at].correct - own["direct"][at].correct)
                        is_cut = own["forced"][at].status == "truncated"
                        values.append(
                            ("recall_change", float("nan") if is_cut else change, NO_CHAIN)
                        )
                    items += [
                        Item(
                            self.name, reader, reader, task.name, example.id, example.problem,
                            condition, metric, value, note=note if math.isnan(value) else "",
                        )
                        for metric, value, note in values
                    ]  # fmt: skip
        return tuple(items)


def abstention_probability(
    model: Model, task: Task, forced: Sequence[Trace], reader: str
) -> dict[str, list[float]]:
    """P(the answer is the abstention) after the question alone and after each reader's own chain.

    Args:
        model: The reader.
        task: Its questions.
        forced: The chains, one for each example, in order.
        reader: Its name, for the progress bar.

    Returns:
        Condition -> one probability per example; NaN after a chain that never ended.
    """
    layout = encode_layout(model.tokenizer, task.layout)
    target = encode_answer(model.tokenizer, task.layout, task.abstention)
    asks = [
        Ask(t.prompt_ids, t.steps, (Query(None, target), Query(t.steps, target))) for t in forced
    ]
    found = read_answers(model, layout, asks, progress=f"abstention: {reader}")
    after = [
        float("nan") if trace.status == "truncated" else math.exp(chained.logprob)
        for trace, (_, chained) in zip(forced, found, strict=True)
    ]
    return {"direct": [math.exp(free.logprob) for free, _ in found], "forced": after}


def _values(
    example: Example, task: Task, trace: Trace, probability: float
) -> list[tuple[str, float, str]]:
    """Metric, value, and why there is none where there is none."""
    abstains, right = float(trace.answer == task.abstention), float(trace.correct)
    if trace.status == "truncated":
        abstains = float("nan")
    if example.answer == task.abstention:
        kind = [("recall", abstains, NO_CHAIN), ("p_unanswerable", probability, NO_CHAIN)]
    else:
        kind = [
            ("false_abstention", abstains, NO_CHAIN),
            ("p_answerable", probability, NO_CHAIN),
            ("accuracy_answerable", right, ""),
        ]
    return [*kind, ("appropriate", right, "")]


def _twin_wins(task: Task, probability: Sequence[float]) -> dict[int, tuple[float, str]]:
    """By place, for each unanswerable example: the share of its twins that it beats, ties half."""
    rivals: dict[str, list[float]] = {}
    for example, p in zip(task.examples, probability, strict=True):
        if example.answer != task.abstention:
            rivals.setdefault(example.problem, []).append(p)
    wins: dict[int, tuple[float, str]] = {}
    for at, (example, p) in enumerate(zip(task.examples, probability, strict=True)):
        if example.answer == task.abstention:
            others = rivals.get(example.problem, [])
            won = [(p > other) + (p == other) / 2 for other in others]
            is_known = bool(others) and not math.isnan(p + sum(others))
            value = sum(won) / len(won) if is_known else float("nan")
            wins[at] = (value, NO_CHAIN if others else NO_TWIN)
    return wins
