"""ReasonScore: which latents are active around the words of reasoning (Galichin et al. 2025).

arXiv 2503.18878, with the formula of the released code. For groups of words r = 1..R, m_r is a
latent's mean activation in windows around the words of group r, m+ that in the union of all
windows, m- that elsewhere, and H the entropy of m_r over r divided by log R (1 if R = 1):

    score_j = m+_j / sum_i m+_i * H_j^alpha - m-_j / sum_i m-_i

The entropy lowers latents that are active around one group of words only. A high score is a reason
to examine a latent, and no evidence that it represents reasoning: see
`interp.methods.saes.injection`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.methods.saes.latents import Latents

WINDOW = (-1, 2)
"""From one position before a word to two after it, as in the released code."""
ALPHA = 0.7


def reason_score(
    latents: Latents,
    groups: Sequence[Collection[int]],
    *,
    ignored: Collection[int] = (),
    window: tuple[int, int] = WINDOW,
    alpha: float = ALPHA,
) -> Float[Tensor, " d_sae"]:
    """The ReasonScore of every latent.

    Args:
        latents: Of texts with and without the words.
        groups: Token ids of each group of words; groups that do not occur are left out.
        ignored: Special tokens, whose positions count nowhere.
        window: First and last position of a window, relative to the word.
        alpha: Exponent of the entropy.

    Returns:
        Scores.

    Raises:
        NotMeasurableError: If no group occurs, or there is nothing outside the windows.
    """
    real = ~torch.isin(latents.tokens, torch.tensor(sorted(ignored)))
    near = [_windows(latents, group, window) & real for group in groups]
    near = [positions for positions in near if bool(positions.any())]
    if not near:
        raise NotMeasurableError(f"none of the {len(groups)} groups of words occurs in the texts")
    union = torch.stack(near).any(0)
    if not bool((real & ~union).any()):
        raise NotMeasurableError("the windows cover all positions: add texts without these words")
    acts = latents.acts.double()
    inside, outside = acts[union].mean(0), acts[real & ~union].mean(0)
    per_group = torch.stack([acts[positions].mean(0) for positions in near])
    # A latent that is silent near all words gets the share 0, not 0 / 0.
    share = per_group / per_group.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
    entropy = torch.ones_like(inside)
    if len(near) > 1:
        entropy = -torch.xlogy(share, share).sum(0) / math.log(len(near))
    # Rounding may leave an entropy just below 0, whose power would be NaN.
    return (_share(inside) * entropy.clamp_min(0) ** alpha - _share(outside)).float()


def _windows(
    latents: Latents, group: Collection[int], window: tuple[int, int]
) -> Bool[Tensor, " pos"]:
    """Positions near a word of the group, within its own text."""
    n = len(latents.tokens)
    places = torch.isin(latents.tokens, torch.tensor(sorted(group))).nonzero()[:, 0]
    shifted = places[:, None] + torch.arange(window[0], window[1] + 1)
    inside = (shifted >= 0) & (shifted < n)
    same = latents.rows[shifted.clamp(0, n - 1)] == latents.rows[places][:, None]
    near = torch.zeros(n, dtype=torch.bool)
    near[shifted[inside & same]] = True
    return near


def _share(means: Tensor) -> Tensor:
    return means / means.sum().clamp_min(torch.finfo(torch.float64).tiny)
