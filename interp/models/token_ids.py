"""Token ids: where a sequence occurs in a text, and which sequences end one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def find_ids(ids: Sequence[int], wanted: Sequence[int], start: int = 0) -> int | None:
    """Finds the first occurrence of a sequence of token ids.

    Args:
        ids: The text.
        wanted: What is looked for; at least one token.
        start: First position at which it may begin.

    Returns:
        The position of its first token; None if it does not occur.

    Raises:
        ValueError: If nothing is looked for: an empty sequence would be found everywhere.

    Example:
        >>> find_ids([5, 1, 2, 1, 2], [1, 2], start=2)
        3
    """
    part = tuple(wanted)
    if not part:
        raise ValueError(
            "a search needs at least one token. Likely a tokenizer that has no tokens for this "
            "part of the layout; check that before searching for it"
        )
    last = len(ids) - len(part)
    return next(
        (at for at in range(start, last + 1) if tuple(ids[at : at + len(part)]) == part), None
    )


def stop_sequences(tokenizer: Any, *ends: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The sequences that end a text: those given, without empty ones, and the end-of-text token."""
    eos = tokenizer.eos_token_id
    found = [*(tuple(end) for end in ends if end), *([] if eos is None else [(int(eos),)])]
    return tuple(dict.fromkeys(found))  # one of `ends` may be the end-of-text token
