"""Interventions: what is changed in a model, where, in which rows, and the receipt that it was.

An `Intervention` says *where* (site, head, positions, rows) and *how*: an operator, a vector and a
dose. An operator is a pure function of activations, vectors and doses; a new method is a new
function (or a frozen record that is called, like `ClampLatent`). The engine applies all
interventions of a batch together, each row with its own::

    steer = Intervention(Site(5, "resid_post"), add, direction, dose=0.5, unit="norms")
    erase = Intervention(Site(5, "resid_post"), project_out, direction, rows=(0, 2))
    patch = Intervention(Site(3, "z"), replace, clean[4:6], positions=(4, 5), rows=(1,))
    clamp = Intervention(Site(5, "resid_post"), ClampLatent(sae, 1203), dose=4.0)

Mean and resample ablation are `replace` with values that `interp.ablations` picks.

Every application leaves a `Receipt` per intervention and row: the positions at which the edit took
place and how large it was. The engine compares them with what was asked for and refuses to return
numbers when they differ, so a hook that fires on the prompt only, or one token late, cannot pass
unnoticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.model import Model, site_shape
from interp.sites import Site

Operator = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(activations [edit, width], vectors [edit, width], doses [edit, 1]) -> activations.

A function, or a frozen record with `__call__`: those that are equal are applied together. All three
come in float32 or wider, whatever the model computes in, and the result is rounded once."""

Span = Literal["all", "prompt", "generated"]
Positions = Span | tuple[int, ...]


def add(
    activation: Float[Tensor, "pos d_model"],
    vector: Float[Tensor, "pos d_model"],
    dose: Float[Tensor, "pos 1"],
) -> Float[Tensor, "pos d_model"]:
    """Adds dose times the vector."""
    return activation + dose * vector


def project_out(
    activation: Float[Tensor, "pos d_model"],
    vector: Float[Tensor, "pos d_model"],
    dose: Float[Tensor, "pos 1"],
) -> Float[Tensor, "pos d_model"]:
    """Removes the component along the vector (directional ablation); dose 2 mirrors it."""
    unit = vector / vector.norm(dim=-1, keepdim=True)
    return activation - dose * (activation * unit).sum(-1, keepdim=True) * unit


def interpolate(
    activation: Float[Tensor, "pos d_model"],
    vector: Float[Tensor, "pos d_model"],
    dose: Float[Tensor, "pos 1"],
) -> Float[Tensor, "pos d_model"]:
    """Moves towards the vector: dose 0 changes nothing, dose 1 arrives."""
    return torch.lerp(activation, vector, dose)


def replace(
    activation: Float[Tensor, "pos d_model"],  # noqa: ARG001
    vector: Float[Tensor, "pos d_model"],
    dose: Float[Tensor, "pos 1"],  # noqa: ARG001
) -> Float[Tensor, "pos d_model"]:
    """Puts the vector in the place of the activation (patching, mean and resample ablation)."""
    return vector


def zero_ablate(
    activation: Float[Tensor, "pos d_model"],
    vector: Float[Tensor, "pos d_model"],  # noqa: ARG001
    dose: Float[Tensor, "pos 1"],  # noqa: ARG001
) -> Float[Tensor, "pos d_model"]:
    """Puts zeros in the place of the activation."""
    return torch.zeros_like(activation)


LINEAR_DECODERS = ("standard", "gated", "jumprelu", "topk")
"""Architectures of sae-lens (inference form) that encode each position by itself and decode by a
weighted sum of decoder rows, so that one latent is one direction."""


@dataclass(frozen=True)
class ClampLatent:
    """Sets one latent of an SAE to a value: the dose, in the units of the SAE's latents.

    With the error term kept, x becomes x + (dose - f(x)) d, where f(x) is the latent's value at
    this position and d its decoder row: what the SAE does not explain stays, and a latent at its
    own value changes nothing, bit for bit. With the error term dropped, x becomes the decoding of
    its latents with this one set, so the reconstruction error enters the model as well; clamping
    to a value that the latent has anyway shows how much that does by itself.

    The edit is written into the stream, never into a reconstruction to which the error of the
    edited input is added back: such an error term would cancel it.

    Raises:
        ValueError: If the SAE is not of a form in which a latent is one direction of its input.
    """

    sae: Any
    """An SAE of sae-lens, in its inference form."""
    latent: int
    keep_error: bool = True

    def __post_init__(self) -> None:
        cfg = self.sae.cfg
        architecture = cfg.architecture()
        if architecture not in LINEAR_DECODERS or not hasattr(cfg, "reshape_activations"):
            raise ValueError(
                f"clamping needs an SAE that decodes a position by a sum of decoder rows of its "
                f"own input: {', '.join(LINEAR_DECODERS)}; received {architecture!r}. One in "
                f"training is saved by save_inference_model and loaded by SAE.load_from_disk"
            )
        if cfg.normalize_activations != "none":
            raise ValueError(
                f"this SAE rescales its input ({cfg.normalize_activations!r}), so a latent has no "
                f"fixed direction in the stream. 'expected_average_only_in' is folded into the "
                f"weights by sae.fold_activation_norm_scaling_factor(factor); others cannot be"
            )
        if self.sae.hook_z_reshaping_mode:
            raise ValueError(
                "the engine hands over heads side by side, as one vector, and this SAE expects "
                "them apart. Call sae.turn_off_forward_pass_hook_z_reshaping() first"
            )
        if not 0 <= self.latent < cfg.d_sae:
            raise ValueError(f"latents are 0 to {cfg.d_sae - 1}, received {self.latent}")

    @property
    def d_in(self) -> int:
        """Width of the activations that the SAE reads."""
        return int(self.sae.cfg.d_in)

    def __call__(
        self,
        activation: Float[Tensor, "pos d_model"],
        vector: Float[Tensor, "pos d_model"],  # noqa: ARG002
        dose: Float[Tensor, "pos 1"],
    ) -> Float[Tensor, "pos d_model"]:
        """Clamps the latent at every position, in the SAE's number format and on its device."""
        x = activation.to(self.sae.W_dec)
        target = dose.to(x)
        latents = self.sae.encode(x)
        if not self.keep_error:
            latents[:, self.latent] = target[:, 0]
            return self.sae.decode(latents).to(activation)
        direction = self.sae.W_dec[self.latent]
        if getattr(self.sae.cfg, "rescale_acts_by_decoder_norm", False):
            direction = direction / direction.norm()
        # Only the change passes through the SAE's number format, never what it leaves as it is.
        return activation + ((target - latents[:, self.latent, None]) * direction).to(activation)


@dataclass(frozen=True, eq=False)
class Intervention:
    """One change of one site.

    Raises:
        ValueError: If the parts do not fit together; checked once, here.
    """

    site: Site
    operator: Operator
    vector: Float[Tensor, "..."] | None = None
    """Of the width of the site (or of one head): one for all positions, or, with listed positions,
    one per position along a first axis. None only for `zero_ablate` and `ClampLatent`."""
    dose: float = 1.0
    unit: Literal["raw", "norms"] = "raw"
    """What a dose of 1 means for `add`: the vector as it is, or the vector brought to the norm that
    the activation has at that position."""
    positions: Positions = "all"
    """'all' tokens, those of the 'prompt', those 'generated', or listed ones. A listed position is
    an index into the unpadded row (when generating: into the prompt); negative ones count from its
    end. The last token generated is never read by the model, so it is never edited."""
    rows: tuple[int, ...] | None = None
    """Rows of the batch that are edited; None means all."""
    head: int | None = None
    """One head of q, k, v or z; None takes all heads as one vector."""

    def __post_init__(self) -> None:
        operator: Any = self.operator
        if not isinstance(operator, Hashable):
            raise ValueError(
                f"an operator is a function or a frozen record, so that equal ones can be applied "
                f"together; received {_name(self.operator)}. Use @dataclass(frozen=True)"
            )
        self._check_vector()
        if not math.isfinite(self.dose):
            raise ValueError(f"a dose is a finite number, received {self.dose} for {self.site}")
        if self.dose != 1.0 and self.operator in (replace, zero_ablate):
            raise ValueError(
                f"{_name(self.operator)} has no degrees, received dose {self.dose}. Use "
                f"`interpolate` to move part of the way"
            )
        if self.unit == "norms" and self.operator is not add:
            raise ValueError(
                f"unit 'norms' scales an added vector and means nothing for "
                f"{_name(self.operator)}. Use unit='raw', or the operator `add`"
            )
        if not (isinstance(self.positions, str) and self.positions in get_args(Span)):
            _check_listed("positions", self.positions, ", ".join(map(repr, get_args(Span))))
        if self.rows is not None:
            _check_listed("rows", self.rows, "None (all)")
        if self.head is not None and self.site.axes[-1] != "d_head":
            raise ValueError(f"{self.site} has no heads; leave `head` out")

    def _check_vector(self) -> None:
        if (self.vector is None) != _is_without_vector(self.operator):
            raise ValueError(
                f"{_name(self.operator)} "
                + ("needs a vector" if self.vector is None else "takes no vector")
            )
        if self.vector is None:
            return
        if not bool(torch.isfinite(self.vector).all()):
            raise ValueError(
                f"the vector for {self.site} holds NaN or infinite numbers. Likely a mean over no "
                f"examples, or a division by a zero norm"
            )
        directional = self.operator is project_out or self.unit == "norms"
        if directional and not bool(self.vector.any(-1).all()):
            raise ValueError(
                f"the vector for {self.site} is zero and has no direction; "
                f"{_name(self.operator)} with unit {self.unit!r} needs one"
            )


def _check_listed(name: str, listed: Any, otherwise: str) -> None:
    if not isinstance(listed, tuple) or not all(type(index) is int for index in listed):
        raise ValueError(
            f"{name} must be {otherwise} or a tuple of whole numbers, received {listed!r}. One "
            f"index is written (3,), and a list or range is made one by tuple(...)"
        )
    if not listed or len(set(listed)) < len(listed):
        raise ValueError(f"{name} must list at least one index and none twice, received {listed}")


def _is_without_vector(operator: Operator) -> bool:
    return operator is zero_ablate or isinstance(operator, ClampLatent)


def check_widths(model: Model, interventions: Sequence[Intervention]) -> None:
    """Makes sure that operators which know their width are at sites of that width.

    Raises:
        ValueError: If an SAE is put at a site that it was not made for.
    """
    for number, intervention in enumerate(interventions):
        if not isinstance(intervention.operator, ClampLatent):
            continue
        shape = site_shape(model, intervention.site)
        width = math.prod(shape if intervention.head is None else shape[1:])
        if intervention.operator.d_in != width:
            raise ValueError(
                f"intervention {number}: the SAE reads vectors of width "
                f"{intervention.operator.d_in}, and {intervention.site} of {model.name} has "
                f"{width}. Likely it was trained at another site or on another model"
            )


def _name(operator: Operator) -> str:
    return f"`{getattr(operator, '__name__', repr(operator))}`"


@dataclass(frozen=True)
class Receipt:
    """Proof of one intervention in one row: where it landed and how large it was."""

    intervention: int
    """Its index in the list of interventions."""
    row: int
    site: Site
    positions: tuple[int, ...]
    """Positions edited, in the unpadded row; generated tokens continue the count of the prompt."""
    edit_norm: float
    """Mean over these positions of the norm of the change, after rounding to the model's dtype."""
    dose_in_norms: float
    """Mean of the norm of the change over the norm of the activation before it: 0 where nothing
    changed, infinite if anything was added to an activation of zero. Both means are NaN only if no
    position was asked for, as when no generated token was read."""

    @property
    def n_positions(self) -> int:
        """How many positions were edited."""
        return len(self.positions)
