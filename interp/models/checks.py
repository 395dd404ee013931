"""What is verified before a model is used: a wrong answer is better found now than hours later.

`check_model` reads a few tokens and asks, at every site that the adapter names:

1. are weights and activations finite;
2. has each activation the shape that its site should have;
3. do the parts add up: embed = first resid_pre, resid_pre + attn_out = resid_mid,
   resid_mid + mlp_out = resid_post, last resid_post normed = ln_final;
4. does the head layout hold: z put through the output weights head by head gives attn_out;
5. does an edit at a site of the residual stream reach the logits.

The last uses one forward pass in which each row of the batch edits another site.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interp.models.hooks import hooked
from interp.models.model import Model, site_shape
from interp.models.passes import body, unembed
from interp.sites import STREAMS, Site

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest difference allowed, as a share of the largest value: rounding of one addition or norm."""

_REACHING = ("embed", "resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post", "ln_final")
"""Streams whose edits reach the logits whatever the weights are."""


def all_sites(model: Model) -> list[Site]:
    """Every site of a model, in the order of computation within a block."""
    return [
        Site(layer, name)
        for name, stream in STREAMS.items()
        if name in model.adapter.streams
        for layer in (range(model.n_layers) if stream.in_blocks else (None,))
    ]


def check_weights(model: Model) -> None:
    """Raises ValueError, naming the tensor, if a weight is not a finite number."""
    for name, weight in model.hf.named_parameters():
        if not bool(torch.isfinite(weight.sum())) and not bool(torch.isfinite(weight).all()):
            n_bad = int((~torch.isfinite(weight)).sum())
            raise ValueError(
                f"the weights of {model.name} must be finite; {name} holds {n_bad} NaN or infinite "
                f"numbers. Likely a diverged training run or a damaged conversion: export the "
                f"checkpoint again, or take an earlier one"
            )


def _keep(store: dict[Site, Tensor], site: Site) -> Callable[[Tensor], None]:
    def keep(activation: Tensor) -> None:
        store[site] = activation

    return keep


def _read_all(model: Model, ids: Tensor) -> dict[Site, Tensor]:
    store: dict[Site, Tensor] = {}
    with hooked(model, [(site, _keep(store, site)) for site in all_sites(model)]):
        body(model, ids)
    return store


def _check_close(model: Model, name: str, found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max())
    error = float((found.float() - expected.float()).abs().max())
    if not error <= _TOLERANCE.get(model.dtype, 5e-2) * max(scale, 1e-6):
        raise ValueError(
            f"the adapter '{model.adapter.family}' does not describe {model.name}: {name} is off "
            f"by {error:.3g} where the values go up to {scale:.3g}. The architecture differs from "
            f"its family (extra norms, parallel blocks); it needs a row of its own in "
            f"interp/models/adapters.py"
        )


def _check_shapes(model: Model, read: dict[Site, Tensor]) -> None:
    for site, activation in read.items():
        if tuple(activation.shape[2:]) != site_shape(model, site):
            raise ValueError(
                f"{site} of {model.name} should have shape {site_shape(model, site)} per position, "
                f"found {tuple(activation.shape[2:])}"
            )
        if not bool(torch.isfinite(activation).all()):
            raise ValueError(
                f"activations must be finite; {site} of {model.name} holds NaN or infinite numbers "
                f"on ordinary tokens. Its weights are finite, so the number format is likely too "
                f"narrow: load with dtype='float32'"
            )


def _check_sums(model: Model, read: dict[Site, Tensor]) -> None:
    _check_close(
        model, "embed against resid_pre of block 0", read[Site(None, "embed")],
        read[Site(0, "resid_pre")],
    )  # fmt: skip
    for layer in range(model.n_layers):
        part = {name: read.get(Site(layer, name)) for name in STREAMS if STREAMS[name].in_blocks}
        before, attention, mlp, after = (
            part[name] for name in ("resid_pre", "attn_out", "mlp_out", "resid_post")
        )
        assert before is not None and attention is not None and mlp is not None
        assert after is not None
        _check_close(
            model, f"resid_pre + attn_out + mlp_out of block {layer}", before + attention + mlp,
            after,
        )  # fmt: skip
        middle = part["resid_mid"]
        if middle is not None:
            _check_close(model, f"resid_mid of block {layer}", middle, after - mlp)
        _check_heads(model, layer, part["z"], attention)


def _check_heads(model: Model, layer: int, z: Tensor | None, attention: Tensor) -> None:
    """Head by head, z times the output weights is what attention adds to the stream."""
    if z is None:
        return
    place = model.adapter.places["z"]
    output: Any = model.hf.get_submodule(place.module.format(layer=layer))
    per_head = output.weight.unflatten(1, (model.n_heads, model.d_head))
    total = torch.einsum("bphd,ohd->bpo", z, per_head)
    total = total if output.bias is None else total + output.bias
    _check_close(model, f"z through the output weights of block {layer}", total, attention)


def _edit_row(row: int, noise: Tensor) -> Callable[[Tensor], Tensor]:
    def edit(activation: Tensor) -> Tensor:
        changed = activation.clone()
        scale = activation[row].float().norm() / noise.norm()
        changed[row] = activation[row] + (scale + 0.1) * noise.to(activation)
        return changed

    return edit


def _check_edits(model: Model, ids: Tensor) -> None:
    layers = sorted({0, model.n_layers // 2, model.n_layers - 1})
    sites = [
        site
        for site in all_sites(model)
        if site.stream in _REACHING and (site.layer is None or site.layer in layers)
    ]
    noise = torch.randn(
        (ids.shape[1], model.d_model), generator=torch.Generator().manual_seed(0)
    ).to(model.device)
    batch = ids.expand(len(sites) + 1, -1)
    with hooked(model, [(site, _edit_row(row, noise)) for row, site in enumerate(sites)]):
        logits = unembed(model, body(model, batch)[:, -1])
    moved = (logits[:-1] - logits[-1]).abs().amax(-1)
    for site, change in zip(sites, moved.tolist(), strict=True):
        if not change > 0:
            raise ValueError(
                f"an edit at {site} of {model.name} does not reach the logits, so no experiment "
                f"there could show an effect. The adapter '{model.adapter.family}' names a module "
                f"that this model does not use"
            )


@torch.no_grad()
def check_model(model: Model) -> None:
    """Verifies weights, shapes, sums and edits of a model on a few tokens.

    Args:
        model: A model just loaded.

    Raises:
        ValueError: If something does not hold; the message says what and the likely cause.
    """
    check_weights(model)
    n_tokens = min(4, model.d_vocab, model.n_ctx)
    ids = torch.arange(n_tokens, device=model.device)[None]
    read = _read_all(model, ids)
    _check_shapes(model, read)
    _check_sums(model, read)
    plain = model.hf(input_ids=ids, use_cache=False).logits
    _check_close(model, "unembedding of the body", unembed(model, body(model, ids)), plain)
    _check_edits(model, ids)
