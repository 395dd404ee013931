"""SAE training with sae-lens, the threshold of an SAE, and its folder.

BatchTopK (Bussmann et al. 2024, arXiv 2412.06410) keeps the k strongest latents per position on
average over a batch. For use on single positions the choice over a batch is replaced by a
threshold, the same for all latents. The threshold that sae-lens saves is a running mean that starts
at 0 and lags behind: after short trainings several times too many latents are active. `calibrate`
sets it, on activations that were held out, to the value at which k latents are active on average.
Do so before measuring anything else of an SAE.

A folder holds ``cfg.json`` and ``sae_weights.safetensors`` as sae-lens writes and reads them, and
names the hook by the site's name, so `posthoc steer --sae DIR --latent N` finds its place. Weights
may be stored in half precision: sae-lens widens them to the number format that the config names.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import explain_failure
from interp.files import read_json, write_file
from interp.interventions import check_sae
from interp.sites import Site, SiteOrName, as_site, parse_site

CFG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
STORED = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class SaeSettings:
    """How an SAE is trained.

    Raises:
        ValueError: If a number is out of range.
    """

    d_sae: int = 512
    """Number of latents."""
    k: float = 12
    """Latents active per position, on average."""
    steps: int = 1500
    batch: int = 1024
    """Activations per step."""
    lr: float = 1e-3
    """Constant after a short warm-up, and in the last fifth down to 0."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.k <= self.d_sae and self.steps >= 10 and self.batch >= 1 and self.lr > 0):
            raise ValueError(
                f"an SAE needs 0 < k <= d_sae, at least 10 steps, and a positive batch and lr; "
                f"received {self}"
            )


def train_sae(
    batches: Iterator[Float[Tensor, "batch d_in"]],
    d_in: int,
    site: SiteOrName,
    training: SaeSettings,
    about: Mapping[str, Any],
) -> Any:
    """Trains a BatchTopK SAE by sae-lens.

    Args:
        batches: Activations without end, as `Store.batches` gives them.
        d_in: Their width.
        site: Where they were captured.
        training: The settings.
        about: Further metadata, such as ``model_name``.

    Returns:
        An SAE of sae-lens in its inference form (JumpReLU). Its threshold is the lagging one:
        `calibrate` it before use.

    Raises:
        ValueError: If the weights became NaN.
    """
    lens = _sae_lens()
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.sae import SAEMetadata
    from sae_lens.training.sae_trainer import SAETrainer

    config = lens.BatchTopKTrainingSAEConfig(
        d_in=d_in,
        d_sae=training.d_sae,
        k=training.k,
        normalize_activations="expected_average_only_in",  # folded into the weights at the end
        metadata=SAEMetadata(**{**about, "hook_name": str(as_site(site))}),
    )
    trainer_config = SAETrainerConfig(
        total_training_samples=training.steps * training.batch,
        train_batch_size_samples=training.batch,
        lr=training.lr,
        lr_end=training.lr,
        lr_warm_up_steps=min(100, training.steps // 10),
        lr_decay_steps=training.steps // 5,
        dead_feature_window=max(training.steps // 10, 50),
        n_batches_for_norm_estimate=16,
    )
    # sae-lens draws from torch's global generator; callers get theirs back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        sae = lens.BatchTopKTrainingSAE(config)
        SAETrainer(trainer_config, sae=sae, data_provider=batches).fit()
    if not bool(torch.isfinite(sae.W_dec).all()):
        raise ValueError(
            f"the weights of the SAE became NaN or infinite in training; received lr "
            f"{training.lr}. Lower it"
        )
    # sae-lens turns BatchTopK into JumpReLU only when it saves.
    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        inference_form: Any = lens.SAE.load_from_disk(folder)
    return inference_form.requires_grad_(False)


@torch.no_grad()
def calibrate(sae: Any, held_out: Float[Tensor, "pos d_in"], k: float, *, dtype: str) -> Any:
    """Sets the threshold so that k latents are active per position on average.

    Args:
        sae: In inference form (JumpReLU); it is changed.
        held_out: Activations that it was not trained on.
        k: Wanted mean number of active latents.
        dtype: Number format in which it will be stored: the weights are rounded to it first, since
            rounding moves what is just above or below the threshold.

    Returns:
        The same SAE.

    Raises:
        ValueError: If it has no threshold, or fewer than k latents ever have a positive input.
    """
    if sae.cfg.architecture() != "jumprelu":
        raise ValueError(
            f"only a JumpReLU SAE has a threshold, received {sae.cfg.architecture()!r}. Train a "
            f"BatchTopK one: its inference form is JumpReLU"
        )
    for weight in sae.parameters():
        weight.copy_(weight.to(STORED[dtype]).float())
    sae.threshold.zero_()  # so that every positive pre-activation is ranked
    above = sae.encode(held_out).flatten()
    n_active = round(k * len(held_out))
    if int((above > 0).sum()) < n_active:
        raise ValueError(
            f"with no threshold at all {float((above > 0).sum()) / len(held_out):.1f} latents are "
            f"active per position, fewer than the {k} asked for. Train longer, or ask for fewer"
        )
    # The threshold lies halfway between the last value kept and the first dropped.
    edge = above.sort(descending=True).values[n_active - 1 : n_active + 1]
    sae.threshold.fill_(float(edge.mean()))
    sae.threshold.copy_(sae.threshold.to(STORED[dtype]).float())  # as it is read back
    return sae


def save_sae(folder: Path, sae: Any, *, dtype: str = "float16") -> None:
    """Writes an SAE as sae-lens reads it.

    Args:
        folder: Made with its parents.
        sae: In inference form.
        dtype: Number format of the file, 'float16' or 'float32'; it is read back as float32.

    Raises:
        OSError: If it cannot be written.
    """
    from safetensors.torch import save

    weights = {name: w.to(STORED[dtype]).contiguous() for name, w in sae.state_dict().items()}
    config = sae.cfg.to_dict() | {"dtype": "float32", "device": "cpu"}
    write_file(folder / CFG, (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())
    write_file(folder / WEIGHTS, save(weights))


def load_sae(folder: Path) -> Any:
    """Reads an SAE from a folder of sae-lens.

    Args:
        folder: Holds cfg.json and sae_weights.safetensors.

    Returns:
        The SAE of sae-lens, without gradients. One of heads takes them side by side.

    Raises:
        ValueError: If files are missing, it does not say where it belongs, or `check_sae` refuses
            it.
    """
    missing = [name for name in (CFG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"an SAE is a folder with {CFG} and {WEIGHTS}; {folder} lacks {missing}")
    library = _sae_lens()
    architecture = read_json(folder / CFG).get("architecture")
    if architecture is not None and architecture not in library.registry.SAE_CLASS_REGISTRY:
        raise ValueError(
            f"the SAE in {folder} has the architecture {architecture!r}, which sae-lens reads only "
            f"in training. Save it by sae.save_inference_model(folder)"
        )
    with explain_failure(
        f"the SAE in {folder} cannot be loaded",
        f"Likely causes: {CFG} of another version of sae-lens, or of other sizes than {WEIGHTS}, "
        "or an interrupted copy",
    ):
        sae: Any = library.SAE.load_from_disk(str(folder))
    sae.turn_off_forward_pass_hook_z_reshaping()
    sae_site(sae)
    return sae.requires_grad_(False)


def sae_site(sae: Any) -> Site:
    """Where an SAE belongs.

    Raises:
        ValueError: If its metadata names no hook, or one that is no site here; or if it is none
            that reads and writes that one site as it is (`check_sae`).
    """
    check_sae(sae)
    hook = sae.cfg.metadata.hook_name
    if not hook:
        raise ValueError(
            f'this SAE does not say where it belongs. Add "metadata": {{"hook_name": '
            f'"blocks.1.hook_resid_post"}} to its {CFG}, with the right layer'
        )
    return parse_site(str(hook))


def _sae_lens() -> Any:
    """The library, imported without its warnings about what it imports itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import sae_lens
    return sae_lens
