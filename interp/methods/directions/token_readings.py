"""Token readings: the tokens of a direction by the logit lens, and its nearest embeddings.

Two cheap checks before any steering. A direction close to a row of the embedding or unembedding
matrix may work by naming a token, and its "behaviour" is then a word; Venhoff et al. (arXiv
2506.18167) leave out the layers in which that is so. The logit lens (nostalgebraist 2020) gives the
tokens that become more likely if the direction is added just before the final norm. Both use the
first or last matrix of the model alone, so they are unreliable for early layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.methods.directions.direction import Direction, check_fits
from interp.models import Model
from interp.models.forward import unembed


@dataclass(frozen=True)
class TokenScore:
    """A token and what it scored."""

    id: int
    text: str
    score: float


@dataclass(frozen=True)
class Lens:
    """Tokens that a direction favours most and least."""

    top: tuple[TokenScore, ...]
    """Scores are differences of logits, per unit of the normed stream."""
    bottom: tuple[TokenScore, ...]


@dataclass(frozen=True)
class Alignment:
    """Tokens whose vectors are nearest to a direction, by absolute cosine; scores keep the sign."""

    embed: tuple[TokenScore, ...]
    """Rows of W_E."""
    unembed: tuple[TokenScore, ...]
    """Columns of W_U."""

    @property
    def largest(self) -> float:
        """Largest absolute cosine."""
        return max(abs(score.score) for score in (*self.embed, *self.unembed))


@torch.no_grad()
def logit_lens(model: Model, direction: Direction, *, n: int = 10) -> Lens:
    """Tokens that a direction favours, through the final norm and the unembedding.

    Args:
        model: Whose words are asked for.
        direction: In a stream of width d_model.
        n: Tokens at each end.

    Returns:
        unembed(norm(v)) - unembed(norm(0)), v of the reference norm where it is known: what biases
        of the norm and of the unembedding add by themselves cancels.

    Raises:
        ValueError: If the direction does not fit the model or is not in its residual width.
    """
    _check_width(model, direction)
    norm: Callable[[Tensor], Tensor] = model.hf.get_submodule(
        model.adapter.places["ln_final"].module
    )
    vector = direction.vector.to(model.device, model.dtype) * (direction.reference_norm or 1.0)
    both = unembed(model, norm(torch.stack([vector, torch.zeros_like(vector)])))
    logits = both[0] - both[1]
    return Lens(_named(model, logits, n), _named(model, -logits, n, sign=-1.0))


@torch.no_grad()
def token_alignment(model: Model, direction: Direction, *, n: int = 5) -> Alignment:
    """Tokens whose embedding or unembedding points most along (or against) a direction.

    Args:
        model: Whose tokens are asked for.
        direction: In a stream of width d_model.
        n: Tokens of each matrix.

    Returns:
        The tokens with their cosines.

    Raises:
        ValueError: If the direction does not fit the model or is not in its residual width.
    """
    _check_width(model, direction)
    nearest: list[tuple[TokenScore, ...]] = []
    for weight in (
        model.hf.get_input_embeddings().weight,
        model.hf.get_output_embeddings().weight,
    ):
        rows = weight[: model.d_vocab].float()
        cosines = (rows @ direction.vector.to(rows.device)) / rows.norm(dim=-1).clamp_min(1e-12)
        picked = cosines.abs().topk(min(n, len(cosines))).indices.tolist()
        nearest.append(tuple(_score(model, at, float(cosines[at])) for at in picked))
    return Alignment(*nearest)


def _check_width(model: Model, direction: Direction) -> None:
    check_fits(model, direction)
    if direction.site.axes[-1] != "d_model":
        raise ValueError(
            f"tokens have vectors of width d_model, and {direction.site} is a stream inside the "
            f"MLP. Use a direction of a residual stream, attn_out or mlp_out"
        )


def _named(
    model: Model, scores: Float[Tensor, " d_vocab"], n: int, *, sign: float = 1.0
) -> tuple[TokenScore, ...]:
    best = scores.topk(min(n, len(scores)))
    return tuple(
        _score(model, at, sign * score)
        for at, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _score(model: Model, token: int, score: float) -> TokenScore:
    return TokenScore(token, model.tokenizer.decode([token]), score)
