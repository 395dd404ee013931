"""Text caches: the keys and values of a text that was read once, copied for many rows.

The methods of this package read one text in many variants. The text is read once, alone and under
plain causal attention; its cache is then repeated along the batch axis, one row per variant, and
only the tokens that differ are read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.models.forward import body, new_cache, pad_right
from interp.models.model import Model


def read_text(model: Model, ids: Sequence[int]) -> Any:
    """The cache of one text, which holds a row for every token.

    Raises:
        ValueError: If the cache of a layer holds fewer rows than there are tokens.
    """
    cache = new_cache(model)
    body(model, pad_right(model, [ids]), cache=cache)
    for layer, kept in enumerate(cache.layers):
        if kept.keys.shape[-2] != len(ids):
            raise ValueError(
                f"states can be edited only where the cache holds every token, but layer {layer} "
                f"of {model.name} keeps {kept.keys.shape[-2]} of {len(ids)}. Likely it attends "
                f"through a sliding window: use texts that fit into the window"
            )
    return cache


def tables(cache: Any) -> list[Float[Tensor, "batch _ pos _"]]:
    """Keys and values of all layers in turn (K of layer 0, V of layer 0, K of layer 1, ...).

    Axes are [batch, key-value head, pos, d_head]. These are the tensors of the cache itself, so
    that writing into them edits it.
    """
    return [table for layer in cache.layers for table in (layer.keys, layer.values)]


def repeat(cache: Any, n_rows: int, n_tokens: int) -> Any:
    """The first tokens of a one-row cache, as often as asked for; the original stays untouched."""
    stack = deepcopy(cache)
    # transformers: a negative number removes so many tokens, and 0 none.
    stack.crop(n_tokens - tables(cache)[0].shape[-2])
    stack.batch_repeat_interleave(n_rows)
    return stack


def causal(
    model: Model, n_rows: int, n_before: int, n_new: int
) -> Bool[Tensor, "batch q_pos k_pos"]:
    """Each new token sees all before it and itself; a table that may be written into."""
    visible = torch.ones(n_rows, n_new, n_before + n_new, dtype=torch.bool, device=model.device)
    return visible.tril(n_before)
