"""The engine: batched passes in which every row may be cut, continued or edited in its own way."""

from interp.engine.branches import Branch, BranchScore, score_branches
from interp.engine.edit_sweep import Sweep, SweepCell, sweep
from interp.engine.generation import Generation, generate
from interp.engine.routing import route
from interp.engine.single_pass import PassResult, run
from interp.engine.token_sources import Routing, TokenChoice, disagree

__all__ = [
    "Branch",
    "BranchScore",
    "SweepCell",
    "Generation",
    "Routing",
    "PassResult",
    "TokenChoice",
    "Sweep",
    "disagree",
    "generate",
    "route",
    "run",
    "score_branches",
    "sweep",
]
