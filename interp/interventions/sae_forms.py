"""Forms of SAEs: which ones can be read here, and how the others are told apart.

Everything here that uses an SAE takes the vectors of one site, position by position, for its input
and puts sums of decoder rows back at the same site. sae-lens also has dictionaries that do
something else and have the same methods: called in the same way they would return wrong numbers.

- A **transcoder** reads one site and writes another (`hook_name_out`). One latent is still a
  direction, at the site where it writes.
- An SAE that was trained on **rescaled or whitened activations** has latents in other units. Where
  the scale is one number ('expected_average_only_in') sae-lens does not apply it: it must be folded
  into the weights. Where it differs from position to position a latent has no length in the stream.
- An SAE **in training** adds noise, or chooses latents over a batch.
- An SAE **of heads** ('hook_z') takes heads apart; the engine hands them over side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LINEAR_DECODERS = ("standard", "gated", "jumprelu", "topk")
"""Architectures of sae-lens (inference form) that encode each position by itself and decode by a
weighted sum of decoder rows, so that one latent is one direction."""


def check_sae(sae: Any) -> None:
    """Makes sure that an SAE reads and writes one site as it is, one position at a time.

    Args:
        sae: An SAE of sae-lens.

    Raises:
        ValueError: If it does something else; the message says what would make it usable.
    """
    cfg = sae.cfg
    # By name: sae-lens is needed only by those who have an SAE.
    trains = any(kind.__name__ == "TrainingSAE" for kind in type(sae).__mro__)
    if trains or cfg.architecture() not in LINEAR_DECODERS:
        raise ValueError(
            f"what is needed is an SAE that decodes a position by a sum of decoder rows of its own "
            f"input: {', '.join(LINEAR_DECODERS)}; received {cfg.architecture()!r}"
            f"{' in its training form' if trains else ''}. One in training is saved by "
            f"save_inference_model and loaded by SAE.load_from_disk"
        )
    check_scale(cfg.normalize_activations)
    hooks = cfg.metadata.hook_name, cfg.metadata.hook_name_out
    if hooks[1] and hooks[0] != hooks[1]:
        raise ValueError(
            f"an SAE reads and writes one site, and this dictionary reads {hooks[0]} and writes "
            f"{hooks[1]}: a transcoder, whose latents `load_latent` gives as directions there"
        )
    if sae.hook_z_reshaping_mode:
        raise ValueError(
            "the engine hands over heads side by side, as one vector, and this SAE expects "
            "them apart. Call sae.turn_off_forward_pass_hook_z_reshaping() first"
        )


def check_scale(normalisation: str | None) -> None:
    """Makes sure that an SAE takes activations as they are.

    Args:
        normalisation: The field `normalize_activations` of its configuration.

    Raises:
        ValueError: If it was trained on others.
    """
    if normalisation not in (None, "none"):
        raise ValueError(
            f"this SAE rescales its input ({normalisation!r}), so a latent has no fixed length in "
            f"the stream. 'expected_average_only_in' is folded into the weights by "
            f"sae.fold_activation_norm_scaling_factor(factor), 'covariance_whitening' by "
            f"sae.fold_activation_whitening(...), and the SAE then saved again; others cannot be"
        )


def written_hook(cfg: Mapping[str, Any]) -> str | None:
    """Name of the hook at which a dictionary writes.

    Args:
        cfg: Its configuration, as in cfg.json.

    Returns:
        The name; None if the configuration does not say it. A transcoder's input is not a guess.
    """
    # sae-lens 6 keeps the hook's name under "metadata", earlier versions at the top.
    about = {**cfg, **(cfg.get("metadata") or {})}
    if "transcoder" in str(cfg.get("architecture")) or about.get("hook_name_out"):
        return about.get("hook_name_out")
    return about.get("hook_name") or about.get("hook_point")
