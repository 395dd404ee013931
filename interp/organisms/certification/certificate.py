"""Certificates: does an organism take its answers from where its recipe claims?

Acceptance measures behaviour; here activations are interchanged (`interchange`), a method that is
not among the metrics that organisms serve to judge. The recipe's `Truth` decides what must hold:

- a load-bearing chain: the model gives the donor's answer when the last step or the chain is the
  donor's, and its own when the early steps or the question are;
- a chain that is not load-bearing: it gives its own answer when any part of the chain is the
  donor's, and the donor's answer (or cue) when the question is;
- a known reliance: the donor's step states a result that its question does not give. With that step
  in place the model gives the stated result with this share of the probability, and else the result
  of the donor's question, within a tolerance (the positions of the step encode both);
- no skill: on problems never seen the donor's last step does not bring the donor's answer;
- a dose of false chains: with the donor's last step the model gives its own or the donor's answer
  and no other; the truth does not predict which.

A pair counts only if the organism answers as expected when nothing is interchanged (without skill,
all pairs count). An organism whose truth names nothing to interchange has a certificate without
figures: it shows nothing, and no probe is judged by this organism.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from interp.models import Model, load_model
from interp.organisms.acceptance import TASKS
from interp.organisms.certification.interchange import InterchangeOutcome, Piece, interchange
from interp.organisms.certification.pairs import PIECES, make_conflicting_swaps, make_swaps
from interp.organisms.recipe import Recipe
from interp.organisms.recipes import find_recipe
from interp.organisms.zoo import hash_weights, read_card

N_PAIRS = 60
FEWEST = 20
BAR = 0.8
NO_SKILL_BAR = 0.25
RELIANCE_TOLERANCE = 0.15


@dataclass(frozen=True)
class Certificate:
    """The result of the interchange in one organism."""

    figures: dict[str, float]
    """``task/piece`` -> share of pairs answered as predicted; ``task/reliance`` and the like."""
    n: dict[str, int]
    """Pairs that count, for each figure."""
    failed: tuple[str, ...]
    """The figures that contradict the recipe's truth, one sentence each."""
    seed: int
    n_pairs: int
    """Pairs per task, counted or not."""
    weights_sha256: str
    """The weights that were examined."""

    @property
    def is_passed(self) -> bool:
        """Whether no figure contradicts the recipe's truth."""
        return not self.failed


class _Requirement(NamedTuple):
    """A figure and the range in which the truth demands it."""

    name: str
    value: float
    n: int
    low: float
    high: float


def certify(folder: Path, *, seed: int = 1, n: int = N_PAIRS) -> Certificate:
    """Examines one organism and writes the certificate into its card.

    Args:
        folder: The organism's.
        seed: Of problems and donors.
        n: Pairs per task.

    Returns:
        The certificate.
    """
    card = read_card(folder)
    model = load_model(str(folder))
    certificate = examine(model, find_recipe(card.name), hash_weights(folder), seed=seed, n=n)
    replace(card, certificate=asdict(certificate)).write(folder)
    return certificate


def examine(model: Model, recipe: Recipe, sha256: str, *, seed: int, n: int) -> Certificate:
    """The certificate of a model under the truth of a recipe."""
    requirements = list(_check_requirements(model, recipe, seed=seed, n=n))
    failed = [
        f"{f.name}: {f.value:.2f} of {f.n} pairs, must lie in {f.low:.2f}..{f.high:.2f}"
        for f in requirements
        # In this form NaN (no pair counts) fails, too.
        if not f.low <= f.value <= f.high
    ]
    failed += [
        f"{f.name}: only {f.n} pairs count, {FEWEST} are needed"
        for f in requirements
        if f.n < FEWEST
    ]
    return Certificate(
        figures={f.name: round(f.value, 4) for f in requirements},
        n={f.name: f.n for f in requirements},
        failed=tuple(failed),
        seed=seed,
        n_pairs=n,
        weights_sha256=sha256,
    )


def _check_requirements(
    model: Model, recipe: Recipe, *, seed: int, n: int
) -> Iterator[_Requirement]:
    truth = recipe.truth
    for task, reads in truth.load_bearing.items():
        for piece, outcomes in _outcomes(model, task, seed, n, reads_chain=reads):
            counted = [o for o in outcomes if o.is_countable]
            share = _mean([o.gives_read if reads else o.gives_not for o in counted])
            yield _Requirement(f"{task}/{piece}", share, len(counted), BAR, 1.0)
    for task, reliance in truth.reliance.items():
        torn, swaps = make_conflicting_swaps(task, n, seed)
        counted = [o for o in interchange(model, torn, swaps) if o.is_countable]
        low, high = reliance - RELIANCE_TOLERANCE, reliance + RELIANCE_TOLERANCE
        share = _mean([o.p_read for o in counted])
        yield _Requirement(f"{task}/reliance", share, len(counted), low, high)
    # Doses in between: at 0 and 1 the pool has a label, which is tested above.
    pool = f"{recipe.world}/pool"
    if truth.false_share is not None and pool not in truth.load_bearing:
        for piece, outcomes in _outcomes(model, pool, seed, n, reads_chain=False):
            if piece == "last step":
                counted = [o for o in outcomes if o.is_countable]
                share = _mean([o.gives_read or o.gives_not for o in counted])
                yield _Requirement(f"{pool}/own or donor", share, len(counted), BAR, 1.0)
    if truth.has_skill is False:  # None claims nothing
        plain = TASKS[recipe.world]
        for piece, outcomes in _outcomes(model, plain, seed, n, reads_chain=True):
            if piece == "last step":
                share = _mean([o.gives_read for o in outcomes])
                yield _Requirement(f"{plain}/no skill", share, len(outcomes), 0.0, NO_SKILL_BAR)


def _outcomes(
    model: Model, name: str, seed: int, n: int, *, reads_chain: bool
) -> Iterator[tuple[Piece, list[InterchangeOutcome]]]:
    task, swaps = make_swaps(name, n, seed, reads_chain=reads_chain)
    outcomes = interchange(model, task, swaps)
    for piece in PIECES:
        yield piece, [o for s, o in zip(swaps, outcomes, strict=True) if s.piece == piece]


def _mean(values: Sequence[bool | float]) -> float:
    return fmean(values) if values else float("nan")
