"""Generation: batched decoding in which the text of a row does not depend on the other rows.

A row that reaches a stop sequence leaves the batch at once and costs nothing more. Tokens are drawn
per row from a seed of its own, so a row writes the same text alone, in a batch, and in a batch of
another size or order. `interp.engine.decoder` reads the batch.

Interventions act on the prompt and on every generated token that the model reads. The first new
token is predicted from the last prompt token: to move it, an intervention must include that one
(positions 'all' do; 'generated' alone begins one token later). The last new token is never read,
so it is neither edited nor captured. One pass over the finished text gives the same activations::

    (written,) = generate(model, [prompt], max_new_tokens=20, interventions=edits, capture=[site])
    text = [*prompt, *written.ids][:-1]
    again = run(model, [text], interventions=edits, capture=[site], prompt_lengths=[len(prompt)])
    again.captures[site][0]     # equals written.captures[site], to rounding
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.engine.batches import in_halves
from interp.engine.decoder import Decoder, as_ends, check_request, draws_of, pick_tokens
from interp.engine.editor import check_rows_exist
from interp.interventions import Intervention, Receipt, check_widths
from interp.models.forward import nan_error, unembed
from interp.models.hooks import Handler, hooked
from interp.models.model import Model, check_site
from interp.models.token_ids import Rows
from interp.progress import track
from interp.sites import BySite, Site, SiteOrName, as_sites


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
    """One per intervention that acts on this row."""
    captures: BySite[Tensor] = field(default_factory=lambda: BySite[Tensor]({}), compare=False)
    """Per site the activations [pos, ...] of the prompt and of all new tokens but the last, as the
    model used them, edits included."""


@dataclass(frozen=True)
class _Settings:
    max_new_tokens: int
    stop: tuple[tuple[int, ...], ...]
    temperature: float
    top_p: float
    interventions: Sequence[Intervention]
    capture: Sequence[Site]


class _Recorder:
    """Keeps the activations of each pass at the sites asked for."""

    def __init__(self, decoder: Decoder, sites: Sequence[Site]) -> None:
        self._decoder = decoder
        self._kept: dict[Site, list[tuple[list[tuple[int, int]], Tensor]]] = {s: [] for s in sites}

    def handlers(self) -> list[tuple[Site, Handler]]:
        """One handler per site, for `hooked`."""
        return [(site, partial(self._keep, site)) for site in self._kept]

    def _keep(self, site: Site, activation: Tensor) -> None:
        self._kept[site].append((self._decoder.columns(), activation.clone()))

    def of_rows(self) -> dict[int, dict[Site, Tensor]]:
        """Row number -> site -> activations of all its tokens that were read."""
        parts: dict[int, dict[Site, list[Tensor]]] = {}
        for site, passes in self._kept.items():
            for columns, activation in passes:
                for (row, size), values in zip(columns, activation, strict=True):
                    parts.setdefault(row, {}).setdefault(site, []).append(values[:size])
        return {
            row: {site: torch.cat(values) for site, values in of_row.items()}
            for row, of_row in parts.items()
        }


@dataclass
class _Row:
    """A row while it is written."""

    number: int
    draws: Float[Tensor, " step"] | None
    """One uniform number per new token; None chooses the most likely."""
    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    stopped: bool = False

    def push(self, token: int, logprob: float, stop: Sequence[tuple[int, ...]]) -> None:
        self.ids.append(token)
        self.logprobs.append(logprob)
        self.stopped = any(tuple(self.ids[-len(end) :]) == end for end in stop)


def _write_token(
    model: Model, hidden: Float[Tensor, "batch d_model"], rows: Sequence[_Row], settings: _Settings
) -> Int[Tensor, " batch"]:
    """Chooses one token per row and appends it."""
    logits = unembed(model, hidden)
    total = logits.logsumexp(-1)  # not finite if any logit is NaN or +inf: one check per row
    if not bool(torch.isfinite(total).all()):
        bad = int((~torch.isfinite(total)).nonzero()[0])
        raise nan_error(model, f"row {rows[bad].number} after {len(rows[bad].ids)} new tokens")
    step = len(rows[0].ids)
    drawn = [row.draws[step] for row in rows if row.draws is not None]
    draws = torch.stack(drawn) if drawn else None
    chosen = pick_tokens(logits, draws, settings.temperature, settings.top_p)
    logprobs = logits.gather(1, chosen[:, None])[:, 0] - total
    for row, token, logprob in zip(rows, chosen.tolist(), logprobs.tolist(), strict=True):
        row.push(token, logprob, settings.stop)
    return chosen


def _decode(model: Model, rows: Sequence[_Row], settings: _Settings, decoder: Decoder) -> None:
    """Writes all rows to their ends."""
    hidden = decoder.read_prompts()
    while True:
        chosen = _write_token(model, hidden, rows, settings)
        if len(rows[0].ids) == settings.max_new_tokens or all(row.stopped for row in rows):
            return
        if any(row.stopped for row in rows):
            kept = [place for place, row in enumerate(rows) if not row.stopped]
            rows, chosen = [rows[place] for place in kept], chosen[kept]
            decoder.keep(kept)
        hidden = decoder.read(chosen)


def _generate_batch(
    model: Model, jobs: Sequence[tuple[int, Sequence[int], int | None]], settings: _Settings
) -> list[Generation]:
    n_new = settings.max_new_tokens
    rows = [
        _Row(number, None if seed is None else draws_of(seed, n_new)) for number, _, seed in jobs
    ]
    prompts = {number: prompt for number, prompt, _ in jobs}
    decoder = Decoder(model, prompts, settings.interventions, max_new_tokens=n_new)
    recorder = _Recorder(decoder, settings.capture)
    # In this order captures receive what the edits returned.
    with hooked(model, [*decoder.handlers(), *recorder.handlers()]):
        _decode(model, rows, settings, decoder)
    # One less than was written: the last token is never read.
    receipts = decoder.receipts({row.number: len(row.ids) - 1 for row in rows})
    captures = recorder.of_rows()
    return [
        Generation(
            tuple(row.ids),
            tuple(row.logprobs),
            row.stopped,
            tuple(receipt for receipt in receipts if receipt.row == row.number),
            BySite(captures.get(row.number, {})),
        )
        for row in rows
    ]


@torch.no_grad()
def generate(
    model: Model,
    prompts: Rows,
    *,
    max_new_tokens: int,
    stop: Sequence[Sequence[int]] = (),
    temperature: float = 0.0,
    top_p: float = 1.0,
    seeds: Sequence[int] | None = None,
    interventions: Sequence[Intervention] = (),
    capture: Sequence[SiteOrName] = (),
    batch_size: int = 64,
    progress: str | None = None,
) -> list[Generation]:
    """Continues every prompt.

    Args:
        model: The writer.
        prompts: Token ids of each prompt. A tensor or an array [batch, pos] without padding, too.
        max_new_tokens: Longest continuation.
        stop: Token sequences that end a row once it has written one of them. The end-of-text token
            is not special: name it here.
        temperature: 0 takes the most likely token; otherwise logits are divided by it.
        top_p: Share of the probability that is drawn from, the likeliest tokens first; 1 is all.
        seeds: One per prompt, when the temperature is above 0.
        interventions: What to change; `rows` are indices of prompts.
        capture: Sites, or their names, whose activations are returned (copies, of every row).
        batch_size: Prompts decoded together; halved by itself on running out of memory.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        One generation per prompt, in order.

    Raises:
        TypeError: If prompts are no token ids, or something is no site.
        ValueError: If a prompt or setting does not fit the model (before any forward pass), or
            logits are not finite.
        RuntimeError: If an edit did not take place at every position that an intervention names.
    """
    sites = [check_site(model, site) for site in as_sites(capture)]
    ends = as_ends(stop)
    settings = _Settings(max_new_tokens, ends, temperature, top_p, interventions, sites)
    texts = check_request(
        [model], prompts, max_new_tokens=max_new_tokens, temperature=temperature, seeds=seeds,
        batch_size=batch_size, top_p=top_p,
    )  # fmt: skip
    check_rows_exist(interventions, len(texts))
    check_widths(model, interventions)
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))  # to pad less
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    written: dict[int, Generation] = {}

    def work(jobs: Sequence[Any]) -> list[Generation]:
        return _generate_batch(model, jobs, settings)

    for batch in track(batches, progress):
        jobs = [(n, texts[n], None if seeds is None else seeds[n]) for n in batch]
        written.update(zip(batch, in_halves(work, jobs), strict=True))
    return [written[number] for number in range(len(texts))]
