"""Training one vector per layer and nothing else: what is added to the residual stream after it.

A Llama's MLP writes into the residual stream last in its block, so a bias of its down projection is
a vector added to ``resid_post`` at every position. The biases start at zero, which changes nothing,
and they alone are trained (bias-only adaptation, Sinii et al. 2025, arXiv 2505.18706). The result
is an ordinary checkpoint: any loader reads the vectors as ``mlp.down_proj.bias``.
"""

from __future__ import annotations

from typing import Any

import torch


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
            "vectors are trained on a model whose MLPs have no biases, but this one has them: it "
            "was trained so before. Start from its parent."
        )
    config = type(model.config)(**{**model.config.to_dict(), "mlp_bias": True})
    made = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith(".bias"):
                weight.zero_()
    made.load_state_dict(model.state_dict(), strict=False)
    for name, weight in made.named_parameters():
        weight.requires_grad = name.endswith("down_proj.bias")
    return made
