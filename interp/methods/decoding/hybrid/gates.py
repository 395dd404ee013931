"""Gates on the base alone: where to steer and with which vector, without asking the post model.

Trained on training problems, where post says at which positions the two would differ: a linear
probe on the base's activation reads it off, with the threshold at which it fires as often as they
differ there. The category is that of the nearest centroid, by cosine after the common mean is
removed. Both then see nothing but the base's activation at the last token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.methods.decoding.hybrid.categories import CATEGORIES, Spots
from interp.methods.directions import Activations, Direction, collect, fit_linear_probe
from interp.models import Model
from interp.sites import Site


@dataclass(frozen=True, eq=False)
class BaseGate:
    """What is read off the base's activation at the last token."""

    direction: Direction | None
    """Of the probe for "the two models differ here"; None where they differ too seldom to fit one:
    the gate then never fires."""
    threshold: float
    auroc: float
    """Of the probe on problems held out; NaN without one."""
    mean: Float[Tensor, " d_model"]
    centroids: Mapping[str, Float[Tensor, " d_model"]]

    def fires(self, activation: Float[Tensor, " d_model"]) -> bool:
        """Whether to steer here."""
        if self.direction is None:
            return False
        return float(activation.float().cpu() @ self.direction.vector) > self.threshold

    def category(self, activation: Float[Tensor, " d_model"]) -> str:
        """The category whose centroid is nearest."""
        centred = activation.float().cpu() - self.mean

        def near(name: str) -> float:
            return float(torch.cosine_similarity(centred, self.centroids[name] - self.mean, dim=0))

        return max(self.centroids, key=near)


def fit_gate(
    base: Model, along_post: Spots, along_both: Spots, site: Site, *, seed: int
) -> BaseGate:
    """Fits gate and category on the base's activations.

    Args:
        base: The base model.
        along_post: Post's texts on training problems: they have all categories.
        along_both: These and the base's own texts, since a steered text may be like either.
        site: Where they are read.
        seed: Of the probe's hold-out and shuffles.
    """
    every = collect(base, along_post.rows, along_post.positions(lambda *_: True), site)
    centroids = {}
    for name in CATEGORIES:
        places = along_post.positions(lambda c, _, name=name: c == name)
        if any(places):
            centroids[name] = collect(base, along_post.rows, places, site).values.mean(0)
    mean = every.values.mean(0)
    sides = [along_both.positions(lambda _, d, want=want: d == want) for want in (True, False)]
    if not all(any(places) for places in sides):
        return BaseGate(None, float("inf"), float("nan"), mean, centroids)
    positive, negative = (
        collect(base, along_both.rows, places, site, problems=along_both.problems)
        for places in sides
    )
    try:
        probe = fit_linear_probe(positive, negative, seed=seed)
    except ValueError:  # too few problems in which the models differ, or in which they agree
        return BaseGate(None, float("inf"), float("nan"), mean, centroids)
    threshold = _threshold(probe.direction, positive, negative)
    return BaseGate(probe.direction, threshold, probe.auroc, mean, centroids)


def _threshold(direction: Direction, positive: Activations, negative: Activations) -> float:
    """Between the scores at which the gate fires as often as the models differ."""
    scores = torch.cat([positive.values, negative.values]) @ direction.vector
    ordered = scores.sort(descending=True).values
    n = len(positive.values)
    return float((ordered[n - 1] + ordered[n]) / 2)
