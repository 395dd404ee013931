"""Edit sweep: many interventions on one text, each in a row of its own, at a fraction of a pass.

A grid of patches over layers and positions reads the same text thousands of times, each time with
one activation changed. Most of that is repetition. Before the changed layer, and at all positions
before the changed one, a row equals the plain run. `sweep` computes only the rest:

- the text is read once, and keys and values of every block are kept;
- positions are put into blocks. For each, the model reads the text from the block's first position
  to the end on top of the kept keys and values, while the input of every layer is noted, together
  with the arguments (mask, rotary embeddings) that the model itself passes;
- a *cell* (the interventions of one row) whose first edit is at layer l and in this block of
  positions joins the batch just before layer l, with the input that was noted there. Rows join on
  every step of the staircase and climb it together. The past is kept once; a block that is called
  joins it to the keys and values of every row for the time of the call, so the past counts in the
  size of a batch.

Edits are hooks with receipts, for every site, head and operator. Results equal `run`, to rounding.

With L layers, T positions and one cell at each, the naive grid computes L x T tokens per cell and
the staircase about a quarter of it: (L + 1) / 2 layers of (T + 1) / 2 tokens. Wider blocks of
positions recompute more tokens in fewer and larger passes. Where only the last token is read, the
last block's MLP computes nothing else. Example, every cell of a grid of zero ablations::

    cells = [
        [Intervention(Site(layer, "attn_out"), zero_ablate, positions=(position,))]
        for layer in range(model.n_layers)
        for position in range(len(ids))
    ]
    sweep(model, ids, cells).last        # [cell, d_vocab]
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.engine.batches import in_halves
from interp.engine.editor import Editor
from interp.interventions import Intervention, Receipt, check_widths
from interp.models.forward import body, check_row, nan_error, new_cache, unembed
from interp.models.hooks import BlockCall, hooked, last_position_mlp, recorded_blocks
from interp.models.model import Model
from interp.models.token_ids import Row
from interp.progress import track
from interp.sites import Site

POSITION_BLOCK = 8
"""Positions whose cells are computed together."""

TOKEN_BUDGET = 2048
"""Most tokens in a pass, the past included: as many as stay in the caches of a CPU. A GPU may be
faster with more."""

REPLAY_STEPS = 50
"""Rounding steps, of the largest value, by which unchanged rows may be off the plain run."""

REPLAY_SHARE = 0.012
"""Share of the largest value, times the root of the number of blocks (roundings add up as
independent errors do), by which they may be off at most, however coarse the steps are: in half
precision a fault below it cannot be told from rounding. Seen: 0.048 at 32 blocks in bfloat16."""

_IN_OR_AFTER_MLP = frozenset(("mlp_pre", "mlp_pre_linear", "mlp_post", "mlp_out", "resid_post"))

SweepCell = Sequence[Intervention]
"""What one row changes, in the order in which it acts; an empty cell is the plain run."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """Results of all cells, in the order given."""

    logits: tuple[Float[Tensor, "_ d_vocab"], ...]
    """Per cell, in float32: all positions, or the last one only."""
    receipts: tuple[Receipt, ...]
    """Per cell and intervention: `row` is the cell, `intervention` its index within the cell."""
    n_block_tokens: int
    """Tokens x blocks that were computed, the last block in full."""
    n_naive: int
    """Tokens x blocks of one full pass per cell."""

    @property
    def last(self) -> Float[Tensor, "batch d_vocab"]:
        """Logits of the last token of each cell."""
        return torch.stack([row[-1] for row in self.logits])


class _Past:
    """Keys and values of the first tokens, the same for all rows of a batch and never changed.

    It has the part of the interface of a Hugging Face cache through which a block adds its own keys
    and values to the earlier ones and gets all of them back.
    """

    def __init__(self, kept: Sequence[tuple[Tensor, Tensor]], length: int) -> None:
        self._kept = kept
        self._length = length

    def get_seq_length(self, *_args: Any, **_kwargs: Any) -> int:
        return self._length

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if self._length == 0:
            return keys, values
        n_rows = keys.shape[0]
        old_keys, old_values = (
            part[:, :, : self._length].expand(n_rows, -1, -1, -1) for part in self._kept[layer_idx]
        )
        return torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2)


@dataclass(frozen=True)
class _Job:
    """One cell, and where its row begins to differ from the plain run."""

    number: int
    cell: SweepCell
    layer: int
    """n_layers if no block is changed."""
    position: int


@dataclass(frozen=True, eq=False)
class _Text:
    """The plain run of the whole text."""

    ids: Sequence[int]
    kept: list[tuple[Tensor, Tensor]]
    """Keys and values [1, n_heads, pos, d_head] of each layer."""
    hidden: Float[Tensor, "pos d_model"]
    """Final hidden states, after the last norm."""
    logits: Float[Tensor, "pos d_vocab"] | None
    """Of all positions, if those are asked for."""


@dataclass(frozen=True, eq=False)
class _Stair:
    """The plain run from one position on, ready for rows to join."""

    start: int
    length: int
    calls: list[BlockCall]
    """How each block is called, the shared past in the place of the cache."""
    left: Float[Tensor, "1 pos d_model"]
    """What leaves the last block."""


def _read_text(model: Model, ids: Sequence[int], at_all: bool) -> _Text:
    cache = new_cache(model)
    hidden = body(model, torch.tensor([ids], device=model.device), cache=cache)[0]
    layers: Any = cache.layers
    kept = [(layer.keys, layer.values) for layer in layers]
    return _Text(ids, kept, hidden, unembed(model, hidden) if at_all else None)


def _share(value: Any, cache: Any, past: _Past) -> Any:
    """An argument of a block as it is passed when the batch has grown."""
    if value is cache:
        return past
    for part in value if isinstance(value, tuple | list) else (value,):
        if isinstance(part, Tensor) and part.ndim > 1 and part.shape[0] != 1:
            raise RuntimeError(
                f"the model passes its blocks a tensor of shape {tuple(part.shape)} for one row, "
                f"which cannot be shared by many. Use `run` for this family of models"
            )
    return value


def _block(model: Model, layer: int) -> Any:
    return model.hf.get_submodule(model.adapter.block.format(layer=layer))


def _final_norm(model: Model) -> Any:
    return model.hf.get_submodule(model.adapter.places["ln_final"].module)


def _build(model: Model, text: _Text, start: int) -> _Stair:
    """Reads the text from a position on, on top of what is kept of the tokens before."""
    cache = new_cache(model)
    for layer, (keys, values) in enumerate(text.kept):
        if start:
            cache.update(keys[:, :, :start], values[:, :, :start], layer)
    left: list[Tensor] = []
    last = Site(model.n_layers - 1, "resid_post")
    with recorded_blocks(model) as seen, hooked(model, [(last, left.append)]):
        body(model, torch.tensor([text.ids[start:]], device=model.device), cache=cache)
    past = _Past(text.kept, start)
    calls = [
        BlockCall(
            call.entered,
            tuple(_share(value, cache, past) for value in call.args),
            {name: _share(value, cache, past) for name, value in call.kwargs.items()},
        )
        for call in seen
    ]
    return _Stair(start, len(text.ids) - start, calls, left[0])


def _climb(
    model: Model, text: _Text, stair: _Stair, jobs: Sequence[_Job], *, last_only: bool
) -> tuple[Float[Tensor, "batch pos d_model"], list[list[Receipt]]]:
    """Final hidden states from `stair.start` on, and receipts, of cells in order of their layer.

    With `last_only` the hidden states are those of the last position alone.
    """
    placed = [(job.number, place, edit) for job in jobs for place, edit in enumerate(job.cell)]
    # Rows do not see each other, so edits may be put in any order that keeps that of each cell;
    # this one lets the editor apply all that are alike together.
    placed.sort(key=lambda entry: (entry[1], hash(entry[2].operator), entry[2].head is None))
    interventions = [replace(edit, rows=(number,)) for number, _, edit in placed]
    lengths = {job.number: len(text.ids) for job in jobs}
    editor = Editor(model, interventions, lengths, writes=False)
    editor.move(list(lengths), [stair.start] * len(jobs), decoding=False)
    hidden = stair.left[:0]
    entrances = [*(call.entered for call in stair.calls), stair.left]  # last: after all blocks
    last = model.n_layers - 1
    is_short = last_only and not any(
        e.site.layer is None or (e.site.layer == last and e.site.stream in _IN_OR_AFTER_MLP)
        for e in interventions
    )
    short = last_position_mlp(model, last) if is_short else nullcontext()
    with hooked(model, editor.handlers()), short:
        for layer, entered in enumerate(entrances):
            n_joining = sum(job.layer == layer for job in jobs)
            hidden = torch.cat([hidden, entered.expand(n_joining, -1, -1)])
            if layer < model.n_layers and len(hidden):
                hidden = stair.calls[layer].again(_block(model, layer), hidden)
        hidden = _final_norm(model)(hidden[:, -1:] if is_short else hidden)
    receipts: dict[int, list[Receipt]] = {number: [] for number in lengths}
    for receipt in editor.receipts({}):
        place = placed[receipt.intervention][1]
        receipts[receipt.row].append(replace(receipt, intervention=place))
    return hidden[:, -1:] if last_only else hidden, list(receipts.values())


def _score(
    model: Model, text: _Text, stair: _Stair, jobs: Sequence[_Job]
) -> list[tuple[Float[Tensor, "_ d_vocab"], list[Receipt]]]:
    """Logits and receipts of each cell."""
    hidden, receipts = _climb(model, text, stair, jobs, last_only=text.logits is None)
    if text.logits is None:
        logits = unembed(model, hidden)
    else:
        before = text.logits[: stair.start].expand(len(jobs), -1, -1)
        logits = torch.cat([before, unembed(model, hidden)], 1)
    finite = torch.isfinite(logits).flatten(1).all(1)
    if not bool(finite.all()):
        raise nan_error(model, f"cell {jobs[int((~finite).nonzero()[0])].number}")
    return list(zip(logits, receipts, strict=True))


def _check_replay(model: Model, text: _Text, n_last: int) -> int:
    """Checks that unchanged rows, joining at every step, get the final states of the plain run.

    Args:
        model: The model.
        text: The text, of which the last few tokens are read again.
        n_last: How many.

    Returns:
        Tokens x blocks computed.

    Raises:
        RuntimeError: If they do not: the blocks depend on more than their arguments.
    """
    n_layers, start = model.n_layers, max(0, len(text.ids) - n_last)
    stair = _build(model, text, start)
    jobs = [_Job(layer, (), layer, start) for layer in range(n_layers + 1)]
    ways = [(_climb(model, text, stair, jobs, last_only=False)[0], text.hidden[start:])]
    if text.logits is None:
        ways.append((_climb(model, text, stair, jobs, last_only=True)[0], text.hidden[-1:]))
    error = max(float((actual - expected).float().abs().max()) for actual, expected in ways)
    scale = float(text.hidden[start:].float().abs().max())
    rounding = REPLAY_STEPS * torch.finfo(model.dtype).eps
    share = min(rounding, REPLAY_SHARE * n_layers**0.5)
    if not error <= share * scale:  # `not <=` refuses NaN
        raise RuntimeError(
            f"{model.name} does not give its own results when its blocks are called one by one: "
            f"off by {error:.3g} where values go up to {scale:.3g}. Its blocks share more than "
            f"their arguments; use `run` for this family of models"
        )
    n_climbed = n_layers * (n_layers + 1) // 2
    return stair.length * (n_layers + len(ways) * n_climbed)


def _make_job(model: Model, number: int, cell: SweepCell, n_tokens: int) -> _Job:
    """Checks one cell and finds where it begins.

    Raises:
        ValueError: If an intervention does not fit the model, the text or a cell.
    """
    layers: list[int] = []
    positions: list[int] = []
    for place, edit in enumerate(cell):
        if edit.rows is not None:
            raise ValueError(
                f"a cell is a row by itself, so its interventions name no rows; intervention "
                f"{place} of cell {number} has rows={edit.rows}. Leave `rows` out"
            )
        if edit.site.stream == "embed":
            raise ValueError(
                f"a sweep begins at the blocks; intervention {place} of cell {number} edits "
                f"{edit.site} before them. Edit Site(0, 'resid_pre'), or use `run`"
            )
        layers.append(model.n_layers if edit.site.layer is None else edit.site.layer)
        listed = edit.positions
        positions.append(min(at % n_tokens for at in listed) if isinstance(listed, tuple) else 0)
    check_widths(model, cell)
    Editor(model, cell, {number: n_tokens}, writes=False)
    return _Job(
        number, cell, min(layers, default=model.n_layers), min(positions, default=n_tokens - 1)
    )


def _make_jobs(
    model: Model,
    ids: Sequence[int],
    cells: Sequence[SweepCell],
    position_block: int,
    token_budget: int,
) -> dict[int, list[_Job]]:
    """All cells, checked, under the first position that is computed for them."""
    for name, value in (("position_block", position_block), ("token_budget", token_budget)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, received {value}. Leave it out")
    jobs: dict[int, list[_Job]] = {}
    for number, cell in enumerate(cells):
        job = _make_job(model, number, cell, len(ids))
        jobs.setdefault(job.position // position_block * position_block, []).append(job)
    return {start: sorted(jobs[start], key=lambda job: job.layer) for start in sorted(jobs)}


@torch.no_grad()
def sweep(
    model: Model,
    ids: Row,
    cells: Sequence[SweepCell],
    *,
    logits_at: Literal["all", "last"] = "last",
    position_block: int = POSITION_BLOCK,
    token_budget: int = TOKEN_BUDGET,
    progress: str | None = None,
) -> Sweep:
    """Reads one text under many cells, each a row of its own.

    Args:
        model: The model.
        ids: Token ids of the text.
        cells: Interventions of each row, without `rows`. All streams but `embed` can be edited.
        logits_at: All positions, or the last one only.
        position_block: Positions whose cells are computed together. Larger blocks recompute more
            tokens in fewer passes, which pays where a pass is cheap (a GPU, a small model).
        token_budget: Largest number of tokens in a pass, each row counted with its whole text,
            since it attends to what is not recomputed; halved on running out of memory.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        Logits and receipts per cell, and the cost.

    Raises:
        ValueError: If the text or a cell does not fit (before any forward pass), or logits are
            not finite.
        RuntimeError: If an edit did not take place at every position that an intervention names,
            or the model's blocks cannot be called one by one.
    """
    if logits_at not in ("all", "last"):
        raise ValueError(f"logits_at is 'all' or 'last', received {logits_at!r}")
    ids = check_row(model, ids, "the text")
    jobs = _make_jobs(model, ids, cells, position_block, token_budget)
    if not jobs:
        return Sweep((), (), 0, 0)
    text = _read_text(model, ids, logits_at == "all")
    n_block_tokens = model.n_layers * len(ids) + _check_replay(model, text, position_block)
    n_rows = max(1, token_budget // len(ids))  # a text beyond the budget goes row by row
    results: dict[int, tuple[Tensor, list[Receipt]]] = {}
    for start, of_start in track(list(jobs.items()), progress):
        stair = _build(model, text, start)
        n_block_tokens += model.n_layers * stair.length
        for first in range(0, len(of_start), n_rows):
            batch = of_start[first : first + n_rows]
            scores = in_halves(partial(_score, model, text, stair), batch)
            results.update((job.number, score) for job, score in zip(batch, scores, strict=True))
        n_block_tokens += sum(model.n_layers - job.layer for job in of_start) * stair.length
    ordered = [results[number] for number in range(len(cells))]
    return Sweep(
        tuple(logits for logits, _ in ordered),
        tuple(receipt for _, receipts in ordered for receipt in receipts),
        n_block_tokens=n_block_tokens,
        n_naive=model.n_layers * len(ids) * len(cells),
    )
