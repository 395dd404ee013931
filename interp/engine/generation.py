"""Writing: batched decoding in which no row notices the others.

Prompts are padded on the left, with the padding hidden by an explicit table and positions counted
from each row's own first token. A row that reaches a stop sequence leaves the batch at once and
costs nothing more. Random choices are drawn per row from a seed of its own, so a row writes the
same text alone, in a batch, and in a batch of other size.

Interventions act on the prompt and on every generated token that the model reads. The first new
token is predicted from the last prompt token: to move it, an intervention must include that one
(positions 'all' do; 'generated' alone begins one token later). The last new token is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.engine.batching import in_halves
from interp.engine.editing import Editor, check_rows_exist
from interp.engine.running import pad_left
from interp.interventions import Intervention, Receipt
from interp.models.hooks import hooked
from interp.models.model import Model
from interp.models.passes import body, check_length, check_row, nan_error, new_cache, unembed
from interp.progress import track


@dataclass(frozen=True)
class Generation:
    """What a model wrote after one prompt."""

    ids: tuple[int, ...]
    """New tokens, the stopping ones included."""
    logprobs: tuple[float, ...]
    """The model's own log-probability (nats, temperature 1) of each, under its interventions."""
    stopped: bool
    """Whether a stop sequence was reached; False: it ran into `max_new_tokens`."""
    receipts: tuple[Receipt, ...] = ()
    """One per intervention that asks for this row."""


@dataclass(frozen=True)
class _Settings:
    max_new_tokens: int
    stop: tuple[tuple[int, ...], ...]
    temperature: float
    interventions: Sequence[Intervention]


@dataclass
class _Row:
    """A row while it is written."""

    number: int
    prompt: Sequence[int]
    draws: Float[Tensor, " step"] | None
    """One uniform number per new token; None chooses the most likely."""
    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    stopped: bool = False

    def push(self, token: int, logprob: float, stop: Sequence[tuple[int, ...]]) -> None:
        self.ids.append(token)
        self.logprobs.append(logprob)
        self.stopped = any(tuple(self.ids[-len(end) :]) == end for end in stop)


def _choose(
    logits: Float[Tensor, "batch d_vocab"],
    draws: Float[Tensor, " batch"] | None,
    temperature: float,
) -> Int[Tensor, " batch"]:
    """The most likely token, or the one at the drawn place of the cumulative distribution."""
    if draws is None:
        return logits.argmax(-1)
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    places = draws.to(logits.device)[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, places, right=True)[:, 0]
    return chosen.clamp_max(logits.shape[-1] - 1)


def _write_token(
    model: Model, hidden: Float[Tensor, "batch d_model"], rows: Sequence[_Row], settings: _Settings
) -> Int[Tensor, " batch"]:
    """Chooses one token per row and writes it down."""
    logits = unembed(model, hidden)
    total = logits.logsumexp(-1)
    if not bool(torch.isfinite(total).all()):
        bad = int((~torch.isfinite(total)).nonzero()[0])
        raise nan_error(model, f"row {rows[bad].number} after {len(rows[bad].ids)} new tokens")
    step = len(rows[0].ids)
    drawn = [row.draws[step] for row in rows if row.draws is not None]
    chosen = _choose(logits, torch.stack(drawn) if drawn else None, settings.temperature)
    logprobs = logits.gather(1, chosen[:, None])[:, 0] - total
    for row, token, logprob in zip(rows, chosen.tolist(), logprobs.tolist(), strict=True):
        row.push(token, logprob, settings.stop)
    return chosen


def _decode(model: Model, rows: Sequence[_Row], settings: _Settings, editor: Editor) -> None:
    """Writes all rows to their ends."""
    padded = pad_left(model, [row.prompt for row in rows])
    real, width, cache = padded.real, padded.ids.shape[1], new_cache(model)
    editor.move(
        [row.number for row in rows], [len(row.prompt) - width for row in rows], decoding=False
    )
    hidden = body(
        model, padded.ids, positions=padded.positions, visible=padded.visible, cache=cache
    )[:, -1]
    while True:
        chosen = _write_token(model, hidden, rows, settings)
        if len(rows[0].ids) == settings.max_new_tokens or all(row.stopped for row in rows):
            return
        if any(row.stopped for row in rows):
            kept = [place for place, row in enumerate(rows) if not row.stopped]
            rows = [rows[place] for place in kept]
            index = torch.tensor(kept, device=real.device)
            cache.batch_select_indices(index)
            chosen, real = chosen[index], real[index]
        real = torch.cat([real, torch.ones_like(real[:, :1])], 1)
        positions = [len(row.prompt) + len(row.ids) - 1 for row in rows]
        editor.move([row.number for row in rows], positions, decoding=True)
        hidden = body(
            model,
            chosen[:, None],
            positions=torch.tensor(positions, device=real.device)[:, None],
            visible=None if bool(real.all()) else real[:, None],
            cache=cache,
        )[:, -1]


def _start(number: int, prompt: Sequence[int], settings: _Settings, seed: int | None) -> _Row:
    if seed is None:
        return _Row(number, prompt, None)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(settings.max_new_tokens, generator=generator, dtype=torch.float64)
    return _Row(number, prompt, draws)


def _generate_batch(
    model: Model, jobs: Sequence[tuple[int, Sequence[int], int | None]], settings: _Settings
) -> list[Generation]:
    rows = [_start(number, prompt, settings, seed) for number, prompt, seed in jobs]
    lengths = {row.number: len(row.prompt) for row in rows}
    editor = Editor(model, settings.interventions, lengths, writes=True)
    with hooked(model, editor.handlers()):
        _decode(model, rows, settings, editor)
    receipts = editor.receipts({row.number: len(row.ids) - 1 for row in rows})
    return [
        Generation(
            tuple(row.ids),
            tuple(row.logprobs),
            row.stopped,
            tuple(receipt for receipt in receipts if receipt.row == row.number),
        )
        for row in rows
    ]


def _check(
    model: Model, prompts: Sequence[Sequence[int]], settings: _Settings, seeds: Sequence[int] | None
) -> None:
    if settings.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, received {settings.max_new_tokens}")
    if any(not end for end in settings.stop):
        raise ValueError("a stop sequence must hold at least one token; leave empty ones out")
    if settings.temperature < 0:
        raise ValueError(f"temperature must be 0 (greedy) or more, received {settings.temperature}")
    if (settings.temperature > 0) != (seeds is not None):
        raise ValueError(
            f"drawing tokens needs one seed per prompt and choosing the most likely needs none; "
            f"received temperature {settings.temperature} and seeds {seeds}. Example: "
            f"temperature=1.0, seeds=range(len(prompts))"
        )
    if seeds is not None and len(seeds) != len(prompts):
        raise ValueError(f"one seed per prompt: received {len(seeds)} for {len(prompts)} prompts")
    for number, prompt in enumerate(prompts):
        check_row(model, prompt, f"prompt {number}")
        check_length(
            model,
            len(prompt) + settings.max_new_tokens,
            f"prompt {number} ({len(prompt)} tokens) with {settings.max_new_tokens} new tokens",
        )
    check_rows_exist(settings.interventions, len(prompts))


@torch.no_grad()
def generate(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop: Sequence[Sequence[int]] = (),
    temperature: float = 0.0,
    seeds: Sequence[int] | None = None,
    interventions: Sequence[Intervention] = (),
    batch_size: int = 64,
    progress: str | None = None,
) -> list[Generation]:
    """Continues every prompt.

    Args:
        model: The writer.
        prompts: Token ids of each prompt.
        max_new_tokens: Longest continuation.
        stop: Token sequences that end a row once it has written one of them. The end-of-text token
            is not special: name it here.
        temperature: 0 takes the most likely token; otherwise logits are divided by it.
        seeds: One per prompt, when the temperature is above 0.
        interventions: What to change; `rows` are indices of prompts.
        batch_size: Prompts decoded together; halved by itself on running out of memory.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        One generation per prompt, in order.

    Raises:
        ValueError: If a prompt or setting does not fit the model (before any forward pass), or
            logits are not finite.
        RuntimeError: If an edit did not take place at every position that was asked for.
    """
    ends = tuple(tuple(end) for end in stop)
    settings = _Settings(max_new_tokens, ends, temperature, interventions)
    _check(model, prompts, settings, seeds)
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    written: dict[int, Generation] = {}

    def work(jobs: Sequence[Any]) -> list[Generation]:
        return _generate_batch(model, jobs, settings)

    for batch in track(batches, progress):
        jobs = [
            (number, prompts[number], seeds[number] if seeds is not None else None)
            for number in batch
        ]
        written.update(zip(batch, in_halves(work, jobs), strict=True))
    return [written[number] for number in range(len(prompts))]
