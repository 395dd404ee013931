"""The engine: batched passes in which every row may be cut, continued or edited in its own way."""

from interp.engine.branches import Branch, BranchScore, score_branches

__all__ = ["Branch", "BranchScore", "score_branches"]
