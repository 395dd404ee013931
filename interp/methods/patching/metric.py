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

from interp.models.model import Model

MARGIN = 0.01
"""Least difference of clean and corrupted metric (in its units) of which a fraction is formed."""

Metric = Callable[[Float[Tensor, "batch d_vocab"]], Float[Tensor, " batch"]]
"""One number per row of final logits, larger where the behaviour of interest is stronger."""


@dataclass(frozen=True)
class LogitDiff:
    """The metric logit(right) - logit(wrong) of the last token.

    Raises:
        ValueError: If the ids are negative or one and the same; when called, if one is no token.
    """

    right: int
    """Token id of the answer of the clean run."""
    wrong: int
    """Token id of the answer of the corrupted run."""

    def __post_init__(self) -> None:
        if min(self.right, self.wrong) < 0 or self.right == self.wrong:
            raise ValueError(
                f"LogitDiff compares two different tokens, by ids from 0 on; received right="
                f"{self.right} and wrong={self.wrong}. Likely both answers begin with the same "
                f"token, or a search for an answer's id failed"
            )

    def __call__(self, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
        """The difference, for each row."""
        if max(self.right, self.wrong) >= logits.shape[-1]:
            raise ValueError(
                f"the model scores the tokens 0 to {logits.shape[-1] - 1}; received {self}. Likely "
                f"the ids are those of another tokenizer"
            )
        return logits[:, self.right] - logits[:, self.wrong]


def recovered_fraction(
    patched: Float[Tensor, "*batch"], clean: float, corrupted: float, *, margin: float = MARGIN
) -> Float[Tensor, "*batch"]:
    """(patched - corrupted) / (clean - corrupted): 1 is the clean run, 0 the corrupted one.

    Args:
        patched: Metric values of patched runs.
        clean: Metric of the clean run.
        corrupted: Metric of the corrupted run.
        margin: NaN is returned where clean and corrupted differ by less, or not at all.

    Returns:
        The fractions; above 1 or below 0 is possible and means what it says.
    """
    whole = clean - corrupted
    # Not `<`, so that a NaN scale ends here too; 0 is asked for because margin may be 0.
    if not abs(whole) >= margin or whole == 0:
        return torch.full_like(patched, float("nan"))
    return (patched - corrupted) / whole


def _apply(metric: Metric, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
    values = metric(logits)
    shape = tuple(getattr(values, "shape", ()))
    if shape != (len(logits),):
        raise ValueError(
            f"a metric maps logits [row, d_vocab] to one number per row; for {len(logits)} rows it "
            f"returned the shape {shape}. Example: lambda logits: logits[:, 7]"
        )
    return values.float()


def check_metric(model: Model, metric: Metric, *, differentiable: bool = False) -> None:
    """Tries a metric on two rows of zeros, before any forward pass.

    Args:
        model: The model whose logits it will read.
        metric: The metric.
        differentiable: Whether its gradient will be taken.

    Raises:
        ValueError: If it does not return one number per row, asks for a token that the model does
            not have, or has no gradient that is needed.
    """
    # Two rows: with one, a metric that averages over rows would return the right shape.
    blank = torch.zeros(2, model.d_vocab, device=model.device, requires_grad=differentiable)
    with torch.set_grad_enabled(differentiable):
        values = _apply(metric, blank)
    if differentiable and not values.requires_grad:
        raise ValueError(
            "attribution follows the metric's gradient, and this metric has none. Likely it "
            "compares or ranks logits, or detaches them. Use a differentiable one, such as "
            "LogitDiff, or the exact patch_grid"
        )


def measure(metric: Metric, logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, " batch"]:
    """Applies a metric to rows of logits.

    Raises:
        ValueError: If it does not return one finite number per row.
    """
    values = _apply(metric, logits)
    if not bool(torch.isfinite(values).all()):
        raise ValueError(
            f"a metric must be finite for every row; received {values[~values.isfinite()][0]:g} "
            f"for a row of finite logits. Likely a logarithm of or division by a probability that "
            f"is rounded to 0. Use log_softmax, or a difference of logits"
        )
    return values
