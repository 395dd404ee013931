"""The gradient direction: the push at one position that raises an opening the fastest.

For a model that may or may not begin its text in a certain way (by opening a chain), the log-odds
of that beginning are a function of the stream x at the last token of the prompt:

    L(x) = log p(opening | x) - log (1 - p(opening | x)).

The direction is the mean over prompts of dL/dx at a site. It is found within one model, needs no
text that shows the behaviour, and is better than a mean difference where the prompt does not decide
whether the behaviour will follow: the states before it and before its absence then hardly differ,
and their difference is a difference of prompts. It does not depend on what is written after the
opening: in a model that knows the opening's token and nothing else, it raises the token alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp.engine.batches import token_batches
from interp.methods.directions.activations import Activations
from interp.methods.directions.direction import Direction, Source, make_direction
from interp.models import Model
from interp.models.forward import body, check_rows, pad_right, unembed
from interp.models.hooks import Handler, hooked
from interp.models.token_ids import Rows
from interp.sites import Site

TOKEN_BUDGET = 4096
"""Tokens read in one pass, whose graph is kept."""


def opening_gradient(model: Model, rows: Rows, token: int, read: Activations) -> Direction:
    """Mean gradient of the log-odds of a first new token, at the last token of each prompt.

    Args:
        model: Whose log-odds.
        rows: Token ids of each prompt.
        token: The first token of the opening.
        read: The model's activations at these last tokens, whose site and norms are used.

    Returns:
        The direction; its length is the gradient's, in nats per unit of the stream.

    Raises:
        NotMeasurableError: If the gradient is zero.
        ValueError: If it is not finite.
    """
    rows = check_rows(model, rows, "prompt")
    total = torch.zeros(read.values.shape[1], dtype=torch.float64)
    for batch in token_batches([len(row) for row in rows], TOKEN_BUDGET):
        total += _summed(model, [rows[n] for n in batch], token, read.site)
    source = Source(
        "opening gradient",
        (model.name,),
        (model.weights_sha256,),
        (read.texts_sha256,),
        note=f"log-odds of {model.tokenizer.decode([token])!r} over {len(rows)} prompts",
    )
    mean = (total / len(rows)).float()
    return make_direction(mean, read.site, source, reference_norm=read.mean_norm)


def _summed(model: Model, rows: Sequence[Sequence[int]], token: int, site: Site) -> Tensor:
    node: list[Tensor] = []

    def follow(activation: Tensor) -> Tensor:
        node.append(activation.clone().requires_grad_())
        return node[0]

    follower: Handler = follow
    places = range(len(rows)), [len(row) - 1 for row in rows]
    with torch.enable_grad():
        with hooked(model, [(site, follower)]):
            hidden = body(model, pad_right(model, rows))
        logp = unembed(model, hidden[places]).double().log_softmax(-1)
        # log(1 - p) as a sum over the other tokens: 1 - p would cancel where p is near 1.
        others = torch.cat([logp[:, :token], logp[:, token + 1 :]], -1).logsumexp(-1)
        # Rows do not see each other, so the gradient of the sum holds that of each row.
        (gradient,) = torch.autograd.grad((logp[:, token] - others).sum(), node)
    return gradient[places].double().sum(0).cpu()
