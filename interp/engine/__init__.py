"""The engine: batched passes in which every row may be cut, continued or edited in its own way."""

from interp.engine.branches import Branch, BranchScore, score_branches
from interp.engine.generation import Generation, generate
from interp.engine.running import Run, run
from interp.engine.staircase import Sweep, sweep

__all__ = [
    "Branch",
    "BranchScore",
    "Generation",
    "Run",
    "Sweep",
    "generate",
    "run",
    "score_branches",
    "sweep",
]
