"""Decoder: a model that reads a batch of prompts, and then one token per row, on its own cache.

`generate` drives one `Decoder`, `route` one per model. A decoder knows what its model has read and
nothing of how the next token is chosen::

    decoder = Decoder(model, {0: prompt, 1: other}, interventions, max_new_tokens=20)
    with hooked(model, decoder.handlers()):
        hidden = decoder.read_prompts()        # final hidden state of the last token of each row
        hidden = decoder.read(tokens)          # after one more token per row
        decoder.keep([1])                      # row 0 has ended and costs nothing more

Prompts are padded at the end and read causally, so prefill needs no mask: no table of every token
against every other is ever formed. The padding stays in the cache, between a short prompt and
what follows it, and is hidden from every later token by one row of a table; positions are counted
from each row's own first token.

Random choices take one uniform number per row and step, from a seed of the row's own. The number is
looked up in the cumulative distribution. So what a row writes depends on neither its neighbours nor
its place, and two models that use one number draw the same token where their distributions agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.engine.editor import Editor
from interp.interventions import Intervention, Receipt
from interp.models.forward import body, check_length, check_row, new_cache, pad_right
from interp.models.hooks import Handler, hooked
from interp.models.model import Model
from interp.models.token_ids import Rows, as_rows
from interp.sites import Site


def draws_of(seed: int, n: int) -> Float[Tensor, " step"]:
    """The uniform numbers that belong to a seed, one per new token, in float64."""
    generator = torch.Generator().manual_seed(seed)  # on the CPU: CUDA draws other numbers
    return torch.rand(n, generator=generator, dtype=torch.float64)


def pick_tokens(
    logits: Float[Tensor, "batch d_vocab"],
    draws: Float[Tensor, " batch"] | None,
    temperature: float,
    top_p: float = 1.0,
) -> Int[Tensor, " batch"]:
    """Chooses one token per row.

    Args:
        logits: Of the next token.
        draws: One uniform number per row; None takes the most likely token.
        temperature: What logits are divided by before drawing.
        top_p: Drawn from the fewest likely tokens whose probabilities sum to at least this
            (nucleus sampling, Holtzman et al. 2020); 1 draws from all.

    Returns:
        The most likely token, or the one at the drawn place of the cumulative distribution.
    """
    if draws is None:
        return logits.argmax(-1)
    # In float64: a float32 sum over the vocabulary would round rare tokens away. It need not end at
    # exactly 1, so draws are scaled by its end. `right`: a draw of 0 passes over probability 0.
    probabilities = (logits.double() / temperature).softmax(-1)
    if top_p < 1:
        ordered, order = probabilities.sort(-1, descending=True)
        outside = ordered.cumsum(-1) - ordered >= top_p
        probabilities = probabilities.masked_fill(outside.gather(-1, order.argsort(-1)), 0.0)
    cumulative = probabilities.cumsum(-1)
    places = draws.to(logits.device)[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, places, right=True)[:, 0]
    return chosen.clamp_max(logits.shape[-1] - 1)  # the product may round up to the end


def as_ends(stop: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Stop sequences in the form that the end of a row is compared with.

    Raises:
        ValueError: If one is no sequence of token ids, or empty.
    """
    for end in stop:
        if isinstance(end, str) or not isinstance(end, Sequence) or not end:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                f"a stop sequence must hold at least one token id; received {end!r} in {stop!r}. "
                f"Write one token as stop=[[7]], encode text first, and leave empty ones out"
            )
    return tuple(map(tuple, stop))


def check_request(
    models: Sequence[Model],
    prompts: Rows,
    *,
    max_new_tokens: int,
    temperature: float,
    seeds: Sequence[int] | None,
    batch_size: int,
    top_p: float = 1.0,
) -> list[Sequence[int]]:
    """Checks the arguments that `generate` and `route` share, before any forward pass.

    Returns:
        Token ids of each prompt.

    Raises:
        TypeError: If prompts are no token ids.
        ValueError: If a number is out of range, seeds and temperature do not go together, or a
            prompt is empty, holds an unknown id or leaves no room in the context of a model.
    """
    for name, number in (("max_new_tokens", max_new_tokens), ("batch_size", batch_size)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, received {number}")
    if not 0 <= temperature < float("inf"):
        raise ValueError(
            f"temperature must be 0 (greedy) or more, and finite; received {temperature}"
        )
    if not 0 < top_p <= 1 or (top_p < 1 and temperature == 0):
        raise ValueError(
            f"top_p is a share above 0 and at most 1 of what is drawn from, and only drawing has "
            f"one; received top_p={top_p} at temperature {temperature}. Example: temperature=0.6, "
            f"top_p=0.95"
        )
    if (temperature > 0) != (seeds is not None):
        raise ValueError(
            f"drawing tokens needs one seed per prompt and choosing the most likely needs none; "
            f"received temperature {temperature} and seeds {seeds}. Example: "
            f"temperature=1.0, seeds=range(len(prompts))"
        )
    texts = as_rows(prompts, "prompt", models[0].tokenizer)
    if seeds is not None and len(seeds) != len(texts):
        raise ValueError(f"one seed per prompt: received {len(seeds)} for {len(texts)} prompts")
    for model in models:
        for number, prompt in enumerate(texts):
            check_row(model, prompt, f"prompt {number}")
            check_length(
                model,
                len(prompt) + max_new_tokens - 1,
                f"prompt {number} ({len(prompt)} tokens) with {max_new_tokens} new tokens, of "
                f"which the last is never read,",
            )
    return texts


@dataclass(frozen=True, eq=False)
class Reread:
    """The result of reading the last tokens again."""

    hidden: Float[Tensor, "batch d_model"]
    receipts: list[Receipt]
    """Their rows count the readings; their positions are those of the whole text."""


class Decoder:
    """One model reading the rows of one batch."""

    def __init__(
        self,
        model: Model,
        prompts: Mapping[int, Sequence[int]],
        interventions: Sequence[Intervention],
        *,
        max_new_tokens: int,
    ) -> None:
        """Makes the tables; nothing is read yet.

        Args:
            model: The reader.
            prompts: Row number -> token ids, in the order of the batch.
            interventions: What to change; their `rows` are these row numbers.
            max_new_tokens: Most tokens that a row can come to.

        Raises:
            ValueError: If an intervention does not fit the model or a row.
        """
        self.model = model
        self._prompts = list(prompts.values())
        self._rows = list(prompts)
        self._lengths = [len(prompt) for prompt in self._prompts]
        self._width, self._n_read = max(self._lengths), 0
        self._cache = new_cache(model)
        n_pads = torch.tensor([self._width - n for n in self._lengths], device=model.device)
        columns = torch.arange(self._width + max_new_tokens, device=model.device)
        self._starts = self._width - n_pads
        self._real = (columns < self._starts[:, None]) | (columns >= self._width)
        # In the cache new tokens follow the padding, but their positions follow the prompt.
        self._positions = torch.where(
            columns < self._width, columns, columns - self._width + self._starts[:, None]
        )
        self._editor = Editor(
            model, interventions, dict(zip(self._rows, self._lengths, strict=True)), writes=True
        )

    def handlers(self) -> list[tuple[Site, Handler]]:
        """The edits, for `hooked`."""
        return self._editor.handlers()

    def read_prompts(self) -> Float[Tensor, "batch d_model"]:
        """Reads all prompts.

        Returns:
            The final hidden state of the last token of each.
        """
        self._editor.move(self._rows, [0] * len(self._rows), decoding=False)
        hidden = body(self.model, pad_right(self.model, self._prompts), cache=self._cache)
        return self.at_ends(hidden)

    def columns(self) -> list[tuple[int, int]]:
        """Row number and number of its tokens in each entry of the pass that is running.

        They stand in the first columns: prompts are padded at the end.
        """
        sizes = [1] * len(self._rows) if self._n_read else self._lengths
        return list(zip(self._rows, sizes, strict=True))

    def at_ends(self, activation: Float[Tensor, "batch pos ..."]) -> Float[Tensor, "batch ..."]:
        """The part of an activation of the last pass at the last token of each row."""
        if self._n_read:
            return activation[:, -1]
        return activation[torch.arange(len(self._rows), device=activation.device), self._starts - 1]

    def read(self, tokens: Int[Tensor, " batch"]) -> Float[Tensor, "batch d_model"]:
        """Reads one more token of each row.

        Returns:
            The final hidden states after it.
        """
        positions = [length + self._n_read for length in self._lengths]
        self._editor.move(self._rows, positions, decoding=True)
        self._n_read += 1
        # Without padding no mask is needed, and attention may take its fast kernel.
        padded, n_keys = self._width > min(self._lengths), self._width + self._n_read
        return body(
            self.model,
            tokens[:, None],
            positions=self._positions[:, n_keys - 1, None],
            visible=self._real[:, None, :n_keys] if padded else None,
            key_positions=self._positions[:, :n_keys],
            cache=self._cache,
        )[:, 0]

    def reread(
        self,
        places: Sequence[int],
        tails: Sequence[Sequence[int]],
        interventions: Sequence[Intervention],
    ) -> Reread:
        """Reads the last tokens of rows once more under other interventions.

        The rows' own cache stays as it is: the tokens are read on a copy, in which their first
        reading is hidden.

        Args:
            places: Which row of the batch each reading is of; a row may be read several times.
            tails: The last tokens of that row, which this reading reads again.
            interventions: What to change; their `rows` count the readings, and their positions
                the tokens of the tails.

        Returns:
            Final hidden states after the last token, and receipts.
        """
        n_keys, n_tail = self._width + self._n_read, max(len(tail) for tail in tails)
        index = torch.tensor(places, device=self.model.device)
        copy = new_cache(self.model)
        for layer, kept in enumerate(self._cache.layers):
            # Indices on the CPU serve tables on any device: a spread model has them on several.
            copy.update(kept.keys[places], kept.values[places], layer)
        sizes = torch.tensor([len(tail) for tail in tails], device=index.device)
        first = self._starts[index] + self._n_read - sizes  # position of each tail's first token
        positions = self._positions[index, :n_keys]
        own_positions = first[:, None] + torch.arange(n_tail, device=index.device)
        before = self._real[index, :n_keys] & (positions < first[:, None])
        own = torch.ones(n_tail, n_tail, dtype=torch.bool, device=index.device).tril()
        editor = Editor(
            self.model, interventions, {n: len(tail) for n, tail in enumerate(tails)}, writes=False
        )
        editor.move(range(len(tails)), [0] * len(tails), decoding=False)
        with hooked(self.model, editor.handlers()):
            hidden = body(
                self.model,
                pad_right(self.model, tails),
                positions=own_positions,
                key_positions=torch.cat([positions, own_positions], 1),
                visible=torch.cat(
                    [part.expand(len(tails), n_tail, -1) for part in (before[:, None], own)], 2
                ),
                cache=copy,
            )
        shifts = first.tolist()
        receipts = [
            replace(receipt, positions=tuple(at + shifts[receipt.row] for at in receipt.positions))
            for receipt in editor.receipts({})
        ]
        return Reread(hidden[torch.arange(len(tails), device=index.device), sizes - 1], receipts)

    def keep(self, places: Sequence[int]) -> None:
        """Drops all rows but those at these places of the batch."""
        index = torch.tensor(places, device=self.model.device)
        self._cache.batch_select_indices(index.cpu())  # see `reread`
        self._real, self._starts = self._real[index], self._starts[index]
        self._positions = self._positions[index]
        self._rows = [self._rows[place] for place in places]
        self._lengths = [self._lengths[place] for place in places]

    def receipts(self, n_read: Mapping[int, int]) -> list[Receipt]:
        """Compares what was edited with what was asked for.

        Args:
            n_read: Row number -> new tokens that it has read.

        Returns:
            One receipt per intervention and row.

        Raises:
            RuntimeError: If an edit is missing, doubled, or was not asked for.
        """
        return self._editor.receipts(n_read)
