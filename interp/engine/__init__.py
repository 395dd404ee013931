"""The engine: batched passes in which every row may be cut, continued or edited in its own way."""

from interp.engine.branches import Branch, BranchScore, score_branches
from interp.engine.generation import Generation, generate
from interp.engine.routing import route
from interp.engine.running import Run, run
from interp.engine.sources import Routing, Step, disagree
from interp.engine.staircase import Cell, Sweep, sweep

__all__ = [
    "Branch",
    "BranchScore",
    "Cell",
    "Generation",
    "Routing",
    "Run",
    "Step",
    "Sweep",
    "disagree",
    "generate",
    "route",
    "run",
    "score_branches",
    "sweep",
]
