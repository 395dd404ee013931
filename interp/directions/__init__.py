"""Directions: unit vectors in a stream, how they are found, and what they must be compared with."""

from interp.directions.activations import Activations, collect, span_and_before, window_before
from interp.directions.controls import (
    random_directions,
    token_direction,
    token_matched_difference,
)
from interp.directions.direction import (
    Direction,
    Source,
    check_fits,
    cosine,
    make_direction,
    opposite,
    project,
    with_reference,
)
from interp.directions.fits import first_component, mean_difference
from interp.directions.gradient import opening_gradient
from interp.directions.lens import Alignment, Lens, TokenScore, logit_lens, token_alignment
from interp.directions.linear_probe import LinearProbe, auroc, fit_linear_probe

__all__ = [
    "Activations",
    "Alignment",
    "Direction",
    "Lens",
    "LinearProbe",
    "Source",
    "TokenScore",
    "auroc",
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
