"""Pairs: a base model and the same model after post-training.

Everything here compares the two token by token and site by site, which means something only if they
share tokenizer, vocabulary, width, depth and number format. A `ModelPair` cannot be made of models
that do not; the error says in what they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interp.models.model import Model

N_SHOWN = 5
"""Differing tokens listed in an error."""


def _differing_tokens(base: dict[str, int], post: dict[str, int]) -> list[str]:
    """Tokens with unequal ids, in the order of the ids, as text."""
    tokens = {token for token in base.keys() | post.keys() if base.get(token) != post.get(token)}
    order = sorted(tokens, key=lambda token: (base.get(token, post.get(token, 0)), token))
    return [f"{token!r} (base {base.get(token)}, post {post.get(token)})" for token in order]


def _check_tokenizers(base: Model, post: Model) -> None:
    vocabularies: list[Any] = [model.tokenizer.get_vocab() for model in (base, post)]
    differing = _differing_tokens(*vocabularies)
    if differing:
        raise ValueError(
            f"the models of a pair must share one tokenizer; those of {base.name} and {post.name} "
            f"differ in {len(differing)} tokens, the first being {', '.join(differing[:N_SHOWN])}. "
            f"If post-training added tokens, add them to the tokenizer of the base model too and "
            f"resize its embedding; models of two families are not a pair"
        )


@dataclass(frozen=True, eq=False)
class ModelPair:
    """A base model and what post-training made of it.

    Raises:
        ValueError: If the two differ in tokenizer, vocabulary size, width, depth, heads, dtype or
            device.
    """

    base: Model
    post: Model

    def __post_init__(self) -> None:
        _check_tokenizers(self.base, self.post)
        sizes = ("d_vocab", "d_model", "n_layers", "n_heads", "n_kv_heads", "dtype", "device")
        differing = [
            f"{size}: base {getattr(self.base, size)}, post {getattr(self.post, size)}"
            for size in sizes
            if getattr(self.base, size) != getattr(self.post, size)
        ]
        if differing:
            raise ValueError(
                f"the models of a pair must have the same sizes, dtype and device; "
                f"{self.base.name} and {self.post.name} differ in {'; '.join(differing)}. "
                f"A pair is one model before and after post-training, loaded in one way"
            )

    @property
    def name(self) -> str:
        """Name of the pair in results."""
        return f"{self.base.name} -> {self.post.name}"

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that both share."""
        return self.base.tokenizer
