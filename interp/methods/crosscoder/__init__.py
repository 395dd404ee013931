"""Crosscoders: one dictionary over both models of a pair, and the model of each latent."""

from interp.methods.crosscoder.comparison import (
    N_PLANTED,
    NOISE,
    NULLS,
    PAIR,
    PLANT,
    SAME,
    CrosscoderComparison,
    TextFit,
    control_pairs,
    crosscode,
    null_rate,
    paired_activations,
    read_reports,
)
from interp.methods.crosscoder.dictionary import Crosscoder, load_crosscoder, save_crosscoder
from interp.methods.crosscoder.latents import (
    BASE_ONLY,
    POST_ONLY,
    LatentReport,
    Thresholds,
    inspect_latents,
    relative_norm,
)
from interp.methods.crosscoder.training import CrosscoderSettings, shuffled, train_crosscoder

__all__ = [
    "BASE_ONLY",
    "NOISE",
    "NULLS",
    "N_PLANTED",
    "PAIR",
    "PLANT",
    "POST_ONLY",
    "SAME",
    "Crosscoder",
    "CrosscoderComparison",
    "CrosscoderSettings",
    "LatentReport",
    "TextFit",
    "Thresholds",
    "control_pairs",
    "crosscode",
    "inspect_latents",
    "load_crosscoder",
    "null_rate",
    "paired_activations",
    "read_reports",
    "relative_norm",
    "save_crosscoder",
    "shuffled",
    "train_crosscoder",
]
