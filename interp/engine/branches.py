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

from collections.abc import Mapping, Sequence
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
    check_rows,
    nan_error,
    new_cache,
    pad_right,
    read_on,
    unembed,
)
from interp.models.model import Model
from interp.models.token_ids import Rows, as_ids
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
    ends: tuple[int, ...] = ()
    """Tokens each of which may stand in place of the last one: what is scored there is that any of
    them follows. Empty: that token alone."""

    def __post_init__(self) -> None:
        if type(self.suffix) is not tuple:
            object.__setattr__(self, "suffix", tuple(as_ids(self.suffix, "a suffix")))


@dataclass(frozen=True, eq=False)
class BranchScore:
    """How likely one branch is under the model."""

    logprobs: Float[Tensor, " pos"]
    """Log-probability (nats) of each token of the suffix, given all before it."""
    greedy: Bool[Tensor, " pos"]
    """Whether the token is the most likely one there (or, at the end, one of `Branch.ends`)."""
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


def _plant(branches: Sequence[Branch]) -> list[_Tree]:
    """Lays branches out as trees of at most TREE_SIZE tokens (or one branch)."""
    trees: list[_Tree] = []
    nodes: dict[tuple[int, int, int], int] = {}
    # By cut: only branches of one cut can share tokens, so they should meet in one tree.
    for number in sorted(range(len(branches)), key=lambda n: branches[n].cut):
        branch = branches[number]
        n_read = len(branch.suffix) - 1
        if not trees or (trees[-1].ids and len(trees[-1].ids) + n_read > TREE_SIZE):
            trees.append(_Tree([], [], [], [], {}))
            nodes = {}
        tree, node, path = trees[-1], -1, list[int]()
        for depth, token in enumerate(branch.suffix[:n_read]):
            # With the cut: after another one a token has another past and another position.
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
                own[node] = own[parent]  # complete, since parents come before their children
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


def _predictors(
    branches: Sequence[Branch],
    trees: Sequence[_Tree],
    row: int,
    starts: list[int],
    sizes: list[int],
) -> list[list[int]]:
    """For each branch of one prefix, the hidden state that predicts each token of its suffix.

    Args:
        branches: Of the prefix.
        trees: Theirs.
        row: Of the prefix in every pass.
        starts: Where each pass begins among the flattened states: the prefixes, then each tree.
        sizes: Padded length of each pass.

    Returns:
        Indices into the flattened states.
    """
    path_of = {
        number: (pass_, path)
        for pass_, tree in enumerate(trees, start=1)
        for number, path in tree.paths.items()
    }
    found: list[list[int]] = []
    for number, branch in enumerate(branches):
        pass_, path = path_of[number]
        first = starts[0] + row * sizes[0] + branch.cut - 1
        found.append([first, *(starts[pass_] + row * sizes[pass_] + node for node in path)])
    return found


def _score_states(
    model: Model,
    states: Float[Tensor, "pos d_model"],
    branches: Sequence[Branch],
    predictors: Sequence[Sequence[int]],
    owners: Sequence[int],
) -> list[BranchScore]:
    """Scores all branches of a batch, a block of logits at a time; each state is needed once.

    Args:
        model: The reader.
        states: Final hidden states of all passes.
        branches: Of all prefixes of the batch.
        predictors: From `_predictors`, for each branch.
        owners: Number of the prefix of each branch, for the error of a state that is not finite.
    """
    flat = np.concatenate([np.array(places, dtype=np.int64) for places in predictors])
    # Branches share states, and each state costs a row of logits: form every row once.
    needed, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    sources: Int[Tensor, " pos"] = torch.from_numpy(inverse.reshape(-1))
    tokens: Int[Tensor, " pos"] = torch.tensor([token for b in branches for token in b.suffix])
    ends = np.cumsum([len(branch.suffix) for branch in branches])
    chosen = states[torch.from_numpy(needed).to(states.device)]
    logprobs = torch.zeros(len(tokens))
    greedy = torch.zeros(len(tokens), dtype=torch.bool)
    whole = {  # state -> its whole row of log-probabilities, where a branch wants it
        int(sources[end - len(branch.suffix) + branch.row_at])
        for branch, end in zip(branches, ends.tolist(), strict=True)
        if branch.row_at is not None
    }
    rows: dict[int, Tensor] = {}
    ended = _last_tokens(branches, ends.tolist())
    size = max(1, LOGIT_BLOCK // model.d_vocab)
    for start in range(0, len(needed), size):
        stop = min(start + size, len(needed))
        logits = unembed(model, chosen[start:stop])
        total = logits.logsumexp(-1)
        if not bool(torch.isfinite(total).all()):
            bad = start + int((~torch.isfinite(total)).nonzero()[0])
            owner = owners[int(np.searchsorted(ends, first[bad], side="right"))]
            raise nan_error(model, f"prefix {owner}")
        here = ((sources >= start) & (sources < stop)).nonzero()[:, 0]
        local, wanted = (sources[here] - start).to(logits.device), tokens[here].to(logits.device)
        logprobs[here] = (logits[local, wanted] - total[local]).cpu()
        greedy[here] = (logits.argmax(-1)[local] == wanted).cpu()
        for any_of, of_branches in ended.items():
            last = torch.tensor(of_branches)
            last = last[(sources[last] >= start) & (sources[last] < stop)]
            local = (sources[last] - start).to(logits.device)
            logprobs[last], greedy[last] = _score_ends(logits[local], total[local], any_of)
        for state in sorted(whole & set(range(start, stop))):
            rows[state] = (logits[state - start] - total[state - start]).cpu()
    scores: list[BranchScore] = []
    for branch, end in zip(branches, ends.tolist(), strict=True):
        begin = end - len(branch.suffix)
        row = None if branch.row_at is None else rows[int(sources[begin + branch.row_at])]
        scores.append(BranchScore(logprobs[begin:end], greedy[begin:end], row))
    return scores


def _last_tokens(
    branches: Sequence[Branch], stops: Sequence[int]
) -> dict[tuple[int, ...], list[int]]:
    """By `Branch.ends`, where the last tokens of these branches are among all suffixes in a row."""
    found: dict[tuple[int, ...], list[int]] = {}
    for branch, stop in zip(branches, stops, strict=True):
        if branch.ends:
            found.setdefault(branch.ends, []).append(stop - 1)
    return found


def _score_ends(
    logits: Float[Tensor, "pos d_vocab"], total: Float[Tensor, " pos"], any_of: Sequence[int]
) -> tuple[Float[Tensor, " pos"], Bool[Tensor, " pos"]]:
    """Log p that any of these tokens follows, and whether the likeliest token is one of them."""
    allowed = torch.tensor(any_of, device=logits.device)
    logprobs = logits[:, allowed].logsumexp(-1) - total
    return logprobs.cpu(), torch.isin(logits.argmax(-1), allowed).cpu()


def _score(
    model: Model,
    numbers: Sequence[int],
    prefixes: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Branch]],
    trees: Sequence[Sequence[_Tree]],
) -> list[list[BranchScore]]:
    """Scores the branches of a batch of prefixes: one pass for the prefixes, one per tree.

    Args:
        model: The reader.
        numbers: What each prefix is called in an error.
        prefixes: Their tokens.
        branches: Of each of them, at least one.
        trees: These branches laid out.
    """
    kept = [max(branch.cut for branch in of_prefix) for of_prefix in branches]  # none sees more
    ids = pad_right(model, [prefix[:n] for prefix, n in zip(prefixes, kept, strict=True)])
    has_nodes = any(tree.ids for of_prefix in trees for tree in of_prefix)
    n_rounds = max(map(len, trees)) if has_nodes else 0  # one-token suffixes need no pass
    cache = new_cache(model) if n_rounds else None
    passes = [body(model, ids, cache=cache)]
    empty = _Tree([], [], [], [], {})  # keeps the rows of the cache in place
    for round_ in range(n_rounds):
        here = [of_prefix[round_] if round_ < len(of_prefix) else empty for of_prefix in trees]
        passes.append(_read_trees(model, cache, here, max(kept)))
    sizes = [states.shape[1] for states in passes]
    starts = [0, *np.cumsum([len(prefixes) * size for size in sizes]).tolist()]
    states = torch.cat([states.flatten(0, 1) for states in passes])
    every = [branch for of_prefix in branches for branch in of_prefix]
    predictors = [
        places
        for row, (of_prefix, planted) in enumerate(zip(branches, trees, strict=True))
        for places in _predictors(of_prefix, planted, row, starts, sizes)
    ]
    owners = [n for n, of_prefix in zip(numbers, branches, strict=True) for _ in of_prefix]
    scores = iter(_score_states(model, states, every, predictors, owners))
    return [[next(scores) for _ in of_prefix] for of_prefix in branches]


def _score_in_memory(
    model: Model,
    numbers: Sequence[int],
    prefixes: Sequence[Sequence[int]],
    branches: Sequence[Sequence[Branch]],
    trees: Mapping[int, Sequence[_Tree]],
) -> list[list[BranchScore]]:
    """Scores a batch, halving it, and at last the branches of one prefix, where memory is short."""

    def score(part: Sequence[int]) -> list[list[BranchScore]]:
        if len(part) > 1:
            texts, some = [prefixes[n] for n in part], [branches[n] for n in part]
            return _score(model, part, texts, some, [trees[n] for n in part])
        (n,) = part

        def score_some(some: Sequence[Branch]) -> list[BranchScore]:
            # Planted again, since paths count branches within the part.
            return _score(model, [n], [prefixes[n]], [some], [_plant(some)])[0]

        return [in_halves(score_some, branches[n])]

    return in_halves(score, numbers)


def _check(model: Model, given: Rows, branches: Sequence[Sequence[Branch]]) -> list[Sequence[int]]:
    """Checks the input, before any forward pass, and gives the prefixes."""
    prefixes = check_rows(model, given, "prefix")
    if len(prefixes) != len(branches):
        raise ValueError(
            f"every prefix needs its own list of branches (an empty one is fine), received "
            f"{len(prefixes)} prefixes and {len(branches)} lists"
        )
    for number, (prefix, of_prefix) in enumerate(zip(prefixes, branches, strict=True)):
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
            if branch.ends:
                check_row(model, branch.ends, f"the ends of {name}")
            check_length(model, branch.cut + len(branch.suffix), f"{name}, from its first token,")
    return prefixes


@torch.no_grad()
def score_branches(
    model: Model,
    prefixes: Rows,
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
    texts = _check(model, prefixes, branches)
    trees = {number: _plant(some) for number, some in enumerate(branches) if some}
    sizes = [
        max(branch.cut for branch in branches[number]) + max(len(tree.ids) for tree in planted)
        for number, planted in trees.items()
    ]
    order = list(trees)
    scores: list[list[BranchScore]] = [[] for _ in texts]
    for batch in track(token_batches(sizes, token_budget), progress):
        numbers = [order[index] for index in batch]
        scored = _score_in_memory(model, numbers, texts, branches, trees)
        for number, score in zip(numbers, scored, strict=True):
            scores[number] = score
    return scores
