"""Loops: texts that end by saying the same thing over and over.

A model that repeats itself never closes its chain, and runs into its token limit. More room would
not help it, so its texts are told apart from those that were merely cut off.
"""

from __future__ import annotations

from collections.abc import Sequence

TIMES = 3
"""A loop repeats its passage at least so often at the end of a text."""
SHORTEST = 24
"""Tokens that all repetitions cover, at least: "ha ha ha" and rows of digits are no loops."""


def find_loop(ids: Sequence[int]) -> int | None:
    """The length of the passage with which a text ends again and again.

    Args:
        ids: Tokens of the text.

    Returns:
        Tokens of the shortest such passage; None where the text does not end in a loop. The last
        repetition may be cut off.

    Example:
        >>> find_loop([9, *[1, 2, 3] * 9, 1]), find_loop(range(50))
        (3, None)
    """
    text = tuple(ids)
    for period in range(1, len(text) // TIMES + 1):
        covered = max(TIMES * period, SHORTEST)
        end = text[-covered:]
        if len(end) == covered and end[period:] == end[:-period]:
            return period
    return None
