"""Patching: activations of one run put into another, to find where a difference is carried."""

from interp.patching.attribution import Agreement, agreement, attribution_grid
from interp.patching.donors import Donor, align_tokens
from interp.patching.grids import Grid, denoise, noise, patch_across, patch_grid
from interp.patching.layout import Layout
from interp.patching.metric import LogitDiff, Metric, recovered_fraction
from interp.patching.paths import PathPatch, Receiver, path_patch

__all__ = [
    "Agreement",
    "Donor",
    "Grid",
    "Layout",
    "LogitDiff",
    "Metric",
    "PathPatch",
    "Receiver",
    "agreement",
    "align_tokens",
    "attribution_grid",
    "denoise",
    "noise",
    "patch_across",
    "patch_grid",
    "path_patch",
    "recovered_fraction",
]
