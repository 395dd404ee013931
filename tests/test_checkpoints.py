"""Checkpoints that hold more, or other, than the model that their config.json describes.

transformers leaves a tensor without a place out and only reports it, so a fine-tuned model would be
measured as its base. Such a folder is refused; what changes nothing is let through.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from interp.engine import run
from interp.models import load_model
from tests.conftest import save_tiny
from tests.families import CONFIGS, make_family

Weights = dict[str, Tensor]
BLOCK = "model.layers.{}."
IDS = [1, 6, 17, 30]


def rewrite(folder: Path, change: Callable[[Weights], object]) -> Path:
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def configure(folder: Path, **changes: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def add_lora(weights: Weights) -> None:
    for layer in range(3):
        name = BLOCK.format(layer) + "self_attn.q_proj.lora_{}.default.weight"
        weights[name.format("A")], weights[name.format("B")] = torch.ones(4, 32), torch.ones(32, 4)


def wrap_lora(weights: Weights) -> None:
    """As PEFT names the weights that an adapter sits on."""
    name = BLOCK.format(0) + "self_attn.q_proj."
    weights[name + "base_layer.weight"] = weights.pop(name + "weight")
    weights[name + "lora_A.default.weight"] = torch.ones(4, 32)


def add_biases(weights: Weights) -> None:
    weights.update({BLOCK.format(k) + "self_attn.q_proj.bias": torch.ones(32) for k in range(3)})


def add_scales(weights: Weights) -> None:
    for name in [name for name in weights if "proj" in name]:
        weights[name + "_scale_inv"] = torch.ones(1, 1)
        weights[name] = weights[name].to(torch.float8_e4m3fn)


def add_norms(weights: Weights) -> None:
    weights.update({BLOCK.format(k) + "self_attn.q_norm.weight": torch.ones(8) for k in range(3)})


def add_magnitudes(weights: Weights) -> None:
    name = BLOCK.format(1) + "mlp.up_proj.lora_magnitude_vector.default.weight"
    weights[name] = torch.ones(48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_lora, r"q_proj\.lora_A\.default\.weight.*\(6 in all\).*merge_and_unload"),
        (add_biases, r"layers\.0\.self_attn\.q_proj\.bias.*\(3 in all\).*no biases"),
        (add_scales, r"down_proj\.weight_scale_inv.*quantization_config"),
        (wrap_lora, r"missing or of another shape: model\.layers\.0\.self_attn\.q_proj\.weight"),
        (add_norms, r"q_norm\.weight.*no norms on queries and keys"),
        (add_magnitudes, r"lora_magnitude_vector"),
    ],
)
def test_tensors_without_a_place_are_named(
    tiny_copy: Callable[..., Path], change: Callable[[Weights], None], message: str
):
    with pytest.raises(ValueError, match=message):
        load_model(rewrite(tiny_copy(), change))


def test_a_config_with_fewer_layers_than_the_weights_is_refused(tiny_copy: Callable[..., Path]):
    with pytest.raises(ValueError, match=r"model\.layers\.2\..*\(9 in all\).*fewer layers"):
        load_model(configure(tiny_copy(), num_hidden_layers=2))


def test_a_config_with_more_layers_or_other_widths_is_refused(tiny_copy: Callable[..., Path]):
    folder = configure(tiny_copy(), num_hidden_layers=4)
    with pytest.raises(ValueError, match=r"missing or of another shape: model\.layers\.3\."):
        load_model(folder)
    configure(folder, num_hidden_layers=3, intermediate_size=96)
    with pytest.raises(ValueError, match=r"another shape: .*mlp\.down_proj.*\(9 in all\)"):
        load_model(folder)


def test_an_adapter_beside_the_weights_is_refused(tiny_copy: Callable[..., Path]):
    folder = tiny_copy()
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a PEFT adapter.*merge_and_unload"):
        load_model(folder)


def add_constants(weights: Weights) -> None:
    weights["model.rotary_emb.inv_freq"] = torch.ones(4)
    weights[BLOCK.format(0) + "self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    weights[BLOCK.format(1) + "self_attn.rotary_emb.cos_cached"] = torch.ones(4, 4)
    weights["model.embeddings.position_ids"] = torch.arange(4)


def add_heads(weights: Weights) -> None:
    """Heads beside the one that predicts the next token: of PPO and of multi-token prediction."""
    weights["v_head.summary.weight"] = torch.ones(1, 32)
    weights["mtp.layers.0.input_layernorm.weight"] = torch.ones(32)


@pytest.mark.parametrize("change", [add_constants, add_heads])
def test_what_changes_nothing_is_let_through(
    tiny: Any, tiny_copy: Callable[..., Path], change: Callable[[Weights], None]
):
    model = load_model(rewrite(tiny_copy(), change))
    assert torch.equal(run(model, [IDS]).logits[0], run(tiny, [IDS]).logits[0])


@pytest.mark.parametrize(("stem", "prefix", "masks"), [
    ("GPT2", "transformer.h.0.attn.", ("bias", "masked_bias")),
    ("GPTNeoX", "gpt_neox.layers.0.attention.", ("bias", "masked_bias")),
])  # fmt: skip
def test_masks_kept_as_weights_are_let_through(
    tmp_path: Path, tiny: Any, stem: str, prefix: str, masks: tuple[str, ...]
):
    name = next(name for name, (family, _) in CONFIGS.items() if family == stem)
    make_family(name).hf.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda w: w.update({prefix + mask: torch.ones(1, 1, 4, 4) for mask in masks}))
    assert run(load_model(tmp_path), [IDS]).logits[0].shape[0] == 4


@pytest.mark.parametrize("same", [True, False])
def test_an_unembedding_of_its_own_beside_a_tied_config(tmp_path: Path, same: bool):
    """A copy of the embedding is no extra; another one is what the model computes with."""
    folder = save_tiny(tmp_path, tie_word_embeddings=True)
    tied = run(load_model(folder), [IDS]).logits[0]

    def untie(weights: Weights) -> None:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"] * (1.0 if same else 2.0)

    found = run(load_model(rewrite(folder, untie)), [IDS]).logits[0]
    assert torch.allclose(found, tied * (1.0 if same else 2.0), atol=1e-4)


def untie(weights: Weights) -> None:
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 1


def wrap(weights: Weights) -> None:
    """As a merged adapter is named when its wrapper is saved and not the model inside."""
    for name in list(weights):
        weights[f"base_model.model.{name}"] = weights.pop(name)


def add_prompt(weights: Weights) -> None:
    weights["prompt_embeddings"] = torch.ones(8, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wrap, r"missing or of another shape: .*model\.embed_tokens"),
        (add_prompt, r"also hold prompt_embeddings \(1 in all\)"),
    ],
)
def test_further_tensors_without_a_place(
    tiny_copy: Callable[..., Path], change: Callable[[Weights], None], message: str
):
    with pytest.raises(ValueError, match=message):
        load_model(rewrite(tiny_copy(), change))


def test_an_unembedding_of_its_own_is_not_lost_to_a_config_that_ties_it(
    tiny_copy: Callable[..., Path],
):
    folder = rewrite(tiny_copy(tie_word_embeddings=True), untie)
    stored = load_file(folder / "model.safetensors")
    model = load_model(folder)
    assert torch.equal(model.hf.lm_head.weight, stored["lm_head.weight"])
    assert torch.equal(model.hf.model.embed_tokens.weight, stored["model.embed_tokens.weight"])
