"""Interventions: operators, where they are applied, and the receipts that they were."""

from interp.interventions.intervention import Intervention, Positions, Span, check_widths
from interp.interventions.operators import (
    LINEAR_DECODERS,
    ClampLatent,
    Operator,
    add,
    interpolate,
    project_out,
    replace,
    zero_ablate,
)
from interp.interventions.receipts import Receipt

__all__ = [
    "ClampLatent",
    "Intervention",
    "LINEAR_DECODERS",
    "Operator",
    "Positions",
    "Receipt",
    "Span",
    "add",
    "check_widths",
    "interpolate",
    "project_out",
    "replace",
    "zero_ablate",
]
