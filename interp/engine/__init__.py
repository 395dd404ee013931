"""The engine: batched passes in which every row may be cut, continued or edited in its own way."""

from interp.engine.branches import Branch, BranchScore, score_branches
from interp.engine.edit_sweep import Cell, Sweep, sweep
from interp.engine.generation import Generation, generate
from interp.engine.routing import route
from interp.engine.single_pass import Run, run
from interp.engine.token_sources import Routing, Step, disagree

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
