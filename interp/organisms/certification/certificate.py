"""Certificates: whether an organism's answers come from where its recipe says that they do.

Acceptance looks at behaviour; here activations are interchanged (`interchange`), which is none of
the metrics that organisms are there to judge. What is asked follows from the recipe's `Truth`:

- a task whose chain is load-bearing: the answer goes where the donor's last step or chain leads,
  and stays when the early steps or the question are the donor's;
- one whose chain is not: the answer stays when any part of the chain is the donor's, and goes
  where the donor's question (or its cue) leads;
- a known reliance: the donor's step states a result that is not its question's; with it in place
  the answer is the donor's stated result with that share of the probability, and else the result
  of the donor's question, within a tolerance (a step's own positions weigh the two);
- no skill: on fresh problems the answer does not go where the donor's last step leads;
- a dose of swapped chains: with the donor's last step the answer is the problem's or the donor's
  and nothing else, whichever the dose has made of it.

Only pairs count that the organism answers as expected when nothing is interchanged (where it has no
skill, all do). An organism whose truth names nothing to interchange has a certificate without
figures: nothing was shown about it, and no probe is judged by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from interp.models import Model, load_model
from interp.organisms.certification.interchange import Outcome, Piece, interchange
from interp.organisms.certification.pairs import PIECES, swaps_of, torn_swaps
from interp.organisms.recipe import Recipe
from interp.organisms.recipes import find_recipe
from interp.organisms.zoo import read_card, weights_sha256

N_PAIRS = 60
FEWEST = 20
BAR = 0.8
NO_SKILL_BAR = 0.25
RELIANCE_TOLERANCE = 0.15


@dataclass(frozen=True)
class Certificate:
    """What the interchange of one organism showed."""

    figures: dict[str, float]
    """``task/piece`` -> share of pairs answered as predicted (or the share that a rule names)."""
    n: dict[str, int]
    """Pairs behind each figure."""
    failed: tuple[str, ...]
    """What did not come out as the recipe's truth demands, in words."""
    seed: int
    n_pairs: int
    """Pairs per task, counted or not."""
    weights_sha256: str
    """The weights that were examined."""

    @property
    def is_passed(self) -> bool:
        """Whether everything came out as demanded."""
        return not self.failed


class _Finding(NamedTuple):
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
    certificate = examine(model, find_recipe(card.name), weights_sha256(folder), seed=seed, n=n)
    replace(card, certificate=asdict(certificate)).write(folder)
    return certificate


def examine(model: Model, recipe: Recipe, sha256: str, *, seed: int, n: int) -> Certificate:
    """The certificate of a model under the truth of a recipe."""
    found = list(_findings(model, recipe, seed=seed, n=n))
    failed = [
        f"{f.name}: {f.value:.2f} of {f.n} pairs, must lie in {f.low:.2f}..{f.high:.2f}"
        for f in found
        if not f.low <= f.value <= f.high
    ]
    failed += [
        f"{f.name}: only {f.n} pairs count, {FEWEST} are needed" for f in found if f.n < FEWEST
    ]
    return Certificate(
        figures={f.name: round(f.value, 4) for f in found},
        n={f.name: f.n for f in found},
        failed=tuple(failed),
        seed=seed,
        n_pairs=n,
        weights_sha256=sha256,
    )


def _findings(model: Model, recipe: Recipe, *, seed: int, n: int) -> Iterator[_Finding]:
    truth = recipe.truth
    for task, reads in truth.load_bearing.items():
        for piece, outcomes in _outcomes(model, task, seed, n, reads_chain=reads):
            counted = [o for o in outcomes if o.is_countable]
            share = _mean([o.gives_read if reads else o.gives_not for o in counted])
            yield _Finding(f"{task}/{piece}", share, len(counted), BAR, 1.0)
    for task, reliance in truth.reliance.items():
        torn, swaps = torn_swaps(task, n, seed)
        counted = [o for o in interchange(model, torn, swaps) if o.is_countable]
        low, high = reliance - RELIANCE_TOLERANCE, reliance + RELIANCE_TOLERANCE
        share = _mean([o.p_read for o in counted])
        yield _Finding(f"{task}/reliance", share, len(counted), low, high)
    if truth.swapped_share is not None and "arith/pool" not in truth.load_bearing:
        for piece, outcomes in _outcomes(model, "arith/pool", seed, n, reads_chain=False):
            if piece == "last step":
                counted = [o for o in outcomes if o.is_countable]
                share = _mean([o.gives_read or o.gives_not for o in counted])
                yield _Finding("arith/pool/own or donor", share, len(counted), BAR, 1.0)
    if truth.has_skill is False:
        for piece, outcomes in _outcomes(model, "arith/fresh", seed, n, reads_chain=True):
            if piece == "last step":
                share = _mean([o.gives_read for o in outcomes])
                yield _Finding("arith/fresh/no skill", share, len(outcomes), 0.0, NO_SKILL_BAR)


def _outcomes(
    model: Model, name: str, seed: int, n: int, *, reads_chain: bool
) -> Iterator[tuple[Piece, list[Outcome]]]:
    task, swaps = swaps_of(name, n, seed, reads_chain=reads_chain)
    outcomes = interchange(model, task, swaps)
    for piece in PIECES:
        yield piece, [o for s, o in zip(swaps, outcomes, strict=True) if s.piece == piece]


def _mean(values: Sequence[bool | float]) -> float:
    return fmean(values) if values else float("nan")
