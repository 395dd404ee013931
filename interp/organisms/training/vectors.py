"""Training of one vector per layer, added to the residual stream after it, and of nothing else.

A Llama's MLP writes into the residual stream last in its block, so a bias of its down projection is
a vector added to ``resid_post`` at every position. The biases start at zero, which changes nothing,
and they alone are trained (bias-only adaptation, Sinii et al. 2025, arXiv 2505.18706). The result
is an ordinary checkpoint: any loader reads the vectors as ``mlp.down_proj.bias``. All else is the
parent's to the bit, so it is stored by reference (`share_weights`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

VECTORS_FILE = "vectors.safetensors"


def with_vectors(model: Any) -> Any:
    """The same Llama with a trainable zero vector after each layer and all other weights frozen.

    Args:
        model: A ``LlamaForCausalLM`` without biases in its MLPs.

    Returns:
        A new model that computes the same logits.

    Raises:
        ValueError: If the model has such biases already.
    """
    from transformers import LlamaForCausalLM

    if model.config.mlp_bias:
        raise ValueError(
            "vectors are trained on a model whose MLPs have no biases, but this one has them. "
            "Likely cause: it is the result of such a training. Start from its parent."
        )
    config = type(model.config)(**{**model.config.to_dict(), "mlp_bias": True})
    made = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith(".bias"):
                weight.zero_()
    # Not strict, since the parent has no biases: they stay zero.
    made.load_state_dict(model.state_dict(), strict=False)
    for name, weight in made.named_parameters():
        # mlp_bias adds biases to all projections; only that of the last one is a vector of its own.
        weight.requires_grad = name.endswith("down_proj.bias")
    return made


def share_weights(folder: Path, parent: Path) -> None:
    """Replaces the weights of a saved checkpoint by its vectors and an index to the parent's.

    Args:
        folder: Holds model.safetensors of a model `with_vectors`; beside `parent`.
        parent: Folder of the model that it was made from.

    Raises:
        ValueError: If another tensor than a vector differs from the parent's.
    """
    from safetensors.torch import load_file, save_file

    whole = folder / "model.safetensors"
    weights, before = load_file(whole), load_file(parent / whole.name)
    vectors = {name: weight for name, weight in weights.items() if name not in before}
    moved = [name for name, weight in before.items() if not torch.equal(weights[name], weight)]
    if moved:
        raise ValueError(
            f"only vectors may differ from {parent.name}, but {moved[0]} differs, too. Train "
            f"with_vectors(model), whose other weights are frozen"
        )
    save_file(vectors, folder / VECTORS_FILE, metadata={"format": "pt"})
    shared = f"../{parent.name}/{whole.name}"
    index = {
        "metadata": {"total_size": sum(w.numel() * w.element_size() for w in weights.values())},
        "weight_map": {name: VECTORS_FILE if name in vectors else shared for name in weights},
    }
    text = json.dumps(index, indent=1, sort_keys=True)
    (folder / "model.safetensors.index.json").write_text(f"{text}\n", encoding="utf-8")
    whole.unlink()
