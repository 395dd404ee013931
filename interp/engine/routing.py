"""Routing: both models of a pair write one text, and a rule decides which of them gives each token.

At every step base and post have both read the same text, each on a cache of its own. `choose`
receives their predictions of the next token and names the source whose token is written; then both
read that token::

    def choose(step):                      # the post model only where the base is unsure
        unsure = step.logprobs["base"].max() < -1.0
        return "post" if unsure else "base"

    route(pair, prompts, choose=choose, max_new_tokens=200, stop=[[eos]])

*Candidates* are further sources: the base model under named interventions, such as one steering
vector at several doses and, beside them in the same batch, random vectors of the same norm. A
candidate proposes one token and leaves no trace: the base reads the written token into its own
cache without the candidate's vector. This is the published protocol of hybrid decoding (Venhoff et
al., arXiv 2510.07364, and its code): where the greedy tokens of base and post differ, steered base
models propose, and the proposal that is most likely under post is taken::

    def guardrail(step):
        if not step.candidates:
            return "base"
        return max(step.candidates, key=lambda name: step.logprobs["post"][step.proposed[name]])

`window` is how far back a candidate's vector reaches: the last position only (1), the last few, or
'all' (each candidate then has a cache of its own, in which the whole text was read steered; it
costs a row of the batch at every step). `offer` decides when candidates are read: by default where
the two models disagree. A rule that must not use the post model, because it is to measure what the
base could do by itself, uses `step.captures["base"]`.

A rule that picks among many proposals with the post model's help improves any proposals. So compare
only with controls that have as many candidates, the same `offer` and the same `choose`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.engine.batches import in_halves
from interp.engine.decoder import Decoder, as_ends, check_request, draws_of, pick_tokens
from interp.engine.editor import Editor, check_rows_exist
from interp.engine.token_sources import (
    ChosenSource,
    DecodingSettings,
    Routing,
    TokenChoice,
    batch_interventions,
    disagree,
    merge_receipts,
    resolve,
)
from interp.interventions import Intervention, Receipt, check_widths
from interp.models.forward import nan_error, unembed
from interp.models.hooks import Handler, hooked
from interp.models.model import Model, check_site
from interp.models.pair import ModelPair
from interp.models.token_ids import Rows
from interp.progress import track
from interp.sites import BySite, Site, SiteOrName, as_sites


@dataclass
class _Row:
    """A row while it is written."""

    number: int
    prompt: Sequence[int]
    draws: Float[Tensor, " step"] | None
    ids: list[int] = field(default_factory=list[int])
    sources: list[str] = field(default_factory=list[str])
    proposed: list[dict[str, int]] = field(default_factory=list[dict[str, int]])
    logprobs: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    stopped: bool = False


class _Reader:
    """One model of the pair with its decoder; its hooks are there only while it reads."""

    def __init__(
        self, model: Model, decoder: Decoder, capture: Sequence[Site], n_tokens: int
    ) -> None:
        self.model, self.decoder, self._n_tokens = model, decoder, n_tokens
        self.captures: dict[Site, Tensor] = {}
        self._looks: list[tuple[Site, Handler]] = [(site, self._keep(site)) for site in capture]

    def _keep(self, site: Site) -> Handler:
        def keep(activation: Tensor) -> None:
            self.captures[site] = self.decoder.at_ends(activation).clone()

        return keep

    def read(self, tokens: Sequence[int] | None) -> Float[Tensor, "batch d_vocab"]:
        """Logits after the prompts (None) or after one more token per row."""
        with hooked(self.model, [*self.decoder.handlers(), *self._looks]):
            if tokens is None:
                hidden = self.decoder.read_prompts()
            else:
                hidden = self.decoder.read(torch.tensor(tokens, device=self.model.device))
        return self.unembed(hidden)

    def unembed(self, hidden: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch d_vocab"]:
        """Logits of the tokens that both models score."""
        return unembed(self.model, hidden)[:, : self._n_tokens]


class _Writer:
    """All that writes one batch."""

    def __init__(self, pair: ModelPair, rows: Sequence[_Row], settings: DecodingSettings) -> None:
        self._settings = settings
        self._all_rows, self._rows = list(rows), list(rows)
        prompts = {row.number: row.prompt for row in rows}
        # Base's own readings stay in front: entry n of the base's batch is row n.
        self._readings = [(number, "base") for number in prompts]
        if settings.window == "all":
            self._readings += [
                (r.number, name) for r in rows for name in settings.offered_to(r.number)
            ]
        self._all_readings = list(self._readings)
        edits, self._names = batch_interventions(self._readings, settings)
        n_new, capture = settings.max_new_tokens, settings.capture
        to_read = {n: prompts[row] for n, (row, _) in enumerate(self._readings)}
        base = Decoder(pair.base, to_read, edits, max_new_tokens=n_new)
        post = Decoder(pair.post, prompts, settings.post, max_new_tokens=n_new)
        self._n_tokens = pair.shared.n
        self._base = _Reader(pair.base, base, capture, self._n_tokens)
        self._post = _Reader(pair.post, post, capture, self._n_tokens)
        self._receipts: dict[tuple[int, str], list[Receipt]] = {}

    def write(self) -> list[Routing]:
        """Writes all rows to their ends."""
        tokens = None
        while True:
            for_base = None if tokens is None else [tokens[row] for row, _ in self._readings]
            for_post = None if tokens is None else [tokens[row.number] for row in self._rows]
            self._write_tokens(self._base.read(for_base), self._post.read(for_post))
            # Rows that have stopped are gone, so all rows are of one length.
            if len(self._rows[0].ids) == self._settings.max_new_tokens:
                break
            if any(row.stopped for row in self._rows):
                self._drop()
            if not self._rows:
                break
            tokens = {row.number: row.ids[-1] for row in self._rows}
        return self._results()

    def _drop(self) -> None:
        """Ends the rows that have stopped."""
        going = [place for place, row in enumerate(self._rows) if not row.stopped]
        self._rows = [self._rows[place] for place in going]
        numbers = {row.number for row in self._rows}
        kept = [place for place, (row, _) in enumerate(self._readings) if row in numbers]
        self._readings = [self._readings[place] for place in kept]
        if self._rows:
            self._post.decoder.keep(going)
            self._base.decoder.keep(kept)

    def _step(self, row: _Row, logits: Mapping[str, Tensor], place: int) -> TokenChoice:
        """The choice for one row between the sources in `logits`."""
        stacked = torch.stack(list(logits.values()))
        logprobs = stacked.log_softmax(-1)
        bad = [name for name, of in zip(logits, logprobs, strict=True) if of.isnan().any()]
        if bad:
            model = self._post.model if bad[0] == "post" else self._base.model
            where = f"row {row.number} after {len(row.ids)} new tokens, source {bad[0]!r}"
            raise nan_error(model, where)
        # One number for all sources: they differ only where their distributions do.
        draws = None if row.draws is None else row.draws[len(row.ids)].expand(len(stacked))
        tokens = pick_tokens(stacked, draws, self._settings.temperature).tolist()
        readers = {"base": self._base, "post": self._post}
        return TokenChoice(
            row.number,
            row.prompt,
            tuple(row.ids),
            dict(zip(logits, logprobs, strict=True)),
            dict(zip(logits, tokens, strict=True)),
            {
                name: BySite({site: at[place] for site, at in reader.captures.items()})
                for name, reader in readers.items()
            },
        )

    def _write_tokens(self, base: Tensor, post: Tensor) -> None:
        """Reads the candidates where they are offered, and appends the tokens that are chosen."""
        logits_of = [{"base": base[n], "post": post[n]} for n in range(len(self._rows))]
        steps = [
            self._step(*of_row, n)
            for n, of_row in enumerate(zip(self._rows, logits_of, strict=True))
        ]
        offered = [n for n, step in enumerate(steps) if self._settings.offer(step)]
        if self._settings.window == "all":
            places = {row.number: n for n, row in enumerate(self._rows)}
            for number, (row, name) in enumerate(self._readings):
                if name != "base" and places[row] in offered:
                    logits_of[places[row]][name] = base[number]
        else:
            self._read_candidates(offered, logits_of)
        for place, row in enumerate(self._rows):
            step = steps[place]
            if len(logits_of[place]) > 2:  # candidates were read, so there is more to choose from
                step = self._step(row, logits_of[place], place)
            self._push(row, step)

    def _read_candidates(self, offered: Sequence[int], logits_of: list[dict[str, Tensor]]) -> None:
        """Reads the last tokens again under each candidate's interventions."""
        rows = self._rows
        forks = [(n, name) for n in offered for name in self._settings.offered_to(rows[n].number)]
        if not forks:
            return
        window = self._settings.window
        assert window != "all"
        # Both slices: the text may be shorter than the window, and long prompts are not copied.
        tails = [[*rows[n].prompt[-window:], *rows[n].ids][-window:] for n, _ in forks]
        readings = [(rows[n].number, name) for n, name in forks]
        edits, names = batch_interventions(readings, self._settings)
        reread = self._base.decoder.reread([n for n, _ in forks], tails, edits)
        logits = self._base.unembed(reread.hidden)
        for (n, name), of_fork in zip(forks, logits, strict=True):
            logits_of[n][name] = of_fork
        self._file(reread.receipts, readings, names)

    def _file(
        self,
        receipts: Sequence[Receipt],
        readings: Sequence[tuple[int, str]],
        names: Sequence[tuple[str | None, int]],
    ) -> None:
        """Puts receipts under their row and source."""
        for receipt in receipts:
            reading, (_, place) = readings[receipt.row], names[receipt.intervention]
            filed = replace(receipt, row=reading[0], intervention=place)
            self._receipts.setdefault(reading, []).append(filed)

    def _push(self, row: _Row, step: TokenChoice) -> None:
        source, token = resolve(self._settings.choose(step), step, self._n_tokens)
        row.ids.append(token)
        row.sources.append(source)
        row.proposed.append(dict(step.proposed))
        values = torch.stack([of_source[token] for of_source in step.logprobs.values()])
        row.logprobs.append(dict(zip(step.logprobs, values.tolist(), strict=True)))
        row.stopped = any(tuple(row.ids[-len(end) :]) == end for end in self._settings.stop)

    def _results(self) -> list[Routing]:
        n_read = {row.number: len(row.ids) - 1 for row in self._all_rows}  # the last is never read
        n_read_of = {n: n_read[row] for n, (row, _) in enumerate(self._all_readings)}
        self._file(self._base.decoder.receipts(n_read_of), self._all_readings, self._names)
        for receipt in self._post.decoder.receipts(n_read):
            self._receipts.setdefault((receipt.row, "post"), []).append(receipt)
        return [self._result(row) for row in self._all_rows]

    def _result(self, row: _Row) -> Routing:
        sources = ["base", "post", *self._settings.offered_to(row.number)]
        return Routing(
            tuple(row.ids),
            tuple(row.sources),
            {name: tuple(step.get(name) for step in row.proposed) for name in sources},
            {name: tuple(step.get(name) for step in row.logprobs) for name in sources},
            row.stopped,
            {name: merge_receipts(self._receipts.get((row.number, name), [])) for name in sources},
        )


def _write_batch(
    pair: ModelPair,
    prompts: Sequence[Sequence[int]],
    settings: DecodingSettings,
    seeds: Sequence[int] | None,
    numbers: Sequence[int],
) -> list[Routing]:
    n_new = settings.max_new_tokens
    draws = [None if seeds is None else draws_of(seeds[number], n_new) for number in numbers]
    rows = [_Row(number, prompts[number], d) for number, d in zip(numbers, draws, strict=True)]
    return _Writer(pair, rows, settings).write()


def _check(
    pair: ModelPair,
    prompts: Rows,
    settings: DecodingSettings,
    seeds: Sequence[int] | None,
    batch_size: int,
) -> list[Sequence[int]]:
    """Refuses whatever can be wrong with the input, before any forward pass; gives the prompts."""
    texts = check_request(
        [pair.base, pair.post],
        prompts,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        seeds=seeds,
        batch_size=batch_size,
    )
    window, candidates = settings.window, settings.candidates
    bad = [name for name, edits in candidates.items() if name in ("base", "post") or not edits]
    if bad:
        raise ValueError(
            f"a candidate is the base model under at least one intervention, with a name other "
            f"than 'base' and 'post'; received {bad[0]!r} with {len(candidates[bad[0]])}. The "
            f"unsteered base is the source 'base'"
        )
    if window != "all" and (isinstance(window, str) or window < 1):
        raise ValueError(f"window counts positions from 1 up, or is 'all'; received {window!r}")
    own = [edit for edits in candidates.values() for edit in edits]
    for edit in [*settings.base, *own] if candidates and window != "all" else ():
        if edit.positions != "all":
            raise ValueError(
                f"with window={window} the window says which positions candidates edit, and the "
                f"base's own interventions must act there too, so all need positions='all'; "
                f"received {edit.positions!r} at {edit.site}. Use window='all' for other positions"
            )
    lengths = {number: len(prompt) for number, prompt in enumerate(texts)}
    for model, edits in ((pair.base, [*settings.base, *own]), (pair.post, settings.post)):
        check_rows_exist(edits, len(texts))
        check_widths(model, edits)
        Editor(model, edits, lengths, writes=True)  # refuses vectors and positions that do not fit
        for site in settings.capture:
            check_site(model, site)
    return texts


@torch.no_grad()
def route(
    pair: ModelPair,
    prompts: Rows,
    *,
    choose: Callable[[TokenChoice], ChosenSource],
    max_new_tokens: int,
    stop: Sequence[Sequence[int]] = (),
    temperature: float = 0.0,
    seeds: Sequence[int] | None = None,
    base_interventions: Sequence[Intervention] = (),
    post_interventions: Sequence[Intervention] = (),
    candidates: Mapping[str, Sequence[Intervention]] | None = None,
    window: int | Literal["all"] = 1,
    offer: Callable[[TokenChoice], bool] = disagree,
    capture: Sequence[SiteOrName] = (),
    batch_size: int = 16,
    progress: str | None = None,
) -> list[Routing]:
    """Continues every prompt with both models of a pair.

    Args:
        pair: The models; both read every token.
        prompts: Token ids of each prompt.
        choose: Returns, for one row, whose token is written: a source, or a source and a token id.
        max_new_tokens: Longest continuation.
        stop: Token sequences that end a row, as in `generate`.
        temperature: As in `generate`; all sources of a row draw with the same uniform number.
        seeds: One per prompt, when the temperature is above 0.
        base_interventions: What to change in base, for itself and under every candidate.
        post_interventions: What to change in post.
        candidates: Name -> interventions in base; offered to the rows that one of them asks for.
        window: Last positions that a candidate's interventions act on, or 'all' for the whole text.
        offer: Whether candidates are read at a step; it receives base and post only.
        capture: Sites of both models, or their names, whose activations at the last token the rules
            receive.
        batch_size: Prompts decoded together; halved by itself on running out of memory.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        One record per prompt, in order.

    Raises:
        ValueError: If an argument does not fit (before any forward pass), `choose` names no source
            that was read, or logits are not finite.
        RuntimeError: If an edit did not take place at every position that was asked for.
    """
    settings = DecodingSettings(
        choose, offer, dict(candidates or {}), window, base_interventions, post_interventions,
        as_sites(capture), max_new_tokens, as_ends(stop), temperature,
    )  # fmt: skip
    texts = _check(pair, prompts, settings, seeds, batch_size)
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))  # to pad less
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    written: dict[int, Routing] = {}
    for batch in track(batches, progress):
        rows = in_halves(partial(_write_batch, pair, texts, settings, seeds), batch)
        written.update(zip(batch, rows, strict=True))
    return [written[number] for number in range(len(texts))]
