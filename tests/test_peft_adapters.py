"""Adapter folders: over the base's weights they equal the merged model, and misfits say why."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_hf, save_tiny
from safetensors.torch import load_file, save_file

import interp.models.peft_adapter as adapter_module
from interp.engine import generate, run
from interp.interventions import Intervention, add
from interp.models import Model, ModelPair, load_model, make_model
from interp.models.identity import describe_model
from interp.models.loading import load_parts
from interp.sites import Site

peft = pytest.importorskip("peft", reason="adapters need the extra train")

IDS = [1, 6, 17, 30, 18, 10]
EXACT = 1e-5
"""Adding an adapter's product to an output, or to the weights before: float32 rounding."""

Saved = tuple[Path, Any]


def train(folder: Path, hf: Any, *, embeddings: bool = False, **settings: Any) -> Any:
    """An adapter with random numbers in all its tensors, saved; returns the merged module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names that PEFT and transformers still use
        return _train(folder, hf, embeddings, settings)


def _train(folder: Path, hf: Any, embeddings: bool, settings: dict[str, Any]) -> Any:
    wanted = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}
    config = peft.LoraConfig(**{**wanted, **settings}, task_type="CAUSAL_LM")
    model = peft.get_peft_model(hf, config)
    generator = torch.Generator().manual_seed(11)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(folder, save_embedding_layers=embeddings)
    return model.merge_and_unload().eval()


@pytest.fixture
def base(tmp_path: Path) -> Model:
    return load_model(save_tiny(tmp_path / "base"))


@torch.no_grad()
def logits(hf: Any) -> torch.Tensor:
    return hf(torch.tensor([IDS]), use_cache=False).logits[0]


def n_own(post: Model, base: Model) -> int:
    shared = {weight.data_ptr() for weight in base.hf.parameters()}
    return sum(w.numel() for w in post.hf.parameters() if w.data_ptr() not in shared)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_dora": True},
        {"use_rslora": True, "lora_dropout": 0.3},
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["embed_tokens", "k_proj"]},
        {"modules_to_save": ["lm_head"]},
        {"layers_to_transform": [1]},
    ],
    ids=lambda settings: "-".join(map(str, settings)) or "plain",
)
def test_an_adapter_equals_its_merged_model(tmp_path: Path, base: Model, settings: dict[str, Any]):
    merged = train(tmp_path / "post", make_hf(), **settings)
    before = logits(base.hf)
    post = load_model(tmp_path / "post", base=base)
    found = run(post, [IDS]).logits[0]
    assert torch.allclose(found, logits(merged), atol=EXACT)
    assert (found - before).abs().max() > 0.1
    assert torch.equal(logits(base.hf), before)
    for matrix in ("get_input_embeddings", "get_output_embeddings"):
        ours, theirs = (getattr(hf, matrix)().weight for hf in (post.hf, merged))
        assert torch.allclose(ours, theirs, atol=EXACT)
    assert not any(weight.requires_grad for weight in post.hf.parameters())


def test_the_base_is_held_once(tmp_path: Path, base: Model):
    train(tmp_path / "post", make_hf())
    post = load_model(tmp_path / "post", base=base)
    # 3 layers, rank 4: q 32 -> 32, v 32 -> 16, down 48 -> 32.
    assert n_own(post, base) == 3 * 4 * (32 + 32 + 32 + 16 + 48 + 32)
    assert post.notes[0] == (
        "adapter over the weights of base, which are held once in memory; 2,304 numbers of its own"
    )
    assert describe_model(post)["notes"] == "; ".join(post.notes)
    assert "notes" not in describe_model(base)
    assert ModelPair(base, post).name == "base -> post"


def test_edits_and_writing_act_on_the_adapter_alone(tmp_path: Path, base: Model):
    merged = train(tmp_path / "post", make_hf())
    post = load_model(tmp_path / "post", base=base)
    whole = make_model(merged, base.tokenizer, name="whole")
    vector = torch.randn(32, generator=torch.Generator().manual_seed(2))
    edit = [Intervention(Site(1, "resid_post"), add, vector, dose=1.5)]
    found, expected = (run(m, [IDS], interventions=edit).logits[0] for m in (post, whole))
    assert torch.allclose(found, expected, atol=EXACT)
    texts = [generate(m, [IDS], max_new_tokens=12)[0].ids for m in (post, whole)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_of_one_of_two_tied_matrices_leaves_the_other(tmp_path: Path, target: str):
    """Merging in place would change both, so the truth is the adapter as it was trained."""
    base = load_model(save_tiny(tmp_path / "base", tie_word_embeddings=True))
    hf = make_hf(tie_word_embeddings=True)
    train(tmp_path / "post", hf, target_modules=[target, "q_proj"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained = peft.PeftModel.from_pretrained(
            make_hf(tie_word_embeddings=True), str(tmp_path / "post")
        )
    post = load_model(tmp_path / "post", base=base)
    assert torch.allclose(run(post, [IDS]).logits[0], logits(trained.eval()), atol=EXACT)


def test_biases_of_the_base_that_an_adapter_trained_are_its_own(tmp_path: Path):
    wide = {"attention_bias": True}
    base = load_model(save_tiny(tmp_path / "base", **wide))
    merged = train(tmp_path / "post", make_hf(**wide), bias="all")
    before = logits(base.hf)
    post = load_model(tmp_path / "post", base=base)
    assert torch.allclose(run(post, [IDS]).logits[0], logits(merged), atol=EXACT)
    assert torch.equal(logits(base.hf), before)


def test_an_adapter_that_brings_tokens(tmp_path: Path, base: Model):
    hf = make_hf()
    tokenizer = base.tokenizer.__class__.from_pretrained(tmp_path / "base")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    hf.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    hf.get_input_embeddings().weight.data[-1] = 0.3
    merged = train(tmp_path / "post", hf, embeddings=True)
    tokenizer.save_pretrained(tmp_path / "post")
    post = load_model(tmp_path / "post", base=base)
    ids = [*IDS, len(tokenizer) - 1]
    with torch.no_grad():
        expected = merged(torch.tensor([ids]), use_cache=False).logits[0]
    assert torch.allclose(run(post, [ids]).logits[0], expected, atol=EXACT)
    assert (base.d_vocab, post.d_vocab) == (len(tokenizer) - 1, len(tokenizer))
    notes = " ".join(ModelPair(base, post).notes)
    assert "1 added tokens exist in post only: '<|im_end|>'" in notes
    assert f"compared over the first {base.d_vocab}" in notes


def test_initialisations_that_change_the_base_get_a_copy(tmp_path: Path, base: Model):
    hf = make_hf()
    train(tmp_path / "post", hf, init_lora_weights="pissa")
    before = logits(base.hf)
    post = load_model(tmp_path / "post", base=base)
    assert torch.equal(logits(base.hf), before)
    assert "changes the base weights" in post.notes[0]


def change(**fields: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return apply


def test_the_named_base_is_loaded_where_none_is_given(tmp_path: Path, base: Model):
    merged = train(tmp_path / "post", make_hf())
    for named in (str(tmp_path / "base"), "../base"):
        change(base_model_name_or_path=named)(tmp_path / "post")
        post = load_model(tmp_path / "post")
        assert torch.allclose(run(post, [IDS]).logits[0], logits(merged), atol=EXACT)
        assert len(post.notes) == 1
    change(base_model_name_or_path=None)(tmp_path / "post")
    with pytest.raises(ValueError, match=r"names no base model.*base=load_model\(PATH_OF_BASE\)"):
        load_model(tmp_path / "post")
    post = load_model(tmp_path / "post", base=base)
    assert "names the base None; it was loaded over base" in post.notes[1]


def test_a_base_of_other_sizes_is_refused_with_both_names(tmp_path: Path):
    train(tmp_path / "post", make_hf())
    change(base_model_name_or_path="acme/seven-b")(tmp_path / "post")
    for sizes, message in (
        ({"hidden_size": 64}, "size mismatch for .*lora_A"),
        ({"num_hidden_layers": 2}, r"also holds .*layers\.2\..*\(6 in all\)"),
        ({"num_hidden_layers": 4}, r"has no tensor for .*layers\.3\..*\(6 in all\)"),
    ):
        other = load_model(save_tiny(tmp_path / f"other{len(list(tmp_path.iterdir()))}", **sizes))
        with pytest.raises(ValueError, match=rf"does not fit other\d.*{message}") as e:
            load_model(tmp_path / "post", base=other)
        assert "It was trained on 'acme/seven-b'" in str(e.value)


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:200])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("adapter_model.safetensors"), "the only format of adapters that is read"),
        (cut, "cannot be read .*interrupted copy"),
        (change(target_modules=["query"]), "does not fit base .*query"),
        (change(peft_type="PROMPT_TUNING"), "does not fit base"),
        (change(peft_type="NEWER"), "does not fit base"),
    ],
)
def test_damaged_adapters(tmp_path: Path, base: Model, damage: Any, message: str):
    train(tmp_path / "post", make_hf())
    damage(tmp_path / "post")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "post", base=base)


def test_an_untrained_adapter_is_noted(tmp_path: Path, base: Model):
    train(tmp_path / "post", make_hf())
    file = tmp_path / "post" / "adapter_model.safetensors"
    save_file({name: torch.zeros_like(weight) for name, weight in load_file(file).items()}, file)
    assert "saved before training" in load_model(tmp_path / "post", base=base).notes[-1]


def test_an_adapter_over_an_adapter_and_without_whole_weights(tmp_path: Path, base: Model):
    train(tmp_path / "post", make_hf())
    post = load_model(tmp_path / "post", base=base)
    with pytest.raises(ValueError, match="post holds an adapter itself. Merge that"):
        load_model(tmp_path / "post", base=post)
    with pytest.raises(ValueError, match="this needs whole weights"):
        load_parts(tmp_path / "post", device="cpu", dtype="float32", kernel="sdpa")
    shutil.copy(tmp_path / "base" / "model.safetensors", tmp_path / "post")
    with pytest.raises(ValueError, match=r"beside the weights of a model \(model.safetensors\)"):
        load_model(tmp_path / "post", base=base)


def test_without_peft_the_extra_is_named(
    tmp_path: Path, base: Model, monkeypatch: pytest.MonkeyPatch
):
    train(tmp_path / "post", make_hf())
    monkeypatch.setattr(adapter_module, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'posthoc\[train\]'"):
        load_model(tmp_path / "post", base=base)
