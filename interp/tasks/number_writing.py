r"""Numbers put into a text in place of others, written as these were.

Thousands, fractions, decimals, signs and currency keep their form: 1900 in place of ``1{,}800`` is
``1{,}900``, 3/2 in place of ``\frac{1}{2}`` is ``\frac{3}{2}``. A value without an end as a decimal
is rounded to two decimals where the old number had none (18 / 7 in place of ``2`` is ``2.57``), so
what is written may differ from the value that later steps are worked out from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Set
from fractions import Fraction
from random import Random

from interp.tasks.number_reading import VULGAR, Number, read_size, write_number

MOST_DECIMALS = 4
"""Of a number without an end that stands in place of another."""
_IS_FRACTION = re.compile(f"[/⁄{VULGAR}]")


def put_number(text: str, number: Number, value: Fraction) -> str:
    """A text with another value in place of one of its numbers, its sign included."""
    minus, between = "", text[number.start : number.first]
    if (number.value or 0) < 0:
        sign = re.search("[−–-]", between)
        assert sign is not None, "a negative number has a sign"
        minus, between = sign[0], between[: sign.start()] + between[sign.end() :]
    written = write_like(text[number.first : number.end], abs(value))
    sign = (minus or "-") if value < 0 else ""
    return text[: number.start] + sign + between + written + text[number.end :]


def write_like(old: str, value: Fraction) -> str:
    """A number written as another was: thousands, fractions, and at least as many decimals."""
    comma = next((mark for mark in ("{,}", "\\,", ",") if mark in old), "")
    if value.denominator == 1:
        return f"{value.numerator:,}".replace(",", comma)
    if "frac" in old:
        return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    if _IS_FRACTION.search(old):
        return f"{value.numerator}/{value.denominator}"
    decimals = max(2, len(old.partition(".")[2]))
    # More where it would be written as the old number is: 4501 / 2250 in place of 2 is 2.0004.
    while decimals < MOST_DECIMALS and round(value, decimals) == read_size(old):
        decimals += 1
    if "." not in old:
        return write_number(round(value, decimals))
    return f"{float(value):,.{decimals}f}".replace(",", comma)


def wrong_values(value: Fraction, taken: Set[Fraction], rng: Random) -> list[Fraction]:
    """Other numbers that could stand in place of one, in random order.

    They are off by 1 to 3 units of the second digit, or by 1 to 3 if that is below one (up to 9
    where all of these are taken). A positive number stays positive.

    Args:
        value: The right one.
        taken: Numbers that stand in the chain or the question. None of them is among the values,
            unless all are taken.
        rng: Decides the order.
    """
    size = abs(value)
    unit = 10 ** max(0, math.floor(math.log10(size)) - 1) if size else 1
    near, far = (
        [value + sign * k * unit for k in ks for sign in (1, -1)]
        for ks in (range(1, 4), range(4, 10))
    )
    for others in (near, far):
        free = [other for other in others if other not in taken and (value <= 0 or other > 0)]
        if free:
            return rng.sample(free, len(free))
    return rng.sample([other for other in near if value <= 0 or other > 0], 1)
