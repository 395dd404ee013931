"""A crosscoder: one dictionary whose latents are read from, and written to, both models of a pair.

A position of a text gives two activations, one of base and one of post. One encoder reads both and
says which latents are active; each latent has one decoder row per model (Lindsey et al. 2024,
transformer-circuits.pub/2024/crosscoders):

    f_j(x)   = ReLU(sum_m s_m x_m . W_enc[m, :, j] + b_enc[j])
    score_j  = f_j(x) * sum_m ||W_dec[m, j]||          kept where score_j > threshold
    x^_m     = (sum_j f_j(x) W_dec[m, j] + b_dec[m]) / s_m

What is one concept in both models is one latent with two decoder rows; what only one of them has
is a latent whose other row is about zero. The factor s_m brings both models to one size, so that a
larger stream does not pass for a larger share. Norms and directions are those of the scaled
activations. The score, not the activation, decides what is active: it does not change when a
latent is multiplied and its decoder divided (BatchTopK, Bussmann et al. 2024, arXiv 2412.06410;
for crosscoders Minder et al. 2025, arXiv 2504.02922).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import explain_failure
from interp.files import write_file

FORMAT = "posthoc-crosscoder-1"
BASE, POST = 0, 1
"""Places along the axis `model`."""
_TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec", "scale", "threshold")


@dataclass(frozen=True, eq=False)
class Crosscoder:
    """The weights of a crosscoder. The axis `model` has base first, then post."""

    W_enc: Float[Tensor, "model d_in d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    W_dec: Float[Tensor, "model d_sae d_in"]
    b_dec: Float[Tensor, "model d_in"]
    scale: Float[Tensor, " model"]
    """Factors s_m that activations are multiplied by on the way in."""
    threshold: Float[Tensor, ""]
    """Least score of an active latent at inference."""

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.W_dec.shape[1]

    @property
    def norms(self) -> Float[Tensor, "model d_sae"]:
        """Norm of each decoder row."""
        return self.W_dec.norm(dim=-1)

    def scaled(self, x: Float[Tensor, "batch model d_in"]) -> Float[Tensor, "batch model d_in"]:
        """Activations in the units of the dictionary."""
        return x * self.scale[:, None]

    def pre_acts(self, scaled: Float[Tensor, "batch model d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Activations of all latents before any is left out."""
        read = torch.einsum("bmd,mdl->bl", scaled, self.W_enc)
        return torch.relu(read + self.b_enc)

    def encode(self, x: Float[Tensor, "batch model d_in"]) -> Float[Tensor, "batch d_sae"]:
        """Latents of raw activations, each position by itself."""
        acts = self.pre_acts(self.scaled(x))
        return acts * (acts * self.norms.sum(0) > self.threshold)

    def decode_scaled(
        self, acts: Float[Tensor, "batch d_sae"]
    ) -> Float[Tensor, "batch model d_in"]:
        """Reconstruction in the units of the dictionary."""
        return torch.einsum("bl,mld->bmd", acts, self.W_dec) + self.b_dec

    def decode(self, acts: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch model d_in"]:
        """Reconstruction in the units of the models."""
        return self.decode_scaled(acts) / self.scale[:, None]


def save_crosscoder(path: Path, crosscoder: Crosscoder) -> None:
    """Writes a crosscoder as one safetensors file.

    Raises:
        ValueError: If the file's name does not end in .safetensors.
    """
    from safetensors.torch import save

    if path.suffix != ".safetensors":
        raise ValueError(f"a crosscoder is a .safetensors file, received {path}. Rename it")
    tensors = {name: getattr(crosscoder, name).detach().contiguous() for name in _TENSORS}
    write_file(path, save(tensors, {"format": FORMAT}))


def load_crosscoder(path: Path) -> Crosscoder:
    """Reads a crosscoder.

    Raises:
        ValueError: If the file is no crosscoder of this project.
    """
    from safetensors import safe_open

    damaged = explain_failure(
        f"{path} cannot be read as safetensors", "Likely cause: an interrupted copy"
    )
    with damaged, safe_open(path, "pt") as opened:
        found = (opened.metadata() or {}).get("format")
        if found != FORMAT:
            raise ValueError(
                f"{path} is no crosscoder: its format is {found!r}, not {FORMAT!r}. Files of "
                f"save_crosscoder can be read; those of other tools name and scale weights "
                f"in other ways"
            )
        return Crosscoder(**{name: opened.get_tensor(name) for name in _TENSORS})
