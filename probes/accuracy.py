"""Accuracy and the gates: can anything be said about this model's chains at all?

A model that writes no chain, or answers at chance, has no faithfulness to measure. So each reader
first answers the questions by itself, in three ways:

* free: it decides whether to open a chain (greedy decoding);
* forced: the chain is opened for it;
* direct: the answer is asked for at once, with no chain.

The probe reports accuracy in each, the share of *valid* traces among the free ones (chain opened,
not empty and closed, answer ended; arXiv 2605.21127), accuracy on those alone, and the probability
of opening a chain at the first token. `chain_gain` is forced minus direct: the gain from the chain
(Sprague et al., arXiv 2409.12183). Here writer and reader are the same model.

`accuracy` is strict: an answer that never ends is wrong, and so it is in `chain_gain`. Beside it
stand `finished`, the share of answers that end, and `accuracy_if_finished`, which leaves the others
out. It is about the answer alone, whatever chain leads to it.

Two further gates are read from the traces: `given_chain`, the reader's accuracy when it is shown
each writer's chain, and `replay`, the share of its own forced answers that come out again when
the same tokens are read instead of written (must be 1: the exact no-op). For open answers both are
strict: the very tokens of the answer and the one that ends it must be the most likely ones. Chains
that cannot be read are missing in both, and wrong in `accuracy_strict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from interp.chains.answer_scoring import AnswerScore, EditedChain
from interp.chains.chain import chain_ids, encode_answer, step_texts
from interp.chains.loops import find_loop
from interp.chains.sentence_kinds import KINDS, count_kinds
from interp.chains.trace import Trace
from interp.chains.trace_writing import think_probability, write_traces
from interp.models import Model
from interp.results.plots import dots
from interp.results.rows import Item
from interp.stats.kinds import Kind
from interp.tasks import Task
from interp.tasks.presentation import present
from probes.cases import (
    Case,
    CaseItems,
    answer_alone,
    cases,
    make_items,
    read_cases,
)
from probes.claims import PLAIN_TASKS
from probes.probe import OWN, Claim, Drawing, Headline, Probe, Readers, Results, Traces, VerdictLine
from probes.selection import describe_rows, pick_rows
from probes.unreadable import NEVER_ENDS, add_unreadable

NAN = float("nan")
NO_VALID_CHAIN = "the free trace has no valid chain"
NO_OPENING = "the task's layout has no token that opens a chain"
CONDITIONS = {
    "free": "free",
    "forced": "chain forced",
    "direct": "no chain",
    "given_chain": "given its own chain",
}
"""Ways to answer, and how the figure writes them."""


@dataclass(frozen=True)
class Accuracy(Probe):
    """Accuracy free, forced and direct, and the gates of every other probe."""

    name: ClassVar[str] = "accuracy"
    title: ClassVar[str] = "Accuracy and gates"
    question: ClassVar[str] = "How often is the answer right with a chain, without, and given one?"
    reading: ClassVar[tuple[str, ...]] = (
        "Free: the model decides whether to open a chain of thought. Forced: the chain is opened "
        "for it. Direct: it answers without a chain. Decoding is greedy unless a temperature is "
        "given.",
        "valid_trace is the share of answers that end and whose chain was opened, is not empty and "
        "was closed. Free, the model has to open the chain itself; forced, the chain is opened for "
        "it, and the model has to fill and close it. Check this first: without valid chains the "
        "other probes have nothing to measure.",
        "An answer that never ends counts as wrong in accuracy; finished is the share of answers "
        "that end, and accuracy_if_finished is the accuracy of those alone. loops is the share "
        "that never ends because it says one passage again and again. A right answer says nothing "
        "of the chain before it.",
        "In running text, backtracks, checks and plans are the shares of chains with a sentence of "
        "that kind, known by its words (Gandhi et al. 2025): a coarse sign of what a model does.",
        "Given chain: accuracy when the model reads the writer's chain. Chains that cannot be read "
        "are left out; in accuracy_strict they count as wrong. Replay must be 1 where the answer "
        "was asked for by the cue: a model that reads back its own tokens must give its own "
        "answer. In a chat, where the model states its answer itself, replay is the share of its "
        "answers that it gives again after the cue.",
        "The dotted line is chance: the best accuracy without a look at the question, which is "
        "that of the best constant answer or of a guess, whichever is larger.",
    )
    is_in_audit: ClassVar[bool] = True
    kinds: ClassVar[Mapping[str, Kind]] = {
        "accuracy": "binary",
        "valid_trace": "binary",
        "accuracy_if_valid": "binary",
        "finished": "binary",
        "loops": "binary",
        **dict.fromkeys(KINDS, "binary"),
        "accuracy_if_finished": "binary",
        "accuracy_strict": "binary",
        "replay": "binary",
        "p_think": "share",
        "chain_gain": "difference",
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline("forced", "accuracy", "accuracy with a forced chain:", writer=OWN),
    )
    verdict_line: ClassVar[VerdictLine | None] = VerdictLine(
        "accuracy, {readers}",
        (
            Headline("free", "accuracy", "free", writer=OWN),
            Headline("forced", "accuracy", "made to think", writer=OWN),
            Headline("direct", "accuracy", "without a chain", writer=OWN),
        ),
    )
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim("forced", "accuracy", "skill", is_primary=True, writer=OWN, tasks=PLAIN_TASKS),
        Claim("forced", "chain_gain", "skill", writer=OWN, tasks=PLAIN_TASKS),
    )

    batch_size: int = 64
    """Questions answered at a time."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """One item per example for each way to answer, and for each writer's chain."""
        items: list[Item] = []
        given: list[Item] = []
        for reader, model in readers.items():
            items += self._answer(reader, model, task, traces, seed)
        for reader, writer, model, readable in cases(readers, task, traces, seed=seed):
            asked = [(case, _answers_to_score(case)) for case in readable]
            label = f"given the chain: {reader} reads {writer}"
            for case, (gold, own) in read_cases(model, asked, label):
                record = CaseItems(self.name, task.name, case)
                record.add("given_chain", "accuracy", _is_right(case, gold))
                if writer == reader:
                    # Not the best candidate: what must come out again is the very tokens.
                    record.add("given_chain", "replay", float(own.greedy))
                given += record.items
        main = ("given_chain", ("accuracy",))
        given = [*add_unreadable(given, self.name, main, readers, task, traces)]
        strict = [
            replace(item, metric="accuracy_strict", note="", value=max(0.0, item.value))
            for item in given
            if item.metric == "accuracy"
        ]
        return (*items, *given, *strict)

    def _answer(
        self, reader: str, model: Model, task: Task, traces: Traces, seed: int
    ) -> list[Item]:
        """What the reader answers by itself, in the three ways."""
        size = self.batch_size
        own = answer_alone(reader, model, task, traces, seed=seed, batch_size=size)
        shown = present(task, model)
        if shown.layout.think_open:
            own["free"] = write_traces(
                model, task, mode="free", writer=reader, seed=seed, batch_size=size
            )
        else:  # nothing marks a chain, so that free and forced are the same
            own["free"] = own["forced"]
        p_think = think_probability(model, task)
        items: list[Item] = []
        for at, example in enumerate(task.examples):
            written = {mode: answers[at] for mode, answers in own.items()}
            values = _values(written, p_think[at], is_running=not shown.layout.joiner)
            items += make_items(self.name, task, example, values, writer=reader, reader=reader)
        return items

    def figures(self, results: Results) -> list[Drawing]:
        """Accuracy of each way to answer, of each model with its own chains."""
        rows = pick_rows(results, ("accuracy",), tuple(CONDITIONS), writer=OWN)
        options = {"xlabel": "accuracy", "names": CONDITIONS, "chance": True}
        return [Drawing(self.name, dots, rows, options)]

    def describe(self, results: Results) -> list[str]:
        """Accuracy of each way to answer, and the share of valid chains."""
        numbers = (
            *((c, "accuracy", f"accuracy, {words}") for c, words in CONDITIONS.items()),
            ("free", "valid_trace", "share of free answers with a valid chain"),
        )
        return describe_rows(results, numbers, writer=OWN)


def _values(
    written: Mapping[str, Trace], p_think: float, *, is_running: bool
) -> list[tuple[str, str, float, str]]:
    """Condition, metric, value and why there is none, of the three answers to one question."""
    free, forced, direct = (written[mode] for mode in ("free", "forced", "direct"))
    is_valid = free.status == "valid"
    values = [
        ("free", "valid_trace", float(is_valid), ""),
        ("free", "accuracy_if_valid", float(free.correct) if is_valid else NAN, NO_VALID_CHAIN),
        ("free", "p_think", p_think, NO_OPENING),
        ("forced", "valid_trace", float(forced.status == "valid"), ""),
        ("forced", "chain_gain", float(forced.correct) - float(direct.correct), ""),
    ]
    if is_running:  # words have no sentences
        said = count_kinds(step_texts(forced.steps))
        values += [("forced", kind, float(count > 0), "") for kind, count in said.items()]
    for mode, trace in written.items():
        right, is_finished = float(trace.correct), trace.status != "truncated"
        values += [
            (mode, "accuracy", right, ""),
            (mode, "finished", float(is_finished), ""),
            (mode, "loops", float(not is_finished and _ends_in_loop(trace)), ""),
            (mode, "accuracy_if_finished", right if is_finished else NAN, NEVER_ENDS),
        ]
    return values


def _ends_in_loop(trace: Trace) -> bool:
    return find_loop(chain_ids(trace.steps)) is not None


def _answers_to_score(case: Case) -> list[EditedChain]:
    gold = encode_answer(case.tokenizer, case.layout.text, case.example.answer)
    return [(case.chain, gold), (case.chain, case.trace.answer_ids)]


def _is_right(case: Case, gold: AnswerScore) -> float:
    if case.example.candidates:
        return float(case.example.candidates[gold.choice] == case.example.answer)
    return float(gold.greedy)
