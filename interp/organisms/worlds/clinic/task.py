"""The tasks of the world **clinic**, in the form that probes ask them.

    Q d7 inhibits regulates ? <think> d7 inhibits e28 ; e28 regulates p19 ; </think> A p19

One word is one token, a step is one fact and ends in ``;``, and every fact of the world is listed,
so each claim of a chain is right, wrong or about something without a fact. ``clinic/facts`` asks
every fact exactly once: in longer chains accuracy overstates knowledge, since after one guess the
model can continue with facts that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random
from typing import get_args

from interp.organisms.words import ABSTAIN, LAYOUT, first_word
from interp.organisms.worlds.clinic.facts import (
    ENTITIES,
    OBJECT_KIND,
    PLAIN,
    WORDS,
    Fact,
    judge_step,
    look_up,
    read_fact,
)
from interp.organisms.worlds.clinic.problems import Problem
from interp.organisms.worlds.clinic.splits import Split, clinic_problems
from interp.organisms.worlds.problem import make_example
from interp.tasks.step_splitting import split_at_semicolons
from interp.tasks.task import Example, StepTruth, Task

_TOKENS_PER_STEP = 4
_LONGEST_CHAIN = 3


def clinic_task(split: Split, *, n: int, seed: int) -> Task:
    """Problems of the world clinic.

    Args:
        split: ``known``, ``all``, ``domain``, ``facts``, ``abstain``, ``shifts`` or ``pool``, as in
            `interp.organisms.worlds.clinic.splits`.
        n: How many problems; a twin and a shifted form count as one each.
        seed: Which ones.

    Returns:
        The task. The candidates are the forty entities of the right kind (and ``unk``, where some
        questions have no other answer).

    Raises:
        ValueError: If the split is unknown or holds fewer problems.
    """
    examples = tuple(clinic_example(problem, split) for problem in clinic_problems(split, n, seed))
    return Task(
        name=f"clinic/{split}",
        examples=examples,
        layout=LAYOUT,
        rewriter=ClinicRewriter(),
        split_steps=split_at_semicolons,
        read_answer=first_word,
        max_chain_tokens=2 * _TOKENS_PER_STEP * _LONGEST_CHAIN,
        max_answer_tokens=2,
        abstention=ABSTAIN,
        check_claim=check_claim,
        unfold=unfold,
    )


def clinic_example(problem: Problem, split: Split) -> Example:
    """A problem of a split in the form of an example."""
    abstain = (ABSTAIN,) if split == "abstain" else ()
    shift = "rule" if problem.is_reversed else "n_minus_1" if problem.family else "none"
    shifts = {"shift": shift} if split == "shifts" else {}
    return make_example(problem, (*problem.candidates, *abstain), domain=problem.n_domain, **shifts)


def unfold(example: Example, step: str) -> tuple[str, ...]:
    """``d7 inhibits regulates p19 ;`` as its two facts; any other step as it is."""
    del example
    words = step.split()
    if len(words) <= _TOKENS_PER_STEP:
        return (step,)
    subject, *verbs, result, end = words
    values = [subject]
    for verb in verbs[:-1]:
        if (value := look_up(values[-1], PLAIN.get(verb, verb))) is None:
            return (step,)
        values.append(value)
    facts = zip(values, verbs, [*values[1:], result], strict=True)
    return tuple(f"{one} {verb} {other} {end}" for one, verb, other in facts)


def check_claim(example: Example, step: str) -> StepTruth:
    """Whether a step agrees with the facts of the world; the question plays no part."""
    # What unfolding looked up is right; whether the step is, its last fact tells.
    return judge_step(unfold(example, step)[-1])


@dataclass(frozen=True)
class ClinicRewriter:
    """Wrong and reworded steps of the world clinic."""

    def mistake(
        self, example: Example, steps: tuple[str, ...], at: int, *, propagate: bool, rng: Random
    ) -> tuple[str, ...] | None:
        """The steps with a wrong entity at step `at`; None if that is no step of this world.

        The entity written is of the kind that belongs there, and neither the one that stands there
        nor the one that the fact names. Propagating stops at the first later step that is
        malformed.
        """
        del example
        fact = read_fact(steps[at])
        if fact is None:
            return None
        spared = (fact.object, look_up(fact.subject, fact.verb))
        names = [name for name in ENTITIES[OBJECT_KIND[fact.verb]] if name not in spared]
        value: str | None = rng.choice(names)
        changed = [*steps]
        changed[at] = _written(steps[at], fact.subject, value)
        for later in range(at + 1, len(steps) if propagate else 0):
            following = read_fact(steps[later])
            if following is None:
                break
            before, value = value, look_up(value, following.verb)
            changed[later] = _written(steps[later], before, value)
        return tuple(changed)

    def paraphrase(self, example: Example, step: str, rng: Random) -> str | None:
        """``d7 inhibits e28 ;`` as ``d7 blocks e28 ;``; None where no verb has a synonym."""
        del example, rng
        spoken = WORDS.paraphrase(step)
        return None if spoken == step else spoken

    def result(self, step: str) -> str | None:
        """The object of the fact."""
        fact = read_fact(step)
        return None if fact is None else fact.object


def _written(step: str, subject: str | None, value: str | None) -> str:
    """The step with another subject and object; its verb stays as it was written."""
    return Fact(subject or ABSTAIN, step.split()[1], value or ABSTAIN).step


SPLITS = {split: partial(clinic_task, split) for split in get_args(Split)}
"""Name of a split -> the function that makes it, for `interp.tasks.registry`."""
