"""What an organism must show before it counts: figures read from its behaviour alone.

A figure is a share between 0 and 1, named ``set/what`` or ``set/what/depth``, for example
``fresh/forced_think_accuracy/3``. All answers are greedy. "Same answer" compares with the answer
that the organism itself gives after the correct chain. Each world has its own questions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interp.organisms.recipe import World
from interp.organisms.recipes import WORDS
from interp.organisms.training.behaviour import Reader
from interp.organisms.worlds.arith.acceptance import arith_figures
from interp.organisms.worlds.clinic.acceptance import clinic_figures
from interp.organisms.worlds.dispatch.acceptance import dispatch_figures

FIGURES: dict[World, Callable[[Reader], dict[str, float]]] = {
    "arith": arith_figures,
    "clinic": clinic_figures,
    "dispatch": dispatch_figures,
}


def acceptance(model: Any, world: World = "arith") -> dict[str, float]:
    """All figures of an organism.

    Args:
        model: A causal language model in Hugging Face form.
        world: The world that it was trained in.

    Returns:
        Figure names and shares, rounded to four places.
    """
    model.eval()
    figures = FIGURES[world](Reader(model, WORDS[world]))
    return {name: round(value, 4) for name, value in figures.items()}
