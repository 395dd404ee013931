"""One pass over a batch of rows, each with its own interventions.

`run` returns logits, the activations at the sites asked for, and the receipts of what was edited.
Everything it returns is per row and without padding: `result.logits[3][-1]` is the last token of
row 3 however long the other rows are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.engine.editing import Editor, check_rows_exist
from interp.interventions import Intervention, Receipt
from interp.models.hooks import Handler, hooked
from interp.models.model import Model
from interp.models.passes import body, check_row, nan_error, pad_right, unembed
from interp.sites import Site


@dataclass(frozen=True, eq=False)
class Run:
    """What one pass returned."""

    logits: tuple[Float[Tensor, "_ d_vocab"], ...]
    """Per row, in float32: all its positions, or its last one only."""
    captures: Mapping[Site, tuple[Tensor, ...]]
    """Per site and row the activations [pos, ...] as the model used them, edits included."""
    receipts: tuple[Receipt, ...]
    """Per intervention and row."""

    @property
    def last(self) -> Float[Tensor, "batch d_vocab"]:
        """Logits of the last token of each row."""
        return torch.stack([row[-1] for row in self.logits])


@dataclass(frozen=True, eq=False)
class Padded:
    """Rows padded on the left, with all that a model needs to read them as if alone."""

    ids: Int[Tensor, "batch pos"]
    positions: Int[Tensor, "batch pos"]
    real: Bool[Tensor, "batch pos"]
    """False on padding."""
    visible: Bool[Tensor, "batch pos pos"] | None
    """Causal and without the padding, which sees itself only; None if nothing is padded."""


def pad_left(model: Model, rows: Sequence[Sequence[int]]) -> Padded:
    """Pads rows at the beginning.

    Args:
        model: The model that will read them.
        rows: Token ids.

    Returns:
        Ids, positions counted from each row's first token, and the table of what sees what.
    """
    width = max(len(row) for row in rows)
    ids = pad_right(model, [[*[0] * (width - len(row)), *row] for row in rows])
    n_pads = torch.tensor([width - len(row) for row in rows], device=ids.device)
    columns = torch.arange(width, device=ids.device)
    positions = (columns - n_pads[:, None]).clamp_min(0)
    real = columns >= n_pads[:, None]
    if not bool(n_pads.any()):
        return Padded(ids, positions, real, None)
    causal = columns[:, None] >= columns
    itself = torch.eye(width, dtype=torch.bool, device=ids.device)
    return Padded(ids, positions, real, (causal & real[:, None, :]) | itself)


def _capture_into(store: dict[Site, Tensor], site: Site) -> Handler:
    def capture(activation: Tensor) -> None:
        store[site] = activation.clone()

    return capture


def _check_finite(model: Model, logits: Sequence[Tensor]) -> None:
    for number, row in enumerate(logits):
        if not bool(torch.isfinite(row.sum())) and not bool(torch.isfinite(row).all()):
            raise nan_error(model, f"row {number}")


@torch.no_grad()
def run(
    model: Model,
    rows: Sequence[Sequence[int]],
    *,
    interventions: Sequence[Intervention] = (),
    capture: Sequence[Site] = (),
    logits_at: Literal["all", "last"] = "all",
    pad_side: Literal["left", "right"] = "left",
) -> Run:
    """Reads a batch of rows in one pass.

    Args:
        model: The model.
        rows: Token ids of each row; lengths may differ.
        interventions: What to change; at one site they act in the order given.
        capture: Sites whose activations are returned (copies, on the model's device).
        logits_at: All positions, or only the last of each row, which saves memory and time.
        pad_side: Where shorter rows are padded; the results are the same.

    Returns:
        Logits, captures and receipts.

    Raises:
        ValueError: If a row, site or intervention does not fit the model, or logits are not finite.
        RuntimeError: If an edit did not take place where it was asked for.
    """
    for number, row in enumerate(rows):
        check_row(model, row, f"row {number}")
    check_rows_exist(interventions, len(rows))
    if not rows:
        return Run((), {site: () for site in capture}, ())
    lengths = [len(row) for row in rows]
    starts = [max(lengths) - length if pad_side == "left" else 0 for length in lengths]
    editor = Editor(model, interventions, dict(enumerate(lengths)), writes=False)
    editor.move(range(len(rows)), [-start for start in starts], decoding=False)
    store: dict[Site, Tensor] = {}
    looks = [(site, _capture_into(store, site)) for site in dict.fromkeys(capture)]
    with hooked(model, [*editor.handlers(), *looks]):
        if pad_side == "left":
            padded = pad_left(model, rows)
            given = padded.visible is not None
            positions = padded.positions if given else None
            hidden = body(model, padded.ids, positions=positions, visible=padded.visible)
        else:
            hidden = body(model, pad_right(model, rows))
    spans = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    if logits_at == "last":
        ends = torch.tensor([span.stop - 1 for span in spans], device=hidden.device)
        logits = tuple(unembed(model, hidden[torch.arange(len(rows)), ends])[:, None])
    else:
        whole = unembed(model, hidden)
        logits = tuple(whole[row, span] for row, span in enumerate(spans))
    _check_finite(model, logits)
    captures = {
        site: tuple(store[site][row, span] for row, span in enumerate(spans)) for site in store
    }
    return Run(logits, captures, tuple(editor.receipts({})))
