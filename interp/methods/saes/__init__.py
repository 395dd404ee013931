"""Sparse autoencoders: trained and kept by sae-lens, and asked what their latents stand for."""

from interp.methods.saes.features import ChainText, Feature, Features, find_features
from interp.methods.saes.fidelity import Fidelity, measure_fidelity, splice
from interp.methods.saes.injection import Falsification, Injection, TopToken, falsify, top_tokens
from interp.methods.saes.latent_scores import Match, Variable, match_latents, score_latents
from interp.methods.saes.latents import LatentReader, Latents, encode_rows, sae_reader
from interp.methods.saes.reason_score import reason_score
from interp.methods.saes.training import (
    SaeSettings,
    calibrate,
    load_sae,
    sae_site,
    save_sae,
    train_sae,
)

__all__ = [
    "ChainText",
    "Falsification",
    "Feature",
    "Features",
    "Fidelity",
    "Injection",
    "Latents",
    "Match",
    "LatentReader",
    "TopToken",
    "SaeSettings",
    "Variable",
    "calibrate",
    "encode_rows",
    "falsify",
    "find_features",
    "load_sae",
    "match_latents",
    "measure_fidelity",
    "reason_score",
    "sae_reader",
    "sae_site",
    "save_sae",
    "score_latents",
    "splice",
    "top_tokens",
    "train_sae",
]
