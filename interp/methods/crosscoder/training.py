"""Training a BatchTopK crosscoder.

Of all latents of all positions of a batch, the k x batch with the highest scores stay active, so
positions share the budget as they need it (Bussmann et al. 2024, arXiv 2412.06410). No penalty
shrinks a decoder row: an L1 penalty drives the smaller of two rows to zero and so invents latents
that only one model has (Minder et al. 2025, arXiv 2504.02922). The loss is

    ||x - x^||^2 / ||x - mean x||^2  +  1/32 * (the same of what dead latents make of the residual)

with sums over both models. At inference each position is read by itself: a latent is active where
its score is above the smallest active score of the training batches, averaged exponentially.

The two decoders of a latent start in directions drawn **apart**. Starting them equal, as is usual,
makes base against base symmetric at every step, so its latents could never become exclusive and
such a null would say nothing about chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.methods.crosscoder.dictionary import Crosscoder
from interp.progress import track

AUX_WEIGHT = 1 / 32
THRESHOLD_DECAY = 0.99
"""Per step. The published 0.999 is for 10^5 steps and more: in a short training the average would
lag behind the scores, which still fall, and leave out latents that were active in training."""
MAX_GRAD_NORM = 1.0
FIRST_BATCHES = 8
"""Batches that scales and biases are taken from."""
MEDIAN_STEPS = 20


@dataclass(frozen=True)
class CrosscoderSettings:
    """How a crosscoder is trained.

    Raises:
        ValueError: If a number is out of range.
    """

    d_sae: int = 512
    """Latents."""
    k: int = 16
    """Active latents per position, on average over a batch."""
    steps: int = 2000
    batch_size: int = 512
    """Positions."""
    warmup: int = 300
    """Steps over which the learning rate rises; the threshold is averaged from there on."""
    dead_after: int = 100_000
    """Positions after which a latent that never was active counts as dead in training."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.k <= self.d_sae:
            raise ValueError(f"k must be 1 to d_sae = {self.d_sae}, received {self.k}")
        if not 0 <= self.warmup < self.steps or min(self.batch_size, self.dead_after) < 1:
            raise ValueError(
                f"training needs more steps than warmup, and positions in a batch; received "
                f"steps={self.steps}, warmup={self.warmup}, batch_size={self.batch_size}, "
                f"dead_after={self.dead_after}"
            )

    @property
    def lr(self) -> float:
        """2e-4 / sqrt(d_sae / 2^14), the rule of the trainers of dictionary_learning."""
        return 2e-4 / math.sqrt(self.d_sae / 2**14)


def shuffled(
    pairs: Float[Tensor, "example model d_in"], batch_size: int, *, seed: int
) -> Iterator[Float[Tensor, "batch model d_in"]]:
    """Batches of paired activations without end, in a new order each time round.

    Raises:
        NotMeasurableError: If there are fewer pairs than a batch holds.
    """
    if len(pairs) < batch_size:
        raise NotMeasurableError(
            f"a batch of {batch_size} needs as many positions, received {len(pairs)}. Read more "
            f"texts, or set a smaller batch_size"
        )
    rng = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(pairs), generator=rng)
        # The rest that fills no batch is left out; in each order it is another one.
        for first in range(0, len(pairs) - batch_size + 1, batch_size):
            yield pairs[order[first : first + batch_size]]


def train_crosscoder(
    batches: Iterator[Tensor], settings: CrosscoderSettings, *, progress: str | None = None
) -> Crosscoder:
    """Trains a crosscoder.

    Args:
        batches: Endless batches [batch, model, d_in], base first, shuffled. Training runs on their
            device.
        settings: How.
        progress: Label of a progress bar.

    Returns:
        The crosscoder, with the threshold at which it reads single positions.

    Raises:
        NotMeasurableError: If the activations of a model do not vary.
        ValueError: If a batch is not of this shape.
    """
    first = torch.cat([next(batches).float() for _ in range(FIRST_BATCHES)])
    if first.ndim != 3 or first.shape[1] != 2:
        raise ValueError(
            f"a crosscoder reads batches [batch, model, d_in] with two models; received "
            f"{list(first.shape)}. Stack them: torch.stack([base, post], dim=1)"
        )
    weights, variance = _start(first, settings)
    trainable = [weights.W_enc, weights.b_enc, weights.W_dec, weights.b_dec]
    for tensor in trainable:
        tensor.requires_grad_(True)
    optimiser = torch.optim.Adam(trainable, lr=settings.lr, betas=(0.9, 0.999))
    silent = torch.zeros(settings.d_sae, device=first.device)
    """Positions since each latent was last active."""
    threshold: float | None = None
    for step in track(list(range(settings.steps)), progress):
        x = weights.scaled(next(batches).float())
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * min(1.0, (step + 1) / max(1, settings.warmup))
        acts, lowest = _batch_top_k(weights, x, settings.k)
        residual = x - weights.decode_scaled(acts)
        loss = residual.pow(2).sum((1, 2)).mean() / variance
        # The residual is a target here: without detach, live latents would learn to leave one.
        loss = loss + AUX_WEIGHT * _dead_loss(weights, x, residual.detach(), silent, settings)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, MAX_GRAD_NORM)
        optimiser.step()
        silent = (silent + len(x)) * ~(acts > 0).any(0)
        if step >= settings.warmup:
            # The average starts at its first value; from 0 it would lag and leave too many active.
            decay = THRESHOLD_DECAY if threshold is not None else 0.0
            threshold = decay * (threshold or 0.0) + (1 - decay) * lowest
    done = {name: getattr(weights, name).detach() for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    return replace(weights, **done, threshold=torch.tensor(threshold, device=first.device))


def _start(
    first: Float[Tensor, "batch model d_in"], settings: CrosscoderSettings
) -> tuple[Crosscoder, float]:
    """Weights before training, and the variance of the scaled activations over both models."""
    d_in = first.shape[-1]
    spread = first.sub(first.mean(0)).pow(2).sum(-1).mean(0)
    if not bool((spread > 0).all()):
        raise NotMeasurableError(
            "the activations of a model are the same at every position, so there is nothing to "
            "explain. Likely one position was read over and over, such as the first token"
        )
    scale = (d_in / spread).sqrt()
    scaled = first * scale[:, None]
    rng = torch.Generator().manual_seed(settings.seed)
    # Drawn on the CPU: generators of other devices give other numbers for one seed.
    W_dec = torch.randn(2, settings.d_sae, d_in, generator=rng).to(first.device)
    W_dec = W_dec / W_dec.norm(dim=-1, keepdim=True)
    weights = Crosscoder(
        # Each latent first reads along what it writes, so few start dead (Gao et al. 2024).
        W_enc=W_dec.transpose(1, 2).clone(),
        b_enc=torch.zeros(settings.d_sae, device=first.device),
        W_dec=W_dec,
        b_dec=_geometric_median(scaled),
        scale=scale,
        threshold=torch.tensor(0.0, device=first.device),
    )
    return weights, float(scaled.sub(scaled.mean(0)).pow(2).sum((1, 2)).mean())


def _geometric_median(points: Float[Tensor, "batch model d_in"]) -> Float[Tensor, "model d_in"]:
    """The point of least summed distance, for each model (Weiszfeld's algorithm)."""
    median = points.mean(0)
    for _ in range(MEDIAN_STEPS):
        # A point at the median itself would have an infinite weight.
        weight = 1 / (points - median).norm(dim=-1, keepdim=True).clamp_min(1e-6)
        median = (points * weight).sum(0) / weight.sum(0)
    return median


def _batch_top_k(
    weights: Crosscoder, x: Float[Tensor, "batch model d_in"], k: int
) -> tuple[Float[Tensor, "batch d_sae"], float]:
    """Latents with all but the k x batch highest scores left out, and the lowest score kept."""
    acts = weights.pre_acts(x)
    scores = (acts * weights.norms.sum(0)).detach()
    top = scores.flatten().topk(k * len(x))
    kept = torch.zeros_like(scores).flatten()
    # Fewer than k x batch may be positive: zeros among the top are not active latents.
    kept[top.indices] = (top.values > 0).float()
    positive = top.values[top.values > 0]
    return acts * kept.view_as(acts), float(positive.min()) if len(positive) else 0.0


def _dead_loss(
    weights: Crosscoder,
    x: Float[Tensor, "batch model d_in"],
    residual: Float[Tensor, "batch model d_in"],
    silent: Float[Tensor, " d_sae"],
    settings: CrosscoderSettings,
) -> Tensor:
    """Share of the residual that the dead latents, d_in / 2 per position, leave unexplained."""
    dead = silent >= settings.dead_after
    # d_in / 2 is the rule of Gao et al. 2024 (arXiv 2406.04093).
    n = min(int(dead.sum()), x.shape[-1] // 2)
    if n == 0:
        return torch.zeros((), device=x.device)
    acts = weights.pre_acts(x)[:, dead]
    scores = acts.detach() * weights.norms.detach().sum(0)[dead]
    kept = torch.zeros_like(scores).scatter(1, scores.topk(n, dim=1).indices, 1.0)
    made = torch.einsum("bl,mld->bmd", acts * kept, weights.W_dec[:, dead])
    variance = residual.sub(residual.mean(0)).pow(2).sum((1, 2)).mean()
    return (residual - made).pow(2).sum((1, 2)).mean() / variance.clamp_min(1e-8)
