"""Whether a stored organism is still what its card says, by measuring it again.

Checked are the checksum of the weights, the settings of the recipe and the checksum of the data
that today's code draws, every acceptance figure (on the stored weights), the conditions of the
recipe, and the certificate: it must be there, be about these weights, have passed, and come out
the same when the interchange is done again.

Weights are stored in float16. How much that rounding can matter is measured by rounding eight times
coarser still (bfloat16 keeps three bits fewer): the largest change of a figure is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from interp.models import load_model
from interp.organisms.acceptance import acceptance
from interp.organisms.certification.certificate import examine
from interp.organisms.recipe import Recipe, data_sha256, failed_conditions
from interp.organisms.recipes import find_recipe
from interp.organisms.training.making import load_organism, settings_of
from interp.organisms.zoo import Card, read_card, weights_sha256

TOLERANCE = 0.011
"""Largest allowed difference of a figure: three answers in 300 may be ties that another machine's
arithmetic breaks the other way."""


@dataclass(frozen=True)
class Verification:
    """What was found about one organism."""

    folder: str
    faults: tuple[str, ...]
    """What does not agree with the card, in words."""
    difference: float
    """Largest difference of a figure from the card's."""
    coarser: float
    """Largest change of a figure when the weights are rounded eight times coarser."""

    def __str__(self) -> str:
        verdict = "; ".join(self.faults) or "intact"
        return (
            f"{self.folder}: {verdict} (figures within {self.difference:.3f} of the card, "
            f"within {self.coarser:.3f} when rounded eight times coarser)"
        )


def verify(folder: Path) -> Verification:
    """Measures one organism again."""
    card = read_card(folder)
    recipe = find_recipe(card.name)
    model = load_organism(folder)
    figures = acceptance(model, recipe.world)
    coarse = acceptance(model.to(torch.bfloat16).float(), recipe.world)
    difference = _largest(figures, card.figures)
    faults = [
        said
        for is_fault, said in (
            (weights_sha256(folder) != card.weights_sha256, "other weights than the card's"),
            (settings_of(recipe) != card.recipe, "the recipe has other settings now"),
            (data_sha256(recipe.method) != card.data_sha256, "the recipe draws other data now"),
            (not difference <= TOLERANCE, f"a figure is {difference:.3f} from the card's"),
        )
        if is_fault
    ]
    faults += failed_conditions(recipe, figures)
    faults += _certificate_faults(card, recipe, folder)
    return Verification(folder.name, tuple(faults), difference, _largest(coarse, figures))


def _largest(found: Mapping[str, float], told: Mapping[str, float]) -> float:
    if set(found) != set(told):
        return float("inf")
    return max((abs(found[name] - told[name]) for name in told), default=0.0)


def _certificate_faults(card: Card, recipe: Recipe, folder: Path) -> list[str]:
    if card.certificate is None:
        return ["no certificate: run `posthoc certify`"]
    if card.certificate["weights_sha256"] != card.weights_sha256:
        return ["the certificate is about other weights: run `posthoc certify`"]
    told = card.certificate
    again = examine(
        load_model(str(folder)), recipe, card.weights_sha256, seed=told["seed"], n=told["n_pairs"]
    )
    faults = [f"certificate: {said}" for said in again.failed]
    if not _largest(again.figures, told["figures"]) <= 2 * TOLERANCE:
        faults.append("the interchange comes out otherwise than in the certificate")
    return faults
