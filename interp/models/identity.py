"""Identity: what must be equal for two runs to give the same numbers.

Weights alone do not decide them. The same weights under another rotation base are another model,
and under a tokenizer with two ids swapped they read another text. So a run, and any piece of kept
work, is known by the checksums of weights, configuration and tokenizer together.

`describe_model` takes them from a loaded model: a file that was only written anew, with the same
content, does not change them. `hash_folder` takes them from files, where no model is loaded.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from interp.models.folders import weight_files
from interp.models.model import Model

_ABOUT_FILES = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "_commit_hash")
"""Fields of a configuration that say how it was stored; `describe_model` has the dtype itself."""
_READ = (".json", ".txt", ".model", ".jinja", ".safetensors")
_DESCRIBING = "card.json"
"""What this project keeps in such folders about their content; no loader reads it."""


def describe_model(model: Model) -> dict[str, str]:
    """What decides the numbers of a model, and its name; plain data for manifests."""
    return {
        "name": model.name,
        "weights_sha256": model.weights_sha256,
        "config_sha256": hash_config(model.hf),
        "tokenizer_sha256": hash_tokenizer(model.tokenizer),
        "dtype": str(model.dtype),
        "device": model.device.type,  # rounding differs between types of devices
        **({"prompt_format": repr(asked)} if (asked := model.prompt_format.changes) else {}),
        **({"notes": "; ".join(model.notes)} if model.notes else {}),
    }


def hash_config(hf: Any) -> str:
    """Checksum of the configuration of a Hugging Face module, and of how it generates."""
    parts = [hf.config.to_dict()]
    if getattr(hf, "generation_config", None) is not None:
        parts.append(hf.generation_config.to_dict())
    return _sha256([{k: v for k, v in part.items() if k not in _ABOUT_FILES} for part in parts])


def hash_tokenizer(tokenizer: Any) -> str:
    """Checksum of what decides token ids and the text of a chat: rules, added tokens, template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
    for state in ("padding", "truncation"):  # of the last call, not of the tokenizer
        rules.pop(state, None)
    added = {str(id_): repr(token) for id_, token in tokenizer.added_tokens_decoder.items()}
    pieces = getattr(tokenizer, "vocab_file", None)  # scores and merges, where there is no backend
    return _sha256(
        {
            "rules": rules,
            "vocabulary": tokenizer.get_vocab(),
            "pieces": _hash_file(Path(pieces)) if pieces and Path(pieces).is_file() else None,
            "added": added,
            "special": tokenizer.special_tokens_map,
            "template": getattr(tokenizer, "chat_template", None),
            "settings": [
                getattr(tokenizer, name, None)
                for name in ("split_special_tokens", "add_prefix_space", "_add_bos_token",
                             "_add_eos_token", "clean_up_tokenization_spaces")
            ],
        }
    )  # fmt: skip


def hash_folder(folder: Path) -> str:
    """Checksum of the files of a model or an SAE: names and contents of all that loaders read.

    Raises:
        ValueError: If it holds no weights.
    """
    files = {file for file in folder.iterdir() if file.suffix in _READ and file.is_file()}
    files |= {*weight_files(folder)}  # an index may name a file of a neighbouring folder
    named = [(file.name, _hash_file(file)) for file in files if file.name != _DESCRIBING]
    return _sha256(sorted(named))


def _hash_file(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
