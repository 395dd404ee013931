"""Metrics: what is read from the logits of a run, and how far along the scale it is.

A metric is a plain function from the logits of the last token, [row, d_vocab], to one number per
row. The usual one is the logit difference of the two answers: it is linear in the final state, does
not saturate as probabilities do, and is untouched by whatever moves all logits alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MARGIN = 0.01
"""Least difference of clean and corrupted metric (in its units) of which a fraction is formed."""

Metric = Callable[[Float[Tensor, "batch d_vocab"]], Float[Tensor, " batch"]]
"""One number per row of final logits, larger where the behaviour of interest is stronger."""


@dataclass(frozen=True)
class LogitDiff:
    """The metric logit(right) - logit(wrong) of the last token."""

    right: int
    """Token id of the answer of the clean run."""
    wrong: int
    """Token id of the answer of the corrupted run."""

    def __call__(self, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
        """The difference, for each row."""
        return logits[:, self.right] - logits[:, self.wrong]


def recovered_fraction(
    patched: Float[Tensor, "*batch"], clean: float, corrupted: float, *, margin: float = MARGIN
) -> Float[Tensor, "*batch"]:
    """(patched - corrupted) / (clean - corrupted): 1 is the clean run, 0 the corrupted one.

    Args:
        patched: Metric values of patched runs.
        clean: Metric of the clean run.
        corrupted: Metric of the corrupted run.
        margin: NaN is returned where clean and corrupted differ by less.

    Returns:
        The fractions; above 1 or below 0 is possible and means what it says.
    """
    whole = clean - corrupted
    if not abs(whole) >= margin:
        return torch.full_like(patched, float("nan"))
    return (patched - corrupted) / whole


def measure(metric: Metric, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
    """Applies a metric to rows of logits.

    Raises:
        ValueError: If it does not return one number per row.
    """
    values = metric(logits)
    if tuple(values.shape) != (len(logits),):
        raise ValueError(
            f"a metric maps logits [row, d_vocab] to one number per row; for {len(logits)} rows it "
            f"returned the shape {tuple(values.shape)}. Example: lambda logits: logits[:, 7]"
        )
    return values.float()
