"""Adapters: where each family of models keeps the streams.

One row per family says which Hugging Face module carries which stream, and on which side. Nothing
else in this project knows a module path. A family that shares another's layout is one more name in
`architectures`; one that differs is one more row. Rows differ in:

- `places`: stream -> module and side. Streams that a family lacks are simply absent, and asking
  for them is an error that lists what is there.
- `attention`: set only when a block adds attention to the stream *before* its MLP reads it. Then
  `resid_mid` exists: it is what entered the block plus what attention returned. It has no module of
  its own. Editing the input of the second norm would reach the MLP but not the skip connection, so
  the hook door (`interp.models.hooks`) forms it from the two parts instead. Families whose
  attention and MLP read the same input have no `resid_mid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Place:
    """The module that carries a stream, and the side of it on which the stream is found."""

    module: str
    side: Literal["in", "out"]
    heads: Literal["n_heads", "n_kv_heads"] | None = None
    """Which count splits the last axis into heads; None leaves it whole."""


@dataclass(frozen=True)
class Adapter:
    """How one family of models maps to sites."""

    family: str
    architectures: tuple[str, ...]
    """Names in the field `architectures` of config.json."""
    body: str
    """Everything up to the final norm; called with token ids, returns the last hidden state."""
    unembed: str
    block: str
    attention: str | None
    """The attention module of a block whose MLP reads the stream after attention; else None."""
    places: Mapping[str, Place]

    @property
    def streams(self) -> tuple[str, ...]:
        """Streams that this family offers."""
        return (*self.places, *(("resid_mid",) if self.attention is not None else ()))


_BLOCK = "model.layers.{layer}"

LLAMA = Adapter(
    family="llama",
    architectures=("LlamaForCausalLM",),
    body="model",
    unembed="lm_head",
    block=_BLOCK,
    attention=f"{_BLOCK}.self_attn",
    places={
        "embed": Place("model.embed_tokens", "out"),
        "resid_pre": Place(_BLOCK, "in"),
        "ln1": Place(f"{_BLOCK}.input_layernorm", "out"),
        "q": Place(f"{_BLOCK}.self_attn.q_proj", "out", "n_heads"),
        "k": Place(f"{_BLOCK}.self_attn.k_proj", "out", "n_kv_heads"),
        "v": Place(f"{_BLOCK}.self_attn.v_proj", "out", "n_kv_heads"),
        "z": Place(f"{_BLOCK}.self_attn.o_proj", "in", "n_heads"),
        "attn_out": Place(f"{_BLOCK}.self_attn", "out"),
        "ln2": Place(f"{_BLOCK}.post_attention_layernorm", "out"),
        "mlp_pre": Place(f"{_BLOCK}.mlp.gate_proj", "out"),
        "mlp_pre_linear": Place(f"{_BLOCK}.mlp.up_proj", "out"),
        "mlp_post": Place(f"{_BLOCK}.mlp.down_proj", "in"),
        "mlp_out": Place(f"{_BLOCK}.mlp", "out"),
        "resid_post": Place(_BLOCK, "out"),
        "ln_final": Place("model.norm", "out"),
    },
)

ADAPTERS: tuple[Adapter, ...] = (LLAMA,)


def find_adapter(architecture: str) -> Adapter:
    """The row for an architecture.

    Args:
        architecture: A class name as in config.json, for example 'LlamaForCausalLM'.

    Returns:
        The adapter of its family.

    Raises:
        ValueError: If no family has it; the message lists the known ones.
    """
    for adapter in ADAPTERS:
        if architecture in adapter.architectures:
            return adapter
    known = ", ".join(name for adapter in ADAPTERS for name in adapter.architectures)
    raise ValueError(
        f"no adapter for the architecture {architecture!r}. Known architectures: {known}. "
        f"A family is added by one row in interp/models/adapters.py"
    )
