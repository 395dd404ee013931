"""Batches: as large as a token budget allows, and smaller when memory runs out.

Rows of like length are put together, longest first, so that padding is little and a batch that does
not fit fails at once. When a batch runs out of memory it is done again in two halves, down to
single rows; results never depend on how rows were put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def token_batches(costs: Sequence[int], budget: int) -> list[list[int]]:
    """Groups rows so that a padded batch stays within a number of tokens.

    Args:
        costs: Tokens of each row.
        budget: Largest number of tokens of a batch, padding included. A row that is longer by
            itself becomes a batch of its own.

    Returns:
        Indices of the rows of each batch, longest rows first.

    Raises:
        ValueError: If the budget is not positive.
    """
    if budget < 1:
        raise ValueError(f"token_budget must be at least 1, received {budget}. Leave it out")
    order = sorted(range(len(costs)), key=lambda row: (-costs[row], row))
    batches: list[list[int]] = []
    for row in order:
        # The first row of a batch is its longest, to which all others are padded.
        if batches and (len(batches[-1]) + 1) * costs[batches[-1][0]] <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _is_out_of_memory(error: RuntimeError) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)  # the CPU's allocator raises a plain RuntimeError
    return "allocate memory" in text or "not enough memory" in text or "out of memory" in text


def in_halves(
    work: Callable[[Sequence[Job]], Sequence[Result]], jobs: Sequence[Job]
) -> list[Result]:
    """Does the work on all jobs at once, or in halves where memory is too small for all.

    Args:
        work: Maps jobs to results of the same number and order, and keeps no state.
        jobs: The batch.

    Returns:
        One result per job, in order.

    Raises:
        RuntimeError: If a single job does not fit into memory, and any other error of the work.
    """
    try:
        return list(work(jobs))
    except RuntimeError as error:
        if len(jobs) < 2 or not _is_out_of_memory(error):
            raise
    # Outside `except`: the traceback would keep the tensors of the failed attempt alive.
    middle = len(jobs) // 2
    return in_halves(work, jobs[:middle]) + in_halves(work, jobs[middle:])
