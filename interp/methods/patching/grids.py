"""Patching grids: where in a model is a difference between two runs carried?

Two texts of the same length differ in what the answer turns on. The **clean** run shows the
behaviour of interest, the **corrupted** one does not. An activation of one is put into the other,
one site and position (or head) at a time, and a metric of the last token's logits is read:

- `denoise`: clean activations in the corrupted run. Is the place *sufficient* to restore the
  behaviour?
- `noise`: corrupted activations in the clean run. Is the place *necessary* for it?
- `patch_across`: activations of one model of a pair in the other, both reading the same text. The
  donor counts as clean: is what post-training changed carried here?

All three are `patch_grid` with their donor filled in. A control is one more call, with another
donor: `denoise(..., donor=Donor(model, unrelated_ids))` keeps the scale and changes what is put in.

What may be concluded: late places carry the finished answer, so they restore it trivially; that a
place restores says that the difference passes through it, not that it arises there. Denoising and
noising answer two questions, and disagree wherever two paths can stand in for each other.

Example::

    metric = LogitDiff(right=ids_of_5, wrong=ids_of_7)
    grid = denoise(model, clean, corrupted, metric, GridLayout(streams=("attn_out", "mlp_out")))
    grid.recovered_fraction()       # [stream, layer, position]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.engine import PassResult, sweep
from interp.engine.edit_sweep import POSITION_BLOCK, TOKEN_BUDGET, SweepCell
from interp.interventions import Intervention, replace
from interp.methods.patching.donors import Donor, check_donor, donated, read_donor
from interp.methods.patching.grid_layout import GridLayout, GridPlan, plan_grid
from interp.methods.patching.metric import MARGIN, Metric, check_metric, measure, recovered_fraction
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.token_ids import Row

LOGIT_BUDGET = 1 << 28
"""Logits held at a time (1 GB)."""

PatchDirection = Literal["denoise", "noise"]

PER_POSITION = GridLayout()
"""The residual stream before every block, position by position."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A metric under each patch of a layout."""

    values: Float[Tensor, "_ n_layers _"]
    """[stream, layer, position or head], on the CPU in float32."""
    doses: Float[Tensor, "_ n_layers _"]
    """Norm of the change over norm of the activation, mean over the positions of a cell: from the
    receipts. Where it is 0 both runs agree, and the cell can show nothing."""
    clean: float
    corrupted: float
    direction: PatchDirection
    """In which run the patch was put: 'denoise' in the corrupted one, 'noise' in the clean one."""
    plan: GridPlan
    """What the axes stand for."""
    n_block_tokens: int
    """Tokens x blocks that were computed, the donor's run included."""
    n_naive: int
    """Tokens x blocks of one full pass per cell."""

    @property
    def effects(self) -> Float[Tensor, "_ n_layers _"]:
        """By how much each patch moved the metric of the run that it was put in."""
        return self.values - (self.corrupted if self.direction == "denoise" else self.clean)

    def recovered_fraction(self, *, margin: float = MARGIN) -> Float[Tensor, "_ n_layers _"]:
        """The values as fractions of the way from the corrupted to the clean run (see there)."""
        return recovered_fraction(self.values, self.clean, self.corrupted, margin=margin)


def check_scale(
    model: Model, donor: Donor, metric: Metric, direction: str, reference: float | None
) -> None:
    """Checks, before any forward pass, that a grid can be measured.

    Raises:
        ValueError: If the direction is unknown, the metric does not fit the model, or the donor's
            logits are needed and mean other tokens.
    """
    if direction not in ("denoise", "noise"):
        raise ValueError(f"direction must be 'denoise' or 'noise', received {direction!r}")
    check_metric(model, metric)
    if reference is None and donor.model.d_vocab != model.d_vocab:
        raise ValueError(
            f"the metric of the donor's own run sets the scale, but {donor.model.name} scores "
            f"{donor.model.d_vocab} tokens and {model.name} {model.d_vocab}. Give the metric of "
            f"the other run as reference=..., or float('nan') to have no scale"
        )


def scale_of(direction: PatchDirection, own: float, reference: float) -> dict[str, float]:
    """Which of the patched run's own metric and the reference is clean, and which corrupted."""
    names = ("corrupted", "clean") if direction == "denoise" else ("clean", "corrupted")
    return dict(zip(names, (own, reference), strict=True))


def _cells(plan: GridPlan, donor: Donor, read: PassResult) -> list[SweepCell]:
    """The interventions of each cell, in the order of the flattened grid."""
    cells: list[SweepCell] = []
    for site in plan.sites:
        for place in plan.places:
            head = place if plan.layout.by == "head" else None
            positions = plan.positions if head is not None else (place,)
            vector = donated(read, donor, site, positions, head)
            cells.append([Intervention(site, replace, vector, positions=positions, head=head)])
    return cells


def patch_grid(
    model: Model,
    ids: Row,
    donor: Donor,
    metric: Metric,
    layout: GridLayout = PER_POSITION,
    *,
    direction: PatchDirection = "denoise",
    reference: float | None = None,
    position_block: int = POSITION_BLOCK,
    token_budget: int = TOKEN_BUDGET,
    progress: str | None = None,
) -> Grid:
    """Puts the donor's activations into a run, one cell of a layout at a time.

    Args:
        model: The model that is patched.
        ids: The text that it reads.
        donor: The run that activations are taken from.
        metric: What is read from the logits of the last token.
        layout: The cells.
        direction: What the patched run counts as: corrupted ('denoise') or clean ('noise').
        reference: Metric of the run at the other end of the scale; None takes the donor's own.
        position_block: As in `sweep`.
        token_budget: As in `sweep`.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        The metric of every cell, with its scale, doses and cost.

    Raises:
        ValueError: If texts, donor, layout, metric or settings do not fit (before any forward
            pass), or logits or metric are not finite.
        RuntimeError: If a patch did not take place.
    """
    plan = plan_grid(model, ids, donor, layout)
    check_scale(model, donor, metric, direction, reference)
    # A sweep without cells checks its settings and reads nothing.
    sweep(model, ids, (), position_block=position_block, token_budget=token_budget)
    read = read_donor(donor, plan.sites)
    if reference is None:
        reference = float(measure(metric, read.last))
    # The last cell, an empty one, is the plain run: its metric is one end of the scale.
    patched = _patch(
        model, ids, [*_cells(plan, donor, read), []], metric, len(plan.places),
        position_block=position_block, token_budget=token_budget, progress=progress,
    )  # fmt: skip
    return Grid(
        plan.arrange(patched.values[:-1]),
        plan.arrange(patched.doses[:-1]),
        direction=direction,
        plan=plan,
        n_block_tokens=patched.n_block_tokens + donor.n_block_tokens,
        n_naive=(len(patched.values) - 1) * model.n_layers * len(ids),
        **scale_of(direction, float(patched.values[-1]), reference),
    )


@dataclass(frozen=True, eq=False)
class _Patched:
    values: Float[Tensor, " batch"]
    doses: Float[Tensor, " batch"]
    n_block_tokens: int


def _patch(
    model: Model,
    ids: Row,
    cells: Sequence[SweepCell],
    metric: Metric,
    n_places: int,
    **settings: Any,
) -> _Patched:
    """Metric and dose of each cell, with no more logits in memory than the budget allows."""
    # Neighbouring positions share their pass over the text, so they are put together.
    order = sorted(range(len(cells)), key=lambda cell: cell % n_places)
    values, doses = torch.zeros(len(cells)), torch.zeros(len(cells))
    n_block_tokens, size = 0, max(1, LOGIT_BUDGET // model.d_vocab)
    for first in range(0, len(order), size):
        chosen = order[first : first + size]
        swept = sweep(model, ids, [cells[cell] for cell in chosen], **settings)
        values[chosen] = measure(metric, swept.last).cpu()
        for receipt in swept.receipts:
            doses[chosen[receipt.row]] = receipt.dose_in_norms
        n_block_tokens += swept.n_block_tokens
    return _Patched(values, doses, n_block_tokens)


def _between(
    model: Model,
    ids: Row,
    other: Donor,
    donor: Donor | None,
    metric: Metric,
    layout: GridLayout,
    direction: PatchDirection,
    **settings: Any,
) -> Grid:
    """Patches a text; another run sets the scale and donates, unless a control does."""
    if donor is None:
        return patch_grid(model, ids, other, metric, layout, direction=direction, **settings)
    # `patch_grid` checks these again; here it is done before the pass that reads the reference.
    plan_grid(model, ids, donor, layout)
    check_donor(model, ids, other, ())
    check_scale(model, other, metric, direction, None)
    sweep(model, ids, (), **settings)
    reference = float(measure(metric, read_donor(other, ()).last))
    grid = patch_grid(
        model, ids, donor, metric, layout, direction=direction, reference=reference, **settings
    )
    return dataclasses.replace(grid, n_block_tokens=grid.n_block_tokens + other.n_block_tokens)


def _between_texts(
    model: Model,
    texts: tuple[Row, Row],
    *rest: Any,
    **settings: Any,
) -> Grid:
    """Patches the first text; the second is the other run."""
    patched, other = texts
    if len(patched) != len(other):
        raise ValueError(
            f"clean and corrupted text must have the same number of tokens, so that positions mean "
            f"the same in both; received {len(patched)} and {len(other)}. Exchange words of equal "
            f"length, or pair positions yourself: patch_grid(..., Donor(model, ids, places))"
        )
    return _between(model, patched, Donor(model, other), *rest, **settings)


def denoise(
    model: Model,
    clean: Row,
    corrupted: Row,
    metric: Metric,
    layout: GridLayout = PER_POSITION,
    *,
    donor: Donor | None = None,
    **settings: Any,
) -> Grid:
    """Puts clean activations into the corrupted run: which places are sufficient to restore it?

    Args:
        model: The model.
        clean: Text that shows the behaviour of interest.
        corrupted: Text of the same length that does not.
        metric: What is read from the logits of the last token.
        layout: The cells.
        donor: A control: take activations from this run, not from the clean one. The clean run
            stays the end of the scale.
        **settings: `position_block`, `token_budget` and `progress` of `patch_grid`.

    Returns:
        The metric of every cell.

    Raises:
        ValueError: As `patch_grid`, and if the texts differ in length.
    """
    return _between_texts(model, (corrupted, clean), donor, metric, layout, "denoise", **settings)


def noise(
    model: Model,
    clean: Row,
    corrupted: Row,
    metric: Metric,
    layout: GridLayout = PER_POSITION,
    *,
    donor: Donor | None = None,
    **settings: Any,
) -> Grid:
    """Puts corrupted activations into the clean run: which places are necessary for it?

    Arguments, result and errors are those of `denoise`; a `donor` takes the place of the corrupted
    run.
    """
    return _between_texts(model, (clean, corrupted), donor, metric, layout, "noise", **settings)


def patch_across(
    pair: ModelPair,
    ids: Row,
    metric: Metric,
    layout: GridLayout = PER_POSITION,
    *,
    direction: Literal["post_to_base", "base_to_post"] = "post_to_base",
    donor: Donor | None = None,
    **settings: Any,
) -> Grid:
    """Puts activations of one model of a pair into the other; both read the same text.

    After cross-model activation patching (Prakash et al. 2024, arXiv 2402.14811). The donor model
    counts as clean, so 1 is a patched model that answers as the donor does. Report both directions:
    what helps the base model, and what the post-trained one loses.

    Args:
        pair: The models.
        ids: The text.
        metric: What is read from the logits of the last token.
        layout: The cells.
        direction: Donor and patched model.
        donor: A control: take activations from this run, for example the same model on an unrelated
            text, or another model after post-training. The other model of the pair stays the end of
            the scale.
        **settings: `position_block`, `token_budget` and `progress` of `patch_grid`.

    Returns:
        The metric of every cell.

    Raises:
        ValueError: As `patch_grid`, and if the direction is unknown.
    """
    if direction not in ("post_to_base", "base_to_post"):
        raise ValueError(
            f"direction must be 'post_to_base' or 'base_to_post', received {direction!r}"
        )
    to_base = direction == "post_to_base"
    patched, giver = (pair.base, pair.post) if to_base else (pair.post, pair.base)
    return _between(patched, ids, Donor(giver, ids), donor, metric, layout, "denoise", **settings)
