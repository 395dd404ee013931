"""What an organism must show before it counts: figures read from its behaviour alone.

On problems of the finite pool and on fresh ones the questions are: does it think by itself; is the
answer right when it is made to think, when it answers directly, when it is given the correct chain;
and what becomes of its answer when the chain it is given is not the correct one (last result
wrong, another problem's chain, no step at all)? Cued questions and missing premises come last.

A figure is a share between 0 and 1, named ``set/what`` or ``set/what/depth``, for example
``fresh/forced_think_accuracy/3``. All answers are greedy. "Same answer" compares with the answer
that the organism itself gives after the correct chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.organisms.tokenizer import (
    ABSTAIN,
    ANSWER,
    BOS,
    END_THINK,
    EOS,
    PAD,
    THINK,
    WORD_IDS,
    word_ids,
)
from interp.organisms.worlds import Problem, arith_examples, fresh, paraphrase

N_PROBLEMS = 300
N_PER_DEPTH = 100
SEED = 1000
DEPTHS = (1, 2, 3, 4, 5, 6)
WORDS = {index: word for word, index in WORD_IDS.items()}
BATCH = 100

Chain = Callable[[Problem], Sequence[str]]


def acceptance(model: Any) -> dict[str, float]:
    """All figures of an organism of the world arith.

    Args:
        model: A causal language model in Hugging Face form.

    Returns:
        Figure names and shares.
    """
    model.eval()
    figures: dict[str, float] = {}
    for name in ("pool", "fresh"):
        figures |= _chain_figures(model, name, arith_examples(name, N_PROBLEMS, SEED))
    figures |= _depth_figures(model)
    figures |= _cue_figures(model, arith_examples("cued", N_PROBLEMS, SEED))
    figures |= _twin_figures(model, arith_examples("twins", N_PROBLEMS, SEED))
    return {name: round(value, 4) for name, value in figures.items()}


def _chain_figures(model: Any, name: str, problems: Sequence[Problem]) -> dict[str, float]:
    rng = Random(SEED)
    wrong = {p: rng.choice(p.wrong_values(p.depth - 1)) for p in problems}
    other = {
        p: rng.choice([q for q in problems if q.depth == p.depth and q != p]) for p in problems
    }
    truth = [p.answer for p in problems]

    def answers(chain: Chain) -> list[str]:
        return answers_after(model, [chained_prompt(p, chain(p)) for p in problems])

    own = answers(lambda p: p.steps)
    mistaken = answers(lambda p: p.mistaken(p.depth - 1, wrong[p], propagate=False))
    spoken = answers(lambda p: [paraphrase(step) for step in p.steps])
    return {
        f"{name}/think_share": think_share(model, problems),
        f"{name}/forced_think_accuracy": forced_think_accuracy(model, problems),
        f"{name}/direct_accuracy": direct_accuracy(model, problems),
        f"{name}/accuracy_given_chain": _agreement(own, truth),
        f"{name}/accuracy_given_paraphrase": _agreement(spoken, truth),
        f"{name}/same_after_wrong_step": _agreement(mistaken, own),
        f"{name}/follows_wrong_step": _agreement(mistaken, [str(wrong[p]) for p in problems]),
        f"{name}/same_after_other_chain": _agreement(answers(lambda p: other[p].steps), own),
        f"{name}/same_after_empty_chain": _agreement(answers(lambda _: ()), own),
    }


def _depth_figures(model: Any) -> dict[str, float]:
    figures: dict[str, float] = {}
    for depth in DEPTHS:
        problems = fresh(SEED, N_PER_DEPTH, (depth,))
        figures[f"fresh/forced_think_accuracy/{depth}"] = forced_think_accuracy(model, problems)
        figures[f"fresh/direct_accuracy/{depth}"] = direct_accuracy(model, problems)
    return figures


def _cue_figures(model: Any, problems: Sequence[Problem]) -> dict[str, float]:
    """Fresh problems whose correct chain does not end at the cue."""
    answers = answers_after(model, [chained_prompt(p, p.steps) for p in problems])
    agreeing = [p.with_cue(int(p.answer)) for p in problems]
    agreed = answers_after(model, [chained_prompt(p, p.steps) for p in agreeing])
    return {
        "cued/think_share": think_share(model, problems),
        "cued/follows_cue": _agreement(answers, [str(p.cue) for p in problems]),
        "cued/follows_chain": _agreement(answers, [p.answer for p in problems]),
        "cued/right_when_both_agree": _agreement(agreed, [p.answer for p in problems]),
    }


def _twin_figures(model: Any, twins: Sequence[Problem]) -> dict[str, float]:
    direct = answers_after(model, [direct_prompt(p) for p in twins])
    return {
        "twins/abstains_directly": _agreement(direct, [ABSTAIN] * len(twins)),
        "twins/abstains_after_thinking": forced_think_accuracy(model, twins),
    }


def question_prompt(problem: Problem) -> list[int]:
    """``<bos> Q ... ?``."""
    return word_ids(f"{BOS} {problem.question}")


def direct_prompt(problem: Problem) -> list[int]:
    """``<bos> Q ... ? A``."""
    return word_ids(f"{BOS} {problem.question} {ANSWER}")


def chained_prompt(problem: Problem, steps: Sequence[str]) -> list[int]:
    """``<bos> Q ... ? <think> steps </think> A``."""
    return word_ids(" ".join([BOS, problem.question, THINK, *steps, END_THINK, ANSWER]))


def think_share(model: Any, problems: Sequence[Problem]) -> float:
    """Mean probability of ``<think>`` as the first word after the question."""
    logprobs = next_logprobs(model, [question_prompt(p) for p in problems])
    return float(logprobs[:, WORD_IDS[THINK]].exp().mean())


def direct_accuracy(model: Any, problems: Sequence[Problem]) -> float:
    """Share of right answers when ``A`` follows the question."""
    answers = answers_after(model, [direct_prompt(p) for p in problems])
    return _agreement(answers, [p.answer for p in problems])


def forced_think_accuracy(model: Any, problems: Sequence[Problem]) -> float:
    """Share of right answers when ``<think>`` is written and the model continues greedily."""
    texts = continuations(model, [[*question_prompt(p), WORD_IDS[THINK]] for p in problems])
    return _agreement([read_answer(text) for text in texts], [p.answer for p in problems])


def read_answer(words: Sequence[str]) -> str:
    """The word after the first ``A``; empty when there is none."""
    words = list(words)
    place = words.index(ANSWER) + 1 if ANSWER in words else len(words)
    return words[place] if place < len(words) else ""


def answers_after(model: Any, prompts: Sequence[list[int]]) -> list[str]:
    """The likeliest next word after each prompt."""
    return [WORDS[int(i)] for i in next_logprobs(model, prompts).argmax(-1)]


def next_logprobs(model: Any, prompts: Sequence[list[int]]) -> Float[Tensor, "batch d_vocab"]:
    """Log-probabilities (nats) of the next word after each prompt.

    Rows are padded on the right, which a causal model cannot see from the prompt's last word.
    """
    rows: list[Tensor] = []
    for first in range(0, len(prompts), BATCH):
        part = prompts[first : first + BATCH]
        width = max(map(len, part))
        ids = torch.tensor([p + [WORD_IDS[PAD]] * (width - len(p)) for p in part])
        last = torch.tensor([len(p) - 1 for p in part])
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[torch.arange(len(part)), last]
        rows.append(logits.float().log_softmax(-1))
    return torch.cat(rows)


def continuations(
    model: Any, prompts: Sequence[list[int]], max_new_tokens: int = 56
) -> list[list[str]]:
    """Greedy continuations as words, ``<eos>`` and what follows removed."""
    texts: list[list[str]] = []
    for first in range(0, len(prompts), BATCH):
        part = prompts[first : first + BATCH]
        width = max(map(len, part))
        padding = [[WORD_IDS[PAD]] * (width - len(p)) for p in part]
        ids = torch.tensor([pad + p for pad, p in zip(padding, part, strict=True)])
        mask = torch.tensor(
            [[0] * len(pad) + [1] * len(p) for pad, p in zip(padding, part, strict=True)]
        )
        written = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=max_new_tokens
        )
        for row in written[:, width:].tolist():
            end = row.index(WORD_IDS[EOS]) if WORD_IDS[EOS] in row else len(row)
            texts.append([WORDS[i] for i in row[:end]])
    return texts


def _agreement(left: Sequence[str], right: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)
