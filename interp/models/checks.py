"""Checks that every model passes before it is used, so that a wrong adapter is found when loading.

`check_model` reads a few tokens and verifies:

1. the model has every module that the adapter names, every stream is in the row or said to be
   absent, and the row slides where the configuration does;
2. weights and activations are finite;
3. each activation has the shape of its site;
4. the parts add up: embed (and positions) = first resid_pre, resid_pre + attn_out + mlp_out =
   resid_post = the next resid_pre, resid_mid + mlp_out = resid_post;
5. the final states unembed to the logits of the model;
6. heads and hidden units lie where the adapter says (`interp.models.head_layout`);
7. an edit at a site of the residual stream reaches the logits.

The last two each use one forward pass, in which each row of the batch edits another site.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from interp.models.forward import body, unembed
from interp.models.head_layout import check_close, check_layout
from interp.models.hooks import hooked
from interp.models.model import Model, site_shape
from interp.sites import STREAMS, Site

_CAUSE = (
    "Likely its blocks differ from those of the family (extra norms, attention and MLP in "
    "parallel, a multiplier on embeddings, sublayers or logits)"
)

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


def _check_row(model: Model) -> None:
    """What the row leaves out: a stream without a reason, or a sliding window.

    A missing window would show in no short pass, but branches of a longer text would be wrong.
    """
    adapter, config = model.adapter, model.hf.config
    # Every family has the streams around its blocks; resid_mid follows from `sequential`.
    known = {*adapter.places, *adapter.absent, "resid_mid"}
    if unexplained := [name for name in STREAMS if name not in known]:
        raise ValueError(
            f"a row of interp/models/adapters.py places every stream or gives the reason in "
            f"`absent`; that of {adapter.family!r} does neither for {', '.join(unexplained)}"
        )
    slides = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if slides and adapter.window is None:
        raise ValueError(
            f"the configuration of {model.name} has a sliding window of {config.sliding_window} "
            f"tokens, and the row of {adapter.family!r} has none, so long texts would be read "
            f"wrongly. Build the row by `_all_slide` or `_some_slide` in interp/models/adapters.py"
        )


def _check_modules(model: Model) -> None:
    adapter = model.adapter
    in_blocks = (adapter.block, adapter.mlp, *(place.module for place in adapter.places.values()))
    names = [adapter.body, adapter.unembed]
    names += [name.format(layer=layer) for layer in range(model.n_layers) for name in in_blocks]
    for name in dict.fromkeys(names):
        try:
            model.hf.get_submodule(name)
        except AttributeError as error:
            raise ValueError(
                f"the adapter '{adapter.family}' does not describe {model.name}: it names the "
                f"module {name}, which the model lacks ({error}). Describe the model by a row of "
                f"its own in interp/models/adapters.py; a stream that none of its modules carries "
                f"belongs in `absent`, with the reason"
            ) from error


def check_weights(model: Model) -> None:
    """Raises ValueError, naming the tensor, if a weight in memory is not a finite number."""
    for name, weight in model.hf.named_parameters():
        if weight.is_meta:  # of a spread model, kept elsewhere until its module runs
            continue
        # The sum is cheap, but may overflow where all weights are finite; only then look at each.
        if not bool(torch.isfinite(weight.sum())) and not bool(torch.isfinite(weight).all()):
            n_bad = int((~torch.isfinite(weight)).sum())
            raise ValueError(
                f"the weights of {model.name} must be finite; {name} holds {n_bad} NaN or infinite "
                f"numbers. Likely a diverged training run or a damaged conversion: export the "
                f"checkpoint again, or take an earlier one"
            )


def check_tokenizer(model: Model) -> None:
    """Raises ValueError if the tokenizer has ids that the model does not score."""
    largest = max(model.tokenizer.get_vocab().values(), default=-1)
    # The reverse is harmless: many models pad the embedding beyond the tokenizer.
    if largest >= model.d_vocab:
        raise ValueError(
            f"the tokenizer of {model.name} has ids up to {largest}, but the model scores only ids "
            f"0 to {model.d_vocab - 1}. Likely tokens were added without resizing the embedding: "
            f"call hf.resize_token_embeddings(len(tokenizer)) before saving"
        )


def _read_all(model: Model, ids: Tensor) -> dict[Site, Tensor]:
    store: dict[Site, Tensor] = {}
    with hooked(model, [(site, partial(store.__setitem__, site)) for site in all_sites(model)]):
        body(model, ids)
    return store


def _check_shapes(model: Model, read: dict[Site, Tensor]) -> None:
    for site, activation in read.items():
        if tuple(activation.shape[2:]) != site_shape(model, site):
            raise ValueError(
                f"{site} of {model.name} should have shape {site_shape(model, site)} per position, "
                f"received {tuple(activation.shape[2:])}. The adapter "
                f"'{model.adapter.family}' does not describe it"
            )
        if not bool(torch.isfinite(activation).all()):
            raise ValueError(
                f"activations must be finite; {site} of {model.name} holds NaN or infinite numbers "
                f"on ordinary tokens. Its weights are finite, so the number format is likely too "
                f"narrow: load with dtype='float32'"
            )


def _check_sum(model: Model, name: str, total: Tensor, *terms: Tensor) -> None:
    expected = torch.stack([term.float() for term in terms]).sum(0)
    check_close(model, name, expected, total, _CAUSE, *terms)


def _check_sums(model: Model, read: dict[Site, Tensor]) -> None:
    terms = [read[Site(None, "embed")]]
    if model.adapter.learned_positions is not None:
        positions = model.hf.get_submodule(model.adapter.learned_positions)
        terms.append(positions(torch.arange(terms[0].shape[1], device=model.device))[None])
    _check_sum(model, "embed against resid_pre of block 0", read[Site(0, "resid_pre")], *terms)
    for layer in range(model.n_layers):
        before, attention, mlp, after = (
            read[Site(layer, name)] for name in ("resid_pre", "attn_out", "mlp_out", "resid_post")
        )
        name = f"resid_pre + attn_out + mlp_out of block {layer}"
        _check_sum(model, name, after, before, attention, mlp)
        if model.adapter.sequential:
            middle = read[Site(layer, "resid_mid")]
            _check_sum(model, f"resid_mid + mlp_out of block {layer}", after, middle, mlp)
        if layer + 1 < model.n_layers:
            name = f"resid_post of block {layer}"
            _check_sum(model, name, after, read[Site(layer + 1, "resid_pre")])


def _edit_row(row: int, noise: Tensor, activation: Tensor) -> Tensor:
    changed = activation.clone()
    scale = activation[row].float().norm() / noise.norm()
    # As large as the activation; 0.1 moves one that is zero, too.
    changed[row] = activation[row] + (scale + 0.1) * noise.to(activation)
    return changed


def _check_edits(model: Model, ids: Tensor) -> None:
    layers = sorted({0, model.n_layers // 2, model.n_layers - 1})
    sites = [
        site
        for site in all_sites(model)
        if site.stream in _REACHING and (site.layer is None or site.layer in layers)
    ]
    # Drawn on the CPU, so that a seed gives the same noise for every device.
    noise = torch.randn(
        (ids.shape[1], model.d_model), generator=torch.Generator().manual_seed(0)
    ).to(model.device)
    # The last row is left alone: compared within one batch, any difference is the edit's.
    batch = ids.expand(len(sites) + 1, -1)
    with hooked(model, [(site, partial(_edit_row, row, noise)) for row, site in enumerate(sites)]):
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
    """Verifies modules, weights, shapes, sums, layout and edits of a model on a few tokens.

    Args:
        model: A model just loaded.

    Raises:
        ValueError: If something does not hold; the message says what and the likely cause.
    """
    _check_modules(model)
    _check_row(model)
    check_weights(model)
    n_tokens = min(6, model.d_vocab, model.n_ctx, model.adapter.window or 6)
    # Spread out: the first and last ids are often special ones that were never trained.
    ids = torch.arange(1, n_tokens + 1, device=model.device)[None] * model.d_vocab // (n_tokens + 1)
    read = _read_all(model, ids)
    _check_shapes(model, read)
    _check_sums(model, read)
    plain = model.hf(input_ids=ids, use_cache=False).logits
    check_close(model, "unembedding of the body", unembed(model, body(model, ids)), plain, _CAUSE)
    check_layout(model, ids)
    _check_edits(model, ids)
