"""Verification: does a stored organism still agree with its card?

Checked are the checksum of the weights, the settings of the recipe and the checksum of the data
that today's code draws, every acceptance figure (on the stored weights), the conditions of the
recipe, and the certificate: it must be there, be about these weights, have passed, and come out
the same when the interchange is done again.

Weights are stored in float16. To bound the effect of that rounding they are rounded eight times
coarser (bfloat16 keeps three bits fewer), and the largest change of a figure is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from interp.models import load_model
from interp.organisms.acceptance import measure_figures
from interp.organisms.certification.certificate import examine
from interp.organisms.recipe import Recipe, find_failed_conditions, hash_data
from interp.organisms.recipes import find_recipe
from interp.organisms.training.making import describe_method
from interp.organisms.zoo import Card, hash_weights, load_organism, read_card

TOLERANCE = 0.011
"""Largest allowed difference of a figure: on another machine rounding may change three answers of
300, where the two likeliest words are nearly tied."""


@dataclass(frozen=True)
class Verification:
    """A comparison of one organism with its card."""

    folder: str
    faults: tuple[str, ...]
    """What does not agree with the card, one sentence each."""
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
    figures = measure_figures(model, recipe.world)
    coarse = measure_figures(model.to(torch.bfloat16).float(), recipe.world)
    difference = _largest(figures, card.figures)
    faults = [
        fault
        for is_fault, fault in (
            (hash_weights(folder) != card.weights_sha256, "other weights than the card's"),
            (describe_method(recipe) != card.recipe, "the recipe has other settings now"),
            (hash_data(recipe.method) != card.data_sha256, "the recipe draws other data now"),
            (not difference <= TOLERANCE, f"a figure is {difference:.3f} from the card's"),
        )
        if is_fault
    ]
    faults += find_failed_conditions(recipe, figures)
    faults += _certificate_faults(card, recipe, folder)
    return Verification(folder.name, tuple(faults), difference, _largest(coarse, figures))


def _largest(figures: Mapping[str, float], others: Mapping[str, float]) -> float:
    """Largest difference between two sets of figures; infinite if their names differ."""
    if set(figures) != set(others):
        return float("inf")
    return max((abs(figures[name] - others[name]) for name in others), default=0.0)


def _certificate_faults(card: Card, recipe: Recipe, folder: Path) -> list[str]:
    if card.certificate is None:
        return ["no certificate: run `posthoc certify`"]
    if card.certificate["weights_sha256"] != card.weights_sha256:
        return ["the certificate is about other weights: run `posthoc certify`"]
    old = card.certificate
    new = examine(
        load_model(str(folder)), recipe, card.weights_sha256, seed=old["seed"], n=old["n_pairs"]
    )
    faults = [f"certificate: {failure}" for failure in new.failed]
    # One pair of 60 is 0.017, more than the tolerance of a figure.
    if not _largest(new.figures, old["figures"]) <= 2 * TOLERANCE:
        faults.append("the interchange gives other figures than the certificate")
    return faults
