"""Variables of the organisms' texts whose truth is known at every position.

In every world: whether a position is *inside the chain*, from the token that opens it to the last
before the token that closes it. In the world arith, for each of the eleven values and three signs::

    Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A 3
                                7   7         3               running value, where it is held
                                7             3               result, at the equals sign
                            + + +     * * *                   operator of the step

*running value* is the value that the chain has reached, at the positions where the model holds it
and the token does not state it: at the equals sign, and at a semicolon before another step.
*result* is the same at the equals sign only, where the token is always the same and the model must
have computed the value.

Of the six positions of a step these are the ones at which a linear probe decodes the value nearly
always in `base`. It often fails at signs and operands, which are copied from the question, and at
the last semicolon, after which no step needs the value; no latent can represent there what the
model does not encode. Where the token is the value itself, a latent for the token would match.
Steps about a missing premise are in no domain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from interp.methods.saes.latent_scores import Variable
from interp.organisms.words import END_THINK, THINK
from interp.organisms.worlds.arith.problems import NUMBERS, SIGNS, SPOKEN

IN_CHAIN = "inside the chain"
_STEP = 6
"""Words of a step: value, sign, operand, equals, result, semicolon."""


class _Place(NamedTuple):
    """One position of a step."""

    at: int
    offset: int
    """Index of the word in its step."""
    value: str
    """The value that the chain has reached: the result from the equals sign on."""
    sign: str
    is_held: bool
    """Whether the value is needed next and the token does not state it."""


def chain_variable(rows: Sequence[Sequence[int]], ids: Mapping[str, int]) -> Variable | None:
    """Whether a position is inside the chain; None if no text has one.

    Args:
        rows: Token ids of each text.
        ids: Vocabulary of the world.

    Returns:
        Over all positions but the first of each text.
    """
    holds: list[Tensor] = []
    domain: list[Tensor] = []
    for row in rows:
        inside = torch.zeros(len(row), dtype=torch.bool)
        start, end = _chain(row, ids)
        inside[start:end] = True
        holds.append(inside)
        domain.append(torch.arange(len(row)) > 0)
    is_inside = torch.cat(holds)
    return Variable(IN_CHAIN, is_inside, torch.cat(domain)) if bool(is_inside.any()) else None


def arith_variables(rows: Sequence[Sequence[int]], ids: Mapping[str, int]) -> tuple[Variable, ...]:
    """Running value, result at the equals sign, and operator, over texts of the world arith.

    Args:
        rows: Token ids of each text.
        ids: Vocabulary of the world.

    Returns:
        11 + 11 + 3 variables.
    """
    words = {index: word for word, index in ids.items()}
    ends = list(accumulate((len(row) for row in rows), initial=0))
    places = [
        place._replace(at=place.at + first)
        for row, first in zip(rows, ends, strict=False)
        for place in _places([words[token] for token in row], _chain(row, ids))
    ]
    held = [place for place in places if place.is_held]
    results = [place for place in held if place.offset == _STEP - 3]  # at the equals sign
    # From the sign to the equals sign.
    signs = [place for place in places if 1 <= place.offset <= _STEP - 3]

    def variable(name: str, domain: Sequence[_Place], true: Sequence[_Place]) -> Variable:
        masks = [torch.zeros(ends[-1], dtype=torch.bool) for _ in range(2)]
        for mask, listed in zip(masks, (true, domain), strict=True):
            mask[[place.at for place in listed]] = True
        return Variable(name, *masks)

    return (
        *(variable(f"running value {v}", held, [p for p in held if p.value == v])
          for v in NUMBERS),
        *(variable(f"result {v} at =", results, [p for p in results if p.value == v])
          for v in NUMBERS),
        *(variable(f"operator {s}", signs, [p for p in signs if p.sign == s]) for s in SIGNS),
    )  # fmt: skip


def _chain(row: Sequence[int], ids: Mapping[str, int]) -> tuple[int, int]:
    """From the opening token to the closing one, which is left out; (0, 0) without a chain."""
    if ids[THINK] not in row:
        return 0, 0
    start = row.index(ids[THINK])
    return start, row.index(ids[END_THINK], start) if ids[END_THINK] in row[start:] else len(row)


def _places(words: Sequence[str], chain: tuple[int, int]) -> Iterator[_Place]:
    """The positions of all well-formed steps of one text."""
    written = {SPOKEN[sign]: sign for sign in SIGNS}
    for first in range(chain[0] + 1, chain[1] - _STEP + 1, _STEP):
        value, sign, operand, _, result, _ = words[first : first + _STEP]
        sign = written.get(sign, sign)
        if sign in SIGNS and {value, operand, result} <= set(NUMBERS):
            for offset in range(_STEP):
                reached = value if offset < _STEP - 3 else result
                last = first + _STEP >= chain[1]
                is_held = offset == _STEP - 3 or (offset == _STEP - 1 and not last)
                yield _Place(first + offset, offset, reached, sign, is_held)
