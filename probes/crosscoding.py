"""Crosscoding: has post-training added features that the base model lacks, or removed some?

A crosscoder (`interp.crosscoder`) is trained on both models' activations at one site, and its
latents are sorted into shared, base only and post only, with those set apart that only seem
exclusive. How many would seem exclusive by chance is measured, not assumed, by two **nulls** that
are trained in the same way:

* *same*: the base model against itself. Nothing can be exclusive;
* *noise*: the base model against itself plus, at each position, a random vector as long as what
  post-training changed there. The models differ as much as the pair does, without structure.

A pair has exclusive latents where their rate is above both. The site, the texts and the size of
the dictionary bound what can be found: a feature that no text calls for is in neither count.

Example: GRPO that only made a model choose what it could do before: no more exclusive latents than
the nulls have, though Delta is not 0.5 for every latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp.crosscoder import (
    Crosscoder,
    CrosscoderSettings,
    LatentReport,
    Thresholds,
    inspect_latents,
    shuffled,
    train_crosscoder,
)
from interp.crosscoder.latents import KINDS
from interp.directions import collect
from interp.models import ModelPair
from interp.sites import Site

PAIR, SAME, NOISE = "pair", "same", "noise"
HELD_OUT = 5
"""One text in so many is kept for judging the latents."""
READ_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Crosscoding:
    """A crosscoder of a pair and of its nulls, with what is known of their latents."""

    pair: str
    site: Site
    settings: CrosscoderSettings
    crosscoders: dict[str, Crosscoder]
    """By PAIR, SAME and NOISE."""
    reports: dict[str, LatentReport]

    @property
    def null_rate(self) -> float:
        """The larger exclusive rate of the nulls."""
        return max(self.reports[name].exclusive_rate for name in (SAME, NOISE))


def paired_activations(
    pair: ModelPair, texts: Sequence[Sequence[int]], site: Site
) -> Float[Tensor, "example model d_in"]:
    """Activations of both models at all positions but the first of each text.

    The first position is left out because its outsized norm would be most of what is explained.
    """
    positions = [range(1, len(text)) for text in texts]
    both = [collect(model, texts, positions, site).values for model in (pair.base, pair.post)]
    return torch.stack(both, dim=1)


def null_pairs(
    activations: Float[Tensor, "example model d_in"], *, seed: int
) -> dict[str, Float[Tensor, "example model d_in"]]:
    """The pairs that say what happens by chance (see above), position by position."""
    base = activations[:, 0]
    changed = (activations[:, 1] - base).norm(dim=-1, keepdim=True)
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(base.shape, generator=rng)
    noise = noise / noise.norm(dim=-1, keepdim=True) * changed
    return {
        SAME: torch.stack([base, base], dim=1),
        NOISE: torch.stack([base, base + noise], dim=1),
    }


def crosscode(
    pair: ModelPair,
    texts: Sequence[Sequence[int]],
    site: Site,
    settings: CrosscoderSettings = CrosscoderSettings(),  # noqa: B008 - frozen
    *,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - frozen
) -> Crosscoding:
    """Trains a crosscoder on a pair and on both nulls, and judges all three on held-out texts.

    Args:
        pair: The models.
        texts: Token ids that both read; every fifth is held out.
        site: A stream with one vector per position.
        settings: The same for all three.
        thresholds: Where classes of latents begin.

    Returns:
        The crosscoders and their latents.

    Raises:
        ValueError: If there are too few texts for a batch, or the site has heads.
    """
    held_out = [text for n, text in enumerate(texts) if n % HELD_OUT == 0]
    kept = [text for n, text in enumerate(texts) if n % HELD_OUT]
    train, test = (paired_activations(pair, some, site) for some in (kept, held_out))
    sources = {PAIR: train, **null_pairs(train, seed=settings.seed)}
    targets = {PAIR: test, **null_pairs(test, seed=settings.seed + 1)}
    crosscoders: dict[str, Crosscoder] = {}
    reports: dict[str, LatentReport] = {}
    for name, values in sources.items():
        batches = shuffled(values, settings.batch_size, seed=settings.seed)
        label = f"crosscoder, {name}"
        crosscoders[name] = train_crosscoder(batches, settings, progress=label)
        split = targets[name].split(READ_AT_ONCE)
        reports[name] = inspect_latents(crosscoders[name], split, thresholds)
    return Crosscoding(pair.name, site, replace(settings), crosscoders, reports)


def told(found: Crosscoding) -> list[str]:
    """The counts of each class, the null rate and the fit, in lines."""
    names = list(found.reports)
    settings = found.settings
    lines = [
        f"{found.pair}, {found.site}: {settings.d_sae} latents, k = {settings.k}, "
        f"{found.reports[PAIR].n_positions} held-out positions",
        f"{'':16}" + "".join(f"{name:>10}" for name in names),
    ]
    for kind in KINDS:
        counts = "".join(f"{found.reports[name].count(kind):>10}" for name in names)
        lines.append(f"{kind:16}{counts}")
    for label, read in (
        ("exclusive rate", lambda r: r.exclusive_rate),
        ("duplicates", lambda r: r.n_duplicates),
        ("L0", lambda r: r.l0),
        ("FVU base", lambda r: r.fvu[0]),
        ("FVU post", lambda r: r.fvu[1]),
    ):
        values = "".join(f"{read(found.reports[name]):>10.3g}" for name in names)
        lines.append(f"{label:16}{values}")
    rate, null = found.reports[PAIR].exclusive_rate, found.null_rate
    verdict = "above" if rate > null else "not above"
    lines.append(f"exclusive latents of the pair: {rate:.1%}, {verdict} the nulls' {null:.1%}")
    return lines
