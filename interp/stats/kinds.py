"""Kinds of metric: what its items can be decides, beforehand, how its interval is made.

The values of one run never choose the method: eight gains that happen to lie in [0, 1] are no
shares, and one more item must not change how an interval is computed.

- **binary**: 0 or 1 (right or wrong);
- **share**: a number from 0 to 1 (a probability, a part of the chain);
- **difference**: of two numbers from 0 to 1 (a drop of accuracy), so from -1 to 1;
- **real**: any number, whose mean is of interest (nats, log-odds, lengths);
- **skewed**: any number, with a heavy right tail (KL divergences, perplexities). The mean of such
  numbers is that of the few largest, and no interval for it covers; they are told by the *median*
  over problems.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Num

Kind = Literal["binary", "share", "difference", "real", "skewed"]
CONTRASTS: dict[Kind, Kind] = {
    "binary": "difference",
    "share": "difference",
    "difference": "real",
    "real": "real",
    "skewed": "skewed",
}
"""Kind of a metric, and of its differences between two models."""
RULES = {"binary": "0 or 1", "share": "from 0 to 1", "difference": "from -1 to 1"}
EXCESS = 1e-6
"""What float32 may leave outside of the bounds."""


def check_kind(values: Num[np.ndarray, " item"], kind: Kind) -> Float[np.ndarray, " item"]:
    """The values, with rounding beyond the bounds of their kind taken off.

    Args:
        values: Finite numbers.
        kind: Of their metric.

    Raises:
        ValueError: A value that this kind cannot have.
    """
    given = values.astype(np.float64)
    if kind not in RULES:
        return given
    allowed = np.clip(given, -1.0 if kind == "difference" else 0.0, 1.0)
    if kind == "binary":
        allowed = np.round(allowed)
    wrong = np.flatnonzero(np.abs(given - allowed) > EXCESS)
    if len(wrong):
        raise ValueError(
            f"items of the kind {kind!r} are {RULES[kind]}, received {given[wrong[0]]:g}. If other "
            "numbers are right, give the metric another kind ('real' has no bounds)."
        )
    return allowed
