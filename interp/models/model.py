"""A model as the rest of the project sees it: a Hugging Face module, its tokenizer, its adapter.

The module stays what it is; nothing is folded, renamed or wrapped. `Model` adds what an experiment
must know and record: sizes, context length, dtype and the hash of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from interp.models.adapters import Adapter
from interp.models.prompt_format import PromptFormat, find_ends
from interp.sites import STREAMS, Site, SiteOrName, as_site


@dataclass(frozen=True, eq=False)
class Model:
    """One loaded model. Two models are the same only if they are one object."""

    name: str
    """Folder name or hub id, as shown in results."""
    hf: Any
    """The Hugging Face causal language model, in evaluation mode."""
    tokenizer: Any
    """Its Hugging Face tokenizer."""
    adapter: Adapter
    weights_sha256: str
    """Of the weight files in order of their names, or of the tensors if made in memory."""
    notes: tuple[str, ...] = ()
    """What a reader of results should know about how it was loaded, one sentence each."""
    prompt_format: PromptFormat = PromptFormat()
    """How it is asked (`find_prompt_format`)."""

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return int(self.hf.config.num_hidden_layers)

    @property
    def n_heads(self) -> int:
        """Number of query heads."""
        return int(self.hf.config.num_attention_heads)

    @property
    def n_kv_heads(self) -> int:
        """Number of key-value heads (smaller than n_heads under grouped-query attention)."""
        grouped = getattr(self.hf.config, "num_key_value_heads", None)
        return int(grouped or self.n_heads)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.hf.config.hidden_size)

    @property
    def d_head(self) -> int:
        """Width of one head."""
        # Qwen3 and Gemma choose head_dim freely: n_heads * d_head need not be d_model.
        return int(getattr(self.hf.config, "head_dim", None) or self.d_model // self.n_heads)

    @property
    def d_mlp(self) -> int:
        """Width of the MLP's hidden layer."""
        config = self.hf.config
        width = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
        return int(width or 4 * self.d_model)  # GPT-2 leaves n_inner None for the usual width

    @cached_property
    def d_vocab(self) -> int:
        """Number of tokens that the model scores (its tokenizer may know fewer)."""
        return int(self.hf.config.vocab_size)

    @cached_property
    def n_ctx(self) -> int:
        """Longest sequence, in tokens.

        Under "longrope" positions (Phi-3) a single long row changes the frequencies of the whole
        pass, and not those of keys already in a cache. Only where all rows are short, up to the
        original context, is a row read the same whatever shares its batch; so that is the limit.
        """
        config = self.hf.config
        rope: Any = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") == "longrope":
            return int(rope["original_max_position_embeddings"])
        return int(config.max_position_embeddings)

    @property
    def ends(self) -> tuple[int, ...]:
        """Every token that ends a text; that of the tokenizer comes first.

        Configuration, generation configuration and prompt format may name others.
        """
        configs = (self.hf.config, getattr(self.hf, "generation_config", None))
        return find_ends(self.tokenizer, self.prompt_format, *configs)

    @property
    def device(self) -> torch.device:
        """Where the weights are; of a model spread over several, where its inputs go."""
        spread: Any = getattr(self.hf, "hf_device_map", None)
        if spread is None:
            return next(self.hf.parameters()).device
        # What lies on the disk, or on the CPU of a model that runs elsewhere, is computed here.
        devices = [torch.device(of) for of in spread.values() if of != "disk"]
        return next((of for of in devices if of.type != "cpu"), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return next(self.hf.parameters()).dtype


def site_shape(model: Model, site: Site) -> tuple[int, ...]:
    """Shape of the activation of one position at a site.

    Args:
        model: The model.
        site: A site that it has.

    Returns:
        (d_model,), (d_mlp,) or (heads, d_head).
    """
    if STREAMS[site.stream].axes[2:] == ("n_heads", "d_head"):
        return (model.n_kv_heads if site.stream in ("k", "v") else model.n_heads, model.d_head)
    return (model.d_mlp,) if site.axes[-1] == "d_mlp" else (model.d_model,)


def check_site(model: Model, site: SiteOrName) -> Site:
    """Makes sure that a model has a site, given or named, and returns it.

    Raises:
        TypeError: If it is neither a site nor a name.
        ValueError: If no site has this name, the family lacks the stream, or the layer is out of
            range.
    """
    site, adapter = as_site(site), model.adapter
    if site.stream not in adapter.streams:
        reason = adapter.absent.get(site.stream)
        raise ValueError(
            f"{model.name} (family {adapter.family}) has no stream {site.stream!r}"
            f"{'' if reason is None else f', because {reason}'}. "
            f"It has: {', '.join(adapter.streams)}"
        )
    if site.layer is not None and site.layer >= model.n_layers:
        raise ValueError(
            f"{site} is out of range: layers are counted from 0, and {model.name} has "
            f"{model.n_layers}, so its last is {model.n_layers - 1}"
        )
    return site
