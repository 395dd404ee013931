"""Scores of answers: what a reader answers after each of many edited chains.

Every forward-only test of a chain asks one thing: show the reader the question and an edited
chain, and read its answer. `read_answers` asks it for all edits of all items at once. The texts
of one item share most of their tokens, so the item's own chain is the prefix that is computed
once, and each edit becomes a branch that leaves it where the two first differ
(`interp.engine.score_branches`).

Two kinds of answer are read, from the same forward pass:

* the log-probability of a **target** answer, and whether greedy decoding would write it (each of
  its tokens is the argmax; exact, nothing is generated);
* where the task names **candidates** (multiple choice, a finite answer set), the log-probability
  of each, and the candidate with the highest. This is the reading of Lanham et al. 2023.

An answer is scored with what ends it, any of `find_answer_ends`: after a chain that leads to 18,
the reader is sure to write a "1", but not that the answer is 1. Candidates of one token each are
the exception: none of them is the beginning of another, so the token alone tells them apart, and
one row of the answer position holds them all.

Example: the reader's answer after the chain cut to two steps is
`read_answers(model, layout, [prompt], [chain], [[(chain[:2], target)]])`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from interp.chains.chain import Chain, LayoutIds, find_answer_ends
from interp.chains.rendering import render
from interp.chains.texts import Ids, count_shared
from interp.engine import Branch, BranchScore, score_branches
from interp.models import Model

EditedChain = tuple[Chain | None, Ids]
"""A chain that is shown instead of an example's own, and the token ids of the answer whose
log-probability is wanted after it, without `answer_end`. None shows no chain (chain-free)."""


@dataclass(frozen=True)
class AnswerScore:
    """How a reader scores the answers after one edited chain."""

    logprob: float
    """Log p of the target and of any token that ends it, nats (of the whole answer)."""
    n_tokens: int
    """Tokens that were scored, the one that ends the answer included."""
    greedy: bool
    """Greedy decoding would write exactly the target."""
    candidates: tuple[float, ...]
    """Log p of each candidate, nats, not renormalised; empty without candidates. With the token
    that ends it, unless all candidates are single tokens."""

    @property
    def choice(self) -> int:
        """Index of the most probable candidate; -1 without candidates."""
        values = self.candidates
        return max(range(len(values)), key=values.__getitem__) if values else -1

    def posterior(self, index: int) -> float:
        """Probability of candidate `index`, renormalised over the candidates."""
        # Without this shift the weights of very unlikely candidates would all be exactly 0.
        top = max(self.candidates)
        weights = [math.exp(value - top) for value in self.candidates]
        return weights[index] / sum(weights)


def read_answers(
    model: Model,
    layout: LayoutIds,
    prompts: Sequence[Ids],
    chains: Sequence[Chain],
    edits: Sequence[Sequence[EditedChain]],
    *,
    candidates: Sequence[tuple[Ids, ...]] = (),
    progress: str | None = None,
) -> list[list[AnswerScore]]:
    """Reads the answer after every edited chain, all branches of an example in one pass.

    Args:
        model: The reader.
        layout: The task's layout in the reader's token ids.
        prompts: The question of each example.
        chains: Its own chain: what edited chains share with it is read once.
        edits: The chains that are shown in its place, each with an answer to score.
        candidates: The answers to choose from, for each example; none when empty.
        progress: Label of a progress bar.

    Returns:
        For each example one `AnswerScore` per edited chain, in order.

    Raises:
        ValueError: An answer or a candidate has no tokens, or a text exceeds the context.
    """
    choices = candidates or [()] * len(prompts)
    ends = find_answer_ends(model.tokenizer, layout.answer_end, layout.ends)
    prefixes = [render(*text, layout) for text in zip(prompts, chains, strict=True)]
    branches = [
        [
            branch
            for chain, target in edited
            for branch in _branches(prefix, render(prompt, chain, layout), target, of, ends)
        ]
        for prefix, prompt, edited, of in zip(prefixes, prompts, edits, choices, strict=True)
    ]
    scores = score_branches(model, prefixes, branches, progress=progress)
    return [
        _answer_scores(edited, of, scored)
        for edited, of, scored in zip(edits, choices, scores, strict=True)
    ]


def _branches(
    prefix: Ids, text: Ids, target: Ids, candidates: tuple[Ids, ...], ends: Ids
) -> list[Branch]:
    """The target's branch, then one per candidate where candidates span several tokens."""
    if not target or not all(candidates):
        raise ValueError(
            "an answer needs at least one token, received an empty target or candidate. "
            "Likely cause: the writer gave no answer (a truncated trace). "
            "Keep only traces with status 'valid' before reading answers."
        )
    cut = count_shared(prefix, text)
    single = all(len(ids) == 1 for ids in candidates)
    # With candidates of one token, the row that predicts the target holds all their values.
    row_at = len(text) - cut if candidates and single else None
    branches = [Branch(cut, (*text[cut:], *target, ends[0]), row_at, ends)]
    if not single:
        branches += [Branch(cut, (*text[cut:], *ids, ends[0]), ends=ends) for ids in candidates]
    return branches


def _answer_scores(
    edits: Sequence[EditedChain],
    candidates: tuple[Ids, ...],
    scores: Sequence[BranchScore],
) -> list[AnswerScore]:
    """The scores of one example's branches, put together by edited chain."""
    # Also true without candidates: the target's branch is then the only one.
    single = all(len(ids) == 1 for ids in candidates)
    per_chain = 1 if single else 1 + len(candidates)
    answers: list[AnswerScore] = []
    for number, (_, target) in enumerate(edits):
        of_target, *others = scores[number * per_chain : (number + 1) * per_chain]
        # Counted from the end: the suffix begins with the part of the chain that the prefix lacks.
        start = len(of_target.logprobs) - len(target) - 1
        if of_target.row is not None:
            values = tuple(float(of_target.row[ids[0]]) for ids in candidates)
        else:
            values = tuple(
                float(other.logprobs[-len(ids) - 1 :].sum())
                for other, ids in zip(others, candidates, strict=True)
            )
        answers.append(
            AnswerScore(
                logprob=float(of_target.logprobs[start:].sum()),
                n_tokens=len(target) + 1,
                greedy=bool(of_target.greedy[start:].all()),
                candidates=values,
            )
        )
    return answers
