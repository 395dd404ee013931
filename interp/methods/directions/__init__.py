"""Directions: unit vectors in a stream, how they are found, and what they must be compared with."""

from interp.methods.directions.activations import (
    Activations,
    collect,
    span_and_before,
    window_before,
)
from interp.methods.directions.controls import (
    random_directions,
    token_direction,
    token_matched_difference,
)
from interp.methods.directions.direction import (
    Direction,
    Source,
    check_fits,
    cosine,
    make_direction,
    opposite,
    project,
    with_reference,
)
from interp.methods.directions.fits import first_component, mean_difference
from interp.methods.directions.gradient import opening_gradient
from interp.methods.directions.linear_probe import LinearProbe, fit_linear_probe
from interp.methods.directions.token_readings import (
    Alignment,
    Lens,
    TokenScore,
    logit_lens,
    token_alignment,
)

__all__ = [
    "Activations",
    "Alignment",
    "Direction",
    "Lens",
    "LinearProbe",
    "Source",
    "TokenScore",
    "check_fits",
    "collect",
    "cosine",
    "first_component",
    "fit_linear_probe",
    "logit_lens",
    "make_direction",
    "mean_difference",
    "opening_gradient",
    "opposite",
    "project",
    "random_directions",
    "span_and_before",
    "token_alignment",
    "token_direction",
    "token_matched_difference",
    "window_before",
    "with_reference",
]
