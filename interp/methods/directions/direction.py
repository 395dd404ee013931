"""A direction: a unit vector in a stream, the site that it belongs to, and where it came from.

A direction by itself has no strength. To be added it needs a dose, and a dose needs a unit. The
unit here is the **mean residual norm** at the site (`reference_norm`): dose 0.5 adds a vector half
as long as the stream is there on average. Doses in that unit can be compared between layers,
models and methods. The length that a method happened to give its vector (`length`: the distance of
two means, the norm of a decoder row) cannot, but it is kept, because it is the size of the natural
difference: `natural_dose` is that length in mean residual norms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.models import Model
from interp.models.model import check_site, site_shape
from interp.sites import SiteOrName, as_site

UNIT_TOLERANCE = 1e-5
"""How far the norm of a stored unit vector may be from 1: rounding to float32, no more."""


@dataclass(frozen=True)
class Source:
    """How a direction was found."""

    method: str
    """'mean difference', 'first component', 'linear probe', 'random', 'sae latent', ..."""
    models: tuple[str, ...] = ()
    """Models whose activations were used: positive first, then negative where it is another."""
    weights_sha256: tuple[str, ...] = ()
    """Of the weights of these models."""
    texts_sha256: tuple[str, ...] = ()
    """Of the texts and positions: positive, then negative."""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector at a site.

    Raises:
        ValueError: If the vector is not finite or not of norm 1, or a norm is not positive.
    """

    vector: Float[Tensor, " d_model"]
    """Norm 1, float32, on the CPU."""
    site: Any
    """A `Site`. It may be given by its name, which `as_site` reads."""
    source: Source
    reference_norm: float | None = None
    """Mean norm of the activations at the site, the unit of doses; None where it is not known."""
    length: float = 1.0
    """Norm of the vector as the method gave it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "site", as_site(self.site))
        if not bool(torch.isfinite(self.vector).all()):
            raise ValueError(
                f"a direction is made of finite numbers, and this one for {self.site} holds NaN or "
                f"infinity. Likely a mean over no examples, or activations out of range in half "
                f"precision: load the model with dtype='float32'"
            )
        norm = float(self.vector.double().norm())
        if abs(norm - 1) > UNIT_TOLERANCE:
            raise ValueError(
                f"a direction has norm 1, received {norm:.6g} for {self.site}. Use "
                f"make_direction(vector, site, source), which keeps the norm as its length"
            )
        for name in ("reference_norm", "length"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, received {value}")

    @property
    def natural_dose(self) -> float:
        """The vector's own length in mean residual norms; NaN where these are not known."""
        return self.length / self.reference_norm if self.reference_norm else float("nan")


def make_direction(
    vector: Float[Tensor, " d_model"],
    site: SiteOrName,
    source: Source,
    *,
    reference_norm: float | None = None,
) -> Direction:
    """A direction along a vector of any length.

    Args:
        vector: What a method or a file gave.
        site: Where it belongs.
        source: How it came about.
        reference_norm: Mean norm of the activations at the site.

    Returns:
        The direction; the norm of the vector is its `length`.

    Raises:
        NotMeasurableError: If the vector is zero.
        ValueError: If it is not finite.
    """
    # Normalised in float64, so that one rounding to float32 remains (UNIT_TOLERANCE).
    wide = vector.detach().cpu().double()
    norm = float(wide.norm())
    if norm == 0:
        raise NotMeasurableError(
            f"the vector for {site} ({source.method}) is zero and has no direction. Likely the two "
            f"sides are the same texts, or the model writes nothing at this site"
        )
    unit = (wide / norm).float()
    return Direction(unit, as_site(site), source, reference_norm, norm)


def with_reference(direction: Direction, reference_norm: float) -> Direction:
    """The same direction with another unit of doses, e.g. `collect(...).mean_norm`."""
    return replace(direction, reference_norm=reference_norm)


def opposite(direction: Direction) -> Direction:
    """The direction that points the other way."""
    return replace(direction, vector=-direction.vector)


def cosine(one: Direction, other: Direction) -> float:
    """Cosine of two directions of one site, of the same or of two models.

    Raises:
        ValueError: If the sites or widths differ: their coordinates have then no relation.
    """
    if one.site != other.site:
        raise ValueError(
            f"a cosine compares directions of one site, received {one.site} and {other.site}. Fit "
            f"both at the same one"
        )
    if one.vector.shape != other.vector.shape:
        raise ValueError(
            f"a cosine compares directions of one width, received {len(one.vector)} and "
            f"{len(other.vector)}. These come from models of different size"
        )
    return float(one.vector.double() @ other.vector.double())


def project(
    direction: Direction, values: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch"]:
    """The component of activations along a direction, in the units of the activations."""
    return values.float() @ direction.vector.to(values.device)


def check_fits(model: Model, direction: Direction) -> None:
    """Makes sure that a model has the site of a direction, in its width.

    Raises:
        ValueError: If it does not.
    """
    check_site(model, direction.site)
    width = site_shape(model, direction.site)
    if tuple(direction.vector.shape) != width:
        raise ValueError(
            f"{model.name} has vectors of shape {width} at {direction.site}, and this direction "
            f"({direction.source.method}) is {len(direction.vector)} wide. It comes from a model "
            f"of another size"
        )
