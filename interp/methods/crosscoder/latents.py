r"""Which model a latent belongs to: both, base only, post only, or only seemingly one of them.

The first sign is the **relative decoder norm** (Lindsey et al. 2024),

    Delta_j = 0.5 * ((||d_post|| - ||d_base||) / max(||d_post||, ||d_base||) + 1):

0 is base only, 0.5 shared alike, 1 post only. It can mislead in two ways (Minder et al. 2025, arXiv
2504.02922): the smaller decoder row is *shrunk* though the concept is there, or one concept is
*decoupled* into two latents, one for each model. **Latent scaling** finds both. Let d_j be the
decoder row of the latent's own model, f_j(t) its activations and Y_t a target; the multiple of
f_j d_j that explains the target best, in the least-squares sense, is

    beta_j(Y) = <d_j, sum_t f_j(t) Y_t> / (||d_j||^2 sum_t f_j(t)^2).

* nu_eps = beta_j(error of the other model + the latent's own contribution there) / beta_j(the same
  of its own model). High: the other model has the concept, and its decoder row is too short.
* nu_r = beta_j(reconstruction of the other model by all other latents) / beta_j(reconstruction of
  its own model). High: other latents carry it there.

The published text leaves open whether the denominator of nu_r holds the latent's own contribution.
Here it does: without it, it is about 0 exactly when a latent is exclusive. The bias of the decoder
is left out of reconstructions, because it is no latent's.

A latent is exclusive when Delta is at an end *and* both ratios are low. A crosscoder of a model
against itself measures how many latents are exclusive by chance; the thresholds alone do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from interp.methods.crosscoder.dictionary import BASE, POST, Crosscoder

SHARED, BASE_ONLY, POST_ONLY = "shared", "base_only", "post_only"
SHRUNK, DECOUPLED, BETWEEN, RARE, DEAD = "shrunk", "decoupled", "between", "rare", "dead"
KINDS = (SHARED, BASE_ONLY, POST_ONLY, SHRUNK, DECOUPLED, BETWEEN, RARE, DEAD)


@dataclass(frozen=True)
class Thresholds:
    """Where classes begin.

    Raises:
        ValueError: If the ends of the relative norm overlap.
    """

    exclusive: float = 0.1
    """Delta up to this, or from 1 minus this, seems exclusive."""
    shared: float = 0.2
    """Delta within this of 0.5 is shared."""
    nu_eps: float = 0.2
    """From here on the other model has the concept, shrunk."""
    nu_r: float = 0.5
    """From here on the other model has the concept, in other latents."""
    min_active: int = 20
    """A latent active at fewer positions is too rare to be judged."""
    duplicate: float = 0.95
    """Cosine of the decoders, both models together, from which two latents are one."""

    def __post_init__(self) -> None:
        if not 0 < self.exclusive < 0.5 - self.shared < 0.5:
            raise ValueError(
                f"classes of the relative norm may not overlap: exclusive + shared must stay "
                f"below 0.5, received {self.exclusive} and {self.shared}"
            )


@dataclass(frozen=True, eq=False)
class LatentReport:
    """What is known of each latent on held-out activations."""

    delta: Float[Tensor, " d_sae"]
    """Relative decoder norm: 0 base, 1 post."""
    n_active: Int[Tensor, " d_sae"]
    """Positions at which each is active."""
    nu_eps: Float[Tensor, " d_sae"]
    nu_r: Float[Tensor, " d_sae"]
    kinds: tuple[str, ...]
    """One of `KINDS` per latent."""
    n_duplicates: int
    """Latents in use whose decoders are those of an earlier one."""
    l0: float
    """Mean active latents per position."""
    fvu: tuple[float, float]
    """Fraction of variance unexplained, base and post."""
    n_positions: int

    def count(self, kind: str) -> int:
        """Latents of a kind."""
        return Counter(self.kinds)[kind]

    @property
    def n_judged(self) -> int:
        """Latents that are neither dead nor too rare."""
        return len(self.kinds) - self.count(DEAD) - self.count(RARE)

    @property
    def exclusive_rate(self) -> float:
        """Share of the judged latents that only one model has; NaN without any."""
        n_exclusive = self.count(BASE_ONLY) + self.count(POST_ONLY)
        return n_exclusive / self.n_judged if self.n_judged else float("nan")


def relative_norm(crosscoder: Crosscoder) -> Float[Tensor, " d_sae"]:
    """Delta of each latent: 0 base only, 0.5 alike, 1 post only (Lindsey et al. 2024)."""
    base, post = crosscoder.norms
    # Clamped, so that two rows of zeros give 0.5 and not NaN.
    return 0.5 * ((post - base) / torch.maximum(post, base).clamp_min(1e-12) + 1)


@torch.no_grad()
def inspect_latents(
    crosscoder: Crosscoder,
    batches: Iterable[Tensor],
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
) -> LatentReport:
    """Reads held-out activations and classifies each latent: of base, of post, or shared.

    Args:
        crosscoder: The dictionary.
        batches: Finitely many batches [batch, model, d_in] of raw activations, where the dictionary
            is.
        thresholds: Where classes begin.

    Returns:
        Numbers and class of each latent, on the CPU.

    Raises:
        ValueError: If there are no batches.
    """
    sums = _Sums(crosscoder)
    for batch in batches:
        sums.add(batch.float())
    if sums.n == 0:
        raise ValueError(
            "latents are judged on activations, and no batch came. Likely an iterator that was "
            "read before; give a list, or split: values.split(4096)"
        )
    columns = [
        column.cpu() for column in (relative_norm(crosscoder), *sums.ratios(), sums.n_active)
    ]
    delta, nu_eps, nu_r, n_active = columns
    each = zip(*(column.tolist() for column in columns), strict=True)
    kinds = tuple(_kind(*numbers, at=thresholds) for numbers in each)
    alive = n_active > 0
    return LatentReport(
        delta=delta,
        n_active=n_active,
        nu_eps=nu_eps,
        nu_r=nu_r,
        kinds=kinds,
        n_duplicates=_count_duplicates(crosscoder, alive, thresholds.duplicate),
        l0=float(n_active.sum()) / sums.n,
        fvu=sums.fvu(),
        n_positions=sums.n,
    )


class _Sums:
    """Sums over positions from which every beta follows."""

    def __init__(self, crosscoder: Crosscoder) -> None:
        self._cc = crosscoder
        d_sae, d_in = crosscoder.d_sae, crosscoder.W_dec.shape[-1]
        zeros = partial(torch.zeros, device=crosscoder.W_dec.device)
        base, post = crosscoder.norms
        self.own = torch.where(post >= base, POST, BASE)
        self._every = torch.arange(d_sae, device=self.own.device)
        self._d = crosscoder.W_dec[self.own, self._every]
        self.n = 0
        self.n_active = zeros(d_sae, dtype=torch.int64)
        self._squares = zeros(d_sae)
        self._error = zeros(2, d_sae)
        """Sum of f_j <d_j, error>, by model; likewise of the reconstruction."""
        self._made = zeros(2, d_sae)
        self._left = zeros(2)
        self._x, self._x2 = zeros(2, d_in), zeros(2)

    def add(self, raw: Float[Tensor, "batch model d_in"]) -> None:
        cc = self._cc
        x, acts = cc.scaled(raw), cc.encode(raw)
        whole = cc.decode_scaled(acts)
        error = x - whole
        self.n += len(x)
        self.n_active += (acts > 0).sum(0)
        self._squares += acts.pow(2).sum(0)
        for model in (BASE, POST):
            # The bias is no latent's: left in, it would count as what the other latents carry.
            made = whole[:, model] - cc.b_dec[model]
            self._error[model] += (acts * (error[:, model] @ self._d.T)).sum(0)
            self._made[model] += (acts * (made @ self._d.T)).sum(0)
        self._left += error.pow(2).sum((0, 2))
        self._x += x.sum(0)
        self._x2 += x.pow(2).sum((0, 2))

    def ratios(self) -> tuple[Float[Tensor, " d_sae"], Float[Tensor, " d_sae"]]:
        """nu_eps and nu_r; NaN where a latent is never active."""
        every, other = self._every, 1 - self.own
        own_row, other_row = self._cc.W_dec[self.own, every], self._cc.W_dec[other, every]
        # beta = sum / (||d||^2 sum f^2); the denominator is the same above and below.
        inside = self._squares * (self._d * own_row).sum(-1)
        across = self._squares * (self._d * other_row).sum(-1)
        eps = (self._error[other, every] + across) / (self._error[self.own, every] + inside)
        r = (self._made[other, every] - across) / self._made[self.own, every]
        silent = self.n_active == 0
        return eps.masked_fill(silent, float("nan")), r.masked_fill(silent, float("nan"))

    def fvu(self) -> tuple[float, float]:
        """Squared error over the variance around the mean, base and post."""
        # From sums, because batches may come from an iterator that is read only once.
        variance = self._x2 - self._x.pow(2).sum(-1) / self.n
        base, post = (self._left / variance).tolist()
        return base, post


def _kind(delta: float, nu_eps: float, nu_r: float, n_active: int, *, at: Thresholds) -> str:
    if n_active < at.min_active:
        return RARE if n_active else DEAD
    if abs(delta - 0.5) <= at.shared:
        return SHARED
    if at.exclusive < delta < 1 - at.exclusive:
        return BETWEEN
    # A negative ratio is an anticorrelated remainder, not the concept: only a high one counts.
    if nu_eps >= at.nu_eps:
        return SHRUNK
    if nu_r >= at.nu_r:
        return DECOUPLED
    return POST_ONLY if delta > 0.5 else BASE_ONLY


def _count_duplicates(crosscoder: Crosscoder, alive: Tensor, cosine: float) -> int:
    # Both models' rows as one vector: latents that agree in one model only are no duplicates.
    rows = rearrange(crosscoder.W_dec, "model d_sae d_in -> d_sae (model d_in)")[alive]
    unit = rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    # Below the diagonal, so that the first latent of a set of duplicates is not counted.
    return int((torch.tril(unit @ unit.T, -1) >= cosine).any(1).sum())
