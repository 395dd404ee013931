"""Models: loading them, pairing them, and the one door through which they are read and edited."""

from interp.models.hooks import hooked
from interp.models.loading import load_model, make_model
from interp.models.model import Model
from interp.models.pair import ModelPair, load_pair

__all__ = ["Model", "ModelPair", "hooked", "load_model", "load_pair", "make_model"]
