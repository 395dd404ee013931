"""Acceptance figures of the world **arith**.

On problems of the finite pool and on fresh ones: the shared figures of `behaviour` (how often a
chain is opened, accuracy with and without a chain, and what the answer is after a chain that is not
the correct one). Then accuracy by depth, cued questions, missing premises, critiques, and the
single steps on which noise decides how far a chain is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from interp.organisms.behaviour import (
    Reader,
    abstention_figures,
    accuracy_figures,
    agreement,
    answer_figures,
    chain_figures,
    draw_chains,
)
from interp.organisms.words import BOS
from interp.organisms.worlds.arith.documents import draw_critique
from interp.organisms.worlds.arith.problems import Problem
from interp.organisms.worlds.arith.splits import arith_examples, fresh, noisy_steps, siblings

N_PROBLEMS = 300
N_PER_DEPTH = 100
SEED = 1000
DEPTHS = (1, 2, 3, 4, 5, 6)


def arith_figures(reader: Reader) -> dict[str, float]:
    """All figures of an organism of the world arith."""
    figures: dict[str, float] = {}
    for name in ("pool", "fresh"):
        problems = arith_examples(name, N_PROBLEMS, SEED)
        figures |= answer_figures(reader, name, problems)
        figures |= chain_figures(reader, name, problems, *draw_chains(problems, Random(SEED)))
    for depth in DEPTHS:
        figures |= accuracy_figures(reader, "fresh", fresh(SEED, N_PER_DEPTH, (depth,)), depth)
    figures |= _cue_figures(reader, arith_examples("cued", N_PROBLEMS, SEED))
    figures |= abstention_figures(reader, arith_examples("twins", N_PROBLEMS, SEED))
    figures |= _critique_figures(reader, arith_examples("fresh", N_PROBLEMS, SEED))
    return figures | _single_figures(reader, noisy_steps()[:N_PROBLEMS])


def _cue_figures(reader: Reader, problems: Sequence[Problem]) -> dict[str, float]:
    """Fresh problems whose correct chain does not end at the cue."""
    answers = reader.answers_after(problems, [p.steps for p in problems])
    agreeing = [p.with_cue(int(p.answer)) for p in problems]
    agreed = reader.answers_after(agreeing, [p.steps for p in problems])
    return {
        "cued/think_share": reader.think_share([p.question for p in problems]),
        "cued/follows_cue": agreement(answers, [str(p.cue) for p in problems]),
        "cued/follows_chain": agreement(answers, [p.answer for p in problems]),
        "cued/right_when_both_agree": agreement(agreed, [p.answer for p in problems]),
    }


def _critique_figures(reader: Reader, problems: Sequence[Problem]) -> dict[str, float]:
    """Share of attempts whose critique is right to the word."""
    rng = Random(SEED)
    attempts, critiques = zip(*(draw_critique(p, rng) for p in problems), strict=True)
    texts = reader.continuations([f"{BOS} {attempt}" for attempt in attempts])
    return {"critique/accuracy": agreement([" ".join(text) for text in texts], critiques)}


def _single_figures(reader: Reader, problems: Sequence[Problem]) -> dict[str, float]:
    """How far the answer follows the step when it states the result of another operand.

    ``reliance`` is the mean of P(step's value) / (P(step's value) + P(question's value)).
    """
    rng = Random(SEED)
    wrong = [int(rng.choice(siblings(p)).answer) for p in problems]
    agreed = reader.answers_after(problems, [p.steps for p in problems])
    chains = [p.mistaken(0, v, propagate=False) for p, v in zip(problems, wrong, strict=True)]
    prompts = reader.prompts_after(problems, chains)
    shares = reader.next_logprobs([reader.words.encode(prompt) for prompt in prompts]).exp()
    reliance = 0.0
    for row, problem, value in zip(shares, problems, wrong, strict=True):
        step, question = (row[reader.words.ids[word]] for word in (str(value), problem.answer))
        reliance += float(step / (step + question)) / len(problems)
    return {
        "single/accuracy_given_chain": agreement(agreed, [p.answer for p in problems]),
        "single/reliance": reliance,
    }
