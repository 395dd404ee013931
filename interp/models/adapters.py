"""Adapters: where each family of models keeps the streams.

One row per family says which Hugging Face module carries which stream, and on which side. Nothing
else in this project knows a module path. A family that shares another's layout is one more line in
`ROWS`; one that differs is one more row. Rows are functions of the configuration where one class
covers several layouts. They differ in:

- `places`: stream -> module and side, and the part of it where one module carries several streams
  (fused projections). Streams that a family lacks are simply absent, and asking for them is an
  error that lists what is there. `attn_out` and `mlp_out` are what the sublayer *adds to the
  stream*: where a norm follows the sublayer (Gemma, OLMo 2), its output, not the sublayer's.
- `sequential`: whether a block adds attention to the stream *before* its MLP reads it. Then
  `resid_mid` exists: it is what entered the block plus `attn_out`. It has no module of its own.
  Editing the input of the second norm would reach the MLP but not the skip connection, so the hook
  door (`interp.models.hooks`) forms it from the two parts instead. Where attention and MLP read the
  same input (Pythia) there is no `resid_mid`.
- what a pass must know (`interp.models.forward`): sliding windows, and the kernel where only one
  computes the family rightly.

The rows follow the source of transformers 5.23; that they describe a model is not taken on trust
but checked whenever one is loaded (`interp.models.checks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Place:
    """The module that carries a stream, and the side of it on which the stream is found."""

    module: str
    side: Literal["in", "out"]
    heads: Literal["n_heads", "n_kv_heads"] | None = None
    """Which count splits the last axis into heads; None leaves it whole."""
    parts: tuple[str, ...] = ()
    """Streams that share the last axis, in their order; empty where the module carries only one."""
    per_head: bool = False
    """Whether the parts repeat for each head ([q k v] of head 0, then of head 1), or once."""


@dataclass(frozen=True)
class Adapter:
    """How one family of models maps to sites."""

    family: str
    body: str
    """Everything up to the final norm; called with token ids, returns the last hidden state."""
    block: str
    places: Mapping[str, Place]
    unembed: str = "lm_head"
    sequential: bool = True
    """Whether the MLP of a block reads the stream after attention was added; else no resid_mid."""
    learned_positions: str | None = None
    """The embedding of positions, where one is added to that of the tokens."""
    window: int | None = None
    """Tokens that a sliding layer looks back on, its own included; None if no layer slides."""
    mask_per_type: bool = False
    """Whether the body takes one mask per type of layer, so that only some slide; else all do."""
    kernel: Literal["sdpa", "eager"] = "sdpa"
    """The attention kernel to load with."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Streams that this family offers."""
        return (*self.places, *(("resid_mid",) if self.sequential else ()))


_BLOCK = "model.layers.{layer}"
_ATTENTION = f"{_BLOCK}.self_attn"
_QKV = ("q", "k", "v")
_GATE_UP = ("mlp_pre", "mlp_pre_linear")

LLAMA = Adapter(
    family="llama",
    body="model",
    block=_BLOCK,
    places={
        "embed": Place("model.embed_tokens", "out"),
        "resid_pre": Place(_BLOCK, "in"),
        "ln1": Place(f"{_BLOCK}.input_layernorm", "out"),
        "q": Place(f"{_ATTENTION}.q_proj", "out", "n_heads"),
        "k": Place(f"{_ATTENTION}.k_proj", "out", "n_kv_heads"),
        "v": Place(f"{_ATTENTION}.v_proj", "out", "n_kv_heads"),
        "z": Place(f"{_ATTENTION}.o_proj", "in", "n_heads"),
        "attn_out": Place(_ATTENTION, "out"),
        "ln2": Place(f"{_BLOCK}.post_attention_layernorm", "out"),
        "mlp_pre": Place(f"{_BLOCK}.mlp.gate_proj", "out"),
        "mlp_pre_linear": Place(f"{_BLOCK}.mlp.up_proj", "out"),
        "mlp_post": Place(f"{_BLOCK}.mlp.down_proj", "in"),
        "mlp_out": Place(f"{_BLOCK}.mlp", "out"),
        "resid_post": Place(_BLOCK, "out"),
        "ln_final": Place("model.norm", "out"),
    },
)

PHI3 = replace(
    LLAMA,
    family="phi3",
    places={
        **LLAMA.places,
        "q": Place(f"{_ATTENTION}.qkv_proj", "out", "n_heads", _QKV),
        "k": Place(f"{_ATTENTION}.qkv_proj", "out", "n_kv_heads", _QKV),
        "v": Place(f"{_ATTENTION}.qkv_proj", "out", "n_kv_heads", _QKV),
        "mlp_pre": Place(f"{_BLOCK}.mlp.gate_up_proj", "out", parts=_GATE_UP),
        "mlp_pre_linear": Place(f"{_BLOCK}.mlp.gate_up_proj", "out", parts=_GATE_UP),
    },
)

_POST_NORMS = {
    "attn_out": Place(f"{_BLOCK}.post_attention_layernorm", "out"),
    "mlp_out": Place(f"{_BLOCK}.post_feedforward_layernorm", "out"),
}

OLMO2 = replace(
    LLAMA,
    family="olmo2",
    places={
        **{name: at for name, at in LLAMA.places.items() if name not in ("ln1", "ln2")},
        **_POST_NORMS,
    },
)

GEMMA = replace(
    LLAMA,
    family="gemma",
    places={
        **LLAMA.places,
        **_POST_NORMS,
        "ln2": Place(f"{_BLOCK}.pre_feedforward_layernorm", "out"),
    },
)

_H = "transformer.h.{layer}"

GPT2 = Adapter(
    family="gpt2",
    body="transformer",
    block=_H,
    learned_positions="transformer.wpe",
    places={
        "embed": Place("transformer.wte", "out"),
        "resid_pre": Place(_H, "in"),
        "ln1": Place(f"{_H}.ln_1", "out"),
        **{name: Place(f"{_H}.attn.c_attn", "out", "n_heads", _QKV) for name in _QKV},
        "z": Place(f"{_H}.attn.c_proj", "in", "n_heads"),
        "attn_out": Place(f"{_H}.attn", "out"),
        "ln2": Place(f"{_H}.ln_2", "out"),
        "mlp_pre": Place(f"{_H}.mlp.c_fc", "out"),
        "mlp_post": Place(f"{_H}.mlp.c_proj", "in"),
        "mlp_out": Place(f"{_H}.mlp", "out"),
        "resid_post": Place(_H, "out"),
        "ln_final": Place("transformer.ln_f", "out"),
    },
)

_LAYER = "gpt_neox.layers.{layer}"
_FUSED = f"{_LAYER}.attention.query_key_value"

NEOX = Adapter(
    family="gpt-neox",
    body="gpt_neox",
    block=_LAYER,
    places={
        "embed": Place("gpt_neox.embed_in", "out"),
        "resid_pre": Place(_LAYER, "in"),
        "ln1": Place(f"{_LAYER}.input_layernorm", "out"),
        **{name: Place(_FUSED, "out", "n_heads", _QKV, per_head=True) for name in _QKV},
        "z": Place(f"{_LAYER}.attention.dense", "in", "n_heads"),
        "attn_out": Place(f"{_LAYER}.attention", "out"),
        "ln2": Place(f"{_LAYER}.post_attention_layernorm", "out"),
        "mlp_pre": Place(f"{_LAYER}.mlp.dense_h_to_4h", "out"),
        "mlp_post": Place(f"{_LAYER}.mlp.dense_4h_to_h", "in"),
        "mlp_out": Place(f"{_LAYER}.mlp", "out"),
        "resid_post": Place(_LAYER, "out"),
        "ln_final": Place("gpt_neox.final_layer_norm", "out"),
    },
)

Row = Callable[[Any], Adapter]
"""From the Hugging Face configuration to the adapter."""


def _all_slide(layout: Adapter, family: str) -> Row:
    """Every layer slides if the configuration names a window."""
    return lambda config: replace(layout, family=family, window=config.sliding_window)


def _some_slide(layout: Adapter, family: str, kernel: Literal["sdpa", "eager"] = "sdpa") -> Row:
    """The layers slide whose type says so."""

    def row(config: Any) -> Adapter:
        slides = "sliding_attention" in config.layer_types
        window = config.sliding_window if slides else None
        return replace(layout, family=family, window=window, mask_per_type=True, kernel=kernel)

    return row


ROWS: Mapping[str, Row] = {
    "LlamaForCausalLM": lambda _: LLAMA,
    "MistralForCausalLM": _all_slide(LLAMA, "mistral"),
    "Phi3ForCausalLM": _all_slide(PHI3, "phi3"),
    "Qwen2ForCausalLM": _some_slide(LLAMA, "qwen2"),
    "Qwen3ForCausalLM": _some_slide(LLAMA, "qwen3"),
    "SmolLM3ForCausalLM": _some_slide(LLAMA, "smollm3"),
    "Olmo2ForCausalLM": lambda _: OLMO2,
    # Its scores are capped, which fused attention cannot do.
    "Gemma2ForCausalLM": _some_slide(GEMMA, "gemma2", kernel="eager"),
    "Gemma3ForCausalLM": _some_slide(GEMMA, "gemma3"),
    "GPT2LMHeadModel": lambda _: GPT2,
    "GPTNeoXForCausalLM": lambda config: replace(NEOX, sequential=not config.use_parallel_residual),
}
"""Architecture, as in the field `architectures` of config.json -> row."""


def find_row(architecture: str) -> Row:
    """The row for an architecture.

    Args:
        architecture: A class name as in config.json, for example 'LlamaForCausalLM'.

    Returns:
        A function from the Hugging Face configuration to the adapter.

    Raises:
        ValueError: If no family has it; the message lists the known ones.
    """
    if architecture not in ROWS:
        raise ValueError(
            f"no adapter for the architecture {architecture!r}. Known architectures: "
            f"{', '.join(ROWS)}. A family is added by one row in interp/models/adapters.py; "
            f"interp.models.bridge.open_bridge reads and edits other models by way of "
            f"TransformerLens"
        )
    return ROWS[architecture]
