"""Resampling importance of a step: how much keeping it raises the accuracy of what is written next.

From a prefix of a chain the writer goes on many times ("rollouts"), and the share of right answers
is the accuracy there. Let ``accuracy[i]`` be the accuracy of rollouts that begin *before* step i,
so that step i itself is drawn anew. Rollouts that begin before step i + 1 keep it, and its
importance is the difference (Bogdan et al. 2025, "Thought Anchors", arXiv 2506.19143, section 3;
field ``resampling_importance_accuracy`` of their data)::

    importance[i] = accuracy[i + 1] - accuracy[i]

Positive: keeping the step helps. The last step has no rollouts after it, so its importance is not
defined (NaN); the published files write 0 there.

This is a property of writer and text. It needs no activations, but about 100 rollouts a step: with
100 rollouts the standard error of a difference of two accuracies near one half is 0.07.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def resampling_importance(accuracies: Sequence[float]) -> Float[np.ndarray, " step"]:
    """Importance of each step, from the accuracy of rollouts that begin before each step.

    Example:
        >>> resampling_importance([0.5, 0.75, 0.25]).tolist()
        [0.25, -0.5, nan]

    Args:
        accuracies: Of the rollouts that begin before step 0, 1, ..., each in [0, 1]; NaN where no
            rollout has an answer.

    Returns:
        One value per step; NaN for the last one, and beside a step without rollouts.

    Raises:
        ValueError: An accuracy is outside of [0, 1].
    """
    values = np.asarray(accuracies, dtype=np.float64)
    wrong = np.flatnonzero((values < 0) | (values > 1))
    if wrong.size:
        raise ValueError(
            f"accuracies are shares in [0, 1]; that of step {wrong[0]} is {values[wrong[0]]}. "
            "Likely cause: percent, or counts of right answers. Divide them by the rollouts"
        )
    return np.append(np.diff(values), np.nan)[: len(values)]
