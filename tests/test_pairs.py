"""Pairs as they come: special tokens renamed or added, vocabularies padded, text split alike.

The tokenizers are byte-level BPE trained here, and Qwen3's from the folder of test data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp.engine import route
from interp.methods.activation_store import capture
from interp.models import Model, ModelPair, make_model
from interp.models.shared_tokens import PROBE_TEXTS, compare_tokenizers
from probes.audit import AuditSettings, pair_readers
from probes.audit.run import describe_run, reader_notes
from probes.first_token import _divergences

SPECIALS = ("<s>", "</s>", "<pad>", "<think>", "</think>", "<|im_start|>", "<|im_end|>")
TEXTS = ["The answer is 18. Nora has 3 * 6 = 18 pens.\nAfter giving 4 away she has 14.\n\n"] * 20


def bpe(specials: tuple[str, ...] = SPECIALS, n: int = 300) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{specials[0]} $A", special_tokens=[(specials[0], 0)]
    )
    names = dict(zip(("bos_token", "eos_token", "pad_token"), specials[:3], strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def model_of(tokenizer: Any, name: str, *, seed: int = 0, **sizes: Any) -> Model:
    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.3,
    }
    hf = LlamaForCausalLM(LlamaConfig(**{**settings, **sizes})).eval()
    return make_model(hf, tokenizer, name=name)


@pytest.fixture(scope="module")
def base() -> Model:
    return model_of(bpe(), "base")


def test_equal_tokenizers_have_no_notes(base: Model):
    assert ModelPair(base, model_of(bpe(), "post", seed=1)).notes == ()


def test_renamed_special_tokens_are_listed_with_their_roles(base: Model):
    renamed = (*SPECIALS[:1], "<end>", "<pad>", *SPECIALS[3:5], "<|User|>", "<|Assistant|>")
    pair = ModelPair(base, model_of(bpe(renamed), "post", seed=1))
    assert pair.notes == (
        "the token that ends a text (eos) is '</s>' (1) in base and '<end>' (1) in post",
        "3 added tokens have another name in post: 1 '</s>' -> '<end>', "
        "5 '<|im_start|>' -> '<|User|>', 6 '<|im_end|>' -> '<|Assistant|>'",
    )
    assert pair.shared.n == base.d_vocab


def test_a_special_token_at_another_id_and_another_one_before_each_text(base: Model):
    moved = ("<begin>", "</s>", "<think>", "<pad>", "</think>", "<|im_start|>", "<|im_end|>")
    tokenizer = bpe(moved)
    tokenizer.pad_token = "<pad>"
    notes = ModelPair(base, model_of(tokenizer, "post")).notes
    assert (
        "the token that begins a text (bos) is '<s>' (0) in base and '<begin>' (0) in post" in notes
    )
    assert "2 added tokens have another id in post: '<pad>' 2 -> 3, '<think>' 3 -> 2" in notes
    assert "encoding a text adds ['<s>'] before in base and ['<begin>'] before in post" in notes


def test_another_end_token_alone_is_noted(base: Model):
    tokenizer = bpe()
    tokenizer.eos_token = "<|im_end|>"
    (note,) = ModelPair(base, model_of(tokenizer, "post")).notes
    assert note == (
        "the token that ends a text (eos) is '</s>' (1) in base and '<|im_end|>' (6) in post"
    )


def added(**tokens: Any) -> Any:
    tokenizer = bpe()
    tokenizer.add_special_tokens(tokens)
    return tokenizer


def test_added_tokens_and_padded_rows_are_accepted(base: Model):
    with_pad = model_of(added(additional_special_tokens=["<|eot|>"]), "post")
    pair = ModelPair(base, with_pad)
    assert pair.notes == (
        "1 added tokens exist in post only: '<|eot|>' (300)",
        "base scores 300 ids and post 301; their predictions are compared over the first 300",
    )
    padded = ModelPair(base, model_of(bpe(), "post", vocab_size=316))
    assert padded.shared == compare_tokenizers(padded.post, padded.base)
    assert padded.shared.n == 300 and len(padded.notes) == 1
    both = [model_of(t, "padded", vocab_size=316) for t in (bpe(), with_pad.tokenizer)]
    assert ModelPair(*both).shared.n == 301  # base has a row for it, though no name


def test_models_of_a_padded_pair_write_one_text(base: Model):
    """The largest logits of the post model are those of its padding, and never written."""
    post = model_of(bpe(), "post", seed=1, vocab_size=316)
    post.hf.lm_head.weight.data[300:] *= 50
    pair, prompt = ModelPair(base, post), [5, 60, 80]
    (written,) = route(pair, [prompt], choose=lambda _: "post", max_new_tokens=6)
    with torch.no_grad():
        ids = prompt
        for token in written.ids:
            logits = post.hf(torch.tensor([ids]), use_cache=False).logits[0, -1]
            assert logits.argmax() >= 300 and token == logits[:300].argmax()
            ids = [*ids, token]


def test_divergences_of_a_padded_pair_are_over_shared_tokens(base: Model):
    post = model_of(bpe(), "post", seed=1, vocab_size=316)
    text = (5, 60, 80, 90, 33)
    with torch.no_grad():
        p, q = (m.hf(torch.tensor([text])).logits[0, :, :300].double() for m in (post, base))
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    expected = (p.exp() * (p - q)).sum(-1)
    first, rest = _divergences(ModelPair(base, post), text, 1)
    assert first == pytest.approx(float(expected[1]), rel=1e-4)
    assert rest == pytest.approx(float(expected[2:4].mean()), rel=1e-4)


def test_one_store_takes_a_pair_with_renamed_tokens(base: Model, tmp_path: Path):
    post = model_of(bpe((*SPECIALS[:5], "<|User|>", "<|Assistant|>")), "post", seed=1)
    rows = [[5, 60, 80], [90, 33]]
    sites = ["blocks.0.hook_resid_post"]
    store = capture({"base": base, "post": post}, rows, sites, tmp_path / "s")
    assert store.n_tokens == 5
    with pytest.raises(ValueError, match="must share the tokens of ordinary text"):
        other = model_of(bpe(n=290), "other")
        capture({"base": base, "post": other}, rows, sites, tmp_path / "t")


def individual_digits(backend: Any) -> None:
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )


def prefix_space(backend: Any) -> None:
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def whole_lines(backend: Any) -> None:
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def composed(backend: Any) -> None:
    backend.normalizer = normalizers.NFC()


def plain_minus(backend: Any) -> None:
    backend.normalizer = normalizers.Replace("\u2212", "-")


def stripped(backend: Any) -> None:
    backend.normalizer = normalizers.Strip()


@pytest.mark.parametrize(
    "change", [individual_digits, prefix_space, whole_lines, composed, plain_minus, stripped]
)
def test_one_vocabulary_split_in_two_ways_is_refused(base: Model, change: Callable[[Any], None]):
    tokenizer = bpe()
    change(tokenizer.backend_tokenizer)
    post = model_of(tokenizer, "post")
    with pytest.raises(
        ValueError, match=r"split \d+ of \d+ probe texts differently.*base \[.*post"
    ):
        ModelPair(base, post)


def test_other_merges_of_one_vocabulary_are_refused(base: Model):
    rules = json.loads(base.tokenizer.backend_tokenizer.to_str())
    rules["model"]["merges"] = rules["model"]["merges"][::-1]
    backend = Tokenizer.from_str(json.dumps(rules))
    names = base.tokenizer.special_tokens_map
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    with pytest.raises(ValueError, match="probe texts differently"):
        ModelPair(base, model_of(tokenizer, "post"))


def test_ordinary_words_in_one_vocabulary_only_are_refused(base: Model):
    with pytest.raises(ValueError, match=r"differ in \d+ tokens.*extended the vocabulary"):
        ModelPair(base, model_of(bpe(n=306), "post"))


def test_no_special_token_stands_for_an_ordinary_one(base: Model):
    rules = json.loads(base.tokenizer.backend_tokenizer.to_str())
    rules["added_tokens"] = [t for t in rules["added_tokens"] if t["content"] != "<|im_end|>"]
    backend = Tokenizer.from_str(json.dumps(rules).replace('"<|im_end|>": 6', '"zq": 6'))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    with pytest.raises(ValueError, match=r"'zq' \(base None, post 6\)"):
        ModelPair(base, model_of(tokenizer, "post"))


def test_probe_texts_hold_what_rules_distinguish():
    text = "".join(PROBE_TEXTS)
    for needed in (
        "\u2212",
        "\r\n",
        "\t",
        "   ",
        "\u00a0",
        "\u200b",
        "e\u0301",
        "𝟎"[:0],
        "\\boxed",
    ):
        assert needed in text
    scripts = ("о", "ο", "ق", "ה", "列", "は", "기", "ถ", "ट", "ü", "😀")
    assert [letter for letter in scripts if letter not in text] == []


def test_notes_reach_the_manifest(base: Model):
    post = model_of(bpe(), "post", seed=1, vocab_size=316)
    readers = pair_readers(base, post)
    assert reader_notes({"base": base}) == ()
    (note,) = reader_notes(readers)
    assert note.startswith("post against base: base scores 300 ids and post 316")
    settings = AuditSettings(tasks=("arith/fresh",), probes=("early_answering",), n=2)
    assert describe_run(readers, settings)["notes"] == [note]
    assert "notes" not in describe_run({"base": base}, settings)


def qwen(folder: Path, names: dict[str, str], tmp_path: Path) -> Any:
    target = tmp_path / f"q{len(names)}"
    target.mkdir()
    for file in sorted((folder / "tokenizers" / "qwen3").iterdir()):
        text = file.read_text(encoding="utf-8")
        for old, new in names.items():
            text = text.replace(old, new)
        (target / file.name).write_text(text, encoding="utf-8")
    return AutoTokenizer.from_pretrained(target)


def test_qwen_against_its_r1_distillation(data_folder: Path, tmp_path: Path):
    """As published: seven ids of Qwen's tokenizer bear other names in DeepSeek's."""
    names = {
        "<|endoftext|>": "<｜end▁of▁sentence｜>",
        "<|im_start|>": "<｜User｜>",
        "<|im_end|>": "<｜Assistant｜>",
        "<|object_ref_start|>": "<｜begin▁of▁sentence｜>",
        "<|object_ref_end|>": "<|EOT|>",
        "<think>": "<|a|>",
        "</think>": "<|b|>",
    }
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 151936}
    ours, theirs = (qwen(data_folder, renamed, tmp_path) for renamed in ({}, names))
    pair = ModelPair(model_of(ours, "qwen", **small), model_of(theirs, "r1", **small))
    assert pair.shared.n == len(ours)
    assert any(note.startswith("7 added tokens have another name in post") for note in pair.notes)
    assert "'<|im_end|>' (151645) in base and '<｜Assistant｜>' (151645) in post" in pair.notes[0]
    deepseek = AutoTokenizer.from_pretrained(data_folder / "tokenizers" / "deepseek_v3")
    other = model_of(deepseek, "deepseek", **{**small, "vocab_size": len(deepseek)})
    with pytest.raises(ValueError, match="models of two families are not a pair"):
        ModelPair(pair.base, other)
