"""Retraining: does a recipe give the same organism again?

On one machine a training repeats itself to the bit (one thread, seeded). On another the order of
sums differs and the weights diverge after some hundred steps, so figures are compared, not weights.
A retrained organism agrees with its card if

* every condition of the recipe holds for it, too;
* no figure that a condition names differs from the card's by more than `TOLERANCE`.

Figures without a condition (for example accuracy on problems that it was never taught) may differ
more; the largest difference over all figures is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.organisms.recipes import find_recipe
from interp.organisms.training.making import train_all
from interp.organisms.zoo import Card, organism_path, read_card

TOLERANCE = 0.05
"""Largest allowed difference of a figure that a condition names, also between machines."""


@dataclass(frozen=True)
class Retrained:
    """A comparison of a retrained organism with its card."""

    name: str
    seed: int
    seconds: float
    """Time of the new training."""
    is_identical: bool
    """Whether the weights are the same, bit for bit."""
    failed: tuple[str, ...]
    """Conditions that the new organism does not meet."""
    named: float
    """Largest difference of a figure that a condition names."""
    largest: float
    """Largest difference of any figure."""

    @property
    def agrees(self) -> bool:
        """Whether the new one is accepted and its figures are the card's within `TOLERANCE`."""
        return not self.failed and self.named <= TOLERANCE

    def __str__(self) -> str:
        same = "identical weights" if self.is_identical else "other weights"
        verdict = "agrees" if self.agrees else "; ".join(self.failed) or "does NOT agree"
        return (
            f"{self.name}:{self.seed}: {verdict}, {same}, figures of conditions within "
            f"{self.named:.3f} (tolerance {TOLERANCE}), all figures within {self.largest:.3f}, "
            f"{self.seconds:.0f} s"
        )


def retrain(
    names: Sequence[str], *, seed: int, out: Path, root: Path | None = None, workers: int = 1
) -> Iterator[Retrained]:
    """Trains organisms again, parents first, and compares each with its card.

    Args:
        names: Recipes; a parent that is not named must already be in `out`.
        seed: Which of the trained copies.
        out: Folder for the new organisms.
        root: Folder of the old ones; the bundled ones unless given.
        workers: Trainings at a time, one thread each.

    Raises:
        ValueError: If an organism is not bundled with this seed.
    """
    old = {name: read_card(organism_path(name, seed, root=root)) for name in names}
    for card in train_all(out, recipes=names, seeds=[seed], workers=workers):
        yield compare_cards(old[card.name], card)


def compare_cards(old: Card, new: Card) -> Retrained:
    """Compares two cards of one recipe and seed.

    Raises:
        ValueError: If their figures are not the same ones.
    """
    if set(old.figures) != set(new.figures):
        odd = sorted(set(old.figures) ^ set(new.figures))
        raise ValueError(
            f"cards of one recipe hold the same figures; those of {old.name!r} differ in "
            f"{', '.join(odd)}. Likely cause: the old card is from an earlier version. Train it "
            f"again with posthoc train"
        )
    differences = {name: abs(value - new.figures[name]) for name, value in old.figures.items()}
    named = {c.figure for c in find_recipe(old.name).conditions}
    return Retrained(
        old.name,
        old.seed,
        new.seconds,
        old.weights_sha256 == new.weights_sha256,
        new.failed,
        max((differences[name] for name in named), default=0.0),
        max(differences.values(), default=0.0),
    )
