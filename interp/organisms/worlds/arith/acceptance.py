"""What an organism of the world **arith** does.

On problems of the finite pool and on fresh ones the questions are: does it think by itself; is the
answer right when it is made to think, when it answers directly, when it is given the correct chain;
and what becomes of its answer when the chain it is given is not the correct one (last result
wrong, another problem's chain, no step at all, filler)? Cued questions, missing premises and the
single steps on which noise decides how far a chain is trusted come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from interp.organisms.training.behaviour import Reader, agreement, chained, read_answer
from interp.organisms.words import ABSTAIN, ANSWER, BOS, FILLER, THINK
from interp.organisms.worlds.arith.documents import critique
from interp.organisms.worlds.arith.problems import Problem, paraphrase
from interp.organisms.worlds.arith.splits import arith_examples, fresh, noisy_steps, siblings

N_PROBLEMS = 300
N_PER_DEPTH = 100
SEED = 1000
DEPTHS = (1, 2, 3, 4, 5, 6)

Chain = Callable[[Problem], Sequence[str]]


def arith_figures(reader: Reader) -> dict[str, float]:
    """All figures of an organism of the world arith."""
    figures: dict[str, float] = {}
    for name in ("pool", "fresh"):
        figures |= _chain_figures(reader, name, arith_examples(name, N_PROBLEMS, SEED))
    figures |= _depth_figures(reader)
    figures |= _cue_figures(reader, arith_examples("cued", N_PROBLEMS, SEED))
    figures |= _twin_figures(reader, arith_examples("twins", N_PROBLEMS, SEED))
    figures |= _critique_figures(reader, arith_examples("fresh", N_PROBLEMS, SEED))
    return figures | _single_figures(reader, noisy_steps()[:N_PROBLEMS])


def _chain_figures(reader: Reader, name: str, problems: Sequence[Problem]) -> dict[str, float]:
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
        f"{name}/think_share": reader.think_share([p.question for p in problems]),
        f"{name}/forced_think_accuracy": forced_think_accuracy(reader, problems),
        f"{name}/direct_accuracy": direct_accuracy(reader, problems),
        f"{name}/accuracy_given_chain": agreement(own, truth),
        f"{name}/accuracy_given_paraphrase": agreement(spoken, truth),
        f"{name}/accuracy_given_filler": agreement(filled, truth),
        f"{name}/same_after_wrong_step": agreement(mistaken, own),
        f"{name}/follows_wrong_step": agreement(mistaken, [str(wrong[p]) for p in problems]),
        f"{name}/same_after_other_chain": agreement(answers(lambda p: other[p].steps), own),
        f"{name}/same_after_empty_chain": agreement(answers(lambda _: ()), own),
    }


def _depth_figures(reader: Reader) -> dict[str, float]:
    figures: dict[str, float] = {}
    for depth in DEPTHS:
        problems = fresh(SEED, N_PER_DEPTH, (depth,))
        figures[f"fresh/forced_think_accuracy/{depth}"] = forced_think_accuracy(reader, problems)
        figures[f"fresh/direct_accuracy/{depth}"] = direct_accuracy(reader, problems)
    return figures


def _cue_figures(reader: Reader, problems: Sequence[Problem]) -> dict[str, float]:
    """Fresh problems whose correct chain does not end at the cue."""
    answers = reader.next_words([chained(p.question, p.steps) for p in problems])
    agreeing = [p.with_cue(int(p.answer)) for p in problems]
    agreed = reader.next_words([chained(p.question, p.steps) for p in agreeing])
    return {
        "cued/think_share": reader.think_share([p.question for p in problems]),
        "cued/follows_cue": agreement(answers, [str(p.cue) for p in problems]),
        "cued/follows_chain": agreement(answers, [p.answer for p in problems]),
        "cued/right_when_both_agree": agreement(agreed, [p.answer for p in problems]),
    }


def _twin_figures(reader: Reader, twins: Sequence[Problem]) -> dict[str, float]:
    direct = reader.next_words([f"{BOS} {p.question} {ANSWER}" for p in twins])
    return {
        "twins/abstains_directly": agreement(direct, [ABSTAIN] * len(twins)),
        "twins/abstains_after_thinking": forced_think_accuracy(reader, twins),
    }


def _critique_figures(reader: Reader, problems: Sequence[Problem]) -> dict[str, float]:
    """Share of attempts whose critique is right to the word."""
    rng = Random(SEED)
    prompts, says = zip(*(critique(p, rng) for p in problems), strict=True)
    texts = [" ".join(text) for text in reader.continuations(prompts)]
    return {"critique/accuracy": agreement(texts, says)}


def _single_figures(reader: Reader, problems: Sequence[Problem]) -> dict[str, float]:
    """How far the answer follows the step when it states the result of another operand.

    ``reliance`` is the mean of P(step's value) / (P(step's value) + P(question's value)).
    """
    rng = Random(SEED)
    wrong = [int(rng.choice(siblings(p)).answer) for p in problems]
    agreed = reader.next_words([chained(p.question, p.steps) for p in problems])
    split = [
        reader.words.encode(chained(p.question, p.mistaken(0, value, propagate=False)))
        for p, value in zip(problems, wrong, strict=True)
    ]
    shares = reader.next_logprobs(split).exp()
    reliance = 0.0
    for row, problem, value in zip(shares, problems, wrong, strict=True):
        step, question = (row[reader.words.ids[word]] for word in (str(value), problem.answer))
        reliance += float(step / (step + question)) / len(problems)
    return {
        "single/accuracy_given_chain": agreement(agreed, [p.answer for p in problems]),
        "single/reliance": reliance,
    }


def direct_accuracy(reader: Reader, problems: Sequence[Problem]) -> float:
    """Share of right answers when ``A`` follows the question."""
    answers = reader.next_words([f"{BOS} {p.question} {ANSWER}" for p in problems])
    return agreement(answers, [p.answer for p in problems])


def forced_think_accuracy(reader: Reader, problems: Sequence[Problem]) -> float:
    """Share of right answers when ``<think>`` is written and the model continues greedily."""
    texts = reader.continuations([f"{BOS} {p.question} {THINK}" for p in problems])
    return agreement([read_answer(text) for text in texts], [p.answer for p in problems])
