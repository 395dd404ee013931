"""Divergences between distributions of the next token, in nats."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def kullback_leibler(
    p: Float[Tensor, "pos d_vocab"], q: Float[Tensor, "pos d_vocab"]
) -> Float[Tensor, " pos"]:
    """KL(p || q) at each position; both are log-probabilities (Kullback and Leibler 1951).

    A token of probability 0 under p adds nothing, whatever q says of it.
    """
    weight = p.exp()
    # "!= 0" and not "> 0", so that NaN stays NaN and is noticed.
    return (weight * (p - q)).where(weight != 0, 0.0).sum(-1)


def jensen_shannon(
    p: Float[Tensor, "pos d_vocab"], q: Float[Tensor, "pos d_vocab"]
) -> Float[Tensor, " pos"]:
    """Jensen-Shannon divergence at each position, 0 to ln 2 (Lin 1991, eq. 3.1)."""
    mean = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, dtype=p.dtype))
    # Rounding can leave it just below 0.
    return ((kullback_leibler(p, mean) + kullback_leibler(q, mean)) / 2).clamp(min=0.0)
