"""Coherence: how much of a model's ability a dose leaves intact, measured without a judge.

A push that is large enough changes any behaviour; the question is what else it breaks. Measured
apart from any task, and all against the unsteered model:

- **KL** (nats per token): KL(unsteered || steered) of the next-token distributions on *one and the
  same text*, the unsteered continuation, read by both. Independent of what is sampled; exactly 0 at
  dose 0. It is the budget in which doses are compared. Where the behaviour is the choice of the
  first new token (whether to open a chain), that choice is itself a large part of the KL; the KL of
  the *rest* leaves it out.
- **surprisal** (nats per token): how unlikely the unsteered model finds what was written under the
  dose; exp of its mean is the perplexity. Low is not good by itself: a model that repeats one
  word may be very likely.
- **distinct-2**: distinct bigrams over bigrams (Li et al. 2016); falls where text repeats.
- **compression ratio**: bytes over bytes after zlib (Shaib et al. 2024); rises where text repeats.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.engine import run
from interp.engine.batches import token_batches
from interp.interventions import Positions, Receipt
from interp.methods.directions import Direction
from interp.methods.steering.steered import steer
from interp.models import Model
from interp.stats.divergences import kullback_leibler

LOGIT_BUDGET = 2**26
"""Logits held at a time, in numbers: decides how many rows are read in one pass."""


@dataclass(frozen=True, eq=False)
class Forced:
    """One text, read by the model with and without a direction."""

    kl: float
    """Mean KL(unsteered || steered) over the tokens of the continuation, nats per token."""
    kl_rest: float
    """The same without the first new token; NaN for a continuation of one token."""
    first: Float[Tensor, " d_vocab"]
    """Log-probabilities (nats) of the first new token under the direction."""
    receipt: Receipt | None
    """None where nothing of this text was to be edited."""


@torch.no_grad()
def read_steered(
    model: Model,
    texts: Sequence[tuple[Sequence[int], Sequence[int]]],
    direction: Direction,
    dose: float,
    *,
    positions: Positions = "all",
) -> tuple[Forced, ...]:
    """Reads the same texts unsteered and steered.

    Args:
        model: The reader.
        texts: Prompt and continuation of each (at least one token).
        direction: What is added.
        dose: In mean residual norms.
        positions: As for generation; listed ones count within the prompt.

    Returns:
        One reading per text. Distributions are compared where they predict the continuation.

    Raises:
        ValueError: If a text has no continuation, or a position is outside a prompt.
    """
    if not all(continuation for _, continuation in texts):
        raise ValueError("a text needs at least one token after its prompt to be compared on")
    # The last token is predicted and never read, as in generation.
    rows = [[*prompt, *continuation][:-1] for prompt, continuation in texts]
    readings: dict[int, Forced] = {}
    for batch in _batches(model, rows):
        here = [rows[n] for n in batch]
        lengths = [len(texts[n][0]) for n in batch]
        plain = run(model, here).logits
        edit = steer(direction, dose, positions=positions)
        steered = run(model, here, interventions=[edit], prompt_lengths=lengths)
        # 'generated' is empty where the continuation is one token, which is never read.
        receipts = {receipt.row: receipt for receipt in steered.receipts if receipt.positions}
        for place, n in enumerate(batch):
            start = lengths[place] - 1  # the last prompt token predicts the first new one
            # In float64: the KL of a small dose may be below the rounding of float32.
            p = plain[place][start:].double().log_softmax(-1)
            q = steered.logits[place][start:].double().log_softmax(-1)
            kl = kullback_leibler(p, q)
            rest = float(kl[1:].mean()) if len(kl) > 1 else float("nan")
            readings[n] = Forced(float(kl.mean()), rest, q[0].float(), receipts.get(place))
    return tuple(readings[n] for n in range(len(rows)))


@torch.no_grad()
def surprisal(
    model: Model, texts: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> tuple[float, ...]:
    """Mean negative log-probability of each continuation under the unsteered model.

    Args:
        model: The reader.
        texts: Prompt and continuation of each.

    Returns:
        Nats per token; NaN where nothing was written.
    """
    read = [n for n, (_, continuation) in enumerate(texts) if continuation]
    rows = [[*texts[n][0], *texts[n][1]][:-1] for n in read]
    nats = [float("nan")] * len(texts)
    for batch in _batches(model, rows):
        logits = run(model, [rows[place] for place in batch]).logits
        for place, scores in zip(batch, logits, strict=True):
            prompt, continuation = texts[read[place]]
            logprobs = scores[len(prompt) - 1 :].log_softmax(-1)
            chosen = torch.tensor(list(continuation), device=logprobs.device)
            nats[read[place]] = -float(logprobs.gather(1, chosen[:, None]).mean())
    return tuple(nats)


def distinct_n(ids: Sequence[int], n: int = 2) -> float:
    """Distinct n-grams over n-grams, in (0, 1]; NaN for texts shorter than n tokens."""
    grams = [tuple(ids[at : at + n]) for at in range(len(ids) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def compression_ratio(text: str) -> float:
    """UTF-8 bytes over bytes after zlib at level 9; NaN for an empty text.

    Texts of a few dozen bytes do not compress (the ratio is then below 1): compare texts of like
    length only.
    """
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw, 9)) if raw else float("nan")


def _batches(model: Model, rows: Sequence[Sequence[int]]) -> list[list[int]]:
    if not rows:
        return []
    return token_batches([len(row) for row in rows], max(1, LOGIT_BUDGET // model.d_vocab))
