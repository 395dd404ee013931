"""Sparse autoencoders: trained and kept by sae-lens, and asked what their latents stand for."""

from interp.saes.bundled import Made, find_sae, make_sae, saes_folder
from interp.saes.features import ChainText, Feature, Features, find_features
from interp.saes.fidelity import Fidelity, measure_fidelity, splice
from interp.saes.injection import Falsification, Injection, TopToken, falsify, top_tokens
from interp.saes.known import Match, Variable, match_latents, score_latents
from interp.saes.latents import Latents, Reader, encode_rows, sae_reader
from interp.saes.reason_score import reason_score
from interp.saes.training import Training, calibrate, load_sae, sae_site, save_sae, train_sae

__all__ = [
    "ChainText",
    "Falsification",
    "Feature",
    "Features",
    "Fidelity",
    "Injection",
    "Latents",
    "Made",
    "Match",
    "Reader",
    "TopToken",
    "Training",
    "Variable",
    "calibrate",
    "encode_rows",
    "falsify",
    "find_features",
    "find_sae",
    "load_sae",
    "make_sae",
    "match_latents",
    "measure_fidelity",
    "reason_score",
    "saes_folder",
    "sae_reader",
    "sae_site",
    "save_sae",
    "score_latents",
    "splice",
    "top_tokens",
    "train_sae",
]
