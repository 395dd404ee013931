"""Controls: directions whose effect a direction of interest must exceed.

- `random_directions`: the effect of any vector of that length. They are unit vectors like every
  direction, so at one dose all edits are equally long; receipts report the lengths.
- `token_direction`: the part that the *tokens* at the chosen positions account for. Occurrences of
  the same tokens in other contexts are averaged with the weights that these tokens have on either
  side; a direction that lies close to it is a direction of words, not of a behaviour.
- `token_matched_difference`: the complement, the mean difference between the chosen positions and
  the same tokens elsewhere, in which every effect of the token alone cancels.
- The direction of another behaviour is fitted like any other and passed to the sweep by name.

Example: if "Wait" occurs only in backtracking, a mean difference at "Wait" contains the embedding
of "Wait". With occurrences of "Wait" elsewhere, `token_matched_difference` does not.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.methods.directions.activations import Activations
from interp.methods.directions.direction import Direction, Source
from interp.methods.directions.fits import check_sides, fitted

MIN_COVERAGE = 0.5
"""Share of the positions whose token must occur elsewhere."""


def random_directions(like: Direction, n: int, *, seed: int) -> tuple[Direction, ...]:
    """Directions drawn uniformly from the sphere, at the site and in the dose unit of another.

    Args:
        like: The direction that they are controls for.
        n: How many.
        seed: Equal seeds give equal directions.

    Returns:
        Directions of the same norm and length.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, len(like.vector), generator=generator, dtype=torch.float64)
    source = Source("random", like.source.models, like.source.weights_sha256, note=f"seed {seed}")
    units = drawn / drawn.norm(dim=-1, keepdim=True)
    return tuple(replace(like, vector=unit.float(), source=source) for unit in units)


def token_direction(
    positive: Activations, negative: Activations, elsewhere: Activations
) -> Direction:
    """The mean difference that the tokens alone would give.

    With q(t) the mean activation of token t elsewhere, and p+ and p- the frequencies of tokens on
    the two sides: sum_t p+(t) q(t) - sum_t p-(t) q(t).

    Args:
        positive: Activations that show the behaviour.
        negative: Activations that do not.
        elsewhere: Occurrences of the same tokens in other contexts.

    Returns:
        The direction. Positions whose token does not occur elsewhere are left out.

    Raises:
        NotMeasurableError: If too few tokens occur elsewhere, or both sides have the same tokens
            equally often (nothing is then due to tokens).
        ValueError: If sites differ.
    """
    check_sides(positive, negative)
    check_sides(positive, elsewhere)
    means = _means(elsewhere)
    sides = [_expected(side, means) for side in (positive, negative)]
    raw = sides[0][1].mean(0) - sides[1][1].mean(0)
    covered = " and ".join(f"{len(kept)} of {len(s.tokens)}" for (kept, _), s in
                           zip(sides, (positive, negative), strict=True))  # fmt: skip
    return fitted(raw, "tokens alone", positive, negative, f"{covered} have their token elsewhere")


def token_matched_difference(positive: Activations, elsewhere: Activations) -> Direction:
    """Mean difference to the same tokens in other contexts, token by token.

    Args:
        positive: Activations that show the behaviour.
        elsewhere: Occurrences of the same tokens in other contexts, which do not.

    Returns:
        The direction of mean_i [x_i - q(token_i)], q as in `token_direction`. Positions whose
        token does not occur elsewhere are left out.

    Raises:
        NotMeasurableError: If too few tokens occur elsewhere.
        ValueError: If sites differ.
    """
    check_sides(positive, elsewhere)
    kept, expected = _expected(positive, _means(elsewhere))
    raw = (positive.values[kept].double() - expected).mean(0)
    note = f"{len(kept)} of {len(positive.tokens)} have their token elsewhere"
    return fitted(raw, "token-matched difference", positive, elsewhere, note)


def _means(elsewhere: Activations) -> dict[int, Tensor]:
    """Token -> its mean activation."""
    places: defaultdict[int, list[int]] = defaultdict(list)
    for at, token in enumerate(elsewhere.tokens):
        places[token].append(at)
    values = elsewhere.values.double()
    return {token: values[at].mean(0) for token, at in places.items()}


def _expected(
    side: Activations, means: dict[int, Tensor]
) -> tuple[list[int], Float[Tensor, "example d_model"]]:
    """Examples whose token occurs elsewhere, and its mean activation there."""
    kept = [at for at, token in enumerate(side.tokens) if token in means]
    if len(kept) < MIN_COVERAGE * len(side.tokens) or not kept:
        missing = sorted({token for token in side.tokens if token not in means})
        raise NotMeasurableError(
            f"a control by tokens needs other contexts for at least {MIN_COVERAGE:.0%} of the "
            f"positions, and only {len(kept)} of {len(side.tokens)} have their token elsewhere. "
            f"Missing ids: {missing[:8]}. Collect `elsewhere` from more texts"
        )
    return kept, torch.stack([means[side.tokens[at]] for at in kept])
