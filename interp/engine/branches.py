"""Branches: many continuations of one text, scored in about the time of reading it once.

A `Branch(cut, suffix)` keeps the first `cut` tokens of a prefix and continues with `suffix`. Early
answering cuts a chain after every step and asks for the answer; information gain does the same with
the true answer; a corrupted chain is a cut and new steps; a list of candidate answers is one branch
each. Done one by one this reads the prefix again for every branch.

Here the prefix is read once. The first token of a suffix is scored by the prefix itself, at its
position `cut - 1`. The other tokens of all branches are laid side by side after the prefix and read
in one pass, under a table of what each may see: the prefix up to its cut, and its own branch
before it. Their positions count on from the cut, so every branch is read as if it stood alone.
Branches that begin alike share the tokens they have in common (they form a tree), so eleven
candidate answers after one cue cost one cue.

Example: after the prefix `Q 3 + 4 ? <think> 3 + 4 = 7 ; </think>` the branches
`(6, "</think> A 7")` and `(12, "</think> A 7")` score the answer without and with the step.

Exact to rounding: in float32 within 1e-4 nats of separate forward passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.engine.batches import in_halves, token_batches
from interp.models.forward import (
    body,
    check_length,
    check_row,
    nan_error,
    new_cache,
    pad_right,
    read_on,
    unembed,
)
from interp.models.model import Model
from interp.progress import track

TREE_SIZE = 512
"""Branch tokens of one prefix read in one pass, if no single branch is longer. More would save
passes but let attention compare ever more tokens that do not see each other."""

LOGIT_BLOCK = 1 << 25
"""Logits formed at a time (128 MB)."""


@dataclass(frozen=True)
class Branch:
    """One continuation of a prefix."""

    cut: int
    """Tokens of the prefix that are kept, 1 to all."""
    suffix: tuple[int, ...]
    """Tokens appended after the cut, at least one; all of them are scored."""
    row_at: int | None = None
    """Index into the suffix: also return the whole log-probability row that predicts it."""


@dataclass(frozen=True, eq=False)
class BranchScore:
    """How likely one branch is under the model."""

    logprobs: Float[Tensor, " pos"]
    """Log-probability (nats) of each token of the suffix, given all before it."""
    greedy: Bool[Tensor, " pos"]
    """Whether the token is the most likely one there."""
    row: Float[Tensor, " d_vocab"] | None
    """Log-probabilities (nats) of all tokens in place of `suffix[row_at]`."""


@dataclass(frozen=True)
class _Tree:
    """Tokens after one prefix. Token j follows token `parents[j]`, or the cut where that is -1."""

    ids: list[int]
    cuts: list[int]
    positions: list[int]
    parents: list[int]
    paths: dict[int, list[int]]
    """Branch -> its tokens in the tree, the last token of its suffix left out (it is not read)."""


@dataclass(frozen=True)
class _Job:
    """A prefix with those of its branches that are scored together."""

    number: int
    prefix: Sequence[int]
    branches: Sequence[Branch]
    trees: list[_Tree]

    @property
    def n_prefix(self) -> int:
        """Prefix tokens that any branch needs."""
        return max(branch.cut for branch in self.branches)

    @property
    def n_tree(self) -> int:
        """Tokens of the largest tree."""
        return max((len(tree.ids) for tree in self.trees), default=0)


def _plant(branches: Sequence[Branch]) -> list[_Tree]:
    """Lays branches out as trees of at most TREE_SIZE tokens (or one branch)."""
    trees: list[_Tree] = []
    nodes: dict[tuple[int, int, int], int] = {}
    for number in sorted(range(len(branches)), key=lambda n: branches[n].cut):
        branch = branches[number]
        n_read = len(branch.suffix) - 1
        if not trees or (trees[-1].ids and len(trees[-1].ids) + n_read > TREE_SIZE):
            trees.append(_Tree([], [], [], [], {}))
            nodes = {}
        tree, node, path = trees[-1], -1, list[int]()
        for depth, token in enumerate(branch.suffix[:n_read]):
            key = (branch.cut, node, token)
            if key not in nodes:
                nodes[key] = len(tree.ids)
                tree.ids.append(token)
                tree.cuts.append(branch.cut)
                tree.positions.append(branch.cut + depth)
                tree.parents.append(node)
            node = nodes[key]
            path.append(node)
        tree.paths[number] = path
    return trees


def _visible(trees: Sequence[_Tree], n_prefix: int) -> Bool[Tensor, "batch q_pos k_pos"]:
    """What each tree token sees: the prefix up to its cut, its ancestors, itself."""
    n_tree = max(len(tree.ids) for tree in trees)
    visible = np.zeros((len(trees), n_tree, n_prefix + n_tree), dtype=np.bool_)
    columns = np.arange(n_prefix)
    for table, tree in zip(visible, trees, strict=True):
        own = table[:, n_prefix:]
        for node, parent in enumerate(tree.parents):
            if parent >= 0:
                own[node] = own[parent]
            own[node, node] = True
        np.fill_diagonal(own, True)  # padding sees itself, so that no row of the table is empty
        table[: len(tree.ids), :n_prefix] = columns < np.array(tree.cuts, dtype=np.int64)[:, None]
    return torch.from_numpy(visible)


def _read_trees(
    model: Model, cache: object, trees: Sequence[_Tree], n_prefix: int
) -> Float[Tensor, "batch pos d_model"]:
    positions = pad_right(model, [tree.positions for tree in trees])
    visible = _visible(trees, n_prefix).to(model.device)
    return read_on(model, cache, pad_right(model, [tree.ids for tree in trees]), positions, visible)


@dataclass(frozen=True)
class _Questions:
    """Which final hidden states predict which tokens."""

    states: list[int]
    """Rows of the flattened hidden states, each needed once."""
    owners: list[int]
    """Number of the prefix that each of them belongs to."""
    sources: list[int]
    """For each scored token, the index into `states` of the one that predicts it."""
    tokens: list[int]
    whole: list[int]
    """Indices into `states` whose whole row is wanted, one per branch with `row_at`."""


def _ask(jobs: Sequence[_Job], sizes: Sequence[int]) -> _Questions:
    """Lists, branch after branch, the state that predicts each token of its suffix.

    `sizes` holds the padded lengths of the prefix pass and of each tree pass, in this order.
    """
    questions = _Questions([], [], [], [], [])
    starts = [0, *np.cumsum([len(jobs) * size for size in sizes]).tolist()]
    for row, job in enumerate(jobs):
        places: dict[tuple[int, int], int] = {}
        path_of = {
            number: (pass_, path)
            for pass_, tree in enumerate(job.trees, start=1)
            for number, path in tree.paths.items()
        }
        for number, branch in enumerate(job.branches):
            pass_, path = path_of[number]
            keys = [(0, branch.cut - 1), *((pass_, node) for node in path)]
            for key in keys:
                if key not in places:
                    places[key] = len(questions.states)
                    questions.states.append(starts[key[0]] + row * sizes[key[0]] + key[1])
                    questions.owners.append(job.number)
            questions.sources.extend(places[key] for key in keys)
            questions.tokens.extend(branch.suffix)
            if branch.row_at is not None:
                questions.whole.append(places[keys[branch.row_at]])
    return questions


@dataclass(frozen=True)
class _Replies:
    logprobs: Float[Tensor, " pos"]
    greedy: Bool[Tensor, " pos"]
    rows: dict[int, Float[Tensor, " d_vocab"]]


def _reply(model: Model, states: Float[Tensor, "pos d_model"], questions: _Questions) -> _Replies:
    """Answers all questions, a block of logits at a time."""
    n_states, size = len(questions.states), max(1, LOGIT_BLOCK // model.d_vocab)
    chosen = states[torch.tensor(questions.states, device=states.device)]
    sources: Int[Tensor, " pos"] = torch.tensor(questions.sources)
    tokens: Int[Tensor, " pos"] = torch.tensor(questions.tokens)
    logprobs = torch.zeros(len(sources))
    greedy = torch.zeros(len(sources), dtype=torch.bool)
    rows: dict[int, Tensor] = {}
    wanted = set(questions.whole)
    for start in range(0, n_states, size):
        stop = min(start + size, n_states)
        logits = unembed(model, chosen[start:stop])
        total = logits.logsumexp(-1)
        if not bool(torch.isfinite(total).all()):
            bad = int((~torch.isfinite(total)).nonzero()[0])
            raise nan_error(model, f"prefix {questions.owners[start + bad]}")
        here = ((sources >= start) & (sources < stop)).nonzero()[:, 0]
        local, asked = (sources[here] - start).to(logits.device), tokens[here].to(logits.device)
        logprobs[here] = (logits[local, asked] - total[local]).cpu()
        greedy[here] = (logits.argmax(-1)[local] == asked).cpu()
        for state in sorted(wanted & set(range(start, stop))):
            rows[state] = (logits[state - start] - total[state - start]).cpu()
    return _Replies(logprobs, greedy, rows)


def _deal_out(
    jobs: Sequence[_Job], questions: _Questions, replies: _Replies
) -> list[list[BranchScore]]:
    scores: list[list[BranchScore]] = []
    start = 0
    whole = iter(questions.whole)
    for job in jobs:
        scores.append([])
        for branch in job.branches:
            stop = start + len(branch.suffix)
            row = None if branch.row_at is None else replies.rows[next(whole)]
            scores[-1].append(
                BranchScore(replies.logprobs[start:stop], replies.greedy[start:stop], row)
            )
            start = stop
    return scores


def _score(model: Model, jobs: Sequence[_Job]) -> list[list[BranchScore]]:
    """Scores the branches of a batch of prefixes: one pass for the prefixes, one per tree."""
    n_prefix = max(job.n_prefix for job in jobs)
    ids = pad_right(model, [job.prefix[: job.n_prefix] for job in jobs])
    n_rounds = max(len(job.trees) for job in jobs) if any(job.n_tree for job in jobs) else 0
    cache = new_cache(model) if n_rounds else None
    passes = [body(model, ids, cache=cache)]
    empty = _Tree([], [], [], [], {})
    for round_ in range(n_rounds):
        trees = [job.trees[round_] if round_ < len(job.trees) else empty for job in jobs]
        passes.append(_read_trees(model, cache, trees, n_prefix))
    questions = _ask(jobs, [states.shape[1] for states in passes])
    states = torch.cat([states.flatten(0, 1) for states in passes])
    return _deal_out(jobs, questions, _reply(model, states, questions))


def _make_job(number: int, prefix: Sequence[int], branches: Sequence[Branch]) -> _Job:
    return _Job(number, prefix, branches, _plant(branches))


def _score_in_memory(model: Model, jobs: Sequence[_Job]) -> list[list[BranchScore]]:
    """Scores a batch, halving it, and at last the branches of one prefix, where memory is short."""

    def score(part: Sequence[_Job]) -> list[list[BranchScore]]:
        if len(part) > 1:
            return _score(model, part)
        job = part[0]

        def score_some(branches: Sequence[Branch]) -> list[BranchScore]:
            return _score(model, [_make_job(job.number, job.prefix, branches)])[0]

        return [in_halves(score_some, job.branches)]

    return in_halves(score, jobs)


def _check(
    model: Model, prefixes: Sequence[Sequence[int]], branches: Sequence[Sequence[Branch]]
) -> None:
    """Checks the input, before any forward pass."""
    if len(prefixes) != len(branches):
        raise ValueError(
            f"every prefix needs its own list of branches (an empty one is fine), received "
            f"{len(prefixes)} prefixes and {len(branches)} lists"
        )
    for number, (prefix, of_prefix) in enumerate(zip(prefixes, branches, strict=True)):
        check_row(model, prefix, f"prefix {number}")
        for place, branch in enumerate(of_prefix):
            name = f"branch {place} of prefix {number}"
            if not 1 <= branch.cut <= len(prefix):
                raise ValueError(
                    f"a cut keeps 1 to all tokens of the prefix, so that something predicts the "
                    f"suffix; {name} cuts at {branch.cut} of {len(prefix)}"
                )
            if branch.row_at is not None and not 0 <= branch.row_at < len(branch.suffix):
                raise ValueError(
                    f"row_at must be an index into the suffix; {name} has row_at {branch.row_at} "
                    f"and {len(branch.suffix)} suffix tokens"
                )
            check_row(model, branch.suffix, f"the suffix of {name}")
            check_length(model, branch.cut + len(branch.suffix), f"{name}, from its first token,")


@torch.no_grad()
def score_branches(
    model: Model,
    prefixes: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Branch]],
    *,
    token_budget: int = 8192,
    progress: str | None = None,
) -> list[list[BranchScore]]:
    """Scores every branch of every prefix.

    Args:
        model: The reader.
        prefixes: Token ids of each text.
        branches: The continuations of each prefix, in any order and number.
        token_budget: Largest number of tokens in a forward pass. On running out of memory a batch
            is halved by itself.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        For each prefix the scores of its branches, in the order given, on the CPU in float32.

    Raises:
        ValueError: If a prefix or suffix is empty, an id or a cut is out of range, or a branch does
            not fit into the context (all before any forward pass); or if logits are not finite.
    """
    _check(model, prefixes, branches)
    jobs = [
        _make_job(number, prefix, of_prefix)
        for number, (prefix, of_prefix) in enumerate(zip(prefixes, branches, strict=True))
        if of_prefix
    ]
    scores: list[list[BranchScore]] = [[] for _ in prefixes]
    batches = token_batches([job.n_prefix + job.n_tree for job in jobs], token_budget)
    for batch in track(batches, progress):
        chosen = [jobs[index] for index in batch]
        for job, score in zip(chosen, _score_in_memory(model, chosen), strict=True):
            scores[job.number] = score
    return scores
