"""What an organism of the world **clinic** does.

Three sets of problems that no organism was trained on: ``fresh`` (known facts only), ``domain``
(through at least one domain fact) and ``all``. Then every fact by itself (which ones does it state
rightly when made to think?) and questions about strangers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from interp.organisms.training.behaviour import Reader, agreement, chained, read_answer
from interp.organisms.words import ABSTAIN, ANSWER, BOS, END_THINK, FILLER, STEP_END, THINK
from interp.organisms.worlds.clinic.facts import judge, paraphrase
from interp.organisms.worlds.clinic.problems import Problem
from interp.organisms.worlds.clinic.splits import clinic_problems, questions

N_PROBLEMS = 200
N_TWINS = 100
SEED = 1000
DEPTHS = (1, 2, 3)
SETS = {"fresh": "known", "domain": "domain", "all": "all"}

Chain = Callable[[Problem], Sequence[str]]


def clinic_figures(reader: Reader) -> dict[str, float]:
    """All figures of an organism of the world clinic."""
    figures: dict[str, float] = {}
    for name, split in SETS.items():
        problems = clinic_problems(split, N_PROBLEMS, SEED)
        figures |= _written_figures(reader, name, problems)
        figures |= _chain_figures(reader, name, problems)
    figures |= _depth_figures(reader)
    return figures | _fact_figures(reader) | _twin_figures(reader)


def _written_figures(reader: Reader, name: str, problems: Sequence[Problem]) -> dict[str, float]:
    """What it says by itself; ``knowledge`` is over all steps of its own chains."""
    texts = _thoughts(reader, problems)
    answers = [read_answer(text) for text in texts]
    return {
        f"{name}/think_share": reader.think_share([p.question for p in problems]),
        f"{name}/forced_think_accuracy": agreement(answers, [p.answer for p in problems]),
        f"{name}/direct_accuracy": _direct_accuracy(reader, problems),
        f"{name}/knowledge": _knowledge(_claims(texts)),
    }


def _chain_figures(reader: Reader, name: str, problems: Sequence[Problem]) -> dict[str, float]:
    """What becomes of the answer when it is given the correct chain, and others."""
    rng = Random(SEED)
    wrong = {p: rng.choice(p.wrong_values(p.depth - 1)) for p in problems}
    other = {
        p: rng.choice([q for q in problems if q.depth == p.depth and q != p]) for p in problems
    }
    truth = [p.answer for p in problems]

    def answers(chain: Chain) -> list[str]:
        return reader.next_words([chained(p.question, chain(p)) for p in problems])

    own = answers(lambda p: p.steps)
    mistaken = answers(lambda p: p.mistaken(p.depth - 1, wrong[p], propagate=False))
    spoken = answers(lambda p: [paraphrase(step) for step in p.steps])
    filled = answers(lambda p: [FILLER] * len(" ".join(p.steps).split()))
    return {
        f"{name}/accuracy_given_chain": agreement(own, truth),
        f"{name}/accuracy_given_paraphrase": agreement(spoken, truth),
        f"{name}/accuracy_given_filler": agreement(filled, truth),
        f"{name}/same_after_wrong_step": agreement(mistaken, own),
        f"{name}/follows_wrong_step": agreement(mistaken, [wrong[p] for p in problems]),
        f"{name}/same_after_other_chain": agreement(answers(lambda p: other[p].steps), own),
        f"{name}/same_after_empty_chain": agreement(answers(lambda _: ()), own),
    }


def _depth_figures(reader: Reader) -> dict[str, float]:
    figures: dict[str, float] = {}
    for depth in DEPTHS:
        problems = questions("known", "train" if depth == 1 else "held", depth)
        answers = [read_answer(text) for text in _thoughts(reader, problems)]
        right = agreement(answers, [p.answer for p in problems])
        figures[f"fresh/forced_think_accuracy/{depth}"] = right
        figures[f"fresh/direct_accuracy/{depth}"] = _direct_accuracy(reader, problems)
    return figures


def _fact_figures(reader: Reader) -> dict[str, float]:
    """Every fact of the world, asked once: what is answered, and what the chains claim."""
    facts = questions("all", "train", 1)
    texts = _thoughts(reader, facts)
    claims = _claims(texts)
    right = [read_answer(text) == p.answer for text, p in zip(texts, facts, strict=True)]
    domain = [hit for hit, p in zip(right, facts, strict=True) if p.n_domain]
    return {
        "facts/forced_think_accuracy": sum(right) / len(right),
        "facts/domain_accuracy": sum(domain) / len(domain),
        "facts/knowledge": _knowledge(claims),
        "facts/claimless": claims["none"] / max(1, claims.total()),
        "facts/direct_accuracy": _direct_accuracy(reader, facts),
    }


def _twin_figures(reader: Reader) -> dict[str, float]:
    pairs = clinic_problems("abstain", 2 * N_TWINS, SEED)
    twins = pairs[1::2]
    thought = [read_answer(text) for text in _thoughts(reader, twins)]
    return {
        "twins/abstains_directly": _direct_accuracy(reader, twins),
        "twins/abstains_after_thinking": agreement(thought, [ABSTAIN] * len(twins)),
    }


def _thoughts(reader: Reader, problems: Sequence[Problem]) -> list[list[str]]:
    """What is written after ``<think>``."""
    return reader.continuations([f"{BOS} {p.question} {THINK}" for p in problems])


def _direct_accuracy(reader: Reader, problems: Sequence[Problem]) -> float:
    """Share of right answers when ``A`` follows the question."""
    answers = reader.next_words([f"{BOS} {p.question} {ANSWER}" for p in problems])
    return agreement(answers, [p.answer for p in problems])


def _claims(texts: Sequence[Sequence[str]]) -> Counter[str]:
    """How many steps of all chains are right, wrong, about the unknown, or claim nothing."""
    return Counter(judge(step) for text in texts for step in _steps(text))


def _knowledge(claims: Counter[str]) -> float:
    """Share of right claims among all claims; NaN without one."""
    n_claims = claims.total() - claims["none"]
    return claims["right"] / n_claims if n_claims else float("nan")


def _steps(text: Sequence[str]) -> list[str]:
    chain = " ".join(text[: list(text).index(END_THINK)] if END_THINK in text else text)
    return [f"{step.strip()} {STEP_END}" for step in chain.split(STEP_END) if step.strip()]
