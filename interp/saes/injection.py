"""Token injection: does a latent follow the behaviour, or the words that come with it?

After Ma et al. 2026 (arXiv 2601.05679). The tokens on which a latent is most active are put into
texts that do not show the behaviour, and the maximum of its activation over each text is compared
with that of the text as it was (Cohen's d, pooled standard deviation). If the tokens alone wake the
latent, it is a latent of tokens, whatever its activations on real texts look like:

    d >= 0.8 and p < .01    token-driven
    d >= 0.5 and p < .05    partially token-driven
    d >= 0.2 and p < .05    weakly token-driven
    else                    context-dependent

Tokens are put in four ways (first, last, spread, in the place of others) and the strongest counts;
p is that of a one-sided Mann-Whitney test, times the number of ways. "Context-dependent" is the
failure to explain a latent by its tokens, not a proof that it stands for anything.

Example: a latent that is active on ``=`` in chains is active on ``=`` in ``Q 3 = + 4 ? A 7`` too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.saes.latents import Latents, Reader

Way = Literal["first", "last", "spread", "replace"]
Class = Literal[
    "token-driven", "partially token-driven", "weakly token-driven", "context-dependent"
]
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True)
class Injection:
    """How tokens are put into texts."""

    n_top: int = 10
    """Tokens of a latent that are drawn from."""
    n_inserted: int = 3
    """Tokens put into each text."""
    min_count: int = 5
    """Occurrences that a token needs for its mean activation to count."""
    seed: int = 0


@dataclass(frozen=True)
class Falsification:
    """What injection showed for one latent."""

    latent: int
    tokens: tuple[int, ...]
    """Those that were put in, the strongest first."""
    way: Way
    """The way with the largest effect."""
    d: float
    """Its Cohen's d; infinite if there is no spread but a difference, NaN without tokens."""
    p: float
    kind: Class


def top_tokens(
    latents: Latents, latent: int, injection: Injection, excluded: Collection[int] = ()
) -> tuple[int, ...]:
    """The tokens on which a latent is most active on average, the strongest first.

    Args:
        latents: Of texts in which it is at home.
        latent: Its index.
        injection: How many, and how often a token must occur.
        excluded: Tokens that are not put into texts, such as BOS.

    Returns:
        Tokens with a positive mean; perhaps none.
    """
    acts = latents.acts[:, latent].double()
    n = int(latents.tokens.max()) + 1
    counts = torch.bincount(latents.tokens, minlength=n)
    means = torch.bincount(latents.tokens, weights=acts, minlength=n) / counts.clamp_min(1)
    means[counts < injection.min_count] = 0
    means[[token for token in excluded if token < n]] = 0
    order = means.argsort(descending=True, stable=True)[: injection.n_top]
    return tuple(int(token) for token in order if means[token] > 0)


def inject(row: Sequence[int], tokens: Sequence[int], way: Way, rng: Random) -> list[int]:
    """Puts tokens into a text, behind its first token.

    Args:
        row: The text; its first token (BOS) stays first.
        tokens: What is put in, in order.
        way: *first*: right behind the first token; *last*: at the end; *spread*: at random places;
            *replace*: in the place of random tokens.
        rng: Chooses the places.

    Returns:
        The changed text.
    """
    if way == "first":
        return [*row[:1], *tokens, *row[1:]]
    if way == "last":
        return [*row, *tokens]
    changed = list(row)
    if way == "spread":
        for token in tokens:
            changed.insert(rng.randint(1, len(changed)), token)
        return changed
    places = rng.sample(range(1, len(row)), min(len(tokens), len(row) - 1))
    for place, token in zip(places, tokens, strict=False):
        changed[place] = token
    return changed


def falsify(
    read: Reader,
    latents: Mapping[int, Sequence[int]],
    clean: Sequence[Sequence[int]],
    injection: Injection,
) -> tuple[Falsification, ...]:
    """Puts each latent's tokens into texts without the behaviour and sees whether it wakes.

    Args:
        read: The model with its SAE.
        latents: Latent -> its tokens, as `top_tokens` finds them.
        clean: Texts without the behaviour.
        injection: The settings.

    Returns:
        One result per latent, in order.

    Raises:
        ValueError: If there are fewer than 10 texts, or a text has fewer than 2 tokens.
    """
    if len(clean) < 10 or min(len(row) for row in clean) < 2:
        raise ValueError(
            f"injection needs at least 10 texts of 2 tokens or more, received {len(clean)} texts"
        )
    before = torch.stack([acts[1:].amax(0) for acts in read(clean)])
    return tuple(
        _falsify_one(read, latent, tuple(tokens), clean, before[:, latent], injection)
        for latent, tokens in latents.items()
    )


def _falsify_one(
    read: Reader,
    latent: int,
    tokens: tuple[int, ...],
    clean: Sequence[Sequence[int]],
    before: Float[Tensor, " example"],
    injection: Injection,
) -> Falsification:
    from scipy.stats import mannwhitneyu

    if not tokens:
        return Falsification(latent, (), "first", float("nan"), float("nan"), "context-dependent")
    effects: list[tuple[float, float, Way]] = []
    for way in WAYS:
        rng = Random(f"injection {injection.seed} {latent} {way}")
        n = min(injection.n_inserted, len(tokens))
        rows = [inject(row, rng.sample(tokens, n), way, rng) for row in clean]
        after = torch.stack([acts[1:, latent].amax() for acts in read(rows)])
        p = float(mannwhitneyu(after.numpy(), before.numpy(), alternative="greater").pvalue)
        effects.append((cohens_d(after, before), min(1.0, p * len(WAYS)), way))
    d, p, way = max(effects, key=lambda effect: effect[0])
    return Falsification(latent, tokens, way, d, p, classify(d, p))


def cohens_d(after: Float[Tensor, " n"], before: Float[Tensor, " m"]) -> float:
    """Difference of the means in pooled standard deviations.

    Without any spread it is 0 if the means are equal and infinite if not.
    """
    difference = float(after.double().mean() - before.double().mean())
    spread = math.sqrt(float(after.double().var() + before.double().var()) / 2)
    if spread == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / spread


def classify(d: float, p: float) -> Class:
    """The class of an effect, by the bounds above."""
    if d >= 0.8 and p < 0.01:
        return "token-driven"
    if d >= 0.5 and p < 0.05:
        return "partially token-driven"
    if d >= 0.2 and p < 0.05:
        return "weakly token-driven"
    return "context-dependent"
