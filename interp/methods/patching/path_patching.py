"""Path patching: an effect that travels along chosen paths only.

Patching a head shows everything that follows from it, whichever way it goes. Path patching (Wang et
al. 2022, "Interpretability in the Wild", arXiv 2211.00593, appendix B) lets a change out of the
*sender* heads and into the *receivers*, with all other heads frozen:

1. The text is read with the senders' z taken from the donor and the z of every other head held at
   the value of the text's own plain run. MLPs either are recomputed, so that paths through MLPs
   count as direct, or are frozen too, which leaves the residual stream alone. What enters the
   receivers (their q, k or v) is noted.
2. The text is read once more with these inputs of the receivers in place and everything else free.

Without receivers the logits are the receiver: the first pass is all, and shows the *direct effect*
of the senders.

Example: what do the heads (9, 6) and (9, 9) write that is read directly by the logits?
`path_patch(model, corrupted, Donor(model, clean), [[(9, 6)], [(9, 9)], [(9, 6), (9, 9)]])` patches
each of them alone, and both as one group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from interp.engine import PassResult, run, sweep
from interp.engine.edit_sweep import TOKEN_BUDGET, SweepCell
from interp.interventions import Intervention, Receipt, replace
from interp.methods.patching.donors import Donor, check_donor, choose_positions, donated, read_donor
from interp.models.model import Model, check_site, site_shape
from interp.models.token_ids import Row
from interp.sites import Site

Head = tuple[int, int]
"""Layer and head."""


@dataclass(frozen=True)
class Receiver:
    """An input of a head.

    Raises:
        ValueError: If the stream is no input of a head, or positions are not a tuple that lists
            some, each once.
    """

    layer: int
    stream: Literal["q", "k", "v"]
    head: int
    """For k and v it counts the key-value heads."""
    positions: tuple[int, ...] | None = None
    """Positions at which the input is changed; None means all. Negative ones count from the end."""

    def __post_init__(self) -> None:
        if self.stream not in ("q", "k", "v"):
            raise ValueError(f"a head receives q, k and v; received the stream {self.stream!r}")
        listed = cast(Any, self.positions)
        if listed is not None and not (
            isinstance(listed, tuple) and listed and len({*listed}) == len(listed)
        ):
            raise ValueError(
                f"positions must be a tuple with at least one position and none twice, or None for "
                f"all; received {listed!r}. Example: Receiver(2, 'q', 3, positions=(-1,))"
            )

    @property
    def site(self) -> Site:
        """Where the input is found."""
        return Site(self.layer, self.stream)


@dataclass(frozen=True, eq=False)
class PathPatch:
    """The run with each group of senders patched."""

    logits: Float[Tensor, "batch d_vocab"]
    """Per group, logits of the last token."""
    receipts: tuple[Receipt, ...]
    """Of the pass that gave the logits: `row` is the group."""
    n_block_tokens: int
    """Tokens x blocks that were computed, the donor's run included."""


def _check_heads(
    model: Model, senders: Sequence[Sequence[Head]], receivers: Sequence[Receiver]
) -> None:
    """Raises ValueError if a head is missing or a receiver reads nothing from the senders."""
    if not senders or not all(senders):
        raise ValueError("give at least one group of senders, and at least one head per group")
    heads = [(Site(layer, "z"), head) for group in senders for layer, head in group]
    for site, head in [*heads, *((receiver.site, receiver.head) for receiver in receivers)]:
        check_site(model, site)
        n_heads = site_shape(model, site)[0]
        if not 0 <= head < n_heads:
            raise ValueError(f"{site} has heads 0 to {n_heads - 1}, received {head}")
    for group in senders:
        first = min(layer for layer, _ in group)
        deaf = [receiver for receiver in receivers if receiver.layer <= first]
        if deaf:
            raise ValueError(
                f"no path leads from the senders {list(group)} to {deaf[0]}: a head reads what "
                f"earlier layers wrote. Choose receivers after layer {first}"
            )


def _places(receiver: Receiver, n_tokens: int) -> tuple[int, ...]:
    """Positions of a receiver, counted from the beginning.

    Raises:
        ValueError: If one is outside the text or named twice.
    """
    if receiver.positions is None:
        return tuple(range(n_tokens))
    counted = tuple(at + n_tokens if at < 0 else at for at in receiver.positions)
    if not all(0 <= at < n_tokens for at in counted) or len(set(counted)) < len(counted):
        raise ValueError(
            f"positions of a receiver are those of a text of {n_tokens} tokens, each named once "
            f"(-1 is {n_tokens - 1}); received {receiver}"
        )
    return counted


def _freeze(
    model: Model, own: PassResult, positions: Sequence[int], freeze_mlps: bool
) -> list[list[Intervention]]:
    """Per layer, what holds all heads (and MLPs) at the plain run; all groups share its tensors."""
    # Before the first position that is patched everything is as it is anyway.
    rest = tuple(range(min(positions), own.captures[Site(0, "z")][0].shape[0]))
    streams = ("z", "mlp_out") if freeze_mlps else ("z",)
    held: list[list[Intervention]] = []
    for layer in range(model.n_layers):
        sites = [Site(layer, stream) for stream in streams]
        held.append(
            [
                Intervention(site, replace, own.captures[site][0][rest[0] :], positions=rest)
                for site in sites
            ]
        )
    return held


def _send(
    given: PassResult,
    donor: Donor,
    group: Sequence[Head],
    positions: tuple[int, ...],
    held: Sequence[Sequence[Intervention]],
) -> list[Intervention]:
    """The first pass: senders from the donor, all else as it is from their first layer on."""
    frozen = [edit for edits in held[min(layer for layer, _ in group) :] for edit in edits]
    # Edits of one site act in order: the senders come last, or they would be frozen again.
    return frozen + [
        Intervention(
            site, replace, donated(given, donor, site, positions, head),
            positions=positions, head=head,
        )
        for site, head in ((Site(layer, "z"), head) for layer, head in group)
    ]  # fmt: skip


def _receive(
    model: Model,
    ids: Row,
    cells: Sequence[SweepCell],
    receivers: Sequence[Receiver],
    token_budget: int,
) -> list[SweepCell]:
    """The second pass: what the receivers were given in the first, and nothing else."""
    sites = list(dict.fromkeys(receiver.site for receiver in receivers))
    n_rows = max(1, token_budget // len(ids))
    second: list[SweepCell] = []
    for first in range(0, len(cells), n_rows):
        batch = cells[first : first + n_rows]
        edits = [
            dataclasses.replace(edit, rows=(row,))
            for row, cell in enumerate(batch)
            for edit in cell
        ]
        # `run`, not `sweep`, which captures no activations.
        seen = run(
            model, [ids] * len(batch), interventions=edits, capture=sites, logits_at="last"
        ).captures
        for row in range(len(batch)):
            cell: list[Intervention] = []
            for receiver in receivers:
                listed = _places(receiver, len(ids))
                vector = seen[receiver.site][row][list(listed), receiver.head]
                cell.append(
                    Intervention(
                        receiver.site, replace, vector, positions=listed, head=receiver.head
                    )
                )
            second.append(cell)
    return second


@torch.no_grad()
def path_patch(
    model: Model,
    ids: Row,
    donor: Donor,
    senders: Sequence[Sequence[Head]],
    *,
    receivers: Sequence[Receiver] = (),
    positions: Sequence[int] | None = None,
    mlps: Literal["recomputed", "frozen"] = "recomputed",
    token_budget: int = TOKEN_BUDGET,
) -> PathPatch:
    """Patches groups of heads along direct paths to the logits or to other heads.

    Args:
        model: The model that is patched.
        ids: The text that it reads.
        donor: The run that the senders' z is taken from.
        senders: Groups of heads; each group is patched together, in a run of its own.
        receivers: Head inputs that the paths end at; none means the logits.
        positions: Where senders are patched; None means all that have a partner in the donor.
        mlps: What MLPs do in the first pass: 'recomputed' lets paths go through them.
        token_budget: Largest number of tokens in a pass.

    Returns:
        Logits of the last token for every group.

    Raises:
        ValueError: If heads, positions, settings or the donor do not fit (before any forward pass),
            or logits are not finite.
        RuntimeError: If a patch did not take place.
    """
    if mlps not in ("recomputed", "frozen"):
        raise ValueError(f"mlps must be 'recomputed' or 'frozen', received {mlps!r}")
    _check_heads(model, senders, receivers)
    streams = ("z", "mlp_out") if mlps == "frozen" else ("z",)
    used = [Site(at, "z") for at in sorted({layer for group in senders for layer, _ in group})]
    aligned = check_donor(model, ids, donor, used)
    chosen = choose_positions(aligned, positions, len(ids))
    for receiver in receivers:
        # Raises for a position outside the text, before any forward pass.
        _places(receiver, len(ids))
    # A sweep without cells checks its settings and reads nothing.
    sweep(model, ids, (), token_budget=token_budget)
    every = [Site(layer, stream) for layer in range(model.n_layers) for stream in streams]
    own = run(model, [ids], capture=every, logits_at="last")
    given = read_donor(donor, used)
    held = _freeze(model, own, chosen, mlps == "frozen")
    cells: list[SweepCell] = [_send(given, donor, group, chosen, held) for group in senders]
    n_tokens = len(ids)
    if receivers:
        cells = _receive(model, ids, cells, receivers, token_budget)
        n_tokens += len(ids) * len(cells)
    swept = sweep(model, ids, cells, token_budget=token_budget)
    n_block_tokens = model.n_layers * n_tokens + donor.n_block_tokens + swept.n_block_tokens
    return PathPatch(swept.last, swept.receipts, n_block_tokens)
