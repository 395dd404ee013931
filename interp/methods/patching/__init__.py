"""Patching: activations of one run put into another, to find where a difference is carried."""

from interp.methods.patching.attribution import GridAgreement, agreement, attribution_grid
from interp.methods.patching.donors import Donor, align_tokens
from interp.methods.patching.grid_layout import GridLayout
from interp.methods.patching.grids import Grid, denoise, noise, patch_across, patch_grid
from interp.methods.patching.metric import LogitDiff, Metric, recovered_fraction
from interp.methods.patching.path_patching import PathPatch, Receiver, path_patch
from interp.methods.patching.span_patching import PatchedSpans, last_token_patches, patch_spans

__all__ = [
    "GridAgreement",
    "Donor",
    "Grid",
    "GridLayout",
    "LogitDiff",
    "Metric",
    "PatchedSpans",
    "PathPatch",
    "Receiver",
    "agreement",
    "align_tokens",
    "attribution_grid",
    "denoise",
    "last_token_patches",
    "noise",
    "patch_across",
    "patch_grid",
    "patch_spans",
    "path_patch",
    "recovered_fraction",
]
