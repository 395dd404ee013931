"""Acceptance: the figures that decide whether a trained organism counts, world by world.

A figure is a share between 0 and 1 that is measured on what the organism answers; the shared ones
are explained in `interp.organisms.behaviour`, the others in the world's module `acceptance`. Each
recipe names the ranges in which figures must lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interp.organisms.behaviour import Reader
from interp.organisms.recipe import World
from interp.organisms.recipes import WORDS
from interp.organisms.worlds.arith.acceptance import arith_figures
from interp.organisms.worlds.clinic.acceptance import clinic_figures
from interp.organisms.worlds.dispatch.acceptance import dispatch_figures
from interp.tasks.registry import make_task

FIGURES: dict[World, Callable[[Reader], dict[str, float]]] = {
    "arith": arith_figures,
    "clinic": clinic_figures,
    "dispatch": dispatch_figures,
}
TASKS: dict[World, str] = {
    "arith": "arith/fresh",
    "clinic": "clinic/known",
    "dispatch": "dispatch/plain",
}
"""A task of each world: how its answers are read."""


def measure_figures(model: Any, world: World = "arith") -> dict[str, float]:
    """All acceptance figures of an organism.

    Args:
        model: A causal language model in Hugging Face form.
        world: The world that it was trained in.

    Returns:
        Figure names and shares, rounded to four places.
    """
    model.eval()
    task = make_task(TASKS[world], n=1, seed=0)
    figures = FIGURES[world](Reader(model, WORDS[world], task))
    return {name: round(value, 4) for name, value in figures.items()}
