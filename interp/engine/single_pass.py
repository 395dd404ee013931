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

from interp.engine.batches import in_halves
from interp.engine.editor import Editor, check_rows_exist
from interp.interventions import Intervention, Receipt, check_widths
from interp.models.forward import body, check_rows, nan_error, pad_right, unembed
from interp.models.hooks import Handler, hooked
from interp.models.model import Model, check_site
from interp.models.token_ids import Rows
from interp.sites import BySite, Site, SiteOrName, as_sites


@dataclass(frozen=True, eq=False)
class PassResult:
    """What one pass returned."""

    logits: tuple[Float[Tensor, "_ d_vocab"], ...]
    """Per row, in float32: all its positions, or its last one only."""
    captures: BySite[tuple[Tensor, ...]]
    """Per site and row the activations [pos, ...] as the model used them, edits included."""
    receipts: tuple[Receipt, ...]
    """Per intervention and row."""

    @property
    def last(self) -> Float[Tensor, "batch d_vocab"]:
        """Logits of the last token of each row."""
        return torch.stack([row[-1] for row in self.logits])


@dataclass(frozen=True, eq=False)
class Padded:
    """Rows padded on the left, with positions and a mask under which padding has no effect."""

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
    positions = (columns - n_pads[:, None]).clamp_min(0)  # padding needs a position that exists
    real = columns >= n_pads[:, None]
    if not bool(n_pads.any()):
        return Padded(ids, positions, real, None)
    causal = columns[:, None] >= columns
    # A padding token that saw nothing would have a softmax over nothing, which is NaN.
    itself = torch.eye(width, dtype=torch.bool, device=ids.device)
    return Padded(ids, positions, real, (causal & real[:, None, :]) | itself)


def _capture_into(store: dict[Site, Tensor], site: Site) -> Handler:
    def capture(activation: Tensor) -> None:
        store[site] = activation.clone()

    return capture


def _check_finite(model: Model, numbers: Sequence[int], logits: Sequence[Tensor]) -> None:
    for number, row in zip(numbers, logits, strict=True):
        # The sum is cheap, but may overflow where all logits are finite; only then look at each.
        if not bool(torch.isfinite(row.sum())) and not bool(torch.isfinite(row).all()):
            raise nan_error(model, f"row {number}")


def _read(
    model: Model,
    rows: Mapping[int, Sequence[int]],
    interventions: Sequence[Intervention],
    capture: Sequence[Site],
    prompt_lengths: Mapping[int, int] | None,
    *,
    last_only: bool,
    left: bool,
) -> PassResult:
    """One pass over rows, each under the number by which interventions name it."""
    lengths = [len(row) for row in rows.values()]
    starts = [max(lengths) - length if left else 0 for length in lengths]
    if prompt_lengths is None:
        editor = Editor(model, interventions, dict(zip(rows, lengths, strict=True)), writes=False)
    else:
        written = {n: len(rows[n]) - prompt_lengths[n] for n in rows}
        prompts = {n: prompt_lengths[n] for n in rows}
        editor = Editor(model, interventions, prompts, writes=True, written=written)
    # Column `start` holds position 0.
    editor.move(list(rows), [-start for start in starts], decoding=False)
    store: dict[Site, Tensor] = {}
    captures = [(site, _capture_into(store, site)) for site in dict.fromkeys(capture)]
    # In this order captures receive what the edits returned.
    with hooked(model, [*editor.handlers(), *captures]):
        if left:
            padded = pad_left(model, list(rows.values()))
            positions = None if padded.visible is None else padded.positions
            hidden = body(model, padded.ids, positions=positions, visible=padded.visible)
        else:
            hidden = body(model, pad_right(model, list(rows.values())))
    spans = [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    if last_only:
        # Picked before unembedding: logits of all positions are what fills memory.
        ends = torch.tensor([span.stop - 1 for span in spans], device=hidden.device)
        logits = tuple(unembed(model, hidden[torch.arange(len(rows)), ends])[:, None])
    else:
        whole = unembed(model, hidden)
        logits = tuple(whole[row, span] for row, span in enumerate(spans))
    _check_finite(model, list(rows), logits)
    activations = {
        site: tuple(store[site][row, span] for row, span in enumerate(spans)) for site in store
    }
    return PassResult(logits, BySite(activations), tuple(editor.receipts({})))


def _join(parts: Sequence[PassResult]) -> PassResult:
    """The results of parts of a batch as those of the whole batch."""
    receipts = [receipt for part in parts for receipt in part.receipts]
    return PassResult(
        tuple(logits for part in parts for logits in part.logits),
        BySite(
            {
                site: tuple(activation for part in parts for activation in part.captures[site])
                for site in parts[0].captures
            }
        ),
        # As one pass would order them, however often the batch was halved.
        tuple(sorted(receipts, key=lambda receipt: (receipt.intervention, receipt.row))),
    )


def _checked_prompts(lengths: Sequence[int], rows: Sequence[Sequence[int]]) -> dict[int, int]:
    """Row number -> tokens of its prompt."""
    longest = [len(row) for row in rows]
    if len(lengths) != len(rows) or not all(
        1 <= n <= most for n, most in zip(lengths, longest, strict=True)
    ):
        raise ValueError(
            f"prompt_lengths has one number per row, 1 to the tokens of that row; received "
            f"{list(lengths)} for rows of {longest} tokens. Example: "
            f"prompt_lengths=[len(prompt) for prompt in prompts]"
        )
    return dict(enumerate(lengths))


@torch.no_grad()
def run(
    model: Model,
    rows: Rows,
    *,
    interventions: Sequence[Intervention] = (),
    capture: Sequence[SiteOrName] = (),
    prompt_lengths: Sequence[int] | None = None,
    logits_at: Literal["all", "last"] = "all",
    pad_side: Literal["left", "right"] = "right",
) -> PassResult:
    """Reads a batch of rows in one pass, or in parts where that does not fit into memory.

    Args:
        model: The model.
        rows: Token ids of each row; lengths may differ. A tensor or an array [batch, pos] without
            padding, too.
        interventions: What to change; at one site they act in the order given.
        capture: Sites, or their names, whose activations are returned (copies, on the model's
            device).
        prompt_lengths: For rows that `generate` wrote, the tokens of each prompt. Positions of
            interventions then mean what they meant there: 'prompt' and listed ones are those of the
            prompt, 'generated' those after it. The last new token was never read while writing:
            without it a row has the same edits.
        logits_at: All positions, or only the last of each row, which saves memory and time.
        pad_side: Where shorter rows are padded; the results are the same. Padding on the left
            needs a table of every token against every other, so it costs more memory.

    Returns:
        Logits, captures and receipts.

    Raises:
        TypeError: If rows are no token ids, or something is no site.
        ValueError: If a row, site or intervention does not fit the model, a setting is unknown, or
            logits are not finite.
        RuntimeError: If an edit did not take place at every position that an intervention names.
    """
    for name, value, known in (
        ("logits_at", logits_at, ("all", "last")),
        ("pad_side", pad_side, ("left", "right")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, received {value!r}")
    texts = check_rows(model, rows, "row")
    sites = [check_site(model, site) for site in as_sites(capture)]
    check_rows_exist(interventions, len(texts))
    check_widths(model, interventions)
    prompts = None if prompt_lengths is None else _checked_prompts(prompt_lengths, texts)
    if not texts:
        return PassResult((), BySite({site: () for site in sites}), ())
    parts: list[PassResult] = []

    def read(numbers: Sequence[int]) -> Sequence[int]:
        part = {number: texts[number] for number in numbers}
        kind = {"last_only": logits_at == "last", "left": pad_side == "left"}
        parts.append(_read(model, part, interventions, sites, prompts, **kind))
        return numbers

    in_halves(read, range(len(texts)))
    return _join(parts)
