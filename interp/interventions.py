"""Interventions: what is changed in a model, where, in which rows, and the receipt that it was.

An `Intervention` says *where* (site, head, positions, rows) and *how*: an operator, a vector and a
dose. An operator is a pure function of activations, vectors and doses; a new method is a new
function. The engine applies all interventions of a batch together, each row with its own::

    steer = Intervention(Site(5, "resid_post"), add, direction, dose=0.5, unit="norms")
    erase = Intervention(Site(5, "resid_post"), project_out, direction, rows=(0, 2))
    patch = Intervention(Site(3, "z"), replace, clean[4:6], positions=(4, 5), rows=(1,))

Mean ablation is `replace` with the mean, resample ablation `replace` with another row's activation.

Every application leaves a `Receipt` per intervention and row: the positions at which the edit took
place and how large it was. The engine compares them with what was asked for and refuses to return
numbers when they differ, so a hook that fires on the prompt only, or one token late, cannot pass
unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.sites import Site

Operator = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(activations [edit, width], vectors [edit, width], doses [edit, 1]) -> activations."""

Positions = Literal["all", "prompt", "generated"] | tuple[int, ...]


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
    one per position along a first axis. None only for `zero_ablate`."""
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
        self._check_vector()
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
        for name, listed in (("positions", self.positions), ("rows", self.rows)):
            if isinstance(listed, tuple) and (not listed or len(set(listed)) < len(listed)):
                raise ValueError(
                    f"{name} must list at least one index and none twice, received {listed}"
                )
        if self.head is not None and self.site.axes[-1] != "d_head":
            raise ValueError(f"{self.site} has no heads; leave `head` out")

    def _check_vector(self) -> None:
        if (self.vector is None) != (self.operator is zero_ablate):
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
        if directional and not bool((self.vector.flatten(-1).norm(dim=-1) > 0).all()):
            raise ValueError(
                f"the vector for {self.site} is zero and has no direction; "
                f"{_name(self.operator)} with unit {self.unit!r} needs one"
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
    """Mean of the norm of the change over the norm of the activation before it."""

    @property
    def n_positions(self) -> int:
        """How many positions were edited."""
        return len(self.positions)
