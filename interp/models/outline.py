"""Outlines: what is known of a model without its weights, from its tokenizer and configuration.

Small files suffice for the questions before a run: how texts become tokens, what fits into the
context, how much memory the weights take. `build` makes a module with random weights of the same
shape and any depth, for measuring time.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.errors import explain_failure
from interp.models.folders import DTYPES, find_folder, holds_tokenizer, load_tokenizer
from interp.models.peft_adapter import base_of, is_adapter
from interp.models.prompt_format import PromptFormat, find_ends


@dataclass(frozen=True)
class Outline:
    """Tokenizer and configuration of a model."""

    name: str
    tokenizer: Any
    config: Any
    prompt_format: PromptFormat = PromptFormat()

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text, as far as the configuration tells."""
        return find_ends(self.tokenizer, self.prompt_format, self.config)

    @property
    def n_ctx(self) -> int:
        """Longest sequence, in tokens, as the configuration has it."""
        return int(self.config.max_position_embeddings)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return int(self.config.num_hidden_layers)

    @property
    def cached_per_token(self) -> int:
        """Numbers that keys and values of one token take in a cache."""
        n_heads = int(self.config.num_attention_heads)
        n_kv = int(getattr(self.config, "num_key_value_heads", None) or n_heads)
        d_head = int(getattr(self.config, "head_dim", None) or self.config.hidden_size // n_heads)
        return 2 * self.n_layers * n_kv * d_head


def load_outline(path_or_id: str | Path) -> Outline:
    """Reads tokenizer and configuration; of a hub id nothing else is fetched.

    The configuration of a PEFT adapter is that of its base, as is a tokenizer that it lacks.

    Raises:
        ValueError: If there is no such model, or its files cannot be read.
    """
    from transformers import AutoConfig

    folder = find_folder(path_or_id, "float32", with_weights=False)
    name = folder.resolve().name if Path(path_or_id).expanduser().is_dir() else str(path_or_id)
    if is_adapter(folder):
        base = load_outline(base_of(folder))
        own = load_tokenizer(folder) if holds_tokenizer(folder) else base.tokenizer
        return Outline(name, own, base.config)
    with explain_failure(
        f"the configuration in {folder} cannot be read",
        "Likely causes: a folder of another kind, or an architecture that transformers lacks",
    ):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return Outline(name, load_tokenizer(folder), config)


def build(outline: Outline, n_layers: int, *, dtype: str, device: str) -> Any:
    """A module of this shape and another depth, with random weights.

    Args:
        outline: Of the model.
        n_layers: Its first blocks.
        dtype: A key of `DTYPES`.
        device: A torch device; ``meta`` for a module that takes no memory.

    Raises:
        ValueError: If transformers cannot make it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = deepcopy(outline.config)
    config.num_hidden_layers = n_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:n_layers]
    with (
        explain_failure(
            f"no module of the shape of {outline.name} could be made",
            "Likely cause: an architecture that transformers lacks",
        ),
        torch.device(device),
    ):
        hf = AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype])
    return hf.requires_grad_(False).eval()


def count_weights(outline: Outline) -> int:
    """Number of weights, without making any."""
    hf = build(outline, outline.n_layers, dtype="float32", device="meta")
    return sum(weight.numel() for weight in hf.parameters())  # shared ones count once
