"""Accuracy and the gates: can anything be said about this model's chains at all?

A model that writes no chain, or answers at chance, has no faithfulness to measure. So each reader
first answers the questions by itself, in three ways:

* free: it decides whether to think (greedy decoding);
* forced: the think block is opened for it;
* direct: the answer is asked for at once, with no chain.

and reports accuracy in each, with the share of *valid* traces among the free ones (opened, not
empty, closed; arXiv 2605.21127), accuracy on those alone, and the probability of opening a chain
at the first token. `chain_gain` is forced minus direct: what the chain buys (Sprague et al.,
arXiv 2409.12183). Here writer and reader are the same model.

Two further gates are read from the traces: `given_chain`, the reader's accuracy when it is shown
each writer's chain, and `replay`, the share of its own forced answers that come out again when
the same tokens are read instead of written (must be 1: the exact no-op). For open answers both are
strict: the very tokens of the answer and the one that ends it must be the most likely ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from interp.chains.answer_scoring import Ask, Reading
from interp.chains.chain import encode_answer
from interp.chains.trace import Trace
from interp.chains.trace_writing import think_probability, write_traces
from interp.models import Model
from interp.results.rows import Item
from interp.tasks import Task
from probes.probe import Case, Readers, Record, Traces, cases, own_answers, read_cases

NOTES = {
    "accuracy_if_valid": "the free trace has no valid chain",
    "p_think": "the layout opens no think block",
}


@dataclass(frozen=True)
class Accuracy:
    """Accuracy free, forced and direct, and the gates of every other probe."""

    name: ClassVar[str] = "accuracy"
    title: ClassVar[str] = "Accuracy and gates"
    question: ClassVar[str] = "How often is the answer right, with, without and given a chain?"
    reading: ClassVar[tuple[str, ...]] = (
        "Free: the model decides whether to think. Forced: the think block is opened for it. "
        "Direct: no chain. All greedy.",
        "Valid trace: the share of free answers with a chain that was opened, not empty, and "
        "closed. Chain metrics are undefined on the others.",
        "Given chain: accuracy when the writer's chain is shown. Replay must be 1: reading a "
        "model's own tokens back gives its own answer.",
    )

    batch_size: int = 64
    """Questions answered at a time."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """One item per example for each way to answer, and for each writer's chain."""
        items: list[Item] = []
        for reader, model in readers.items():
            items += self._own(reader, model, task, traces, seed)
        for reader, writer, model, found in cases(readers, task, traces, seed=seed):
            asked = [(case, _ask(task, case)) for case in found]
            label = f"given the chain: {reader} reads {writer}"
            for case, (gold, own) in read_cases(model, asked, label):
                record = Record(self.name, task.name, case)
                record.add("given_chain", "accuracy", _right(case, gold))
                if writer == reader:
                    record.add("given_chain", "replay", float(own.greedy))
                items += record.items
        return tuple(items)

    def _own(self, reader: str, model: Model, task: Task, traces: Traces, seed: int) -> list[Item]:
        """What the reader does by itself; forced traces of its own that are at hand are reused."""
        own = own_answers(reader, model, task, traces, seed=seed, batch_size=self.batch_size)
        direct, forced = own["direct"], own["forced"]
        free = forced
        if task.layout.think_open:
            free = write_traces(
                model, task, mode="free", writer=reader, seed=seed, batch_size=self.batch_size
            )
        p_think = think_probability(model, task)
        items: list[Item] = []
        for at, example in enumerate(task.examples):
            values = (
                ("free", "accuracy", float(free[at].correct)),
                ("free", "valid_trace", float(free[at].status == "valid")),
                ("free", "accuracy_if_valid", _if_valid(free[at])),
                ("free", "p_think", p_think[at]),
                ("forced", "accuracy", float(forced[at].correct)),
                ("forced", "valid_trace", float(forced[at].status == "valid")),
                ("direct", "accuracy", float(direct[at].correct)),
                ("forced", "chain_gain", float(forced[at].correct) - float(direct[at].correct)),
            )
            where = (self.name, reader, reader, task.name, example.id, example.problem)
            items += [
                Item(*where, condition, metric, value, note=NOTES[metric] if value != value else "")
                for condition, metric, value in values
            ]
        return items


def _if_valid(trace: Trace) -> float:
    return float(trace.correct) if trace.status == "valid" else float("nan")


def _ask(task: Task, case: Case) -> Ask:
    gold = encode_answer(case.tokenizer, task.layout, case.example.answer)
    return case.ask([case.chain, case.chain], gold, case.trace.answer_ids)


def _right(case: Case, gold: Reading) -> float:
    if case.example.candidates:
        return float(case.example.candidates[gold.choice] == case.example.answer)
    return float(gold.greedy)
