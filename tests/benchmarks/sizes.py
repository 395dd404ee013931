"""Random models of well-known shapes: speed depends on the shape alone, not on what was learned.

`small` is a quick check that everything works, and its ratios mean little; `135m` is for a CPU;
`1.5b` and `8b` are for a GPU. The grid of `8b` is short, since TransformerLens reads the text once
per cell, which takes minutes for 64 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp.models import Model, make_model


@dataclass(frozen=True)
class Size:
    """How much work a benchmark does."""

    config: dict[str, int]
    """Shape of the random Llama."""
    grid_config: dict[str, int]
    """Shape of the one that is patched at every layer and position."""
    n_text: int
    n_cuts: int
    n_suffix: int
    capture_shape: tuple[int, int]
    generation_shape: tuple[int, int, int]
    """Rows, prompt tokens, new tokens."""
    n_grid: int
    """Tokens of the patched text."""
    n_rounds: int
    dtype: str = "float32"

    @property
    def tolerance(self) -> float:
        """Largest difference of two ways to one result.

        In half precision batches of other shapes round in other ways, and the likeliest of random
        tokens change with it; there only gross errors show.
        """
        return 1e-4 if self.dtype == "float32" else 0.5


def shape(
    vocab: int, width: int, mlp: int, n_layers: int, n_heads: int, n_kv_heads: int, n_ctx: int
) -> dict[str, int]:
    """A Llama configuration."""
    return {
        "vocab_size": vocab,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "max_position_embeddings": n_ctx,
    }


_135M = shape(49152, 576, 1536, 30, 9, 3, 2048)
_1_5B = shape(151936, 1536, 8960, 28, 12, 2, 4096)
_8B = shape(128256, 4096, 14336, 32, 32, 8, 4096)
_GRID = shape(2000, 256, 768, 12, 8, 4, 256)
_SMALL = shape(500, 64, 128, 4, 4, 2, 256)

SIZES = {
    "small": Size(_SMALL, _SMALL, 128, 8, 4, (2, 32), (4, 8, 8), 16, 2),
    "135m": Size(_135M, _GRID, 512, 32, 4, (2, 128), (4, 32, 24), 64, 3),
    "1.5b": Size(_1_5B, _1_5B, 2048, 32, 4, (8, 512), (32, 128, 64), 64, 3, "bfloat16"),
    "8b": Size(_8B, _8B, 2048, 32, 4, (4, 512), (32, 128, 64), 8, 2, "bfloat16"),
}


class _NoTokenizer:
    """Stands in for a tokenizer: benchmarks use token ids only."""

    def get_vocab(self) -> dict[str, int]:
        return {}


def random_model(config: dict[str, int], device: str, dtype: str) -> Model:
    """A random Llama of a given shape, always the same."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    full = LlamaConfig(
        **config,  # type: ignore[arg-type]
        attn_implementation="sdpa",  # type: ignore[call-arg]
        tie_word_embeddings=True,
        dtype=dtype,
    )
    with torch.device(device):
        hf: Any = LlamaForCausalLM._from_config(full)  # type: ignore[attr-defined]
    return make_model(hf.requires_grad_(False), _NoTokenizer(), name="random")


def random_ids(size: Size, *shape: int, seed: int = 1) -> Tensor:
    """Token ids that every model of a size knows."""
    n_ids = min(size.config["vocab_size"], size.grid_config["vocab_size"])
    return torch.randint(0, n_ids, shape, generator=torch.Generator().manual_seed(seed))
