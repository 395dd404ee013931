"""Adapters: where each family of models keeps its streams.

One row of `ROWS` per family says which Hugging Face module carries which stream, and on which side
of the module. No other file names a module path. To add a family:

1. Read the forward methods of its block and of its body in transformers (`modeling_NAME.py`).
2. If both have the layout of a family below, add one line to `ROWS`. Otherwise write an `Adapter`,
   or `replace` what differs in the nearest one, and add its line. A row is a function of the
   configuration of the model, because one class may cover several layouts.
3. Add a tiny configuration to `CONFIGS` in `tests/families.py`, and run `tests/test_families.py`,
   `tests/test_family_passes.py` and `tests/test_family_states.py`. They compare every site with
   TransformerLens and with plain forward passes.

Loading any model verifies its row (`interp.models.checks`), so a wrong row is refused. An example:
Starcoder2 differs from Llama in its norms (LayerNorm), its biases and its MLP (no gate). Norms and
biases do not move a stream, so its row replaces the places of the MLP only.

Rows differ in:

- `places`: stream -> module and side, and the part of it where one module carries several streams
  (fused projections). `attn_out` and `mlp_out` are what the sublayer *adds to the stream*. Where a
  norm follows the sublayer (Gemma 2, OLMo 2) that is the output of the norm, and where the block
  multiplies the output before adding it (Granite) it is the product: see `Place.factor`.
- `absent`: the streams that the family lacks, each with the reason. Asking for one is an error that
  gives the reason.
- `sequential`: whether a block adds attention to the stream *before* its MLP reads it. Then
  `resid_mid` exists: the input of the block plus `attn_out`. It has no module of its own. Editing
  the input of the second norm would reach the MLP but not the skip connection, so `hooked`
  (`interp.models.hooks`) computes it from the two parts. Where attention and MLP read the same
  input (Pythia) there is no `resid_mid`.
- what a forward pass must know (`interp.models.forward`): sliding windows, a divisor of the logits,
  and the attention kernel where only one computes the family correctly.

The rows follow the source of transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    factor: float = 1.0
    """What the model multiplies the module's output by before it adds it to the stream."""


@dataclass(frozen=True)
class Adapter:
    """How one family of models maps to sites."""

    family: str
    body: str
    """Everything up to the final norm; called with token ids, returns the last hidden state."""
    block: str
    mlp: str
    """The MLP of a block, without any norm."""
    places: Mapping[str, Place]
    absent: Mapping[str, str] = field(default_factory=dict[str, str])
    """Streams that the family lacks -> why, as the end of a sentence that begins 'because'."""
    unembed: str = "lm_head"
    logit_divisor: float = 1.0
    """What the model divides its logits by."""
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
    mlp=f"{_BLOCK}.mlp",
    places={
        "embed": Place("model.embed_tokens", "out"),
        "resid_pre": Place(_BLOCK, "in"),
        "ln1": Place(f"{_BLOCK}.input_layernorm", "out"),
        # q and k as projected: before the rotation, and before a norm on them (Qwen3).
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


def _without(adapter: Adapter, *streams: str) -> dict[str, Place]:
    """The places of an adapter without some streams."""
    return {name: place for name, place in adapter.places.items() if name not in streams}


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

_NO_GATE = {"mlp_pre_linear": "its MLP has no gate, so there is no second input projection"}

STARCODER2 = replace(
    LLAMA,
    family="starcoder2",
    places={
        **_without(LLAMA, "mlp_pre_linear"),
        "mlp_pre": Place(f"{_BLOCK}.mlp.c_fc", "out"),
        "mlp_post": Place(f"{_BLOCK}.mlp.c_proj", "in"),
    },
    absent=_NO_GATE,
)

_HIDDEN = ("mlp_pre", "mlp_pre_linear", "mlp_post")

MOE = replace(
    LLAMA,
    family="moe",
    places=_without(LLAMA, *_HIDDEN),
    absent=dict.fromkeys(
        _HIDDEN,
        "a router sends each token through a few experts, whose hidden units differ from token to "
        "token and are the output of no module",
    ),
)

_POST_NORMS = {
    "attn_out": Place(f"{_BLOCK}.post_attention_layernorm", "out"),
    "mlp_out": Place(f"{_BLOCK}.post_feedforward_layernorm", "out"),
}

OLMO2 = replace(
    LLAMA,
    family="olmo2",
    places={**_without(LLAMA, "ln1", "ln2"), **_POST_NORMS},
    absent=dict.fromkeys(("ln1", "ln2"), "its norms follow the sublayers and none precedes them"),
)

GEMMA2 = replace(
    LLAMA,
    family="gemma2",
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
    mlp=f"{_H}.mlp",
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
    absent=_NO_GATE,
)

_LAYER = "gpt_neox.layers.{layer}"
_FUSED = f"{_LAYER}.attention.query_key_value"

NEOX = Adapter(
    family="gpt-neox",
    body="gpt_neox",
    block=_LAYER,
    mlp=f"{_LAYER}.mlp",
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
    absent=_NO_GATE,
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


def _neox(config: Any) -> Adapter:
    """Older models of the class are sequential; in Pythia attention and MLP run in parallel."""
    if not config.use_parallel_residual:
        return NEOX
    reason = "attention and MLP read the same input, so the stream has no value between them"
    return replace(NEOX, sequential=False, absent={**NEOX.absent, "resid_mid": reason})


def _granite(config: Any) -> Adapter:
    """Llama with multipliers: on embeddings, on what each sublayer adds, and on the logits.

    Its attention_multiplier only scales the scores and moves no stream.
    """
    factors = {
        "embed": config.embedding_multiplier,
        "attn_out": config.residual_multiplier,
        "mlp_out": config.residual_multiplier,
    }
    scaled = {name: replace(LLAMA.places[name], factor=by) for name, by in factors.items()}
    places = {**LLAMA.places, **scaled}
    return replace(LLAMA, family="granite", places=places, logit_divisor=config.logits_scaling)


ROWS: Mapping[str, Row] = {
    "LlamaForCausalLM": lambda _: LLAMA,
    "MistralForCausalLM": _all_slide(LLAMA, "mistral"),
    "GraniteForCausalLM": _granite,
    "Starcoder2ForCausalLM": _all_slide(STARCODER2, "starcoder2"),
    "Phi3ForCausalLM": _all_slide(PHI3, "phi3"),
    "Qwen2ForCausalLM": _some_slide(LLAMA, "qwen2"),
    "Qwen3ForCausalLM": _some_slide(LLAMA, "qwen3"),
    "Qwen3MoeForCausalLM": _all_slide(MOE, "qwen3-moe"),
    "MixtralForCausalLM": _all_slide(MOE, "mixtral"),
    "SmolLM3ForCausalLM": _some_slide(LLAMA, "smollm3"),
    "Olmo2ForCausalLM": lambda _: OLMO2,
    "Olmo3ForCausalLM": _some_slide(OLMO2, "olmo3"),
    # Its blocks are Llama's; the module that embeds tokens applies their multiplier by itself.
    "GemmaForCausalLM": lambda _: replace(LLAMA, family="gemma"),
    # Its scores are capped, which fused attention cannot do.
    "Gemma2ForCausalLM": _some_slide(GEMMA2, "gemma2", kernel="eager"),
    "Gemma3ForCausalLM": _some_slide(GEMMA2, "gemma3"),
    "GPT2LMHeadModel": lambda _: GPT2,
    "GPTNeoXForCausalLM": _neox,
}
"""Architecture, as in the field `architectures` of config.json -> row."""


def find_adapter(architecture: str) -> Row:
    """The row for an architecture.

    Args:
        architecture: A class name as in config.json, for example 'LlamaForCausalLM'.

    Returns:
        A function from the Hugging Face configuration to the adapter.

    Raises:
        ValueError: If there is none; the message lists the known ones.
    """
    if architecture not in ROWS:
        raise ValueError(
            f"a model's architecture must have a row in interp/models/adapters.py; received "
            f"{architecture!r}, which has none. Known: {', '.join(ROWS)}. The docstring of that "
            f"file says how a row is added. Without one, interp.models.open_bridge(hf) may read "
            f"and edit it by way of TransformerLens, hf being the model as transformers loads it; "
            f"it refuses what TransformerLens computes differently"
        )
    return ROWS[architecture]
