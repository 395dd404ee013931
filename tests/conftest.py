"""Shared fixtures: tiny random models with exact shapes, and the folder of test data.

The import hook checks every shape annotation of `interp` and `probes` while tests run, so it must
be installed before either is imported.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
import transformers
from jaxtyping import install_import_hook

# Its log handler keeps the stream of the moment in which it is made. Made inside of a test that
# runs a command, it would write to a closed one for the rest of the session.
transformers.logging.get_logger()
torch.set_num_threads(1)
install_import_hook(("interp", "probes"), "beartype.beartype")

ROOT = Path(__file__).resolve().parent.parent


def make_hf(seed: int = 0, **changes: Any) -> Any:
    """A random Llama: 3 layers, width 32, 4 query and 2 key-value heads of width 8."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from interp.organisms.worlds.arith.problems import WORDS

    sizes: dict[str, Any] = {
        "vocab_size": len(WORDS.vocabulary),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "attn_implementation": "sdpa",
    }
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **changes})).eval()


def save_tiny(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Saves a random Llama with the tokenizer of the arithmetic worlds."""
    from interp.organisms.worlds.arith.problems import WORDS

    make_hf(seed, **changes).save_pretrained(folder)
    WORDS.tokenizer().save_pretrained(folder)
    return folder


def make_lens(model: Any) -> Any:
    """A model in TransformerLens, without any processing of its weights."""
    path = model.tokenizer.name_or_path
    assert "llama" not in path.lower(), "TransformerLens guesses the family from paths"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens import HookedTransformer, loading

        cfg = loading.get_pretrained_model_config(
            path, device="cpu", dtype=torch.float32, fold_ln=False
        )
        weights = loading.get_pretrained_state_dict(path, cfg, model.hf, dtype=torch.float32)
        found = HookedTransformer(
            cfg, model.tokenizer, move_to_device=False, default_padding_side="left"
        )
        found.load_and_process_state_dict(
            weights,
            fold_ln=False,
            center_writing_weights=False,
            center_unembed=False,
            fold_value_biases=False,
        )
    return found.eval()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random model (its name must not name a family: TransformerLens reads it)."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Any:
    """A random model with grouped-query attention; tests must leave it as it is."""
    from interp.models import load_model

    return load_model(tiny_folder)


@pytest.fixture(scope="session")
def tiny_pair(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tiny model and one with other weights."""
    from interp.models import ModelPair, load_model

    other = save_tiny(tmp_path_factory.mktemp("models") / "tiny-post", seed=1)
    return ModelPair(tiny, load_model(other))


@pytest.fixture
def tiny_copy(tmp_path: Path) -> Callable[..., Path]:
    """Saves a tiny model that a test may damage: `tiny_copy(seed=0, **config)`."""

    def save(**changes: Any) -> Path:
        return save_tiny(tmp_path / "model", **changes)

    return save


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public test data; tests skip where it is absent."""
    folder = Path(os.environ.get("POSTHOC_DATA", ROOT / "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set POSTHOC_DATA to its folder")
    return folder
