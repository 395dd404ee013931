"""Attention suppression: how far every later step changes when one step is hidden from it.

For each source step the pre-softmax scores of all later queries on its keys are masked, in every
layer and head, so that their attention goes elsewhere. At each later token the distribution of the
next token is compared with the unmasked one, KL(unmasked || suppressed) over the whole vocabulary,
at the sampling temperature; the mean over the tokens of a later step is one entry [target, source]
of a lower-triangular matrix (after Thought Anchors, Bogdan et al., arXiv 2506.19143).

What an entry means: how much the target draws on the keys and values of the source, directly or
through the states of tokens in between. These tokens are read under the mask too, so they pass on
only their own words: the text stays as it was written, and a result that a later step repeats is
not hidden. The divergence at a token is that of the prediction *after* it; so the first word of a
step is predicted by the end of the step before, which still sees itself. Where steps begin by
copying the last result, entries next to the diagonal may be small although the steps depend on each
other.

Two differences from the released code, both on purpose. There a masked step is hidden from itself
too; here its own tokens see each other, so that the step is computed as before and only attention
to it is removed. There the KL runs over the union of the most likely tokens (top-p 0.9999); here
over all tokens.

Tokens up to the end of a source step are untouched by its suppression, so they are read once for
all sources and taken from the cache. The rest is read for many sources at a time, one per row of
the batch, once under the mask and once under a plain causal one: two passes of one shape, so that a
mask that hides nothing gives a divergence of exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.engine.batches import in_halves, token_batches
from interp.methods.attention.stepped_text import SteppedText, check_text
from interp.methods.attention.text_caches import causal, read_text, repeat
from interp.models.forward import nan_error, read_on, unembed
from interp.models.model import Model
from interp.progress import track
from interp.stats.divergences import kullback_leibler

LOGIT_BLOCK = 1 << 23
"""Logits formed at a time (64 MB in double precision)."""
EPSILON = 1e-9
"""Added to a divergence before its logarithm, as in the paper."""


@dataclass(frozen=True, eq=False)
class Suppression:
    """How far each later step moves when a step is hidden from it.

    Rows are targets, columns are sources; entries that are not below the diagonal are NaN.
    """

    kl: Float[Tensor, "step step"]
    """Mean over the tokens of the target of KL(base || suppressed), nats."""
    log_kl: Float[Tensor, "step step"]
    """Mean over the tokens of the target of log(KL + 1e-9)."""

    @property
    def normalised(self) -> Float[Tensor, "step step"]:
        """The paper's matrix: `log_kl` minus the mean of each target's row.

        This removes how far a step moves whichever step is hidden. The second step has one source
        only, so its entry is 0 by construction.
        """
        return self.log_kl - self.log_kl.nanmean(1, keepdim=True)


def _hide(
    visible: Bool[Tensor, "batch q_pos k_pos"], sources: Sequence[range], n_kept: int
) -> Bool[Tensor, "batch q_pos k_pos"]:
    """Takes one source from each row of the table, for queries after its last token."""
    hidden = visible.clone()
    for table, span in zip(hidden, sources, strict=True):
        table[span.stop - n_kept :, span.start : span.stop] = False
    return hidden


def _divergence(
    model: Model,
    base: Float[Tensor, "pos d_model"],
    suppressed: Float[Tensor, "pos d_model"],
    temperature: float,
) -> Float[Tensor, " pos"]:
    """KL(base || suppressed) of the next token at each position, nats, in double precision."""
    divergences: list[Tensor] = []
    for states in zip(
        base.split(max(1, LOGIT_BLOCK // model.d_vocab)),
        suppressed.split(max(1, LOGIT_BLOCK // model.d_vocab)),
        strict=True,
    ):
        p, q = ((unembed(model, each) / temperature).double().log_softmax(-1) for each in states)
        divergences.append(kullback_leibler(p, q).clamp_min(0.0).cpu())  # rounding may give -1e-17
    divergence = torch.cat(divergences)
    if not bool(torch.isfinite(divergence).all()):
        raise nan_error(model, "a text with one step hidden")
    return divergence


def _suppress(
    model: Model, text: SteppedText, cache: Any, temperature: float, sources: Sequence[int]
) -> list[Float[Tensor, " pos"]]:
    """Per source the divergence at every token after it, up to the end of the last step."""
    spans = [text.steps[source] for source in sources]
    # One cut for the batch: no source changes what comes before the first of them has ended.
    n_kept, end = min(span.stop for span in spans), text.steps[-1].stop
    stack = repeat(cache, len(spans), n_kept)
    ids = torch.tensor([text.ids[n_kept:end]] * len(spans), device=model.device)
    positions = torch.arange(n_kept, end, device=model.device).expand_as(ids)
    visible = causal(model, len(spans), n_kept, end - n_kept)
    base = read_on(model, stack, ids, positions, visible)
    suppressed = read_on(model, stack, ids, positions, _hide(visible, spans, n_kept))
    return [
        _divergence(model, base[row, after:], suppressed[row, after:], temperature)
        for row, after in enumerate(span.stop - n_kept for span in spans)
    ]


def _entries(
    text: SteppedText, source: int, divergence: Float[Tensor, " pos"]
) -> Iterator[tuple[int, Float[Tensor, " pos"]]]:
    """The later steps with the divergences at their tokens."""
    after = text.steps[source].stop
    for target in range(source + 1, len(text.steps)):
        span = text.steps[target]
        yield target, divergence[span.start - after : span.stop - after]


@torch.no_grad()
def suppress_steps(
    model: Model,
    text: SteppedText,
    *,
    temperature: float = 0.6,
    token_budget: int = 8192,
    progress: str | None = None,
) -> Suppression:
    """Hides each step of a text from all that follows and measures how far later steps move.

    Args:
        model: The reader.
        text: A text with at least two steps. The answer may be given as the last of them.
        temperature: Divides the logits before the divergence; 0.6 is the paper's.
        token_budget: Largest number of tokens in a forward pass.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        Divergences [target step, source step] in double precision on the CPU. The divergence at a
        token is that of what is predicted after it.

    Raises:
        ValueError: If the text has fewer than two steps or does not fit the model, the temperature
            is not positive, or logits are not finite.
    """
    check_text(model, text, "the text")
    n_steps = len(text.steps)
    if n_steps < 2:
        raise ValueError(
            "hiding a step is measured at later steps, so a text needs at least two; received one. "
            "Give the answer as the last step"
        )
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"temperature divides logits and must be positive, received {temperature}. "
            f"1 compares the model's own distributions"
        )
    cache = read_text(model, text.ids)
    work = partial(_suppress, model, text, cache, temperature)
    kl = torch.full((n_steps, n_steps), torch.nan, dtype=torch.float64)
    log_kl = kl.clone()
    # Cached tokens take memory too, so a row costs the whole text. Nothing follows the last step.
    costs = [text.steps[-1].stop] * (n_steps - 1)
    for batch in track(token_batches(costs, token_budget), progress):
        for source, divergence in zip(batch, in_halves(work, batch), strict=True):
            for target, at_tokens in _entries(text, source, divergence):
                kl[target, source] = at_tokens.mean()
                log_kl[target, source] = (at_tokens + EPSILON).log().mean()
    return Suppression(kl, log_kl)
