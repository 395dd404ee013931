"""Latents: the activations of an SAE in texts, position by position."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.engine import run
from interp.engine.batches import token_batches
from interp.methods.saes.training import sae_site
from interp.models import Model
from interp.models.model import site_shape
from interp.models.token_ids import Rows, as_rows

TOKEN_BUDGET = 16_384
"""Tokens read in one pass, padding included."""

LatentReader = Callable[[Rows], list[Tensor]]
"""Rows of token ids -> latents [pos, d_sae] of each row."""


@dataclass(frozen=True, eq=False)
class Latents:
    """Activations of all latents at all positions of some texts, text after text."""

    acts: Float[Tensor, "pos d_sae"]
    tokens: Int[Tensor, " pos"]
    rows: Int[Tensor, " pos"]
    """Number of the text that a position belongs to."""

    @property
    def is_first(self) -> Bool[Tensor, " pos"]:
        """Whether a position is the first of its text."""
        return torch.cat([torch.ones(1, dtype=torch.bool), self.rows.diff() > 0])


def sae_reader(sae: Any, model: Model) -> LatentReader:
    """A function that lets the model read texts and the SAE encode them.

    Args:
        sae: In inference form; its metadata names the site.
        model: The reader.

    Returns:
        The function; latents come in float32, on the CPU.

    Raises:
        ValueError: If the SAE does not fit the width of the site.
    """
    site = sae_site(sae)
    width = math.prod(site_shape(model, site))
    if width != sae.cfg.d_in:
        raise ValueError(
            f"the SAE reads vectors of width {sae.cfg.d_in}, and {site} of {model.name} has "
            f"{width}. Likely it was trained on another model"
        )

    @torch.no_grad()
    def read(given: Rows) -> list[Tensor]:
        rows = as_rows(given, "row", model.tokenizer)
        latents: dict[int, Tensor] = {}
        for batch in token_batches([len(row) for row in rows], TOKEN_BUDGET):
            # Logits are not used; those of the last position alone are the fewest to form.
            seen = run(model, [rows[n] for n in batch], capture=[site], logits_at="last")
            for n, values in zip(batch, seen.captures[site], strict=True):
                latents[n] = sae.encode(values.flatten(1).to(sae.W_dec)).float().cpu()
        return [latents[n] for n in range(len(rows))]

    return read


def encode_rows(read: LatentReader, rows: Rows) -> Latents:
    """Latents at every position of some texts.

    Args:
        read: As `sae_reader` gives it.
        rows: Token ids of each text.
    """
    acts = torch.cat(read(rows))
    texts = as_rows(rows, "row", None)
    tokens = torch.tensor([token for row in texts for token in row])
    numbers = torch.tensor([n for n, row in enumerate(texts) for _ in row])
    return Latents(acts, tokens, numbers)
