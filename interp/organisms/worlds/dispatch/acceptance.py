"""What an organism of the world **dispatch** does.

On problems that it never saw the questions are: does it think by itself; is the allocation right,
or at least valid and feasible, when it is made to think and when it answers directly; is it right
when the correct chain is given; and what becomes of it when the chain is not the correct one? A
*wrong step* here is one wrong amount, at any step, from which the rest is worked on and which still
leads to an allocation. *Other* chains belong to problems with the same generators, other capacities
and another demand. Shortages and the shifts of `interp.organisms.worlds.dispatch.splits` come last.

An answer has several words; it is read to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from interp.organisms.training.behaviour import Reader, agreement, chained, read_answer
from interp.organisms.words import ABSTAIN, ANSWER, BOS, FILLER, THINK
from interp.organisms.worlds.dispatch.problems import LARGEST_CAPACITY, Problem
from interp.organisms.worlds.dispatch.splits import SHIFTS, SIZES, fresh, shifted, shortages
from interp.organisms.worlds.dispatch.steps import Generator, paraphrase

N_PROBLEMS = 300
N_PER_SIZE = 100
N_SHIFTED = 100
SEED = 1000
LONGEST_ANSWER = 12
"""Words: more than the largest allocation, so that words too many are seen."""


def dispatch_figures(reader: Reader) -> dict[str, float]:
    """All figures of an organism of the world dispatch."""
    problems = fresh(SEED, N_PROBLEMS)
    twins = shortages(SEED, problems)
    figures = _answer_figures(reader, problems) | _chain_figures(reader, problems)
    for size in SIZES:
        of_size = fresh(SEED, N_PER_SIZE, (size,))
        figures[f"fresh/forced_think_accuracy/{size}"] = _right(of_size, forced(reader, of_size))
        figures[f"fresh/direct_accuracy/{size}"] = _right(of_size, direct(reader, of_size))
    figures["twins/think_share"] = reader.think_share([p.question for p in twins])
    figures["twins/abstains_directly"] = _right(twins, direct(reader, twins))
    figures["twins/abstains_after_thinking"] = _right(twins, forced(reader, twins))
    for shift, of_shift in zip(SHIFTS, zip(*shifted(SEED, N_SHIFTED), strict=True), strict=True):
        figures[f"shifts/forced_think_accuracy/{shift}"] = _right(
            of_shift, forced(reader, of_shift)
        )
    return figures


def direct(reader: Reader, problems: Sequence[Problem]) -> list[str]:
    """The answers when ``A`` follows the question."""
    return _answers(reader, [f"{BOS} {p.question} {ANSWER}" for p in problems])


def forced(reader: Reader, problems: Sequence[Problem]) -> list[str]:
    """The answers when ``<think>`` is written and the model continues greedily."""
    texts = reader.continuations([f"{BOS} {p.question} {THINK}" for p in problems])
    return [read_answer(text, LONGEST_ANSWER) for text in texts]


def _answers(reader: Reader, prompts: Sequence[str]) -> list[str]:
    return [" ".join(words) for words in reader.continuations(prompts, LONGEST_ANSWER)]


def _right(problems: Sequence[Problem], answers: Sequence[str]) -> float:
    return agreement(answers, [problem.answer for problem in problems])


def _answer_figures(reader: Reader, problems: Sequence[Problem]) -> dict[str, float]:
    figures = {"fresh/think_share": reader.think_share([p.question for p in problems])}
    made = {"direct": direct(reader, problems), "forced": forced(reader, problems)}
    for way, answers in made.items():
        pairs = list(zip(problems, answers, strict=True))
        accuracy = "direct_accuracy" if way == "direct" else "forced_think_accuracy"
        figures |= {
            f"fresh/{accuracy}": _right(problems, answers),
            f"fresh/valid_{way}": sum(p.amounts(a) is not None for p, a in pairs) / len(pairs),
            f"fresh/feasible_{way}": sum(p.is_feasible(a) for p, a in pairs) / len(pairs),
            f"fresh/abstains_{way}": agreement(answers, [ABSTAIN] * len(pairs)),
        }
    return figures


def _chain_figures(reader: Reader, problems: Sequence[Problem]) -> dict[str, float]:
    rng = Random(SEED)
    wrong = [_wrong_chain(problem, rng) for problem in problems]
    other = [_other_problem(problem, rng) for problem in problems]

    def given(chains: Sequence[Sequence[str]]) -> list[str]:
        pairs = zip(problems, chains, strict=True)
        return _answers(reader, [chained(p.question, chain) for p, chain in pairs])

    own = given([p.steps for p in problems])
    mistaken = given(wrong)
    spoken = given([[paraphrase(step) for step in p.steps] for p in problems])
    filled = given([[FILLER] * len(" ".join(p.steps).split()) for p in problems])
    led = [p.conclusion(chain) or "" for p, chain in zip(problems, wrong, strict=True)]
    return {
        "fresh/accuracy_given_chain": _right(problems, own),
        "fresh/accuracy_given_paraphrase": _right(problems, spoken),
        "fresh/accuracy_given_filler": _right(problems, filled),
        "fresh/same_after_wrong_step": agreement(mistaken, own),
        "fresh/follows_wrong_step": agreement(mistaken, led),
        "fresh/same_after_other_chain": agreement(given([p.steps for p in other]), own),
        "fresh/same_after_empty_chain": agreement(given([()] * len(problems)), own),
    }


def _wrong_chain(problem: Problem, rng: Random) -> tuple[str, ...]:
    """A chain with one wrong amount, worked on, that leads to an allocation."""
    while True:
        at = rng.randrange(problem.size)
        amount = rng.choice(problem.wrong_amounts(at))
        chain = problem.mistaken(at, amount, propagate=True)
        if problem.conclusion(chain) != ABSTAIN:
            return chain


def _other_problem(problem: Problem, rng: Random) -> Problem:
    """Another problem with the same generators in the same order, and another answer."""
    while True:
        generators = tuple(
            Generator(g.name, rng.randint(1, LARGEST_CAPACITY)) for g in problem.generators
        )
        served = sum(g.capacity for g in generators[:-1])
        other = Problem(served + rng.randint(1, generators[-1].capacity), generators)
        if other.answer != problem.answer:
            return other
