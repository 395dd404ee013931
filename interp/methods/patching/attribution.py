"""Attribution patching: a whole patching grid, estimated from one forward and one backward pass.

To first order, putting the donor's activation d in the place of the run's own activation a moves
the metric by (d - a) . gradient of the metric at a (Nanda 2023, "Attribution Patching: Activation
Patching At Industrial Scale"). One backward pass gives the gradient at all sites and positions.

It is only a guess of where to look. It is poor where the step d - a is large and the model is not
linear within it: at the residual stream of early layers, and wherever softmax or a norm saturates.
The error differs from model to model and must be measured: so report an estimate together with its
`agreement` with the exact grid of the same cells, or of some of them.

Example::

    donor = Donor(model, clean)
    guess = attribution_grid(model, corrupted, donor, metric, layout)
    agreement(guess, patch_grid(model, corrupted, donor, metric, layout)).spearman
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.engine import PassResult
from interp.methods.patching.donors import Donor, donated, read_donor
from interp.methods.patching.grid_layout import GridLayout, GridPlan, plan_grid
from interp.methods.patching.grids import PER_POSITION, Grid, PatchDirection, check_scale, scale_of
from interp.methods.patching.metric import Metric, check_metric, measure
from interp.models.forward import body, nan_error, unembed
from interp.models.hooks import Handler, hooked
from interp.models.model import Model
from interp.models.token_ids import Row, as_ids
from interp.sites import Site

SAME = 1e-5
"""Doses up to this are rounding: both runs have the same activation."""


def _follow(store: dict[Site, Tensor], site: Site) -> Handler:
    """Puts a node of the gradient's graph at a site; the first of them is where the graph begins.

    Weights need no gradient, so up to that first site there is nothing to follow.
    """

    def follow(activation: Tensor) -> Tensor:
        node = activation.clone()
        store[site] = node if node.requires_grad else node.requires_grad_()
        return store[site]

    return follow


def _gradients(
    model: Model, ids: Sequence[int], metric: Metric, sites: Sequence[Site]
) -> tuple[float, dict[Site, tuple[Tensor, Tensor]]]:
    """The metric, and per site the activations and gradients [pos, ...] of a run."""
    nodes: dict[Site, Tensor] = {}
    with torch.enable_grad():
        with hooked(model, [(site, _follow(nodes, site)) for site in sites]):
            hidden = body(model, torch.tensor([ids], device=model.device))
        logits = unembed(model, hidden[:, -1])
        if not bool(torch.isfinite(logits).all()):
            raise nan_error(model, "the patched text")
        value = measure(metric, logits)[0]
        gradients = torch.autograd.grad(value, [nodes[site] for site in sites])
    if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
        raise nan_error(model, "the patched text, or gradients that are not,")
    return float(value.detach()), {
        site: (nodes[site].detach()[0], gradient[0])
        for site, gradient in zip(sites, gradients, strict=True)
    }


def _estimate(
    plan: GridPlan, donor: Donor, read: PassResult, own: dict[Site, tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Effect and dose of every cell, [stream, layer, position or head]."""
    effects: list[Tensor] = []
    doses: list[Tensor] = []
    listed = list(plan.positions)
    for site in plan.sites:
        activation, gradient = (part[listed].float() for part in own[site])
        step = donated(read, donor, site, listed).float() - activation
        if plan.layout.by == "head":
            effects.append((step * gradient).sum((0, 2)))
            # Mean over positions, as in receipts, so that doses equal those of the exact grid.
            doses.append((step.norm(dim=-1) / activation.norm(dim=-1)).mean(0))
        else:
            effects.append((step * gradient).flatten(1).sum(1))
            doses.append(step.flatten(1).norm(dim=1) / activation.flatten(1).norm(dim=1))
    return plan.arrange(torch.stack(effects)).cpu(), plan.arrange(torch.stack(doses)).cpu()


def attribution_grid(
    model: Model,
    ids: Row,
    donor: Donor,
    metric: Metric,
    layout: GridLayout = PER_POSITION,
    *,
    direction: PatchDirection = "denoise",
    reference: float | None = None,
) -> Grid:
    """Estimates `patch_grid` (whose arguments it takes) to first order.

    Args:
        model: The model that is patched.
        ids: The text that it reads; gradients are taken in this run.
        donor: The run that activations are taken from.
        metric: What is read from the logits of the last token; it must be differentiable.
        layout: The cells.
        direction: What the patched run counts as: corrupted ('denoise') or clean ('noise').
        reference: Metric of the run at the other end of the scale; None takes the donor's own.

    Returns:
        The estimated metric of every cell. Its cost counts the donor's and the own forward pass
        once and the backward pass twice.

    Raises:
        ValueError: If texts, donor, layout or metric do not fit or the metric has no gradient
            (before any forward pass), or logits, metric or gradients are not finite.
    """
    ids = as_ids(ids, "the patched text")
    plan = plan_grid(model, ids, donor, layout)
    check_scale(model, donor, metric, direction, reference)
    check_metric(model, metric, differentiable=True)
    read = read_donor(donor, plan.sites)
    value, own = _gradients(model, ids, metric, plan.sites)
    effects, doses = _estimate(plan, donor, read, own)
    if reference is None:
        reference = float(measure(metric, read.last))
    n_pass = model.n_layers * len(ids)
    return Grid(
        value + effects,
        doses,
        plan=plan,
        direction=direction,
        n_block_tokens=3 * n_pass + donor.n_block_tokens,
        n_naive=effects.numel() * n_pass,
        **scale_of(direction, value, reference),
    )


@dataclass(frozen=True)
class GridAgreement:
    """How well estimated effects agree with exact ones, over the cells where the runs differ."""

    pearson: float
    """Of the sizes; ruled by the few largest cells."""
    spearman: float
    """Of the ranks."""
    n: int
    """Number of these cells. Correlations are NaN for fewer than three, or if all are equal."""


def agreement(estimate: Grid, exact: Grid) -> GridAgreement:
    """Correlates the effects of an attribution grid with those of the exact grid.

    Cells in which the donor has what the run has already are left out: both effects are zero there
    whatever the method is worth.

    Args:
        estimate: From `attribution_grid`.
        exact: From `patch_grid`, with the same cells.

    Returns:
        The correlations.

    Raises:
        ValueError: If the grids have other cells or another direction.
    """
    from scipy.stats import rankdata

    if estimate.plan != exact.plan or estimate.direction != exact.direction:
        raise ValueError(
            f"only grids of the same cells and direction can be compared; received "
            f"{estimate.plan} ({estimate.direction}) and {exact.plan} ({exact.direction})"
        )
    differ = estimate.doses > SAME
    x, y = (grid.effects[differ].double().numpy() for grid in (estimate, exact))
    ranks: list[Any] = [rankdata(x), rankdata(y)]
    return GridAgreement(_correlation(x, y), _correlation(*ranks), len(x))


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    # Any two points correlate at 1 or -1.
    if len(x) < 3 or not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
