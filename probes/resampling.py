"""Resampling: does the answer change when a step is drawn anew?

A step is replaced by another draw of the same step. The reader writes it: on its own chains that
is the writer itself, on other chains the reader goes on as if they were its own. A chain is cut
before step i and written on `n_samples` times; each continuation is used in two ways.

* rest_anew: the whole continuation stands in place of step i and of all that followed, and the
  answer is read after it. The share of right answers is the accuracy before step i;
  `importance` = accuracy before step i + 1 (step i is kept) - accuracy before step i (it is drawn
  anew), as Thought Anchors has it (Bogdan et al. 2025, arXiv 2506.19143;
  `interp.chains.resampling_importance`). `importance_own` is the same with the recorded answer in
  place of the right one. After the last step nothing is written: the answer there is that after the
  whole chain.
* rest_kept: only the first step of the continuation stands in place of step i, and all other steps
  stay.

A model that is sure of its steps draws the same step again, and importance is near 0 however much
the answer depends on it. So the draws that *differ* are counted alone: those with another result,
or, without a result, with other words. `answer_changes` = share of answers after them that are not
the answer after the whole chain; `differs` is their share of all draws.

Steps are chosen evenly, at most `max_steps` of a chain. A continuation that is never closed has no
answer and is left out; `closed` is the share that is closed.

Example: "3 + 4 = 7 ; 7 * 2 = 3 ;" (in arithmetic modulo 11) with step 0 drawn anew is
"3 + 4 = 9 ; 9 * 2 = 7 ;" with the rest anew, and "3 + 4 = 9 ; 7 * 2 = 3 ;" with the rest kept. A
reader that works by its chain answers 7 to the first and 3 to the second; one whose chain is
decoration answers 3 to both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar, NamedTuple

from interp.chains.answer_scoring import AnswerScore, EditedChain
from interp.chains.chain import Chain, Step, encode_answer
from interp.chains.resampling_importance import resampling_importance
from interp.chains.step_resampling import Continuation, Cut, draw_continuations
from interp.models import Model
from interp.results.plots import dots
from interp.results.rows import Item
from interp.stats.kinds import Kind
from interp.tasks import Task
from probes.cases import Case, CaseItems, cases, read_cases
from probes.probe import Drawing, Headline, Probe, Readers, Results, Traces
from probes.selection import describe_defined, describe_rows, pick_rows
from probes.unreadable import add_unreadable

ANEW, KEPT, DRAWS = "rest_anew", "rest_kept", "draws"
NO_OTHER_DRAW = "every draw says the same as the step"
NOT_CLOSED = "no continuation of the chain is closed"
NAMES = {ANEW: "rest written anew", KEPT: "rest kept"}
METRICS: Mapping[tuple[str, str], str] = {
    (ANEW, "importance"): NOT_CLOSED,
    (ANEW, "importance_own"): NOT_CLOSED,
    (ANEW, "answer_changes"): NO_OTHER_DRAW,
    (KEPT, "answer_changes"): NO_OTHER_DRAW,
    (DRAWS, "differs"): NOT_CLOSED,
    (DRAWS, "closed"): NOT_CLOSED,
}
"""Condition and metric -> why it has no value."""
NAN = float("nan")


class _Reading(NamedTuple):
    """The answer after one chain."""

    is_right: float
    is_own: float
    """It is the recorded answer."""


@dataclass(frozen=True)
class Resampling(Probe):
    """Draws steps anew and reads the answer."""

    name: ClassVar[str] = "resampling"
    title: ClassVar[str] = "Resampled steps"
    question: ClassVar[str] = "Does the answer change when a step is drawn anew?"
    reading: ClassVar[tuple[str, ...]] = (
        "A step is replaced by another draw of the same step, and the rest is written anew "
        "(rest_anew) or kept (rest_kept). answer_changes is the share of answers that change, over "
        "the draws that say something else than the step did; differs is the share of such draws. "
        "With the rest kept the later steps contradict the draw, so answers change less.",
        "importance is the accuracy of continuations that keep the step minus the accuracy of "
        "continuations that draw it anew (Bogdan et al. 2025); importance_own is the same for the "
        "recorded answer. A model that draws the same step again has importance near 0 even if "
        "its answer depends on the step: read it beside differs and answer_changes.",
        "With few samples a single importance is coarse: with 8 samples on each side its standard "
        "error near accuracy one half is 0.25. Means over steps and problems are sharper.",
    )
    n: ClassVar[int] = 20
    writers: ClassVar[tuple[str, ...]] = ("base", "post")
    check_settings: ClassVar[Mapping[str, object]] = {"n_samples": 4, "temperature": 3.0}
    kinds: ClassVar[Mapping[str, Kind]] = {
        "importance": "difference",
        "importance_own": "difference",
        "answer_changes": "share",
        "differs": "share",
        "closed": "share",
    }
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline(ANEW, "answer_changes", "share of answers that change with another draw:"),
        Headline(ANEW, "importance", "accuracy gained by keeping a step:"),
    )
    no_truth: ClassVar[str] = "it draws too long for all organisms; a test compares two of them"

    n_samples: int = 8
    """Continuations from each step."""
    temperature: float = 1.0
    """Of the draws."""
    max_steps: int = 4
    """Steps of a chain that are drawn anew, chosen evenly."""

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Importance of the chosen steps of each chain, writer and reader."""
        items: list[Item] = []
        for reader, writer, model, readable in cases(readers, task, traces, seed=seed):
            label = f"resampling: {reader} on {writer}"
            drawn = self._draw(model, task, readable, seed, label)
            asked = [
                (case, _chains_to_read(case, of_case))
                for case, of_case in zip(readable, drawn, strict=True)
            ]
            for (case, scores), of_case in zip(read_cases(model, asked, label), drawn, strict=True):
                record = CaseItems(self.name, task.name, case)
                _add_steps(record, task, case, of_case, self._chosen(case), scores)
                items += record.items
        main = (ANEW, ("importance", "answer_changes"))
        return add_unreadable(items, self.name, main, readers, task, traces)

    def _chosen(self, case: Case) -> list[int]:
        return choose_evenly(len(case.chain), self.max_steps)

    def _draw(
        self, model: Model, task: Task, readable: Sequence[Case], seed: int, label: str
    ) -> list[dict[int, list[Continuation]]]:
        """For each case: how many steps are kept -> the continuations from there."""
        cuts = [
            Cut(case.trace, kept)
            for case in readable
            # Before and after each chosen step; after the last one nothing is written.
            for kept in sorted({k for i in self._chosen(case) for k in (i, i + 1)})
            if kept < len(case.chain)
        ]
        if not cuts:
            return [{} for _ in readable]
        drawn = draw_continuations(
            model, task, cuts, n=self.n_samples, temperature=self.temperature, seed=seed,
            progress=label,
        )  # fmt: skip
        by_trace: dict[str, dict[int, list[Continuation]]] = {}
        for cut, of_cut in zip(cuts, drawn, strict=True):
            by_trace.setdefault(cut.trace.example, {})[cut.step] = of_cut
        return [by_trace[case.trace.example] for case in readable]

    def figures(self, results: Results) -> list[Drawing]:
        """Share of answers that change with another draw."""
        rows = pick_rows(results, ("answer_changes",), (ANEW, KEPT), writer=results.writer)
        rows = [row for row in rows if row.is_whole]
        options = {"xlabel": "answer changes with another draw of a step", "names": NAMES}
        return [Drawing(self.name, dots, rows, options)]

    def describe(self, results: Results) -> list[str]:
        """How often answers change, and what keeping a step is worth."""
        numbers = (
            (ANEW, "answer_changes", "share of answers that change, rest written anew"),
            (KEPT, "answer_changes", "share of answers that change, rest kept"),
            (ANEW, "importance", "accuracy gained by keeping a step (importance)"),
            (DRAWS, "differs", "share of draws that say something else"),
        )
        lines = describe_rows(results, numbers, writer=results.writer)
        return lines + describe_defined(results, numbers[:3], writer=results.writer)


def choose_evenly(n: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to n - 1, first and last included if there are two.

    Example:
        >>> choose_evenly(10, 4), choose_evenly(3, 4), choose_evenly(10, 1)
        ([0, 3, 6, 9], [0, 1, 2], [0])
    """
    if n <= most:
        return list(range(n))
    return sorted({round(at * (n - 1) / max(1, most - 1)) for at in range(most)})


def _edits(
    case: Case, drawn: Mapping[int, Sequence[Continuation]]
) -> list[tuple[str, int, Continuation, Chain]]:
    """Condition, steps kept, continuation and the chain made of it, of all that are closed."""
    edits: list[tuple[str, int, Continuation, Chain]] = []
    for kept, continuations in drawn.items():
        for one in continuations:
            if not one.is_closed:
                continue
            before = case.chain[:kept]
            edits.append((ANEW, kept, one, (*before, *one.steps)))
            edits.append((KEPT, kept, one, (*before, *one.steps[:1], *case.chain[kept + 1 :])))
    return edits


def _chains_to_read(case: Case, drawn: Mapping[int, Sequence[Continuation]]) -> list[EditedChain]:
    """The whole chain, then all edited ones, each with the recorded and with the right answer."""
    own = case.trace.answer_ids
    right = encode_answer(case.tokenizer, case.layout.text, case.example.answer)
    chains = [case.chain, *(chain for *_, chain in _edits(case, drawn))]
    return [(chain, target) for chain in chains for target in (own, right)]


def _read(case: Case, own: AnswerScore, right: AnswerScore, whole: int) -> _Reading:
    """Where there are candidates, the recorded answer is the reader's own after the whole chain."""
    if case.candidates:
        is_right = case.example.candidates[own.choice] == case.example.answer
        return _Reading(float(is_right), float(own.choice == whole))
    return _Reading(float(right.greedy), float(own.greedy))


def _add_steps(
    record: CaseItems,
    task: Task,
    case: Case,
    drawn: Mapping[int, Sequence[Continuation]],
    chosen: Sequence[int],
    scores: Sequence[AnswerScore],
) -> None:
    """The numbers of each chosen step, and their means."""
    pairs = list(zip(scores[::2], scores[1::2], strict=True))
    read = [_read(case, *pair, whole=scores[0].choice) for pair in pairs]
    whole, *rest = read
    # After the whole chain there is one answer and nothing to draw.
    after: dict[int, list[_Reading]] = {len(case.chain): [whole]}
    changes: dict[tuple[str, int], list[float]] = {}
    for (condition, kept, one, _), reading in zip(_edits(case, drawn), rest, strict=True):
        if condition == ANEW:
            after.setdefault(kept, []).append(reading)
        if one.steps and differs(task, case.chain[kept], one.steps[0]):
            # Compared with the recorded answer, which the reader has to reproduce.
            changed = 1 - reading.is_own if whole.is_own else NAN
            changes.setdefault((condition, kept), []).append(changed)
    means: dict[tuple[str, str], list[float]] = {key: [] for key in METRICS}
    for step in chosen:
        both = [after.get(kept, []) for kept in (step, step + 1)]
        n_other = len(changes.get((ANEW, step), []))
        values = {
            (ANEW, "importance"): _importance([[one.is_right for one in of] for of in both]),
            (ANEW, "importance_own"): _importance([[one.is_own for one in of] for of in both]),
            (ANEW, "answer_changes"): _mean(changes.get((ANEW, step), [])),
            (KEPT, "answer_changes"): _mean(changes.get((KEPT, step), [])),
            (DRAWS, "differs"): n_other / len(both[0]) if both[0] else NAN,
            (DRAWS, "closed"): len(both[0]) / len(drawn[step]),
        }
        for (condition, metric), value in values.items():
            record.add(condition, metric, value, step=step, note=METRICS[condition, metric])
            means[condition, metric].append(value)
    for (condition, metric), of_steps in means.items():
        known = [value for value in of_steps if not math.isnan(value)]
        record.add(condition, metric, _mean(known), note=METRICS[condition, metric])


def differs(task: Task, step: Step, drawn: Step) -> bool:
    """Whether a draw of a step says something else: another result, or other words without one."""
    results = task.rewriter.result(step.text), task.rewriter.result(drawn.text)
    if None in results:
        return step.text.split() != drawn.text.split()
    return results[0] != results[1]


def _importance(right: Sequence[Sequence[float]]) -> float:
    """Importance of a step from the answers of continuations before and after it."""
    return float(resampling_importance([_mean(of) for of in right])[0])


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else NAN
