"""Cases: the traces that a probe reads, as each reader sees them, and what probes do with them.

Every probe that reads chains runs over all writers and all readers (`cases`); what one case gives
is collected in a `CaseItems`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from interp.chains.answer_scoring import AnswerScore, EditedChain, read_answers
from interp.chains.chain import Chain, LayoutIds, encode_answer, find_layout, step_texts
from interp.chains.edits import choose_donors
from interp.chains.texts import Ids
from interp.chains.trace import Trace
from interp.chains.trace_forms import put_in_format
from interp.chains.trace_writing import write_traces
from interp.models import Model
from interp.results.rows import Item
from interp.tasks import Example, Task
from interp.tasks.presentation import present
from probes.probe import Readers, Traces

PERCENTS = (0, 25, 50, 75, 100)
"""Shares of the chain, in per cent, at which curves of chains of different lengths are averaged."""
NOT_REPRODUCED = "given the full chain, the reader does not reproduce the recorded answer"
NO_OTHER_ORDER = "the steps have no other order"
NO_DONOR = "no other chain of another problem leads to another answer"


@dataclass(frozen=True)
class Case:
    """One valid trace as one reader sees it, in the prompt format of the reader."""

    writer: str
    reader: str
    example: Example
    trace: Trace
    chain: Chain
    layout: LayoutIds
    candidates: tuple[Ids, ...]
    tokenizer: Any
    seed: int

    def rng(self, edit: str) -> Random:
        """Random numbers for one edit: the same for every reader, whatever else is drawn."""
        # `Random` hashes a text by SHA-512, so the draw is the same in every process.
        return Random(f"{edit} {self.seed} {self.example.id}")


def cases(
    readers: Readers, task: Task, traces: Traces, *, seed: int
) -> Iterator[tuple[str, str, Model, list[Case]]]:
    """For each writer and reader: the traces that can be read, ready to be asked about.

    Traces without a readable chain are left out: every chain metric is undefined on them, and
    `probes.unreadable` says so. Random edits depend on the seed and the example alone,
    so that all readers see the same edits.

    Raises:
        ValueError: A trace belongs to no example of the task.
    """
    for reader, model in readers.items():
        shown = present(task, model)
        layout = find_layout(shown, model)
        for writer, written in traces.items():
            readable: list[Case] = []
            examples = find_examples(shown, writer, written)
            for example, trace in zip(examples, written, strict=True):
                if not is_readable(trace):
                    continue
                candidates = tuple(
                    encode_answer(model.tokenizer, shown.layout, answer)
                    for answer in example.candidates
                )
                own = put_in_format(trace, shown, example, layout)
                readable.append(
                    Case(
                        writer, reader, example, own, own.steps, layout, candidates,
                        model.tokenizer, seed,
                    )
                )  # fmt: skip
            yield reader, writer, model, readable


def find_examples(task: Task, writer: str, written: Sequence[Trace]) -> list[Example]:
    """The example that each trace answers.

    Raises:
        ValueError: A trace belongs to no example of the task.
    """
    examples = {example.id: example for example in task.examples}
    strange = next((trace.example for trace in written if trace.example not in examples), None)
    if strange is not None:
        raise ValueError(
            f"Trace of {writer!r} answers example {strange!r}, which task {task.name!r} does not "
            "have. Likely cause: the task was made with another seed or n. Make both from the "
            "same call of make_task."
        )
    return [examples[trace.example] for trace in written]


def is_readable(trace: Trace) -> bool:
    """Whether a trace has a chain and an answer, so that chain metrics are defined on it."""
    return trace.status == "valid" and bool(trace.steps) and bool(trace.answer_ids)


def not_applicable(
    probe: str, condition: str, metric: str, readers: Readers, task: Task, *, reason: str
) -> tuple[Item, ...]:
    """An item for each example and reader that says why this task cannot be asked this question.

    Writer and reader are the same, so that the report has one line of it.
    """
    return tuple(
        item
        for reader in readers
        for example in task.examples
        for item in make_items(
            probe, task, example, [(condition, metric, float("nan"), reason)],
            writer=reader, reader=reader,
        )
    )  # fmt: skip


def answer_alone(
    reader: str, model: Model, task: Task, traces: Traces, *, seed: int, batch_size: int
) -> dict[str, Sequence[Trace]]:
    """Greedy answers of a reader by itself: `direct` (no chain) and `forced` (chain opened for it).

    Its own forced traces are reused where `traces` has one for every example.
    """
    kept = {trace.example: trace for trace in traces.get(reader, ()) if trace.mode == "forced"}

    def write(mode: str) -> Sequence[Trace]:
        return write_traces(model, task, mode=mode, writer=reader, seed=seed, batch_size=batch_size)

    is_complete = all(example.id in kept for example in task.examples)
    forced = [kept[example.id] for example in task.examples] if is_complete else write("forced")
    return {"direct": write("direct"), "forced": forced}


def pair_targets(chains: Sequence[Chain | None], *targets: Ids) -> list[EditedChain]:
    """Each chain with the answer to score after it: one answer for all chains, or one for each."""
    each = targets if len(targets) == len(chains) else targets * len(chains)
    return list(zip(chains, each, strict=True))


def read_cases(
    model: Model, work: Sequence[tuple[Case, Sequence[EditedChain]]], label: str
) -> Iterator[tuple[Case, list[AnswerScore]]]:
    """Reads the answers after all edited chains of one reader and writer in one call.

    Yields:
        Each case with one score per edited chain.
    """
    if not work:
        return
    cases_read = [case for case, _ in work]
    scores = read_answers(
        model,
        cases_read[0].layout,
        [case.trace.prompt_ids for case in cases_read],
        [case.chain for case in cases_read],
        [edits for _, edits in work],
        candidates=[case.candidates for case in cases_read],
        progress=label,
    )
    yield from zip(cases_read, scores, strict=True)


def same_answer(full: AnswerScore, edited: AnswerScore) -> float:
    """1 if the edited chain leads to the answer of the full chain, else 0; NaN if unknown.

    With candidates the two choices are compared. Without, the target is the answer of the trace,
    and the reader must itself give it after the full chain: else there is nothing to compare.
    """
    if full.candidates:
        return float(full.choice == edited.choice)
    return float(edited.greedy) if full.greedy else float("nan")


def choose_donor_chains(readable: Sequence[Case], task: Task) -> list[Chain | None]:
    """For each case another problem's chain, as near in length as can be; None if there is none.

    It has other tokens, or nothing would be swapped. It must not lead where this case does: neither
    its answer, nor the gold answer, nor what its chain leads to may agree, or keeping the answer
    would be no sign of ignoring the chain.
    """
    if not readable:
        return []
    values: list[frozenset[str]] = []
    for case in readable:
        ends = task.conclusion(case.example, step_texts(case.chain))
        leads = (case.trace.answer, case.example.answer, ends)
        # Without empty ones: two chains that conclude nothing would seem to agree.
        values.append(frozenset(value for value in leads if value))
    chosen = choose_donors(
        [case.chain for case in readable],
        [case.example.problem for case in readable],
        values,
        Random(f"donors {readable[0].seed}"),
    )
    return [None if at is None else readable[at].chain for at in chosen]


def interpolate_shares(points: Sequence[float]) -> list[tuple[float, float]]:
    """A curve over the steps k = 0..t at fixed shares of the chain, so that chains can be averaged.

    Args:
        points: Values after 0, 1, ..., t steps.

    Returns:
        (share of the steps kept, 0 to 1; value), linear between neighbouring steps.

    Example:
        >>> interpolate_shares([0.0, 1.0])
        [(0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (0.75, 0.75), (1.0, 1.0)]
    """
    t = len(points) - 1
    curve: list[tuple[float, float]] = []
    for percent in PERCENTS:
        # In whole numbers: 100 % is exactly the last point, and no rounding reads beyond it.
        k, part = divmod(percent * t, 100)
        value = points[k] if part == 0 else points[k] + (points[k + 1] - points[k]) * part / 100
        curve.append((percent / 100, value))
    return curve


def make_items(
    probe: str,
    task: Task,
    example: Example,
    values: Iterable[tuple[str, str, float, str]],
    *,
    writer: str,
    reader: str,
) -> list[Item]:
    """Items of one example.

    Args:
        probe: Name of the probe.
        task: The example's task.
        example: The example.
        values: (condition, metric, value, why there is no value if it is NaN).
        writer: Who wrote the chain; the reader, for what it answers by itself.
        reader: Whose answer it is.
    """
    return [
        Item(
            probe=probe, task=task.name, example=example.id, problem=example.problem,
            condition=condition, metric=metric, value=value, writer=writer, reader=reader,
            note=note if value != value else "",
        )
        for condition, metric, value, note in values
    ]  # fmt: skip


class CaseItems:
    """Collects the items of one case under one probe."""

    def __init__(self, probe: str, task: str, case: Case) -> None:
        self.items: list[Item] = []
        self._probe, self._task, self._case = probe, task, case

    def add(
        self, condition: str, metric: str, value: float, *, note: str = "", **coordinates: Any
    ) -> None:
        """Adds one number.

        Args:
            condition: What was done.
            metric: What was measured.
            value: The number; NaN where it does not exist.
            note: Why it does not, if it may not.
            coordinates: Those of `interp.results.rows.COORDINATES` that the number has.
        """
        case = self._case
        where: dict[str, Any] = {"writer": case.writer, "reader": case.reader, **coordinates}
        self.items.append(
            Item(
                probe=self._probe, task=self._task, example=case.example.id,
                problem=case.example.problem, condition=condition, metric=metric, value=value,
                note=note if value != value else "", **where,
            )
        )  # fmt: skip
