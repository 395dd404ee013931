"""The engine: batched passes in which every row may be cut, continued or edited in its own way."""

from interp.engine.branches import Branch, BranchScore, score_branches
from interp.engine.generation import Generation, generate
from interp.engine.running import Run, run

__all__ = ["Branch", "BranchScore", "Generation", "Run", "generate", "run", "score_branches"]
