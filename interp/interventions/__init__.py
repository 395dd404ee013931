"""Interventions: operators, where they are applied, and the receipts that they were."""

from interp.interventions.intervention import Intervention, Positions, Span, check_widths
from interp.interventions.operators import (
    ClampLatent,
    Operator,
    add,
    interpolate,
    project_out,
    replace,
    zero_ablate,
)
from interp.interventions.receipts import Receipt
from interp.interventions.sae_forms import LINEAR_DECODERS, check_sae

__all__ = [
    "ClampLatent",
    "Intervention",
    "LINEAR_DECODERS",
    "Operator",
    "Positions",
    "Receipt",
    "Span",
    "add",
    "check_sae",
    "check_widths",
    "interpolate",
    "project_out",
    "replace",
    "zero_ablate",
]
