"""Transfer of a dictionary: how well an SAE of the base model explains the post-trained one.

If post-training only uses what the base model had, an SAE trained on the base explains post nearly
as well (Kissane et al. 2024, "SAEs (usually) transfer between base and chat models"). Where it does
not, post represents something new at that position, or an old feature at an unusual strength. Per
position, with x^ = decode(encode(x)) and v the variance of the base activations (mean squared
distance from their mean over all positions that were read):

    error_base = |x_base - x^_base|^2 / v,    error_post = |x_post - x^_post|^2 / v
    shift      = |x_post - x_base|^2 / v
    shift_error = |(x_post - x_base) - (x^_post - x^_base)|^2 / v

The extra error is error_post - error_base. shift_error against shift says how much of the change
itself lies outside the dictionary: with a small shift, the extra error is small whatever happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import NotMeasurableError


@runtime_checkable
class Dictionary(Protocol):
    """The methods that an SAE must have; those of sae-lens in their inference form do."""

    def encode(self, x: Tensor) -> Tensor:
        """Activations [position, d_in] to latents."""
        ...

    def decode(self, feature_acts: Tensor) -> Tensor:
        """Latents to activations."""
        ...


@dataclass(frozen=True, eq=False)
class TransferErrors:
    """Per position, in units of the variance of the base activations."""

    base: Float[Tensor, " pos"]
    post: Float[Tensor, " pos"]
    shift: Float[Tensor, " pos"]
    shift_error: Float[Tensor, " pos"]


@torch.no_grad()
def transfer_errors(
    sae: Dictionary, base: Float[Tensor, "pos d_in"], post: Float[Tensor, "pos d_in"]
) -> TransferErrors:
    """Errors of a base model's SAE on both models' activations at the same positions.

    Args:
        sae: Trained on the base model at the site.
        base: Activations of base.
        post: Activations of post on the same texts.

    Returns:
        The four numbers of each position.

    Raises:
        NotMeasurableError: If the base activations do not vary.
        ValueError: If the two differ in shape.
    """
    if base.shape != post.shape:
        raise ValueError(
            f"both models must have been read at the same positions, received {list(base.shape)} "
            f"and {list(post.shape)}"
        )
    variance = float(base.sub(base.mean(0)).pow(2).sum(-1).mean())
    if not variance > 0:
        raise NotMeasurableError(
            f"{len(base)} base activations without variance have no unit of error. Read several "
            f"different positions"
        )
    made_base, made_post = (sae.decode(sae.encode(x)) for x in (base, post))

    def squared(difference: Tensor) -> Tensor:
        return difference.float().pow(2).sum(-1) / variance

    moved = post - base
    return TransferErrors(
        base=squared(base - made_base),
        post=squared(post - made_post),
        shift=squared(moved),
        shift_error=squared(moved - (made_post - made_base)),
    )
