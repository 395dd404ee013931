"""Whether a recipe makes the same organism again: trained anew, its figures against the card's.

On one machine a training repeats itself to the bit (one thread, seeded). On another the order of
sums differs, so weights part after some hundred steps, and what should repeat are the figures. Two
things are said of each organism:

* every condition of the recipe holds for the new one too;
* no figure that a condition names is further from the card's than `TOLERANCE`.

Figures of no condition (what a model does on problems that it was never taught) may differ more;
the largest difference over all of them is reported beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.organisms.recipes import find_recipe
from interp.organisms.training.making import train_all
from interp.organisms.zoo import Card, organism_path, read_card

TOLERANCE = 0.05
"""Largest allowed difference of a figure that a condition names, other machines included."""


@dataclass(frozen=True)
class Retrained:
    """An organism made again, beside its card."""

    name: str
    seed: int
    seconds: float
    """Of the training now; the card's was on the machine that it names."""
    is_identical: bool
    """Whether the weights are the same, bit for bit."""
    failed: tuple[str, ...]
    """Conditions that the new one does not meet."""
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
    """Makes organisms again, parents first, and sets each against its card.

    Args:
        names: Recipes; a parent that is not named must already be in `out`.
        seed: Which of the trained copies.
        out: Folder for the new ones.
        root: Folder of the old ones; the bundled unless given.
        workers: Trainings at a time, one thread each.

    Raises:
        ValueError: If an organism is not bundled with this seed.
    """
    old = {name: read_card(organism_path(name, seed, root=root)) for name in names}
    for card in train_all(out, recipes=names, seeds=[seed], workers=workers):
        yield compared(old[card.name], card)


def compared(old: Card, new: Card) -> Retrained:
    """Sets two cards of one recipe and seed side by side.

    Raises:
        ValueError: If their figures are not the same ones.
    """
    if set(old.figures) != set(new.figures):
        odd = sorted(set(old.figures) ^ set(new.figures))
        raise ValueError(
            f"cards of one recipe hold the same figures; those of {old.name!r} differ in "
            f"{', '.join(odd)}. Measure the old one again with the code of today"
        )
    apart = {name: abs(value - new.figures[name]) for name, value in old.figures.items()}
    named = {c.figure for c in find_recipe(old.name).conditions}
    return Retrained(
        old.name,
        old.seed,
        new.seconds,
        old.weights_sha256 == new.weights_sha256,
        new.failed,
        max((apart[name] for name in named), default=0.0),
        max(apart.values(), default=0.0),
    )
