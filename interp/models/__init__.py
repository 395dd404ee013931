"""Models: loading them, pairing them, and the hooks by which they are read and edited."""

from interp.models.bridge import Bridge, load_bridge, open_bridge
from interp.models.hooks import hooked
from interp.models.loading import load_model, make_model
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.prompt_format import PromptFormat, find_prompt_format

__all__ = [
    "Bridge",
    "Model",
    "ModelPair",
    "PromptFormat",
    "find_prompt_format",
    "hooked",
    "load_bridge",
    "load_model",
    "make_model",
    "open_bridge",
]
