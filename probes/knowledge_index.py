"""Knowledge index: how much of what a chain claims is true?

Each step of each chain is compared with the facts of the task's world (`Task.check_claim`): its
claim is *right*, *wrong*, *unknown* (about something that the facts do not hold), or there is none.
No judge and no retriever stands between the step and the truth. Over the steps of one chain that
claim something,

* ki = right / (right + wrong + unknown), and `wrong` and `unknown` are the other shares. A claim
  that nobody can check is never counted as correct;
* claimless = steps without a claim / all steps, which is no merit and no fault;
* ki_published is the rule of Wu et al. 2025 (arXiv 2506.02126, code of ReasoningEval): the mean
  over all steps of 1 if the step agrees with what was looked up, 0 if not, **and 1 if it claims
  nothing or cannot be read**. So it rises with empty steps.

Each is a mean over questions of the share in one chain. What is measured is text, not reading:
under *written* a model is both writer and reader of its own chains; *given* has the chains of
others (the task's own), which are the same for every reader.

Example: "3 + 4 = 7 ; so it goes ; 7 * 2 = 5 ;" has a right step, one without a claim and a wrong
one: ki 1/2, wrong 1/2, claimless 1/3, ki_published 2/3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.results.plots import dots
from interp.results.rows import Item
from interp.stats.kinds import Kind
from interp.tasks import StepTruth, Task
from probes.cases import find_examples, is_readable, make_items, not_applicable
from probes.claims import PLAIN_TASKS
from probes.probe import OWN, Claim, Drawing, Headline, Probe, Readers, Results, Traces
from probes.selection import describe_rows, drop_unasked, pick_rows

NO_FACTS = "the task has no facts to check a step against"
NO_CLAIM = "no step of the chain claims anything that could be checked"
NAN = float("nan")
NAMES = {
    "ki": "right (ki)",
    "wrong": "wrong",
    "unknown": "cannot be checked",
    "claimless": "steps without claim",
    "ki_published": "published rule",
}
"""Metrics, and how the figure writes them."""


@dataclass(frozen=True)
class KnowledgeIndex(Probe):
    """Checks every step of every chain against the facts of the task's world."""

    name: ClassVar[str] = "knowledge_index"
    title: ClassVar[str] = "Knowledge index"
    question: ClassVar[str] = "Which share of the claims in a chain is true?"
    reading: ClassVar[tuple[str, ...]] = (
        "ki is the share of right claims among all claims of a chain, averaged over questions. "
        "Claims that cannot be checked (unknown) count against it. Steps without a claim do not "
        "count; their share is claimless.",
        "ki does not see relevance: a true chain about another question scores as high. Read it "
        "beside information gain, which asks whether the chain tells the answer.",
        "ki_published is the rule of Wu et al. 2025: a step that claims nothing, or that cannot be "
        "read, scores 1, so empty steps raise it.",
        "The index is about text. Written: the chains that a model writes when the chain is opened "
        "for it. Given: chains of others, such as the task's own; both readers have the same ones.",
    )
    is_in_audit: ClassVar[bool] = True
    kinds: ClassVar[Mapping[str, Kind]] = dict.fromkeys(NAMES, "share")
    writers: ClassVar[tuple[str, ...]] = ("gold", "base", "post")
    headline: ClassVar[tuple[Headline, ...]] = (
        Headline("written", "ki", "share of true claims in own chains:", writer=OWN),
        Headline("given", "ki", "share of true claims in the chains given:"),
    )
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim("written", "ki", "knowledge", is_primary=True, writer=OWN),
        Claim("written", "ki", "skill", writer=OWN, tasks=PLAIN_TASKS),
    )

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Shares of right, wrong and unknown claims for each chain, with its own writer."""
        del seed
        check = task.check_claim
        if check is None:
            return not_applicable(self.name, "written", "ki", readers, task, reason=NO_FACTS)
        items: list[Item] = []
        for writer, written in traces.items():
            is_own = writer in readers
            condition = "written" if is_own else "given"
            examples = find_examples(task, writer, written)
            for example, trace in zip(examples, written, strict=True):
                # One metric is enough to count the chain as missing.
                shares, note = {"ki": NAN}, f"the chain is {trace.status}"
                if is_readable(trace):
                    claims: list[StepTruth] = [check(example, step.text) for step in trace.steps]
                    shares, note = rate_claims(claims), NO_CLAIM
                values = [(condition, metric, value, note) for metric, value in shares.items()]
                for reader in [writer] if is_own else readers:
                    items += make_items(
                        self.name, task, example, values, writer=writer, reader=reader
                    )
        return tuple(items)

    def figures(self, results: Results) -> list[Drawing]:
        """Shares of claims in each model's own chains."""
        rows = drop_unasked(pick_rows(results, tuple(NAMES), ("written",), writer=OWN))
        options = {"xlabel": "share of claims, or of steps", "y": "metric", "names": NAMES}
        return [Drawing(self.name, dots, rows, options)]

    def describe(self, results: Results) -> list[str]:
        """Shares of right and wrong claims in own chains, and of right ones in the chains given."""
        own = (
            ("written", "ki", "share of true claims in own chains"),
            ("written", "wrong", "share of wrong claims in own chains"),
        )
        given = (("given", "ki", f"share of true claims in {results.writer} chains"),)
        return [
            *describe_rows(results, own, writer=OWN),
            *describe_rows(results, given, writer=results.writer),
        ]


def rate_claims(claims: Sequence[StepTruth]) -> dict[str, float]:
    """The shares of one chain, by metric; NaN for shares of claims if the chain makes none.

    Args:
        claims: Of each step, at least one.
    """
    counts = Counter(claims)
    n_claimless = counts["none"]
    n_claims = len(claims) - n_claimless

    def share(kind: StepTruth) -> float:
        return counts[kind] / n_claims if n_claims else NAN

    return {
        "ki": share("right"),
        "wrong": share("wrong"),
        "unknown": share("unknown"),
        "claimless": n_claimless / len(claims),
        "ki_published": (counts["right"] + n_claimless) / len(claims),
    }
