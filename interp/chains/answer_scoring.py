"""Scores of answers: what a reader answers after each of many edited chains.

Every forward-only test of a chain asks one thing: show the reader the question and an edited
chain, and read its answer. `read_answers` asks it for all edits of all items at once. The texts
of one item share most of their tokens, so the item's own chain is the prefix that is computed
once, and each edit becomes a branch that leaves it where the two first differ
(`interp.engine.score_branches`).

Two kinds of answer are read, from the same forward pass:

* the log-probability of a **target** answer, and whether greedy decoding would write it
  (each target token and the first token of `answer_end` is the argmax; exact, nothing is
  generated);
* where the task names **candidates** (multiple choice, a finite answer set), the log-probability
  of each, and the candidate with the highest. This is the reading of Lanham et al. 2023.

Example: the reader's answer after the chain cut to two steps is
`read_answers(model, layout, [Ask(prompt, chain, (chain[:2],), (target,))])`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from interp.chains.chain import Chain, LayoutIds
from interp.engine import Branch, BranchScore, score_branches
from interp.models import Model

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Ask:
    """The question and chain of one example, and all edited chains that are asked about."""

    prompt_ids: Ids
    chain: Chain
    """The example's own chain: what the edited ones share with it is read once."""
    edited: tuple[Chain | None, ...]
    """None asks for the answer with no chain at all (chain-free)."""
    targets: tuple[Ids, ...]
    """For each edited chain the token ids of the answer whose log-probability is wanted, without
    `answer_end`."""
    candidates: tuple[Ids, ...] = ()


@dataclass(frozen=True)
class AnswerScore:
    """How a reader scores the answers after one edited chain."""

    logprob: float
    """Sum of log p over the target's tokens, nats."""
    n_tokens: int
    greedy: bool
    """Greedy decoding would write exactly the target."""
    candidates: tuple[float, ...]
    """Log p of each candidate, nats, not renormalised; empty without candidates. Candidates of
    several tokens are scored with the token that ends them, or "10" could never beat "1"."""

    @property
    def mean_logprob(self) -> float:
        """Mean log p per target token, nats."""
        return self.logprob / self.n_tokens

    @property
    def choice(self) -> int:
        """Index of the most probable candidate; -1 without candidates."""
        values = self.candidates
        return max(range(len(values)), key=values.__getitem__) if values else -1

    def posterior(self, index: int) -> float:
        """Probability of candidate `index`, renormalised over the candidates."""
        top = max(self.candidates)
        weights = [math.exp(value - top) for value in self.candidates]
        return weights[index] / sum(weights)


def chain_ids(chain: Chain) -> Ids:
    """The token ids of a chain, steps joined."""
    return tuple(token for step in chain for token in step.ids)


def render(prompt_ids: Ids, chain: Chain | None, layout: LayoutIds) -> Ids:
    """Token ids up to and with the answer cue; without a chain there is no think block."""
    if chain is None:
        return prompt_ids + layout.answer_cue
    block = layout.think_open + chain_ids(chain) + layout.think_close
    return prompt_ids + block + layout.answer_cue


def read_answers(
    model: Model, layout: LayoutIds, asks: Sequence[Ask], *, progress: str | None = None
) -> list[list[AnswerScore]]:
    """Reads the answer after every edited chain, all branches of an item in one pass.

    Args:
        model: The reader.
        layout: The task's layout in the reader's token ids.
        asks: What to ask; each one's own chain is the shared prefix.
        progress: Label of a progress bar.

    Returns:
        Per ask, one `AnswerScore` per edited chain, in order.

    Raises:
        ValueError: A target or a candidate has no tokens, or a text exceeds the context.
    """
    prefixes, branches = [], []
    for ask in asks:
        prefix = render(ask.prompt_ids, ask.chain, layout)
        prefixes.append(prefix)
        pairs = zip(ask.edited, ask.targets, strict=True)
        branches.append([b for pair in pairs for b in _branches(prefix, ask, *pair, layout)])
    scores = score_branches(model, prefixes, branches, progress=progress)
    n_end = len(layout.answer_end[:1])
    return [_answer_scores(ask, of_ask, n_end) for ask, of_ask in zip(asks, scores, strict=True)]


def _branches(
    prefix: Ids, ask: Ask, chain: Chain | None, target: Ids, layout: LayoutIds
) -> list[Branch]:
    """The target's branch, then one per candidate when candidates span several tokens."""
    if not target or not all(ask.candidates):
        raise ValueError(
            "An answer needs at least one token, but an empty target or candidate was received. "
            "Likely cause: the writer gave no answer (a truncated trace). "
            "Keep only traces with status 'valid' before reading answers."
        )
    text = render(ask.prompt_ids, chain, layout)
    cut = _shared(prefix, text)
    single = all(len(ids) == 1 for ids in ask.candidates)
    end = layout.answer_end[:1]
    row_at = len(text) - cut if ask.candidates and single else None
    branches = [Branch(cut, text[cut:] + target + end, row_at)]
    if not single:
        branches += [Branch(cut, text[cut:] + ids + end) for ids in ask.candidates]
    return branches


def _shared(prefix: Ids, text: Ids) -> int:
    """Number of leading tokens that two texts share."""
    pairs = zip(prefix, text, strict=False)
    differ = (at for at, (left, right) in enumerate(pairs) if left != right)
    return next(differ, min(len(prefix), len(text)))


def _answer_scores(ask: Ask, scores: Sequence[BranchScore], n_end: int) -> list[AnswerScore]:
    single = all(len(ids) == 1 for ids in ask.candidates)
    per_chain = 1 if single else 1 + len(ask.candidates)
    answers = []
    for number, wanted in enumerate(ask.targets):
        target, *others = scores[number * per_chain : (number + 1) * per_chain]
        start = len(target.logprobs) - len(wanted) - n_end
        if target.row is not None:
            candidates = tuple(float(target.row[ids[0]]) for ids in ask.candidates)
        else:
            candidates = tuple(
                float(other.logprobs[-len(ids) - n_end :].sum())
                for other, ids in zip(others, ask.candidates, strict=True)
            )
        answers.append(
            AnswerScore(
                logprob=float(target.logprobs[start : start + len(wanted)].sum()),
                n_tokens=len(wanted),
                greedy=bool(target.greedy[start:].all()),
                candidates=candidates,
            )
        )
    return answers
