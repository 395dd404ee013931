"""Latent scores: how well latents predict variables whose truth is known at every position.

A variable is true or false at the positions of its domain. A latent predicts that it is true where
the latent is active: precision is the share of these predictions that are correct, recall the share
of the true positions at which it is active, AUROC how well its activation orders true before false.
The best latent of a variable has the highest F1 on one half of the problems, and its figures are
from the other half, so that a latent that was best by luck scores lower there. The base rate is
reported too: a latent that is always active has it as precision, with recall 1.

A dictionary may split a variable among several latents (Chanin et al. 2024, arXiv 2409.14507): each
is then precise and has low recall. So a group of at most three latents is scored as well, which
predicts that the variable is true where any of them is active. The first is the best latent, and
the next are added while they raise F1 on the half that chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.stats.auroc import area_under_curve

MAX_GROUP = 3


@dataclass(frozen=True, eq=False)
class Variable:
    """Something that is true or false at some positions of the texts."""

    name: str
    holds: Bool[Tensor, " pos"]
    domain: Bool[Tensor, " pos"]
    """Positions at which the question makes sense."""


@dataclass(frozen=True, eq=False)
class LatentScores:
    """Precision, recall and AUROC of every latent for one variable; NaN where undefined."""

    precision: Float[Tensor, " d_sae"]
    """NaN for a latent that is active nowhere."""
    recall: Float[Tensor, " d_sae"]
    auroc: Float[Tensor, " d_sae"]
    """0.5: no better than chance. Equal activations count half."""

    @property
    def f1(self) -> Float[Tensor, " d_sae"]:
        """Harmonic mean of precision and recall; 0 where either is 0 or undefined."""
        total = self.precision + self.recall
        return torch.nan_to_num(2 * self.precision * self.recall / total)


@dataclass(frozen=True)
class Match:
    """The latent that best predicts a variable, scored on problems that did not choose it."""

    variable: str
    latent: int
    precision: float
    recall: float
    auroc: float
    base_rate: float
    n: int
    """Positions that the figures are computed from."""
    group: tuple[int, ...]
    """Latents that predict it together; the best one first, perhaps alone."""
    group_precision: float
    group_recall: float


def score_latents(acts: Float[Tensor, "pos d_sae"], holds: Bool[Tensor, " pos"]) -> LatentScores:
    """Scores of every latent at given positions.

    Args:
        acts: Activations; a latent is active where it is above 0.
        holds: The truth.

    Returns:
        NaN everywhere if the variable is true nowhere or everywhere.
    """
    active = (acts > 0).double()
    true = holds.double()
    hits = true @ active
    n_true, n_false = true.sum(), (1 - true).sum()
    nan = torch.full((acts.shape[1],), float("nan"), dtype=torch.float64)
    if n_true == 0 or n_false == 0:
        return LatentScores(nan.float(), nan.float(), nan.float())
    auroc = torch.from_numpy(area_under_curve(acts.double().numpy(), holds.numpy()))
    precision = torch.where(active.sum(0) > 0, hits / active.sum(0), nan)
    return LatentScores(precision.float(), (hits / n_true).float(), auroc.float())


def match_latents(
    acts: Float[Tensor, "pos d_sae"],
    variables: Sequence[Variable],
    chooses: Bool[Tensor, " pos"],
) -> tuple[Match, ...]:
    """The best latent of each variable.

    Args:
        acts: Activations.
        variables: Over the same positions.
        chooses: Positions of the problems on which the latent is chosen; the others score it. All
            positions of a problem must be on one side.

    Returns:
        One match per variable.

    Raises:
        NotMeasurableError: If a variable is true nowhere or everywhere on one side.
    """
    matches: list[Match] = []
    for variable in variables:
        sides = [variable.domain & chooses, variable.domain & ~chooses]
        for side in sides:
            if bool(variable.holds[side].all()) or not bool(variable.holds[side].any()):
                raise NotMeasurableError(
                    f"{variable.name!r} is not both true and false among {int(side.sum())} "
                    f"positions. Read more problems"
                )
        group = _group(acts[sides[0]], variable.holds[sides[0]])
        truth = variable.holds[sides[1]]
        one = acts[sides[1]][:, [group[0]]]
        scores = score_latents(torch.cat([one, _any(acts[sides[1]], group)], 1), truth)
        matches.append(
            Match(
                variable.name,
                group[0],
                float(scores.precision[0]),
                float(scores.recall[0]),
                float(scores.auroc[0]),
                float(truth.double().mean()),
                len(truth),
                group,
                float(scores.precision[1]),
                float(scores.recall[1]),
            )
        )
    return tuple(matches)


def _group(acts: Float[Tensor, "pos d_sae"], holds: Bool[Tensor, " pos"]) -> tuple[int, ...]:
    """The best latent, and those that raise F1 when they are added."""
    group: tuple[int, ...] = ()
    reached = -1.0  # below any F1: the best latent is taken even at 0
    for _ in range(MAX_GROUP):
        together = (acts > 0).float().maximum(_any(acts, group))
        f1 = score_latents(together, holds).f1
        best = int(f1.argmax())
        if float(f1[best]) <= reached:  # at a tie the smaller group stays
            break
        group, reached = (*group, best), float(f1[best])
    return group


def _any(acts: Float[Tensor, "pos d_sae"], group: Sequence[int]) -> Float[Tensor, "pos 1"]:
    """1 where a latent of the group is active."""
    return (acts[:, list(group)] > 0).any(1, keepdim=True).float()
