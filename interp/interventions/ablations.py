"""Ablations: the value of a site replaced by one that does not depend on this text.

Zero is the crudest choice: it may lie far from anything that the model ever computes, so an effect
may be mere damage. The mean over many texts keeps what they have in common; another text's value
(resampling) is a value that the model really computes. Both are `replace`; what this module adds is
the choice of values, from captures as `run` returns them, and the checks that make them mean what
their names say::

    captures = run(model, rows, capture=[site]).captures[site]
    mean = mean_ablation(site, captures, rows=(0, 1))
    resampled = resample_ablation(site, captures, seed=0)     # one intervention per row
    run(model, rows, interventions=resampled)
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import NotMeasurableError
from interp.interventions import Intervention, Positions, replace
from interp.sites import SiteOrName, as_site

MIN_TEXTS = 8
"""Fewest texts in a mean: with fewer, a text makes up much of the mean that replaces its values."""


def _of_head(captures: Sequence[Tensor], head: int | None) -> list[Tensor]:
    return [capture if head is None else capture[:, head] for capture in captures]


def mean_ablation(
    site: SiteOrName,
    captures: Sequence[Float[Tensor, "_ ..."]],
    *,
    positions: Positions = "all",
    rows: tuple[int, ...] | None = None,
    head: int | None = None,
) -> Intervention:
    """Replaces activations by their mean over all positions of many texts.

    Args:
        site: Where.
        captures: Activations [pos, ...] at the site, one tensor per text.
        positions: Where in a row; as in `Intervention`.
        rows: Rows that are edited; None means all.
        head: One head, or None for all as one vector.

    Returns:
        The intervention. Every position counts the same, so long texts count more.

    Raises:
        NotMeasurableError: If there are fewer than `MIN_TEXTS` texts.
    """
    if len(captures) < MIN_TEXTS:
        raise NotMeasurableError(
            f"a mean over few texts still depends on each of them; mean ablation needs at least "
            f"{MIN_TEXTS} texts, received {len(captures)}. Capture more texts, or use "
            f"`resample_ablation`"
        )
    # In float32: in half precision the mean would be rounded before it is used.
    mean = torch.cat(_of_head(captures, head)).float().mean(0)
    return Intervention(as_site(site), replace, mean, positions=positions, rows=rows, head=head)


def resample_ablation(
    site: SiteOrName,
    captures: Sequence[Float[Tensor, "_ ..."]],
    *,
    seed: int,
    head: int | None = None,
) -> list[Intervention]:
    """Replaces each row's activations by those of another row at the same positions.

    Args:
        site: Where.
        captures: Activations [pos, ...] at the site, one tensor per row of the batch to be edited.
        seed: Decides which row gives to which.
        head: One head, or None for all as one vector.

    Returns:
        One intervention per row, over all its positions. The donor is drawn among the rows that
        are as long or longer, never the row itself; of a longer donor the first positions are used.

    Raises:
        ValueError: If a row has no other row that is as long.
    """
    at = as_site(site)
    values = _of_head(captures, head)
    rng = random.Random(seed)
    edits: list[Intervention] = []
    for row, own in enumerate(values):
        donors = [n for n, other in enumerate(values) if n != row and len(other) >= len(own)]
        if not donors:
            raise ValueError(
                f"row {row} ({len(own)} tokens) has no other row that is as long to take values "
                f"from. Add one, or leave the longest rows out"
            )
        value = values[rng.choice(donors)][: len(own)]
        where = tuple(range(len(own)))  # listed, not 'all': only then one vector per position
        edits.append(Intervention(at, replace, value, positions=where, rows=(row,), head=head))
    return edits
