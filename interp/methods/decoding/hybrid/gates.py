"""Gates on the base alone: where to steer and with which vector, without asking the post model.

A gate is fitted on training problems, where it is known at which positions the two models differ. A
linear probe predicts this from the base's activation, with the threshold at which it fires as often
as the models differ. The category is that of the nearest centroid, by cosine after the common mean
is removed. When a text is written, both read nothing but the base's activation at the last token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.methods.decoding.hybrid.categories import CATEGORIES, LabelledTexts
from interp.methods.directions import Activations, Direction, collect, fit_linear_probe
from interp.models import Model
from interp.sites import SiteOrName


@dataclass(frozen=True, eq=False)
class BaseGate:
    """What is read off the base's activation at the last token."""

    direction: Direction
    """Of the linear probe for "the two models differ here"."""
    threshold: float
    auroc: float
    """Of the linear probe, on problems held out."""
    mean: Float[Tensor, " d_model"]
    centroids: Mapping[str, Float[Tensor, " d_model"]]

    def fires(self, activation: Float[Tensor, " d_model"]) -> bool:
        """Whether to steer here."""
        # The direction is float32 on the CPU; the model may run in half precision or elsewhere.
        return float(activation.float().cpu() @ self.direction.vector) > self.threshold

    def category(self, activation: Float[Tensor, " d_model"]) -> str:
        """The category whose centroid is nearest."""
        centred = activation.float().cpu() - self.mean

        def near(name: str) -> float:
            return float(torch.cosine_similarity(centred, self.centroids[name] - self.mean, dim=0))

        return max(self.centroids, key=near)


def fit_gate(
    base: Model,
    along_post: LabelledTexts,
    along_both: LabelledTexts,
    site: SiteOrName,
    *,
    seed: int,
) -> BaseGate:
    """Fits gate and category on the base's activations.

    Args:
        base: The base model.
        along_post: Post's texts on training problems: they have all categories.
        along_both: These and the base's own texts, since a steered text may be like either.
        site: Where they are read.
        seed: Of the probe's hold-out and shuffles.

    Raises:
        NotMeasurableError: If the models differ, or agree, in too few problems to fit a probe. A
            gate that never fires instead would leave the base as it is and call it steered.
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
        seldom = "differ" if not any(sides[0]) else "agree"
        raise NotMeasurableError(
            f"a gate on the base needs positions at which the greedy tokens of the two models "
            f"differ and positions at which they agree; on these training problems they never "
            f"{seldom}"
        )
    positive, negative = (
        collect(base, along_both.rows, places, site, problems=along_both.problems)
        for places in sides
    )
    probe = fit_linear_probe(positive, negative, seed=seed)
    threshold = _threshold(probe.direction, positive, negative)
    return BaseGate(probe.direction, threshold, probe.auroc, mean, centroids)


def _threshold(direction: Direction, positive: Activations, negative: Activations) -> float:
    """Between the scores at which the gate fires as often as the models differ."""
    scores = torch.cat([positive.values, negative.values]) @ direction.vector
    ordered = scores.sort(descending=True).values
    n = len(positive.values)
    return float((ordered[n - 1] + ordered[n]) / 2)
