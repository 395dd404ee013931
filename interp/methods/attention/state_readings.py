"""State readings: what a model answers before and after one edit of its cached states.

What was written is compared with an answer over as many tokens as that answer has. `repair_rate`
sums up: how many answers survive the removal of a state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from interp.methods.attention.state_edits import StateEdit
from interp.methods.attention.stepped_text import Ids


@dataclass(frozen=True)
class StateReceipt:
    """Proof of one edit, from the cache before and after. A row is a key with its value."""

    n_rows: int
    """Rows that hold the new values: tokens of the step times places."""
    n_changed: int
    """Those of them that differ from the rows that they replaced."""
    edit_norm: float
    """Mean norm of the change of a row."""
    relative_norm: float
    """Mean of the norm of the change over the norm of the row before."""


@dataclass(frozen=True, eq=False)
class StateReading:
    """What the model answers after one edit, and without it."""

    edit: StateEdit
    logprobs: Float[Tensor, " pos"]
    """Log-probability (nats) of each token of the text's answer after the edit."""
    unedited: Float[Tensor, " pos"]
    """The same without it."""
    written: Ids
    """What greedy decoding writes after the edit: up to the token that ends the text's answer, or,
    where that token stands within the answer too, as many tokens as the longest answer has."""
    unedited_written: Ids
    is_right: bool
    """Whether greedy decoding begins with the answer of the text."""
    was_right: bool
    """Whether it does so without the edit."""
    is_donors: bool | None
    """Whether it begins with the donor's answer after the edit; None without donor."""
    receipt: StateReceipt

    @property
    def same_answer(self) -> bool:
        """Whether the edit left the written answer as it was."""
        return self.written == self.unedited_written


class RepairRate(NamedTuple):
    """Share of answers that survive a removal."""

    value: float
    """NaN if there is nothing to take a share of."""
    n: int
    """Items that were right before and whose state was changed."""


def repair_rate(readings: Iterable[StateReading]) -> RepairRate:
    """Share of items still answered correctly after the removal, of those correct before it.

    Formed-State Faithfulness calls this silent repair. It is repair only where the step mattered:
    for a step that nothing reads any more it is the share that did not need it.

    Args:
        readings: One removal per item, for example the ablation of the last step. One that changed
            no row (a swap with a donor that reads the same up to there) removed nothing and is
            left out.

    Returns:
        The share and the number of items it is of.
    """
    removed = [reading for reading in readings if reading.receipt.n_changed]
    kept = [reading.is_right for reading in removed if reading.was_right]
    return RepairRate(sum(kept) / len(kept) if kept else float("nan"), len(kept))


def _cut(written: Ids, answer: Ids) -> Ids:
    """Up to the token that ends the answer, unless it does not tell the end from the middle."""
    end = answer[-1]
    return (
        written[: written.index(end) + 1] if end in written and end not in answer[:-1] else written
    )


def compare(
    edit: StateEdit,
    answer: Ids,
    logprobs: Tensor,
    unedited: Tensor,
    written: Ids,
    before: Ids,
    receipt: StateReceipt,
) -> StateReading:
    """Compares what was written with the answers, over as many tokens as each has."""
    donors = None if edit.donor is None else edit.donor.answer
    return StateReading(
        edit=edit,
        logprobs=logprobs,
        unedited=unedited,
        written=_cut(written, answer),
        unedited_written=_cut(before, answer),
        is_right=written[: len(answer)] == answer,
        was_right=before[: len(answer)] == answer,
        is_donors=None if donors is None else written[: len(donors)] == donors,
        receipt=receipt,
    )
