"""Head layout: interventions that test whether heads and hidden units lie where the adapter says.

A wrong layout gives the right shapes and the wrong numbers: q taken for v, heads interleaved that
are contiguous, query heads grouped around other key-value heads. What follows holds for any causal
softmax attention, whatever the weights, the rotation, a cap on the scores, or a norm without bias
on queries and keys; so it tells a wrong row from a right one. With kv(h) the key-value head of h:

- position 0 sees only itself: there z of head h is v of kv(h);
- where q of head h is zero, all its scores are equal: z is the mean of v of kv(h) so far;
- where k of a key-value head is zero throughout, the same holds for all its heads;
- where v of a key-value head is the same at all positions, z of its heads is that;
- the rest of a block works on each position by itself: where the output of a norm, z, resid_mid or
  mlp_post is the same at all positions, so is what is computed from it, and hidden unit i of
  mlp_post depends on unit i of mlp_pre and is proportional to unit i of mlp_pre_linear.

One pass: each row of the batch edits another head or stream, in all blocks, and everything is
compared within its own row and block. The texts are shorter than any sliding window.

Queries are zeroed at the last position only. Zeroed throughout they would look like keys.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from interp.models.forward import body
from interp.models.hooks import Handler, hooked
from interp.models.model import Model
from interp.sites import Site

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest difference allowed, as a share of the largest value: rounding of one addition or norm."""

_COMPUTED_FROM = {
    "ln1": "v",
    "z": "attn_out",
    "resid_mid": "mlp_out",
    "ln2": "mlp_out",
    "mlp_post": "mlp_out",
}
"""Stream -> a stream that is computed from it position by position."""

_CAUSE = (
    "Likely its heads or hidden units are laid out in another way (order of q, k and v in one "
    "module, grouping of the key-value heads), or its attention is no causal softmax"
)

_READ = ("v", "z", "attn_out", "mlp_pre", "mlp_pre_linear", "mlp_post", "mlp_out")


def check_close(
    model: Model, name: str, actual: Tensor, expected: Tensor, cause: str, *terms: Tensor
) -> None:
    """Raises ValueError, with the likely cause, if two tensors differ by more than rounding.

    Where large `terms` cancel in a sum, the rounding error is that of the terms.
    """
    scale = max(float(term.abs().max()) for term in (expected, *terms))
    error = float((actual.float() - expected.float()).abs().max())
    # `not <=` refuses NaN; the floor allows for rounding where everything is close to zero.
    if not error <= _TOLERANCE.get(model.dtype, 5e-2) * max(scale, 1e-6):
        raise ValueError(
            f"the adapter '{model.adapter.family}' does not describe {model.name}: {name} is off "
            f"by {error:.3g} where the values go up to {scale:.3g}. {cause}. Describe the model by "
            f"a row of its own in interp/models/adapters.py"
        )


def _held(activation: Tensor) -> Tensor:
    """The value of position 0 at all positions."""
    return activation[:1].expand_as(activation)


def _edit(stream: str, head: int, activation: Tensor) -> None:
    """Edits one row [pos, ...] in place."""
    if stream == "q":
        activation[-1, head] = 0
    elif stream == "k":
        activation[:, head] = 0
    elif stream == "v":
        activation[:, head] = _held(activation[:, head])
    elif stream == "mlp_pre":  # half of the units, so that a shift between units shows
        half = activation.shape[-1] // 2
        activation[:, :half] = _held(activation[:, :half])
    else:
        activation[:] = _held(activation)


def _rows(model: Model) -> list[tuple[str, int]]:
    """What each row of the batch edits: a stream, and the head where it has any."""
    counts = {"q": model.n_heads, "k": model.n_kv_heads, "v": model.n_kv_heads, "mlp_pre": 1}
    counts |= dict.fromkeys(_COMPUTED_FROM, 1)
    return [
        (stream, head)
        for stream, count in counts.items()
        if stream in model.adapter.streams
        for head in range(count)
    ]


def _implied(
    model: Model, stream: str, head: int, row: dict[str, Tensor]
) -> list[tuple[str, Tensor, Tensor]]:
    """What must hold in one row [pos, ...] after its edit: (name, actual, expected)."""
    n_per_group = model.n_heads // model.n_kv_heads
    z, v = row["z"], row["v"].repeat_interleave(n_per_group, 1)
    n_seen = torch.arange(1, len(v) + 1, device=v.device)[:, None, None]  # position 0 sees itself
    mean = v.float().cumsum(0) / n_seen
    of_group = slice(head * n_per_group, (head + 1) * n_per_group)
    first = ("z of position 0 against v", z[0], v[0])
    if stream == "q":
        return [first, (f"z of head {head} where its q is zero", z[-1, head], mean[-1, head])]
    if stream == "k":
        return [first, (f"z over the zeroed k of head {head}", z[:, of_group], mean[:, of_group])]
    if stream == "v":
        return [first, (f"z over the constant v of head {head}", z[:, of_group], v[:, of_group])]
    if stream == "mlp_pre":
        half = row["mlp_post"].shape[-1] // 2
        post = row["mlp_post"][:, :half].float()
        linear = row.get("mlp_pre_linear", torch.ones_like(row["mlp_post"]))[:, :half].float()
        # Multiplied crosswise: dividing by a linear part near zero would blow up rounding.
        return [("mlp_post of constant mlp_pre", post * linear[:1], post[:1] * linear)]
    after = row[_COMPUTED_FROM[stream]]
    return [(f"{_COMPUTED_FROM[stream]} of constant {stream}", after, _held(after))]


def _edit_rows(stream: str, rows: list[tuple[str, int]], activation: Tensor) -> Tensor:
    changed = activation.clone()
    for number, (name, head) in enumerate(rows):
        if name == stream:
            _edit(stream, head, changed[number])
    return changed


def _compare_rows(
    model: Model,
    layer: int,
    rows: list[tuple[str, int]],
    read: dict[str, Tensor],
    _resid_post: Tensor,
) -> None:
    for number, (stream, head) in enumerate(rows):
        row = {name: activation[number] for name, activation in read.items()}
        for name, actual, expected in _implied(model, stream, head, row):
            check_close(model, f"{name} in block {layer}", actual, expected, _CAUSE)


def check_layout(model: Model, ids: Int[Tensor, "1 pos"]) -> None:
    """Verifies the layout of heads and hidden units in every block.

    Args:
        model: A model whose sites have the right shapes.
        ids: Two or more tokens, no more than a sliding window holds.

    Raises:
        ValueError: If an edit has another consequence than the adapter's layout implies.
    """
    rows = _rows(model)
    edited = dict.fromkeys(stream for stream, _ in rows)
    streams = [name for name in _READ if name in model.adapter.places]
    read: dict[str, Tensor] = {}

    handlers: list[tuple[Site, Handler]] = []
    for layer in range(model.n_layers):
        # Edits come first, so that the reads of the same sites see them.
        handlers += [(Site(layer, name), partial(_edit_rows, name, rows)) for name in edited]
        # The streams of a block are compared when it ends, and overwritten by the next block.
        handlers += [(Site(layer, name), partial(read.__setitem__, name)) for name in streams]
        compare = partial(_compare_rows, model, layer, rows, read)
        handlers.append((Site(layer, "resid_post"), compare))
    with hooked(model, handlers):
        body(model, ids.expand(len(rows), -1))
