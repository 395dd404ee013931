"""Fits: three ways from activations to a direction.

All take *positive* activations (positions that show a behaviour, or precede it) and *negative* ones
and are pure functions of them; `interp.methods.directions.activations` collects both.

- `mean_difference`: mean of the positive minus mean of the negative. The simplest, needs no
  pairing, and the best at steering in most comparisons; the negative side may be all positions of
  the data (Venhoff et al., arXiv 2506.18167), or the base model's at the same positions.
- `first_component`: the axis along which paired differences are largest (Zou et al. 2023, arXiv
  2310.01405). It differs from the mean difference where pairs differ in *opposite* ways.
- `fit_linear_probe` (`interp.methods.directions.linear_probe`): the axis that best separates them.
  Good at reading is not good at steering; its held-out AUROC answers whether the behaviour is
  *decodable* at all.
"""

from __future__ import annotations

import torch

from interp.methods.directions.activations import Activations
from interp.methods.directions.direction import Direction, Source, make_direction


def mean_difference(positive: Activations, negative: Activations) -> Direction:
    """Mean of the positive minus mean of the negative activations.

    Args:
        positive: Activations that show the behaviour.
        negative: Activations that do not, at the same site; of the same or of another model.

    Returns:
        The direction; its length is the distance of the means, its reference norm the mean norm
        over both sides.

    Raises:
        NotMeasurableError: If the means are equal.
        ValueError: If sites or widths differ.
    """
    check_sides(positive, negative)
    # In float64: the means are nearly equal, and their difference is what counts.
    raw = positive.values.double().mean(0) - negative.values.double().mean(0)
    return fitted(raw, "mean difference", positive, negative)


def first_component(positive: Activations, negative: Activations) -> Direction:
    """First principal component of paired differences, about zero.

    Differences d are taken with both signs (Zou et al. 2023 shuffle the order within pairs, the
    library steering-vectors takes +d and -d), so that their mean is 0 and nothing is centred away:
    the result is the first right singular vector of the differences, turned to the side on which
    the positive ones lie on average.

    Args:
        positive: Activations that show the behaviour.
        negative: Their partners, in the same order.

    Returns:
        The direction; its length is the root mean square of the differences along it.

    Raises:
        NotMeasurableError: If all differences are zero.
        ValueError: If sites, widths or numbers differ.
    """
    check_sides(positive, negative)
    if len(positive.values) != len(negative.values):
        raise ValueError(
            f"a principal component of differences needs pairs in the same order, received "
            f"{len(positive.values)} positive and {len(negative.values)} negative activations. "
            f"Use mean_difference, which needs none"
        )
    differences = positive.values.double() - negative.values.double()
    _, sizes, axes = torch.linalg.svd(differences, full_matrices=False)
    raw = axes[0] * sizes[0] / len(differences) ** 0.5
    side = -1.0 if float((differences @ raw).mean()) < 0 else 1.0  # SVD leaves the sign open
    return fitted(side * raw, "first component", positive, negative)


def check_sides(positive: Activations, negative: Activations) -> None:
    """Checks that two sides are activations of one site and width.

    Raises:
        ValueError: If they are not.
    """
    sides = [(one.site, one.values.shape[1]) for one in (positive, negative)]
    if sides[0] != sides[1]:
        described = " and ".join(f"{site} (width {width})" for site, width in sides)
        raise ValueError(
            f"both sides of a direction come from one site and width, received {described}. "
            f"Collect both at the same one"
        )


def fitted(
    raw: torch.Tensor, method: str, positive: Activations, negative: Activations, note: str = ""
) -> Direction:
    """A direction with the provenance of the activations that it was made of."""
    sides = (positive, negative)
    n = [len(side.values) for side in sides]
    # One entry where both sides were read by one model.
    weights = {side.weights_sha256: side.model for side in sides}
    norm = sum(side.mean_norm * len(side.values) for side in sides) / sum(n)
    source = Source(
        method=method,
        models=tuple(weights.values()),
        weights_sha256=tuple(weights),
        texts_sha256=tuple(side.texts_sha256 for side in sides),
        note="; ".join(
            part for part in (f"{n[0]} positive, {n[1]} negative positions", note) if part
        ),
    )
    return make_direction(raw.float(), positive.site, source, reference_norm=norm)
