"""Knowledge index: how much of what a chain claims is true?

Each step of each chain is held against the facts of the task's world (`Task.check_claim`): its
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
under *written* a model is both writer and reader of its own chains; under *given* stand the chains
of others (the task's own), which are the same for every reader.

Example: "3 + 4 = 7 ; so it goes ; 7 * 2 = 5 ;" has a right step, one without a claim and a wrong
one: ki 1/2, wrong 1/2, claimless 1/3, ki_published 2/3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from interp.results.rows import Item
from interp.tasks import Claim, Task
from probes.probe import Readers, Traces, find_examples, is_readable, not_applicable

NO_FACTS = "the task has no facts to check a step against"
NO_CLAIM = "no step of the chain claims anything that could be checked"
NAN = float("nan")


@dataclass(frozen=True)
class KnowledgeIndex:
    """Checks every step of every chain against the facts of the task's world."""

    name: ClassVar[str] = "knowledge_index"
    title: ClassVar[str] = "Knowledge index"
    question: ClassVar[str] = "How much of what the chain claims is true?"
    reading: ClassVar[tuple[str, ...]] = (
        "ki is the share of right ones among the claims of a chain, then the mean over questions. "
        "Claims that cannot be checked (unknown) count against it; steps without a claim do not "
        "count at all and are reported as claimless.",
        "ki cannot see relevance: a true chain about another question scores as high. Read it "
        "beside information gain, which asks whether the chain tells the answer.",
        "ki_published is the rule of Wu et al. 2025: a step that claims nothing, or cannot be "
        "read, scores 1, so that empty steps raise it.",
        "It is about text. Written: the chains that a model writes when made to think. Given: "
        "chains of others, such as the task's own, which are the same for both.",
    )

    def run(self, readers: Readers, task: Task, traces: Traces, *, seed: int) -> tuple[Item, ...]:
        """Shares of right, wrong and unknown claims for each chain, with its own writer."""
        del seed
        check = task.check_claim
        if check is None:
            return not_applicable(self.name, "written", "ki", NO_FACTS, readers, task)
        items: list[Item] = []
        for writer, written in traces.items():
            is_own = writer in readers
            condition = "written" if is_own else "given"
            examples = find_examples(task, writer, written)
            for example, trace in zip(examples, written, strict=True):
                values, note = [("ki", NAN)], f"the chain is {trace.status}"
                if is_readable(trace):
                    claims: list[Claim] = [check(example, step.text) for step in trace.steps]
                    values, note = knowledge(claims), NO_CLAIM
                items += [
                    Item(
                        self.name, writer, reader, task.name, example.id, example.problem,
                        condition, metric, value, note=note if value != value else "",
                    )
                    for reader in ([writer] if is_own else readers)
                    for metric, value in values
                ]  # fmt: skip
        return tuple(items)


def knowledge(claims: Sequence[Claim]) -> list[tuple[str, float]]:
    """The shares of one chain, by metric; NaN for those of a chain without any claim.

    Args:
        claims: What each step claims, at least one step.
    """
    counts: Counter[Claim] = Counter(claims)
    n, claimless = len(claims), counts["none"]

    def share(count: int) -> float:
        return count / (n - claimless) if n > claimless else NAN

    return [
        ("ki", share(counts["right"])),
        ("wrong", share(counts["wrong"])),
        ("unknown", share(counts["unknown"])),
        ("claimless", claimless / n),
        ("ki_published", (counts["right"] + claimless) / n),
    ]
