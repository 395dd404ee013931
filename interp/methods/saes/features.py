"""Features of the mode: latents that are active in chains of thought, each tested by injection.

The model reads texts with a chain, and the same questions answered at once. Words that hardly occur
outside chains are the words of the mode. Latents are ranked by their ReasonScore around these words
(`interp.methods.saes.reason_score`), and each is tested by token injection
(`interp.methods.saes.injection`). A feature is always reported with its class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from interp.errors import NotMeasurableError
from interp.methods.saes.injection import Falsification, Injection, falsify, top_tokens
from interp.methods.saes.latents import LatentReader, Latents, encode_rows
from interp.methods.saes.reason_score import reason_score

MIN_SHARE = 0.9
"""Share of a word's occurrences that must lie in chains for it to be a word of the mode."""


class ChainText(NamedTuple):
    """A text with a chain."""

    ids: tuple[int, ...]
    start: int
    """Position of the token that opens the chain."""
    end: int
    """One past the token that closes it."""


@dataclass(frozen=True)
class Feature:
    """A latent that is active around the words of the mode."""

    latent: int
    score: float
    """ReasonScore."""
    max_act: float
    """Largest activation in the texts."""
    falsification: Falsification


@dataclass(frozen=True)
class Features:
    """The features of the mode, and latents to compare them with."""

    found: tuple[Feature, ...]
    """The highest scores first."""
    words: tuple[int, ...]
    """The words of the mode."""
    others: tuple[int, ...]
    """Latents that are active somewhere and were not found, in random order."""


def find_features(
    read: LatentReader,
    thinking: Sequence[ChainText],
    direct: Sequence[Sequence[int]],
    *,
    n: int,
    special: Collection[int],
    injection: Injection,
) -> Features:
    """Ranks latents by ReasonScore and tests the first.

    Args:
        read: The model with its SAE.
        thinking: Texts with a chain.
        direct: Texts without; tokens are put into these.
        n: How many features are wanted.
        special: Tokens that count nowhere and are not put into texts, such as BOS.
        injection: Settings of the test; its seed also orders the other latents.

    Returns:
        The features; fewer than `n` if fewer have a positive score.

    Raises:
        NotMeasurableError: If no word belongs to the mode, or there are fewer than 10 direct texts.
    """
    words = mode_words(thinking, direct, special)
    if not words:
        raise NotMeasurableError(
            f"no word has {MIN_SHARE:.0%} of its occurrences in chains, so the words of the mode "
            f"are not known. Likely the texts without a chain hold one"
        )
    latents = encode_rows(read, [*(text.ids for text in thinking), *direct])
    scores = reason_score(latents, [{word} for word in words], ignored=special)
    order = scores.argsort(descending=True, stable=True)[:n].tolist()
    chosen = [latent for latent in order if float(scores[latent]) > 0]
    tokens = {latent: top_tokens(latents, latent, injection, special) for latent in chosen}
    tested = falsify(read, tokens, direct, injection)
    found = tuple(
        Feature(one.latent, float(scores[one.latent]), _max_act(latents, one.latent), one)
        for one in tested
    )
    return Features(found, words, _others(latents, chosen, injection.seed))


def mode_words(
    thinking: Sequence[ChainText], direct: Sequence[Sequence[int]], special: Collection[int]
) -> tuple[int, ...]:
    """Words of which nearly all occurrences lie in chains, in at least half of the chains.

    Args:
        thinking: Texts with a chain.
        direct: Texts without.
        special: Tokens that are left out.

    Returns:
        Token ids, the most frequent first.
    """
    inside = Counter(token for text in thinking for token in text.ids[text.start : text.end])
    everywhere = inside + Counter(
        token for text in thinking for token in (*text.ids[: text.start], *text.ids[text.end :])
    )
    everywhere += Counter(token for row in direct for token in row)
    chains = Counter(t for text in thinking for t in set(text.ids[text.start : text.end]))
    return tuple(
        token
        for token, count in inside.most_common()
        if token not in special
        and count >= MIN_SHARE * everywhere[token]
        and chains[token] >= len(thinking) / 2
    )


def _max_act(latents: Latents, latent: int) -> float:
    return float(latents.acts[:, latent].max())


def _others(latents: Latents, chosen: Sequence[int], seed: int) -> tuple[int, ...]:
    active = (latents.acts > 0).any(0).nonzero()[:, 0].tolist()
    rest = [latent for latent in active if latent not in chosen]
    order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))
    return tuple(rest[at] for at in order.tolist())
