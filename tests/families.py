"""Tiny random models of every family that has a row in the adapter table.

All have uneven norm gains and random biases, so that before and after a norm differ; grouped-query
attention where the family can have it; a head width that is not d_model / n_heads where it can; and
sliding windows much shorter than the texts of the tests.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from interp.models import make_model
from interp.models.model import Model
from interp.organisms.worlds.arith.problems import WORDS

WINDOW = 6
FULL, SLIDES = "full_attention", "sliding_attention"

_SLIDING = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 0}
_GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": WINDOW}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {"sliding_window": WINDOW}),
    "qwen2": ("Qwen2", {**_SLIDING, "layer_types": [FULL, SLIDES, SLIDES]}),
    "qwen3": ("Qwen3", {**_SLIDING, "head_dim": 16, "layer_types": [SLIDES, FULL, SLIDES]}),
    "qwen3-moe": (
        "Qwen3Moe",
        {
            **_SLIDING,
            "head_dim": 16,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "norm_topk_prob": True,
        },
    ),
    "mixtral": (
        "Mixtral",
        {"sliding_window": WINDOW, "num_local_experts": 6, "num_experts_per_tok": 2},
    ),
    "granite": (
        "Granite",
        {
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.3,
            "attention_multiplier": 0.7,
            "logits_scaling": 2.0,
        },
    ),
    "starcoder2": ("Starcoder2", {"sliding_window": WINDOW, "tie_word_embeddings": False}),
    "smollm3": (
        "SmolLM3",
        {**_SLIDING, "no_rope_layers": [1, 0, 1], "layer_types": [SLIDES, FULL, FULL]},
    ),
    "olmo2": ("Olmo2", {}),
    "olmo3": ("Olmo3", {"sliding_window": WINDOW, "layer_types": [SLIDES, FULL, SLIDES]}),
    "gemma": ("Gemma", {"head_dim": 16}),
    "phi3": ("Phi3", {"sliding_window": WINDOW}),
    "gemma2": (
        "Gemma2",
        {**_GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0},
    ),
    "gemma3": (
        "Gemma3",
        {**_GEMMA, "layer_types": [SLIDES, FULL, SLIDES], "final_logit_softcapping": 5.0},
    ),
    "gpt2": ("GPT2", {}),
    "neox": ("GPTNeoX", {"use_parallel_residual": True}),
    "neox-sequential": ("GPTNeoX", {"use_parallel_residual": False}),
}
"""Family -> the stem of its Hugging Face classes and what its configuration has of its own."""

FAMILIES = tuple(CONFIGS)
EXPERTS = ("qwen3-moe", "mixtral")
"""A router sends each token through a few experts."""
SLIDING = (
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3-moe",
    "mixtral",
    "starcoder2",
    "smollm3",
    "olmo3",
    "phi3",
    "gemma2",
    "gemma3",
)

_CLASSES = {"GPT2": "GPT2LMHeadModel", "Gemma3Config": "Gemma3TextConfig"}


def make_hf(family: str, seed: int = 0, **changes: Any) -> Any:
    """A random module: 3 layers, width 32, 4 query heads and 2 key-value heads (or as many)."""
    import transformers

    stem, own = CONFIGS[family]
    sizes: dict[str, Any] = {
        "vocab_size": len(WORDS.vocabulary),
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if stem != "GPT2":
        sizes["intermediate_size"] = 48
    if stem not in ("GPT2", "GPTNeoX"):
        sizes["num_key_value_heads"] = 2
    config_class = getattr(transformers, _CLASSES.get(f"{stem}Config", f"{stem}Config"))
    model_class = getattr(transformers, _CLASSES.get(stem, f"{stem}ForCausalLM"))
    torch.manual_seed(seed)
    hf = model_class(config_class(**{**sizes, **own, **changes})).eval()
    hf.generation_config.eos_token_id = None
    generator = torch.Generator().manual_seed(7)
    for name, weight in hf.named_parameters():
        if "norm" in name or "ln_" in name:  # a gain of 1 is stored as 0 in Gemma
            centre = 0.0 if "Gemma" in stem else 1.0
            weight.data = centre - 0.5 + torch.rand(weight.shape, generator=generator)
        elif name.endswith("bias"):
            weight.data = 0.3 * torch.randn(weight.shape, generator=generator)
    return hf.requires_grad_(False)


@cache
def make_family(family: str) -> Model:
    """The random model, loaded and verified; tests must leave it as it is."""
    return make_model(make_hf(family), WORDS.tokenizer(), name=f"tiny-{family}")


def block(hf: Any, layer: int) -> Any:
    """A block of the module, found without the adapter."""
    body = getattr(hf, hf.base_model_prefix)
    return (body.h if hasattr(body, "h") else body.layers)[layer]
