"""Operators: what an intervention does to an activation, as pure functions.

An operator takes activations, vectors and doses and returns new activations; an `Intervention`
defines where it is applied (site, positions, rows). A new method is a new function, or a frozen
record that is called, like `ClampLatent`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.interventions.sae_forms import check_sae

Operator = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(activations [edit, width], vectors [edit, width], doses [edit, 1]) -> activations.

A function, or a frozen record with `__call__`: those that are equal are applied together. All three
come in float32 or wider, whatever the model computes in, and the result is rounded once."""


def add(
    activation: Float[Tensor, "pos d_model"],
    vector: Float[Tensor, "pos d_model"],
    dose: Float[Tensor, "pos 1"],
) -> Float[Tensor, "pos d_model"]:
    """Adds dose times the vector."""
    return activation + dose * vector


def project_out(
    activation: Float[Tensor, "pos d_model"],
    vector: Float[Tensor, "pos d_model"],
    dose: Float[Tensor, "pos 1"],
) -> Float[Tensor, "pos d_model"]:
    """Removes the component along the vector (directional ablation); dose 2 mirrors it."""
    unit = vector / vector.norm(dim=-1, keepdim=True)
    return activation - dose * (activation * unit).sum(-1, keepdim=True) * unit


def interpolate(
    activation: Float[Tensor, "pos d_model"],
    vector: Float[Tensor, "pos d_model"],
    dose: Float[Tensor, "pos 1"],
) -> Float[Tensor, "pos d_model"]:
    """Moves towards the vector: dose 0 changes nothing, dose 1 arrives."""
    return torch.lerp(activation, vector, dose)  # exact at dose 1, where x + 1 * (v - x) rounds


def replace(
    activation: Float[Tensor, "pos d_model"],  # noqa: ARG001
    vector: Float[Tensor, "pos d_model"],
    dose: Float[Tensor, "pos 1"],  # noqa: ARG001
) -> Float[Tensor, "pos d_model"]:
    """Puts the vector in the place of the activation (patching, mean and resample ablation)."""
    return vector


def zero_ablate(
    activation: Float[Tensor, "pos d_model"],
    vector: Float[Tensor, "pos d_model"],  # noqa: ARG001
    dose: Float[Tensor, "pos 1"],  # noqa: ARG001
) -> Float[Tensor, "pos d_model"]:
    """Puts zeros in the place of the activation."""
    return torch.zeros_like(activation)


@dataclass(frozen=True)
class ClampLatent:
    """Sets one latent of an SAE to a value: the dose, in the units of the SAE's latents.

    With the error term kept, x becomes x + (dose - f(x)) d, where f(x) is the latent's value at
    this position and d its decoder row: what the SAE does not explain stays, and a latent at its
    own value changes nothing, bit for bit. With the error term dropped, x becomes the decoding of
    its latents with this one set, so the reconstruction error enters the model as well; clamping
    to a value that the latent has anyway shows how much that does by itself.

    The edit is written into the stream, never into a reconstruction to which the error of the
    edited input is added back: such an error term would cancel it.

    Raises:
        ValueError: If the SAE is not of a form in which a latent is one direction of its input.
    """

    sae: Any
    """An SAE of sae-lens, in its inference form."""
    latent: int
    keep_error: bool = True

    def __post_init__(self) -> None:
        check_sae(self.sae)
        n_latents = self.sae.cfg.d_sae
        if not 0 <= self.latent < n_latents:
            raise ValueError(f"latents are 0 to {n_latents - 1}, received {self.latent}")

    @property
    def d_in(self) -> int:
        """Width of the activations that the SAE reads."""
        return int(self.sae.cfg.d_in)

    def __call__(
        self,
        activation: Float[Tensor, "pos d_model"],
        vector: Float[Tensor, "pos d_model"],  # noqa: ARG002
        dose: Float[Tensor, "pos 1"],
    ) -> Float[Tensor, "pos d_model"]:
        """Clamps the latent at every position, in the SAE's number format and on its device."""
        x = activation.to(self.sae.W_dec)
        target = dose.to(x)
        latents = self.sae.encode(x)
        if not self.keep_error:
            latents[:, self.latent] = target[:, 0]
            return self.sae.decode(latents).to(activation)
        direction = self.sae.W_dec[self.latent]
        # Such an SAE (TopK) decodes with normed rows, whatever norm W_dec stores.
        if getattr(self.sae.cfg, "rescale_acts_by_decoder_norm", False):
            direction = direction / direction.norm()
        # Only the change passes through the SAE's number format, never what it leaves as it is.
        return activation + ((target - latents[:, self.latent, None]) * direction).to(activation)
