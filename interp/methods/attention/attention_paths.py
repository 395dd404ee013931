"""Attention paths: what reaches the answer through the chain, and what reaches it directly.

A text has three regions: the prompt P, the chain C (from the token that opens it to its last step)
and the answer A (everything after the chain: the tokens that close it, the answer cue, the answer).
The text is read under five attention masks (after "Faithfulness as Information Flow",
arXiv 2605.24286, which has the first four):

- `full`: plain causal attention;
- `via_cot`: A does not attend to P, so the prompt acts only through the chain;
- `no_cot`: no token attends to C, as if there were no chain;
- `no_prompt`: no token attends to P, so the chain stands alone;
- `sink_only`: no token attends to P or C. The loss under this mask is due to the format.

Two precautions. Models use the first tokens of a text as an attention sink. Hiding these damages
any model whatever they say, so the first `n_sink` tokens of the prompt stay visible to all tokens.
And the state of a token that may attend to nothing is undefined, so every token attends to itself.

One pass reads P and C; a second reads the answer under all five masks side by side on top of it.
Only `no_prompt` needs the chain again, since its states differ without the prompt. Positions are
those of the unmasked text throughout.

A large divergence between full and via_cot means that the answer draws on the prompt directly;
between full and no_cot, that it needs the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
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

PATHS = ("full", "via_cot", "no_cot", "no_prompt", "sink_only")


@dataclass(frozen=True)
class PathRow:
    """One text in its three regions, as token ids."""

    prompt: tuple[int, ...]
    cot: tuple[int, ...]
    """From the token that opens the chain to its last step."""
    answer: tuple[int, ...]
    """Everything after the chain: closing tokens, answer cue, answer."""
    n_cue: int
    """Leading tokens of `answer` that are format and are not scored: at least one, because the
    token that predicts the first scored one must itself come after the chain."""


def _check(model: Model, number: int, row: PathRow) -> None:
    check_row(model, row.prompt, f"the prompt of row {number}")
    check_row(model, row.answer, f"the answer of row {number}")
    if row.cot:
        check_row(model, row.cot, f"the chain of row {number}")
    check_length(model, len(row.prompt) + len(row.cot) + len(row.answer), f"row {number}")
    if not 1 <= row.n_cue < len(row.answer):
        raise ValueError(
            f"n_cue counts the format tokens between chain and answer: at least 1, and fewer than "
            f"the {len(row.answer)} tokens of the region; row {number} has {row.n_cue}. Move the "
            f"closing token and the answer cue from the chain to the answer region"
        )


@dataclass(frozen=True)
class _Block:
    """Tokens read under one mask, after prompt and chain."""

    path: str
    ids: tuple[int, ...]
    first: int
    """Position of the first of them."""
    seen: tuple[range, ...]
    """Positions of prompt and chain that all of them see."""


def _blocks(row: PathRow, n_sink: int) -> list[_Block]:
    n_prompt, n_read = len(row.prompt), len(row.prompt) + len(row.cot)
    sink = range(min(n_sink, n_prompt))
    prompt, cot = range(n_prompt), range(n_prompt, n_read)
    answer = row.answer[:-1]  # the prediction after the last token is not scored
    return [
        _Block("full", answer, n_read, (prompt, cot)),
        _Block("via_cot", answer, n_read, (sink, cot)),
        _Block("no_cot", answer, n_read, (prompt,)),
        _Block("no_prompt", (*row.cot, *answer), n_prompt, (sink,)),
        _Block("sink_only", answer, n_read, (sink,)),
    ]


def _visible(rows: Sequence[list[_Block]], n_prefix: int) -> Bool[Tensor, "batch q_pos k_pos"]:
    """Each block sees its share of prompt and chain, and itself from left to right."""
    n_tokens = max(sum(len(block.ids) for block in blocks) for blocks in rows)
    visible = torch.zeros(len(rows), n_tokens, n_prefix + n_tokens, dtype=torch.bool)
    for table, blocks in zip(visible, rows, strict=True):
        start = 0
        for block in blocks:
            n_block = len(block.ids)
            stop = start + n_block
            for span in block.seen:
                table[start:stop, span.start : span.stop] = True
            own = torch.ones(n_block, n_block, dtype=torch.bool).tril()
            table[start:stop, n_prefix + start : n_prefix + stop] = own
            start = stop
        # Padding sees itself too: a softmax over nothing is NaN.
        table[:, n_prefix:].fill_diagonal_(True)
    return visible


def _read(model: Model, rows: Sequence[PathRow], n_sink: int) -> Float[Tensor, "batch pos d_model"]:
    """Final hidden states of all blocks of all rows, block after block."""
    prefix = pad_right(model, [(*row.prompt, *row.cot) for row in rows])
    cache = new_cache(model)
    body(model, prefix, cache=cache)
    blocks = [_blocks(row, n_sink) for row in rows]
    ids = [[token for block in of_row for token in block.ids] for of_row in blocks]
    positions = [
        [block.first + place for block in of_row for place in range(len(block.ids))]
        for of_row in blocks
    ]
    visible = _visible(blocks, prefix.shape[1]).to(model.device)
    return read_on(model, cache, pad_right(model, ids), pad_right(model, positions), visible)


def _score(
    model: Model, n_sink: int, jobs: Sequence[tuple[int, PathRow]]
) -> list[dict[str, Float[Tensor, "_ d_vocab"]]]:
    hidden = _read(model, [row for _, row in jobs], n_sink)
    scores: list[dict[str, Tensor]] = []
    for states, (number, row) in zip(hidden, jobs, strict=True):
        scores.append({})
        end, n_asked = 0, len(row.answer) - row.n_cue
        for block in _blocks(row, n_sink):
            end += len(block.ids)
            # Blocks lack the last answer token, so their last states predict the scored ones.
            logprobs = unembed(model, states[end - n_asked : end]).log_softmax(-1)
            if bool(logprobs.isnan().any()):
                raise nan_error(model, f"row {number} under the path '{block.path}'")
            scores[-1][block.path] = logprobs.cpu()
    return scores


@torch.no_grad()
def path_logprobs(
    model: Model,
    rows: Sequence[PathRow],
    *,
    n_sink: int = 1,
    token_budget: int = 8192,
    progress: str | None = None,
) -> list[dict[str, Float[Tensor, "_ d_vocab"]]]:
    """Log-probability rows of the answer under each attention path.

    Args:
        model: The reader.
        rows: Texts in their regions.
        n_sink: First tokens of the prompt that stay visible under every path (all, if the prompt
            is shorter). Count chat-template tokens in where there are any.
        token_budget: Largest number of tokens in a forward pass.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        Per row a dictionary from path (the names in `PATHS`) to log-probabilities in nats,
        [len(answer) - n_cue, d_vocab]: row j holds the distribution in place of
        `answer[n_cue + j]`, given what that path lets through. On the CPU in float32.

    Raises:
        ValueError: If a row is empty, too long or without a cue, `n_sink` is negative, or logits
            are not finite.
    """
    if n_sink < 0:
        raise ValueError(f"n_sink counts tokens and cannot be negative, received {n_sink}")
    for number, row in enumerate(rows):
        _check(model, number, row)
    # The chain is read again without the prompt, and the answer under each of five masks.
    costs = [len(row.prompt) + 2 * len(row.cot) + 5 * len(row.answer) for row in rows]
    by_row: dict[int, dict[str, Tensor]] = {}
    for batch in track(token_batches(costs, token_budget), progress):
        jobs = [(number, rows[number]) for number in batch]
        by_row.update(zip(batch, in_halves(partial(_score, model, n_sink), jobs), strict=True))
    return [by_row[number] for number in range(len(rows))]
