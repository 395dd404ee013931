"""Interventions: what is changed in a model, where, and in which rows.

An `Intervention` says *where* (site, head, positions, rows) and *how*: an operator, a vector and a
dose. The engine applies all interventions of a batch together, each row with its own::

    steer = Intervention(Site(5, "resid_post"), add, direction, dose=0.5, unit="norms")
    erase = Intervention(Site(5, "resid_post"), project_out, direction, rows=(0, 2))
    patch = Intervention(Site(3, "z"), replace, clean[4:6], positions=(4, 5), rows=(1,))
    clamp = Intervention(Site(5, "resid_post"), ClampLatent(sae, 1203), dose=4.0)

Mean and resample ablation are `replace` with values that `interp.interventions.ablations` picks.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.interventions.operators import (
    ClampLatent,
    Operator,
    add,
    project_out,
    replace,
    zero_ablate,
)
from interp.models.model import Model, site_shape
from interp.sites import as_site

Span = Literal["all", "prompt", "generated"]
Positions = Span | tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Intervention:
    """One change of one site.

    Raises:
        ValueError: If the parts do not fit together; checked once, here.
    """

    site: Any
    """A `Site`. It may be given by its name, which `as_site` reads."""
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
    end. The last token generated is never read by the model, so it is never edited. `run` with
    `prompt_lengths` reads a generated text with the same edits."""
    rows: tuple[int, ...] | None = None
    """Rows of the batch that are edited; None means all."""
    head: int | None = None
    """One head of q, k, v or z; None takes all heads as one vector."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "site", as_site(self.site))
        operator: Any = self.operator
        if not isinstance(operator, Hashable):
            raise ValueError(
                f"an operator is a function or a frozen record, so that equal ones can be applied "
                f"together; received {_name(self.operator)}. Use @dataclass(frozen=True)"
            )
        self._check_vector()
        if not math.isfinite(self.dose):
            raise ValueError(f"a dose is a finite number, received {self.dose} for {self.site}")
        # These operators would ignore the dose, and a dose-response curve would come out flat.
        if self.dose != 1.0 and self.operator in (replace, zero_ablate):
            raise ValueError(
                f"{_name(self.operator)} is all or nothing, received dose {self.dose}. Use "
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
    # Not isinstance: True would pass as index 1.
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
