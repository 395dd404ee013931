"""Forward passes: reading tokens up to the final norm, and forming logits.

The engine and the methods call models through `body` and `unembed`. Three others call them in ways
that these two do not offer: the checks of a model just loaded (`checks`, `bridge`), `sweep`, which
calls blocks one by one, and `step_attention`, which asks for attention patterns. The training of
organisms and their acceptance call Hugging Face modules by themselves.

Three rules make the results of a row independent of the other rows of its batch, to rounding:

- rows are padded on the right, so that a causal pass needs no mask and may take the fast kernel:
  real tokens come before the padding and never see it;
- wherever a mask is needed it is the full table of which query sees which key, never a hint that
  the model completes, and positions are always given with it;
- the body (up to the final norm) and the unembedding are called apart, so that logits are formed
  only where they are needed; with 50,000 tokens in the vocabulary they are what fills memory.

`Cache` objects hold keys and values of what was already read; `read_on` continues from one without
changing it.

Sliding windows. Some families let some or all layers look back a fixed number of positions only. A
given table would be taken as it is for all layers, and keys beyond the window would be dropped from
a cache. Here the window is worked into the table of the layers that slide, and caches keep every
key, since a branch may leave the text anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.models.hooks import copy_sharing
from interp.models.model import Model
from interp.models.token_ids import Row, Rows, as_ids, as_rows


def with_kernel(model: Model, kernel: str) -> Model:
    """The same model under another attention kernel, on the same weights.

    Changing the kernel of the model itself would change it for passes of other threads, too.
    """
    hf = copy_sharing(model.hf)
    hf.set_attn_implementation(kernel)
    return replace(model, hf=hf)


def attention_mask(
    model: Model, visible: Bool[Tensor, "batch q_pos k_pos"]
) -> Bool[Tensor, "batch 1 q_pos k_pos"] | Float[Tensor, "batch 1 q_pos k_pos"]:
    """The mask in the form that the model's attention kernel expects.

    Fused attention (sdpa) takes True for "may look". The eager kernel adds the mask to the scores,
    where True would silently count as 1, so it gets 0 and the most negative number instead.

    Args:
        model: The model that will read the mask.
        visible: Which query position may look at which key position.

    Returns:
        The mask, the same for all heads.

    Raises:
        ValueError: If the model runs a kernel that takes no such mask.
    """
    kernel = model.hf.config._attn_implementation
    if kernel == "sdpa":
        return visible[:, None]
    if kernel == "eager":
        lowest = torch.finfo(model.dtype).min
        mask = torch.zeros(visible.shape, dtype=model.dtype, device=visible.device)
        return mask.masked_fill(~visible, lowest)[:, None]
    raise ValueError(
        f"{model.name} runs the attention kernel {kernel!r}, which takes no table of visible "
        f"positions. Known: sdpa, eager. Call model.hf.set_attn_implementation('sdpa') first"
    )


def _masks(
    model: Model,
    visible: Bool[Tensor, "batch q_pos k_pos"],
    key_positions: Int[Tensor, "_ k_pos"] | None,
) -> Any:
    """The mask of all layers, or one per type of layer where only some slide."""
    adapter = model.adapter
    if adapter.window is None:
        return attention_mask(model, visible)
    if key_positions is None:
        key_positions = torch.arange(visible.shape[-1], device=visible.device)[None]
    # The queries are the last of the keys; a window counts the query itself, hence `<` below.
    distance = key_positions[:, -visible.shape[-2] :, None] - key_positions[:, None]
    sliding = attention_mask(model, visible & (distance < adapter.window))
    if not adapter.mask_per_type:
        return sliding
    return {
        "full_attention": attention_mask(model, visible),
        "sliding_attention": sliding,
    }


def new_cache(model: Model) -> Any:  # noqa: ARG001
    """An empty cache for keys and values, which drops none of them."""
    from transformers import DynamicCache

    return DynamicCache()  # given the config, its sliding layers would drop keys


def body(
    model: Model,
    ids: Int[Tensor, "batch pos"],
    *,
    positions: Int[Tensor, "batch pos"] | None = None,
    visible: Bool[Tensor, "batch pos k_pos"] | None = None,
    key_positions: Int[Tensor, "_ k_pos"] | None = None,
    cache: Any = None,
) -> Float[Tensor, "batch pos d_model"]:
    """Runs the model up to its final norm.

    Args:
        model: The model.
        ids: Token ids.
        positions: Position of each token; None counts on from the cache.
        visible: Which token may look at which (of those in the cache and these); None is causal.
        key_positions: With `visible`, the position of each token in the cache and of each of these,
            from which the distances under a sliding window are worked out (one row serves all).
            None counts columns, which is right where every row is contiguous.
        cache: Keys and values so far; these tokens are added to it.

    Returns:
        The final hidden states, after the last norm.
    """
    run = model.hf.get_submodule(model.adapter.body)
    hidden = run(
        input_ids=ids,
        attention_mask=None if visible is None else _masks(model, visible, key_positions),
        position_ids=positions,
        past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    return hidden.to(model.device)  # the last block of a spread model may be elsewhere


def unembed(
    model: Model, hidden: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch d_vocab"]:
    """Logits of final hidden states, in float32 whatever the dtype of the weights.

    Where the model divides its logits (Granite) or caps them (Gemma 2: `cap * tanh(logits / cap)`),
    so does this.
    """
    logits = model.hf.get_submodule(model.adapter.unembed)(hidden).to(hidden.device).float()
    if model.adapter.logit_divisor != 1.0:
        logits = logits / model.adapter.logit_divisor
    cap = getattr(model.hf.config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def read_on(
    model: Model,
    cache: Any,
    ids: Int[Tensor, "batch pos"],
    positions: Int[Tensor, "batch pos"],
    visible: Bool[Tensor, "batch pos k_pos"],
) -> Float[Tensor, "batch pos d_model"]:
    """Reads tokens on top of a cache and leaves the cache as it was.

    Args:
        model: The model.
        cache: Keys and values of T tokens per row, of which token t has position t (rows padded on
            the right).
        ids: The new tokens.
        positions: Their positions, which may branch off anywhere.
        visible: Which new token may look at which key; the last axis is T plus the new tokens.

    Returns:
        The final hidden states of the new tokens.
    """
    read = torch.arange(visible.shape[-1] - ids.shape[1], device=ids.device).expand(len(ids), -1)
    hidden = body(
        model,
        ids,
        positions=positions,
        visible=visible,
        key_positions=torch.cat([read, positions], 1),
        cache=cache,
    )
    cache.crop(-ids.shape[1])  # a negative number removes that many tokens from the end
    return hidden


def pad_right(
    model: Model, rows: Sequence[Sequence[int]], *, fill: int = 0
) -> Int[Tensor, "batch pos"]:
    """Rows of token ids as one tensor, padded at the end."""
    width = max(len(row) for row in rows)
    padded = [[*row, *[fill] * (width - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long, device=model.device)


def check_rows(model: Model, rows: Rows, what: str) -> list[Sequence[int]]:
    """Makes sure that rows can be read at all, before any forward pass.

    Args:
        model: The model that will read them.
        rows: Token ids of each; a list of rows, or a tensor or an array without padding.
        what: What one is called in a message, for example 'prompt'.

    Returns:
        Token ids of each row.

    Raises:
        TypeError: If something is not a row of whole numbers.
        ValueError: As for `check_row`; or if a tensor is padded or has other axes.
    """
    given = as_rows(rows, what, model.tokenizer)
    return [check_row(model, row, f"{what} {number}") for number, row in enumerate(given)]


def check_row(model: Model, row: Row, what: str) -> Sequence[int]:
    """Makes sure that a row can be read at all, before any forward pass.

    Args:
        model: The model that will read it.
        row: Token ids; a list, or a tensor or an array with one axis.
        what: What it is, for the message, for example 'prompt 3'.

    Returns:
        Token ids.

    Raises:
        TypeError: If it is not a row of whole numbers.
        ValueError: If it is empty, longer than the context, or holds an id out of range.
    """
    row = as_ids(row, what)
    if not row:
        raise ValueError(
            f"{what} is empty, and nothing can be read or predicted from no tokens. Give it at "
            f"least one token, for example the beginning-of-text id"
        )
    check_length(model, len(row), what)
    # The embedding would not say which row, and on a GPU would fail only in some later call.
    if not 0 <= min(row) <= max(row) < model.d_vocab:
        raise ValueError(
            f"{what} holds the id {max(row) if min(row) >= 0 else min(row)}, but {model.name} "
            f"knows ids 0 to {model.d_vocab - 1}. Was it encoded with the tokenizer of another "
            f"model?"
        )
    return row


def check_length(model: Model, length: int, what: str) -> None:
    """Makes sure that a sequence fits into the context.

    Raises:
        ValueError: If it is longer than `model.n_ctx`.
    """
    if length > model.n_ctx:
        raise ValueError(
            f"{what} is {length} tokens long and {model.name} reads at most {model.n_ctx}. "
            f"Shorten the text or the number of new tokens by {length - model.n_ctx}"
        )


def nan_error(model: Model, what: str) -> ValueError:
    """The error for logits that are not numbers."""
    return ValueError(
        f"{model.name} returned logits that are not finite for {what}. Likely causes: broken "
        f"weights, half precision out of range, or an intervention with too large a dose. Load "
        f"with dtype='float32' and run without interventions to tell which"
    )
