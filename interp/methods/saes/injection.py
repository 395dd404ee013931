"""Token injection: does a latent respond to the behaviour, or to the words that come with it?

After Ma et al. 2026 (arXiv 2601.05679). The tokens on which a latent is most active are put into
texts that do not show the behaviour, and the maximum of its activation over each text is measured
(effects in Cohen's d, pooled standard deviation). If the tokens alone activate the latent, it is a
latent of tokens, whatever its activations on real texts look like:

    d >= 0.8 and p < .01    token-driven
    d >= 0.5 and p < .05    partially token-driven
    d >= 0.2 and p < .05    weakly token-driven
    else                    context-dependent

Bounds and tokens are theirs. They compare with the original text only. But inserting any words
disrupts a text, and disruption alone can activate a latent. Here the text is compared with the
original, and with the same text into which other words were put at the same places; d is the
smaller of the two and p the larger, so that a token-driven latent passes both. The effect of the
other words alone is reported too.

The other words are drawn from the ten nearest in frequency to the token that they stand for; in a
small vocabulary the nearest may still be several times as frequent. Words on which the latent is as
active as on average, or more, are not used: a latent of forty words would otherwise be compared
with itself. Where fewer words are left than are put into a text, or no token activates the latent,
it is *untested*.

Tokens are put in four ways (first, last, spread, in the place of others) and the strongest counts;
p is that of a one-sided Mann-Whitney test, times the number of ways. "Context-dependent" is the
failure to explain a latent by its tokens, not a proof that it stands for anything.

Example: a latent that is active on ``=`` in chains is active on ``=`` in ``Q 3 = + 4 ? A 7`` too,
and not on ``;`` in ``Q 3 ; + 4 ? A 7``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.methods.saes.latents import LatentReader, Latents

Way = Literal["first", "last", "spread", "replace"]
TokenClass = Literal[
    "token-driven",
    "partially token-driven",
    "weakly token-driven",
    "context-dependent",
    "untested",
]
WAYS: tuple[Way, ...] = get_args(Way)


N_ALIKE = 10
"""Words of nearest frequency among which the control of a token is drawn."""


class TopToken(NamedTuple):
    """A token on which a latent is most active, and its control."""

    token: int
    alike: tuple[int, ...]
    """Words nearest in frequency that do not activate the latent; none if there are too few."""


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
    """Result of the injection test for one latent."""

    latent: int
    tokens: tuple[int, ...]
    """Its top tokens, the strongest first; they were put in unless it is untested."""
    way: Way
    """The way with the largest effect."""
    d: float
    """Cohen's d, the smaller of those against the text as it was and against other words in the
    same places; infinite if there is no spread but a difference, NaN if untested."""
    p: float
    """The larger of the two."""
    d_alike: float
    """Cohen's d of the other words alone, against the original text."""
    kind: TokenClass


def top_tokens(
    latents: Latents, latent: int, injection: Injection, excluded: Collection[int] = ()
) -> tuple[TopToken, ...]:
    """The tokens on which a latent is most active on average, the strongest first.

    Args:
        latents: Of texts in which it is at home.
        latent: Its index.
        injection: How many, and how often a token must occur.
        excluded: Tokens that are not put into texts, such as BOS.

    Returns:
        Tokens with a positive mean; perhaps none. Controls are the words on which the latent is
        less active than on the average position of a word that counts; none for any token if they
        are fewer than a text gets tokens.
    """
    acts = latents.acts[:, latent].double()
    n = int(latents.tokens.max()) + 1
    counts = torch.bincount(latents.tokens, minlength=n)
    means = torch.bincount(latents.tokens, weights=acts, minlength=n) / counts.clamp_min(1)
    usable = counts >= injection.min_count
    usable[[token for token in excluded if token < n]] = False
    means[~usable] = 0
    average = (means * counts)[usable].sum() / counts[usable].sum()
    order = means.argsort(descending=True, stable=True)[: injection.n_top]
    top = order[means[order] > 0]
    usable[top] = False
    others = (usable & (means < average)).nonzero()[:, 0]
    if len(others) < injection.n_inserted:
        others = others[:0]
    distance = (counts[top].log()[:, None] - counts[others].log()).abs()
    nearest = others[distance.argsort(dim=1, stable=True)[:, :N_ALIKE]]
    return tuple(
        TopToken(token, tuple(alike))
        for token, alike in zip(top.tolist(), nearest.tolist(), strict=True)
    )


def inject(row: Sequence[int], tokens: Sequence[int], way: Way, rng: Random) -> list[int]:
    """Puts tokens into a text, after its first token.

    Args:
        row: The text; its first token (BOS) stays first.
        tokens: What is put in, in order.
        way: *first*: right after the first token; *last*: at the end; *spread*: at random places;
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
    for place, token in zip(places, tokens, strict=False):  # a short text has fewer places
        changed[place] = token
    return changed


def falsify(
    read: LatentReader,
    latents: Mapping[int, Sequence[TopToken]],
    clean: Sequence[Sequence[int]],
    injection: Injection,
) -> tuple[Falsification, ...]:
    """Puts each latent's tokens into texts without the behaviour and measures its activation.

    Args:
        read: The model with its SAE.
        latents: Latent -> its tokens, as `top_tokens` finds them.
        clean: Texts without the behaviour.
        injection: The settings.

    Returns:
        One result per latent, in order.

    Raises:
        NotMeasurableError: If there are fewer than 10 texts, or a text has fewer than 2 tokens.
    """
    if len(clean) < 10 or min(len(row) for row in clean) < 2:
        raise NotMeasurableError(
            f"injection needs at least 10 texts of 2 tokens or more, received {len(clean)} texts. "
            f"Ask for more examples"
        )
    before = _largest(read, clean)
    return tuple(
        _falsify_one(read, latent, tuple(tokens), clean, before[:, latent], injection)
        for latent, tokens in latents.items()
    )


def _falsify_one(
    read: LatentReader,
    latent: int,
    top: tuple[TopToken, ...],
    clean: Sequence[Sequence[int]],
    before: Float[Tensor, " example"],
    injection: Injection,
) -> Falsification:
    words = tuple(one.token for one in top)
    if not top or not all(one.alike for one in top):
        nan = float("nan")
        return Falsification(latent, words, "first", nan, nan, nan, "untested")
    effects: list[tuple[float, float, float, Way]] = []
    for way in WAYS:
        # By latent and way: a result does not depend on which other latents are tested.
        rng = Random(f"injection {injection.seed} {latent} {way}")
        own: list[list[int]] = []
        others: list[list[int]] = []
        for row in clean:
            # `places` seeds both texts below, so that tokens and controls take the same places.
            drawn, places = rng.sample(top, min(injection.n_inserted, len(top))), rng.random()
            controls = [rng.choice(one.alike) for one in drawn]
            own.append(inject(row, [one.token for one in drawn], way, Random(places)))
            others.append(inject(row, controls, way, Random(places)))
        woken, control = (_largest(read, rows)[:, latent] for rows in (own, others))
        seen = [_effect(woken, rest) for rest in (before, control)]
        d, p = min(d for d, _ in seen), max(p for _, p in seen)
        effects.append((d, min(1.0, p * len(WAYS)), cohens_d(control, before), way))
    d, p, d_alike, way = max(effects, key=lambda effect: effect[0])
    return Falsification(latent, words, way, d, p, d_alike, classify(d, p))


def _largest(read: LatentReader, rows: Sequence[Sequence[int]]) -> Float[Tensor, "example d_sae"]:
    """Maximum over each text but for its first token."""
    return torch.stack([acts[1:].amax(0) for acts in read(rows)])


def _effect(
    after: Float[Tensor, " example"], before: Float[Tensor, " example"]
) -> tuple[float, float]:
    """Cohen's d and p."""
    from scipy.stats import mannwhitneyu

    p = mannwhitneyu(after.numpy(), before.numpy(), alternative="greater").pvalue
    return cohens_d(after, before), float(p)


def cohens_d(after: Float[Tensor, " n"], before: Float[Tensor, " m"]) -> float:
    """Difference of the means in pooled standard deviations.

    Without any spread it is 0 if the means are equal and infinite if not.
    """
    difference = float(after.double().mean() - before.double().mean())
    # The sides are equally many texts, so the pooled variance is the mean of the two.
    spread = math.sqrt(float(after.double().var() + before.double().var()) / 2)
    if spread == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / spread


def classify(d: float, p: float) -> TokenClass:
    """The class of a measured effect, by the bounds above."""
    if d >= 0.8 and p < 0.01:
        return "token-driven"
    if d >= 0.5 and p < 0.05:
        return "partially token-driven"
    if d >= 0.2 and p < 0.05:
        return "weakly token-driven"
    return "context-dependent"
