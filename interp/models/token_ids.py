"""Token ids: what may be given as a row of them, where a sequence occurs, and what ends a text."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Row = Sequence[int] | Tensor | NDArray[Any]
"""Token ids of one text; a tensor or an array has one axis."""
Rows = Sequence[Row] | Tensor | NDArray[Any]
"""Several texts: a list of rows, or a tensor or an array [batch, pos] of rows without padding."""

_ENCODE = "tokenizer(text, add_special_tokens=False)['input_ids']"


def as_ids(row: Row, what: str) -> Sequence[int]:
    """One text as whole numbers.

    Args:
        row: A list or tuple, which is returned as it is, or a tensor or an array with one axis.
        what: What it is, for the message, for example 'prompt 3'.

    Returns:
        Token ids.

    Raises:
        TypeError: If it is a text, a mapping, or holds anything but whole numbers.
        ValueError: If a tensor or an array has another number of axes than one.
    """
    given: Any = row
    if isinstance(given, str | bytes):
        raise TypeError(f"{what} must be token ids, received the text {given!r}. Write {_ENCODE}")
    if isinstance(given, Tensor | np.ndarray):
        if given.ndim != 1:
            raise ValueError(
                f"{what} must have one axis, received the shape {tuple(given.shape)}. The rows of "
                f"a tensor [batch, pos] are given by list(tensor), or as that tensor alone"
            )
        given = given.tolist()
    if not isinstance(given, Sequence):
        raise TypeError(
            f"{what} must be a list of token ids, received {type(given).__name__}. One text is "
            f"written [[5, 6, 7]], and an encoding is passed as encoding['input_ids']"
        )
    found: Sequence[Any] = given
    if all(type(token) is int for token in found):
        return found
    return [_as_id(token, what) for token in found]


def _as_id(token: Any, what: str) -> int:
    try:
        if isinstance(token, bool):
            raise TypeError
        return operator.index(token)  # of numpy and torch, too, and never of a float
    except TypeError:
        raise TypeError(
            f"{what} must hold whole numbers, the ids of tokens; received {token!r} "
            f"({type(token).__name__}). A text is encoded by {_ENCODE}"
        ) from None


def as_rows(rows: Rows, what: str, tokenizer: Any) -> list[Sequence[int]]:
    """Several texts as whole numbers.

    Args:
        rows: A list of rows, or a tensor or an array [batch, pos]; one with a single axis is one
            row.
        what: What a row is called in a message, for example 'prompt'.
        tokenizer: Its padding token tells a padded tensor; None looks for none.

    Returns:
        Token ids of each row.

    Raises:
        TypeError: If it is no list of rows, or a row holds anything but whole numbers.
        ValueError: If a tensor or an array has more than two axes, or its rows are padded.
    """
    given: Any = rows
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__iter__"):
        raise TypeError(
            f"texts are given as a list of rows of token ids, each {what} a row; received "
            f"{type(given).__name__}. One row is written [[5, 6, 7]]; a text is encoded by "
            f"{_ENCODE}"
        )
    if not isinstance(given, Tensor | np.ndarray):
        return [as_ids(row, f"{what} {number}") for number, row in enumerate(given)]
    if given.ndim not in (1, 2):
        raise ValueError(
            f"rows in one tensor or array have the shape [batch, pos], received "
            f"{tuple(given.shape)}"
        )
    parts = list(given if given.ndim == 2 else given[None])
    found = [as_ids(row, f"{what} {number}") for number, row in enumerate(parts)]
    _refuse_padding(found, what, tokenizer)
    return found


def _refuse_padding(rows: list[Sequence[int]], what: str, tokenizer: Any) -> None:
    """Padding would be read like any token: the ids alone do not say where a row ends."""
    if tokenizer is None:
        return
    pad = tokenizer.pad_token_id
    padded = [
        n for n, row in enumerate(rows) if pad is not None and row and pad in (row[0], row[-1])
    ]
    real = pad in (tokenizer.bos_token_id, tokenizer.eos_token_id)
    # A row that fills the tensor may begin or end with it where it is a real token as well.
    if padded and not (real and len(padded) == len(rows)):
        raise ValueError(
            f"{what} {padded[0]} begins or ends with the padding token {pad}, which would be read "
            f"as text. Give a list of rows without it: [row[mask.bool()] for row, mask in "
            f"zip(ids, attention_mask)]"
        )


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


def stop_sequences(ends: Sequence[int], *pieces: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The sequences that end a text: those given, without empty ones, and each end token alone."""
    found = [*(tuple(piece) for piece in pieces if piece), *((int(end),) for end in ends)]
    return tuple(dict.fromkeys(found))  # one of `pieces` may be an end token
