"""Crosscoders: one dictionary over both models of a pair, and which of its latents are whose."""

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
    "POST_ONLY",
    "Crosscoder",
    "CrosscoderSettings",
    "LatentReport",
    "Thresholds",
    "inspect_latents",
    "load_crosscoder",
    "relative_norm",
    "save_crosscoder",
    "shuffled",
    "train_crosscoder",
]
