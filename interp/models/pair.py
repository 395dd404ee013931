"""Pairs: a base model and the same model after post-training.

Everything here compares the two token by token and site by site, which means something only if
they share the tokens of ordinary text, width, depth and number format. A `ModelPair` cannot be made
of models that do not; the error says in what they differ. What may differ (special tokens, padding
of the vocabulary) is accepted and listed in `notes`: see `interp.models.shared_tokens`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from interp.models.model import Model
from interp.models.shared_tokens import SharedTokens, compare_tokenizers


@dataclass(frozen=True, eq=False)
class ModelPair:
    """A base model and what post-training made of it.

    Raises:
        ValueError: If the two differ in ordinary tokens, in how they split text, in width, depth,
            heads, dtype or device.
    """

    base: Model
    post: Model
    shared: SharedTokens = field(init=False)
    """What their tokenizers have in common."""

    def __post_init__(self) -> None:
        sizes = ("d_model", "n_layers", "n_heads", "n_kv_heads", "dtype", "device")
        object.__setattr__(self, "shared", compare_tokenizers(self.base, self.post))
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
        """The tokenizer of the base; that of the post may name added tokens otherwise."""
        return self.base.tokenizer

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know about how the two differ, one sentence each."""
        sizes = [model.d_vocab for model in (self.base, self.post)]
        if sizes[0] == sizes[1]:
            return self.shared.notes
        padded = (
            f"base scores {sizes[0]} ids and post {sizes[1]}; their predictions are compared over "
            f"the first {self.shared.n}"
        )
        return (*self.shared.notes, padded)
