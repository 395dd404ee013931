"""How well an SAE represents what it was trained on: sparsity, variance, and the model's own loss.

- l0: mean number of active latents per position, in inference form;
- fvu: fraction of variance unexplained, sum |x - x'|^2 / sum |x - mean(x)|^2. It does not change
  when all activations and the SAE are rescaled together;
- dead: share of the latents that are active nowhere in the texts;
- loss_recovered: (zero - spliced) / (zero - clean), with the model's mean loss (nats per token)
  when it runs as it is, with x' in the place of x, and with 0 in its place. Zero at a residual
  stream ruins every model, so values near 1 come cheaply: loss_recovered_of_mean sets the mean of
  all activations in the place of 0.

With the error term x - x' added back the splice must change nothing; this loss is reported as well,
and shows that the splice is at the right place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.engine import run
from interp.engine.batches import token_batches
from interp.interventions import Intervention, replace
from interp.methods.saes.training import sae_site
from interp.models import Model
from interp.models.token_ids import Rows, as_rows
from interp.sites import Site

TOKEN_BUDGET = 16_384
"""Tokens read in one pass, padding included."""


@dataclass(frozen=True)
class Fidelity:
    """What is lost between activations and their reconstruction."""

    l0: float
    fvu: float
    dead: float
    loss_clean: float
    loss_spliced: float
    loss_with_error: float
    loss_zero: float
    loss_mean: float

    @property
    def loss_recovered(self) -> float:
        """1: the splice costs nothing; 0: it is as bad as zeros."""
        return _recovered(self.loss_zero, self.loss_spliced, self.loss_clean)

    @property
    def loss_recovered_of_mean(self) -> float:
        """The same with the mean activation in the place of zeros."""
        return _recovered(self.loss_mean, self.loss_spliced, self.loss_clean)


@torch.no_grad()
def measure_fidelity(
    sae: Any,
    model: Model,
    rows: Rows,
    learned: Sequence[Sequence[bool]] | None = None,
) -> Fidelity:
    """Measures an SAE on texts that it was not trained on.

    Args:
        sae: In inference form.
        model: Whose activations it reads.
        rows: Token ids of each text.
        learned: For each token whether predicting it counts in the loss; all but the first do
            unless given.

    Returns:
        The figures.
    """
    site = sae_site(sae)
    rows = as_rows(rows, "row", model.tokenizer)
    counts = learned if learned is not None else [[True] * len(row) for row in rows]
    batches = token_batches([len(row) for row in rows], TOKEN_BUDGET)
    captured: dict[int, Tensor] = {}
    for batch in batches:
        seen = run(model, [rows[n] for n in batch], capture=[site], logits_at="last")
        captured |= dict(zip(batch, seen.captures[site], strict=True))
    flat = torch.cat([captured[n].flatten(1) for n in range(len(rows))])
    latents = sae.encode(flat.to(sae.W_dec))
    mean = flat.mean(0)
    instead = {
        "clean": captured,
        "spliced": {n: splice(sae, values, keep_error=False) for n, values in captured.items()},
        "with_error": {n: splice(sae, values, keep_error=True) for n, values in captured.items()},
        "zero": {n: torch.zeros_like(values) for n, values in captured.items()},
        "mean": {n: mean.expand(len(v), -1).reshape(v.shape) for n, v in captured.items()},
    }
    losses = {
        name: _loss(model, site, rows, counts, {} if name == "clean" else values, batches)
        for name, values in instead.items()
    }
    return Fidelity(
        l0=float((latents > 0).sum(-1).double().mean()),
        fvu=unexplained(flat, sae.decode(latents).to(flat)),
        dead=float((~(latents > 0).any(0)).double().mean()),
        **{f"loss_{name}": value for name, value in losses.items()},
    )


def unexplained(
    values: Float[Tensor, "pos d_in"], reconstruction: Float[Tensor, "pos d_in"]
) -> float:
    """FVU: squared error over squared distance from the mean, both summed over all positions."""
    error = (values - reconstruction).double().pow(2).sum()
    return float(error / (values - values.mean(0)).double().pow(2).sum())


def splice(
    sae: Any, values: Float[Tensor, "pos ..."], *, keep_error: bool
) -> Float[Tensor, "pos ..."]:
    """What replaces activations when an SAE is spliced into the model.

    Args:
        sae: In inference form.
        values: Activations of one text.
        keep_error: Whether the reconstruction error is added back, which gives the activations.

    Returns:
        Of the same shape and number format.
    """
    flat = values.flatten(1)
    reconstruction = sae.decode(sae.encode(flat.to(sae.W_dec))).to(flat)
    # Added up, not returned as `flat`, so that this check goes through the decoder, too.
    out = reconstruction + (flat - reconstruction) if keep_error else reconstruction
    return out.reshape(values.shape)


def _loss(
    model: Model,
    site: Site,
    rows: Sequence[Sequence[int]],
    counts: Sequence[Sequence[bool]],
    instead: dict[int, Tensor],
    batches: Sequence[Sequence[int]],
) -> float:
    """Mean loss of the tokens that count, in nats, with these activations at the site, if any."""
    losses: list[Tensor] = []
    for batch in batches:
        # The clean run replaces nothing, so it has no edits.
        edits = [
            Intervention(site, replace, values, positions=tuple(range(len(values))), rows=(row,))
            for row, values in enumerate(instead[n].flatten(1) for n in batch if instead)
        ]
        seen = run(model, [rows[n] for n in batch], interventions=edits)
        for n, logits in zip(batch, seen.logits, strict=True):
            nll = torch.nn.functional.cross_entropy(
                logits[:-1], torch.tensor(rows[n][1:], device=logits.device), reduction="none"
            )
            losses.append(nll.cpu()[torch.tensor(list(counts[n][1:]), dtype=torch.bool)])
    return float(torch.cat(losses).double().mean())


def _recovered(worst: float, spliced: float, clean: float) -> float:
    return (worst - spliced) / (worst - clean) if worst != clean else float("nan")
