"""Loading: a good folder loads as it is, and each kind of bad one says what is wrong with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_hf, save_tiny
from safetensors.torch import load_file, save_file

from interp.models import ModelPair, load_model, make_model
from interp.models.adapters import LLAMA, Place, find_adapter
from interp.models.checks import check_model
from interp.models.forward import attention_mask

Copy = Callable[..., Path]


def change_weight(folder: Path, name: str, value: float) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights[name][0, 0] = value
    save_file(weights, file, metadata={"format": "pt"})


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_sizes_hash_and_logits(tiny: Any, tiny_folder: Path):
    assert (tiny.n_layers, tiny.n_heads, tiny.n_kv_heads, tiny.d_head) == (3, 4, 2, 8)
    assert (tiny.d_model, tiny.d_mlp, tiny.n_ctx, tiny.name) == (32, 48, 256, "tiny")
    assert tiny.d_vocab == len(tiny.tokenizer) and tiny.dtype == torch.float32
    stored = (tiny_folder / "model.safetensors").read_bytes()
    assert tiny.weights_sha256 == hashlib.sha256(stored).hexdigest()
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.equal(tiny.hf(ids).logits, make_hf()(ids).logits)
    assert not tiny.hf.training and not any(w.requires_grad for w in tiny.hf.parameters())


def test_dtype_is_what_was_asked_for(tiny_folder: Path):
    for name in ("bfloat16", "float16"):
        assert load_model(tiny_folder, dtype=name).dtype == getattr(torch, name)
    with pytest.raises(ValueError, match="unknown dtype 'int8'. Known: float32, bfloat16, float16"):
        load_model(tiny_folder, dtype="int8")


def test_missing_folder():
    with pytest.raises(ValueError, match="there is no folder './nowhere/model'"):
        load_model("./nowhere/model")


def test_hub_id_that_cannot_be_fetched():
    with pytest.raises(ValueError, match="could not be fetched from the hub"):
        load_model("nobody/no-such-model")


@pytest.mark.parametrize(
    ("name", "asked"),
    [("acme/m", ("acme/m", None)), ("acme/m-1.5b@v1.0", ("acme/m-1.5b", "v1.0")),
     ("acme/m@refs/pr/3", ("acme/m", "refs/pr/3"))],
)  # fmt: skip
def test_hub_ids_may_name_a_revision(
    name: str, asked: tuple[str, str | None], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    import huggingface_hub

    seen: list[tuple[str, str | None]] = []

    def fetch(repo: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert "*.safetensors" in allow_patterns
        seen.append((repo, revision))
        return str(tiny_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert load_model(name).name == name
    assert seen == [asked]


@pytest.mark.parametrize(
    "name", ["acme/m@", "@main", "m@main", "acme/m@a@b", "acme/@main", "a/b/c@x"]
)
def test_malformed_revisions_are_refused_before_the_network(name: str):
    with pytest.raises(ValueError, match="'owner/name@revision'.*does not have the form"):
        load_model(name)


def test_a_folder_with_an_at_sign_is_a_folder(tiny_copy: Copy):
    folder = tiny_copy()
    assert load_model(folder.rename(folder.parent / "run@2")).name == "run@2"


def test_folder_without_a_model(tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not readable as JSON"):
        load_model(tmp_path)


def test_unknown_architecture_lists_the_known(tiny_copy: Copy):
    folder = tiny_copy()
    change_config(folder, architectures=["MambaForCausalLM"])
    with pytest.raises(ValueError, match="'MambaForCausalLM', which has none. Known: Llama"):
        load_model(folder)


def test_truncated_weights(tiny_copy: Copy):
    file = tiny_copy() / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged .*interrupted copy"):
        load_model(file.parent)


def test_garbage_and_absent_weights(tiny_copy: Copy):
    file = tiny_copy() / "model.safetensors"
    file.write_bytes(b"not a safetensors file at all")
    with pytest.raises(ValueError, match="is damaged"):
        load_model(file.parent)
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(ValueError, match="the only weight format that is read"):
        load_model(file.parent)


def test_shards_named_by_the_index_must_be_there(tiny_copy: Copy):
    folder = tiny_copy()
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="lacks weight files.*model-00002-of-00002"):
        load_model(folder)


def test_weights_of_another_config(tiny_copy: Copy):
    folder = tiny_copy()
    change_config(folder, num_hidden_layers=4)
    with pytest.raises(ValueError, match="do not fill the model.*layers.3"):
        load_model(folder)


def test_folder_without_tokenizer(tiny_copy: Copy):
    folder = tiny_copy()
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match="holds no tokenizer"):
        load_model(folder)


def test_tokenizer_larger_than_the_model(tiny_copy: Copy):
    with pytest.raises(ValueError, match="has ids up to .* scores only ids 0 to 49"):
        load_model(tiny_copy(vocab_size=50))


def test_nan_weights_are_named(tiny_copy: Copy):
    folder = tiny_copy()
    change_weight(folder, "model.layers.1.mlp.up_proj.weight", float("nan"))
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj\.weight holds 1 NaN"):
        load_model(folder)


def test_activations_out_of_range_are_named_and_the_remedy_works(tiny_copy: Copy):
    folder = tiny_copy()
    for column in ("q_proj", "k_proj", "v_proj", "o_proj"):
        change_weight(folder, f"model.layers.1.self_attn.{column}.weight", 6e4)
    with pytest.raises(ValueError, match=r"blocks\.1\..*load with dtype='float32'"):
        load_model(folder, dtype="float16")
    assert load_model(folder, dtype="float32").n_layers == 3


@pytest.mark.parametrize(
    ("stream", "place", "message"),
    [
        ("mlp_out", Place("model.layers.{layer}.mlp.gate_proj", "out"), "should have shape"),
        ("attn_out", Place("model.layers.{layer}.mlp", "out"), "is off by"),
        (
            "z",
            Place("model.layers.{layer}.self_attn.q_proj", "out", "n_heads"),
            "z of position 0 against v",
        ),
        ("resid_post", Place("model.layers.{layer}.mlp", "out"), "is off by"),
        ("embed", Place("model.norm", "out"), "embed against resid_pre"),
    ],
)
def test_wrong_adapter_row_is_found_out(tiny: Any, stream: str, place: Place, message: str):
    check_model(tiny)
    wrong = dataclasses.replace(LLAMA, places={**LLAMA.places, stream: place})
    with pytest.raises((ValueError, RuntimeError), match=message):
        check_model(dataclasses.replace(tiny, adapter=wrong))


def test_other_grouping_of_heads_is_found_out(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    """Query heads dealt out in turn, not in blocks: right shapes, and the wrong key-value head."""
    from transformers.models.llama import modeling_llama

    hf = make_hf(attn_implementation="eager")
    make_model(hf, tiny.tokenizer, name="blocks")
    monkeypatch.setattr(modeling_llama, "repeat_kv", lambda x, n: x.repeat(1, n, 1, 1))
    with pytest.raises(ValueError, match="z of position 0 against v.*grouping of the key-value"):
        make_model(hf, tiny.tokenizer, name="in turn")


def test_model_made_in_memory_equals_the_saved_one(tiny: Any):
    made = make_model(make_hf(), tiny.tokenizer, name="made")
    again = make_model(make_hf(), tiny.tokenizer, name="made")
    other = make_model(make_hf(seed=5), tiny.tokenizer, name="other")
    assert made.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert find_adapter("LlamaForCausalLM")(made.hf.config) is made.adapter


def test_pair_of_a_model_with_itself(tiny_folder: Path):
    model = load_model(tiny_folder)
    pair = ModelPair(model, model)
    assert pair.base is pair.post and pair.name == "tiny -> tiny"


def test_pair_with_other_tokens_shows_the_first(tiny: Any, tmp_path: Path):
    folder = save_tiny(tmp_path / "other")
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"cue"', '"hint"'))
    with pytest.raises(ValueError, match=r"differ in 2 tokens.*'cue' \(base 14, post None\)"):
        ModelPair(tiny, load_model(folder))


def test_pair_of_other_sizes_lists_every_difference(tiny: Any, tmp_path: Path):
    wide = load_model(save_tiny(tmp_path / "wide", hidden_size=64, num_hidden_layers=2))
    with pytest.raises(ValueError, match="d_model: base 32, post 64; n_layers: base 3, post 2"):
        ModelPair(tiny, wide)


def test_pair_of_other_dtype(tiny: Any, tiny_folder: Path):
    with pytest.raises(ValueError, match="dtype: base torch.float32, post torch.float16"):
        ModelPair(tiny, load_model(tiny_folder, dtype="float16"))


def test_masks_mean_the_same_under_both_kernels(tiny: Any):
    visible = torch.ones(6, 6, dtype=torch.bool).tril()[None]
    visible[0, 4, 2] = False
    ids, positions = torch.tensor([[1, 6, 17, 30, 18, 10]]), torch.arange(6)[None]
    eager = make_model(make_hf(attn_implementation="eager"), tiny.tokenizer, name="eager")
    with torch.no_grad():
        found = [
            m.hf(ids, attention_mask=attention_mask(m, visible), position_ids=positions).logits
            for m in (tiny, eager)
        ]
    assert torch.allclose(found[0], found[1], atol=1e-5)


def test_kernel_without_masks_is_refused_and_the_remedy_works(tiny: Any):
    model = make_model(make_hf(), tiny.tokenizer, name="flash")
    visible = torch.ones(1, 2, 2, dtype=torch.bool)
    model.hf.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match=r"set_attn_implementation\('sdpa'\)"):
        attention_mask(model, visible)
    model.hf.set_attn_implementation("sdpa")
    assert attention_mask(model, visible).shape == (1, 1, 2, 2)
