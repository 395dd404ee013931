"""Receipts: where an intervention landed, and how large it was.

The engine compares receipts with what was asked for and refuses to return numbers when they differ,
so a hook that fires on the prompt only, or one token late, cannot pass unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass

from interp.sites import Site


@dataclass(frozen=True)
class Receipt:
    """Proof of one intervention in one row: where it landed and how large it was."""

    intervention: int
    """Its index in the list of interventions."""
    row: int
    site: Site
    positions: tuple[int, ...]
    """Positions edited, in the unpadded row; generated tokens continue the count of the prompt."""
    edit_norm: float
    """Mean over these positions of the norm of the change, after rounding to the model's dtype."""
    dose_in_norms: float
    """Mean of the norm of the change over the norm of the activation before it: 0 where nothing
    changed, infinite if anything was added to an activation of zero. Both means are NaN only if no
    position was asked for, as when no generated token was read."""

    @property
    def n_positions(self) -> int:
        """How many positions were edited."""
        return len(self.positions)
