"""CoT-decoding: reasoning without a prompt, by looking beyond the first token.

Wang and Zhou 2024 (arXiv 2402.10200): take the k most likely *first* tokens, continue each
greedily, and prefer the path whose **answer** is written with the largest margin, Delta = the mean
over the answer's tokens of p(top 1) - p(top 2). Either the path with the largest Delta is taken, or
Delta is summed over the paths that give the same answer. A common reimplementation averages the
margin over the whole text; that is another quantity, since most tokens of a text are not its
answer.

The claim is that Delta is larger after a chain. So Delta is judged by its AUROC for "the answer is
right" and for "the path contains a chain", and compared with baselines of equal cost: the
path with the largest mean log-probability, and as many samples with a majority vote.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from interp.chains.completion_format import find_format
from interp.chains.completions import Completion, read_completion
from interp.engine import generate, run
from interp.methods.decoding.pass_at_k import Samples
from interp.models import Model
from interp.tasks import Task

READ_TOGETHER = 256
"""Paths read in one call; their logits are held in memory."""


@dataclass(frozen=True)
class DecodedPath:
    """One first token, continued greedily."""

    rank: int
    """0 is the most likely first token: the greedy text."""
    text: Completion
    delta: float
    """Mean margin over the answer's tokens, in [0, 1]; NaN where the path gives no valid answer."""
    mean_logprob: float
    """Nats per token of the path."""


@dataclass(frozen=True)
class Paths:
    """The paths of every example of a task."""

    examples: tuple[str, ...]
    problems: tuple[str, ...]
    paths: tuple[tuple[DecodedPath, ...], ...]

    def first_chain_ranks(self) -> list[int | None]:
        """Rank of the first path with a chain, for each example; None where there is none."""
        return [next((p.rank for p in ps if p.text.has_chain), None) for ps in self.paths]


def mean_margin(probabilities: Sequence[Sequence[float]]) -> float:
    """Mean of the largest minus the second largest probability; NaN without tokens.

    Args:
        probabilities: For each token of the answer, those of the whole vocabulary.
    """
    if not probabilities:
        return float("nan")
    tops = [sorted(row, reverse=True)[:2] for row in probabilities]
    return sum(first - second for first, second in tops) / len(tops)


def decode_paths(model: Model, task: Task, *, k: int = 10, batch_size: int = 256) -> Paths:
    """Continues each of the k most likely first tokens of every example greedily.

    Args:
        model: The writer.
        task: The questions; nothing opens a chain.
        k: Paths for each.
        batch_size: Paths written together.

    Raises:
        ValueError: If k is not from 1 to the size of the vocabulary, or the task's layout has no
            chain to open and close.
    """
    if not 1 <= k <= model.d_vocab:
        raise ValueError(f"k counts first tokens, from 1 to {model.d_vocab}; received {k}")
    form = find_format(task, model)
    prompts = form.prompts()
    logits = run(model, prompts, logits_at="last").logits
    firsts = [row[-1].topk(k).indices.tolist() for row in logits]
    starts = [(*p, token) for p, tokens in zip(prompts, firsts, strict=True) for token in tokens]
    # One token less: the first is given.
    written = generate(
        model, starts, max_new_tokens=form.max_new_tokens - 1, stop=form.stop,
        batch_size=batch_size, progress=f"{k} paths of each",
    )  # fmt: skip
    tokens = [(start[-1], *one.ids) for start, one in zip(starts, written, strict=True)]
    # `generate` looks for stops among new tokens only, so what follows a first token that ends
    # the text is cut here.
    ended = [(start[-1],) in form.stop for start in starts]
    tokens = [ids[:1] if end else ids for ids, end in zip(tokens, ended, strict=True)]
    texts = [read_completion(form, task.examples[at // k], ids) for at, ids in enumerate(tokens)]
    scores = _scores(model, [s[:-1] for s in starts], texts)
    paths = [DecodedPath(at % k, text, *scores[at]) for at, text in enumerate(texts)]
    groups = tuple(tuple(paths[at * k : (at + 1) * k]) for at in range(len(prompts)))
    every = task.examples
    return Paths(tuple(e.id for e in every), tuple(e.problem for e in every), groups)


def _scores(
    model: Model, prompts: Sequence[Sequence[int]], texts: Sequence[Completion]
) -> list[tuple[float, float]]:
    """Delta and mean log-probability of each path, from one plain pass over it."""
    scores: list[tuple[float, float]] = []
    for first in range(0, len(texts), READ_TOGETHER):
        part = range(first, min(first + READ_TOGETHER, len(texts)))
        read = run(model, [(*prompts[at], *texts[at].ids) for at in part])
        for at, logits in zip(part, read.logits, strict=True):
            n_prompt, text = len(prompts[at]), texts[at]
            # A token is predicted at the position before it; after the last nothing is scored.
            logprobs = logits[n_prompt - 1 : -1].float().log_softmax(-1)
            chosen = logprobs[range(len(text.ids)), list(text.ids)]
            start, end = text.answer_span if text.status == "valid" else (0, 0)
            answer = logprobs[start:end].exp().tolist()
            scores.append((mean_margin(answer), float(chosen.mean())))
    return scores


def choose_path(paths: Sequence[DecodedPath]) -> Completion | None:
    """The text of the path with the largest Delta; None where no path gives a valid answer."""
    known = [path for path in paths if not math.isnan(path.delta)]
    return max(known, key=lambda path: path.delta).text if known else None


def choose_by_sum(paths: Sequence[DecodedPath]) -> Completion | None:
    """The answer with the largest sum of Delta, as its path with the largest Delta gives it."""
    known = [path for path in paths if not math.isnan(path.delta)]
    if not known:
        return None
    sums: dict[str, float] = {}
    for path in known:
        sums[path.text.answer] = sums.get(path.text.answer, 0.0) + path.delta
    answer = max(sums, key=sums.__getitem__)
    return choose_path([path for path in known if path.text.answer == answer])


def choose_likeliest(paths: Sequence[DecodedPath]) -> Completion:
    """The path with the largest mean log-probability: the baseline without Delta."""
    return max(paths, key=lambda path: path.mean_logprob).text


def choose_by_vote(samples: Samples, k: int) -> list[Completion | None]:
    """Majority vote over the valid answers of k samples of each example.

    Returns:
        For each example the first text of the commonest answer; None without any.

    Raises:
        ValueError: If fewer than k samples were drawn.
    """
    winners: list[Completion | None] = []
    for texts in samples.texts:
        if not 1 <= k <= len(texts):
            raise ValueError(
                f"a vote takes k of the samples drawn, 1 to {len(texts)}; received {k}"
            )
        valid = [text for text in texts[:k] if text.status == "valid"]
        votes = Counter(text.answer for text in valid).most_common(1)
        winners.append(next((t for t in valid if t.answer == votes[0][0]), None) if votes else None)
    return winners
