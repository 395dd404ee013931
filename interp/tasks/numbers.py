"""Steps of running text rewritten: mistakes in their results, and paraphrases.

A step such as ``She makes 9 * 2 = $18 every day.`` holds an equation. Its **result** is the number
after the last ``=`` (or ``equals``), written in any way that `interp.tasks.number_reading` knows.
There are three operations:

- *reading*: the result in the form of an answer, ``18``;
- a *mistake*: the result becomes another number near it, in its second digit (18 -> 16,
  70,000 -> 72,000), also where the step repeats it. When the mistake is *propagated*, later steps
  that use the old number use the new one, and their own results are recomputed;
- a *paraphrase* by rule: ``9 times 2 equals $18``, or a lead-in where there is no equation. Nobody
  has judged whether readers accept it as a paraphrase.

Limits: numbers are matched by value. If the corrupted value also stands in the question, its later
uses are ambiguous. Steps with a result then change it inside the equation only; a step without a
result changes it everywhere (``So 18 are left.`` would give the old value away). An equation that
cannot be evaluated (``30% of 50 = 15``, in a step without an annotation) keeps its result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from interp.tasks.number_reading import (
    CURRENCY,
    NUMBER,
    VULGAR,
    Number,
    evaluate,
    find_numbers,
    find_result,
    write_number,
)
from interp.tasks.task import Example

_EQUATION = re.compile(
    r"(?P<left>(?:[\d.,()\s+*/x×÷·−{}$€£¥-]|\\(?:times|cdot|div|[,!$]))*\d\)?)"
    rf"\s*=\s*[−-]?\s*{CURRENCY}?{NUMBER}"
)
_OPERATOR = re.compile(r"(?:(?<=[\d)%])\s*([-+*×−x])|\s([-+*×−x/])(?=\s))\s*(?=[$(]?\.?\d)")
_WHOLE = re.compile(r"\d+(?:\.\d+)?")
_IS_FRACTION = re.compile(f"[/⁄{VULGAR}]")
_SPOKEN = {
    **{"+": "plus", "/": "divided by"},
    **dict.fromkeys("*×x", "times"),
    **dict.fromkeys("-−", "minus"),
}
_LEAD_INS = ("That is to say: ", "In this step: ", "What follows is this: ")


@dataclass(frozen=True)
class NumberRewriter:
    """Rewrites steps of running text that state a result after ``=``.

    Where ``example.facts`` has ``equation_<i>`` (``9*2=18``) for gold step *i*, that is the
    equation of the step; otherwise it is read from the text.
    """

    def mistake(
        self, example: Example, steps: tuple[str, ...], at: int, *, propagate: bool, rng: Random
    ) -> tuple[str, ...] | None:
        """The steps with another number as the result of step `at`; None without a result.

        The rest of step `at` uses the new number, propagated or not.
        """
        found = find_result(steps[at])
        if found is None:
            return None
        old = _value(found[1])
        new = _wrong_value(old, rng)
        changed = [*steps]
        known = {old: new}
        end = found[1].end
        tail = _replaced(steps[at][end:], known)
        changed[at] = _with_number(steps[at][:end], found[1], new) + tail
        if propagate:
            # Worked examples are left out: their numbers are not those of this question.
            question = str(example.facts.get("asked", example.question))
            asked = {number.value for number in find_numbers(question) if number.value is not None}
            for later in range(at + 1, len(steps)):
                equation = _equation(example, steps, later)
                changed[later] = _carried_on(steps[later], equation, known, asked)
        return tuple(changed)

    def paraphrase(self, example: Example, step: str, rng: Random) -> str | None:
        """The step with spoken operators, or with a lead-in where it has no equation."""
        del example
        body = step.lstrip()
        if not body:
            return None
        space = step[: len(step) - len(body)]
        *lefts, last = body.split("=")
        if not lefts:
            return space + rng.choice(_LEAD_INS) + body
        spoken = [
            _OPERATOR.sub(lambda match: f" {_SPOKEN[match[1] or match[2]]} ", left).strip()
            for left in lefts
        ]
        return space + " equals ".join([*spoken, last.lstrip()])

    def result(self, step: str) -> str | None:
        """The number after the last ``=`` or ``equals``, in normal form."""
        found = find_result(step)
        return None if found is None else write_number(_value(found[1]))


def _value(number: Number) -> Fraction:
    assert number.value is not None, "`find_result` gives numbers that have a value"
    return number.value


def _equation(example: Example, steps: tuple[str, ...], at: int) -> str | None:
    """Left side of the equation of a step: annotated for a gold step, else read from the text."""
    annotated = example.facts.get(f"equation_{at}")
    # An annotation is about the gold step; a model's step there may hold another equation.
    if annotated is not None and example.steps[at : at + 1] == steps[at : at + 1]:
        return str(annotated).split("=")[0]
    match = next(iter(reversed([*_EQUATION.finditer(steps[at])])), None)
    return None if match is None else match["left"]


def _wrong_value(value: Fraction, rng: Random) -> Fraction:
    """Another number, off by 1 to 3 units of the second digit, or by 1 to 3 if that is below one.

    A positive number stays positive.
    """
    size = abs(value)
    unit = 10 ** max(0, math.floor(math.log10(size)) - 1) if size else 1
    others = [value + sign * k * unit for k in (1, 2, 3) for sign in (1, -1)]
    if value > 0:
        others = [other for other in others if other > 0]
    return rng.choice(others)


def _with_number(text: str, number: Number, value: Fraction) -> str:
    """A text with another number, written as the old one was (thousands and fractions kept)."""
    minus, between = "", text[number.start : number.first]
    if (number.value or 0) < 0:
        sign = re.search("[−–-]", between)
        assert sign is not None, "a negative number has a sign"
        minus, between = sign[0], between[: sign.start()] + between[sign.end() :]
    written = _like(text[number.first : number.end], abs(value))
    sign = (minus or "-") if value < 0 else ""
    return text[: number.start] + sign + between + written + text[number.end :]


def _like(old: str, value: Fraction) -> str:
    """A number written as another was: thousands, fractions, and at least as many decimals."""
    comma = next((mark for mark in ("{,}", "\\,", ",") if mark in old), "")
    if value.denominator == 1:
        return f"{value.numerator:,}".replace(",", comma)
    if "frac" in old:
        return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    if _IS_FRACTION.search(old):
        return f"{value.numerator}/{value.denominator}"
    if "." not in old:
        return write_number(round(value, 2))
    decimals = max(2, len(old.partition(".")[2]))
    return f"{float(value):,.{decimals}f}".replace(",", comma)


def _carried_on(
    step: str, left: str | None, known: dict[Fraction, Fraction], asked: Set[Fraction]
) -> str:
    """A later step with the numbers in `known` replaced; its new result is added to `known`.

    Numbers that the question holds too (`asked`) are replaced inside the equation alone; a step
    without a result has all its numbers replaced.
    """
    prose = {old: new for old, new in known.items() if old not in asked}
    found = find_result(step)
    if found is None:
        return _replaced(step, known)
    sign, number = found
    equation = next(iter(reversed([*_EQUATION.finditer(step)])), None)
    start = sign if equation is None else min(equation.start(), sign)
    before = None if left is None else evaluate(left)
    after = None if left is None else evaluate(_replaced(left, known))
    old = _value(number)
    head = _replaced(step[:start], prose) + _replaced(step[start:sign], known)
    tail = _replaced(step[number.end :], prose)
    middle = step[sign : number.end]
    # A result that its equation did not give cannot be worked out anew from it.
    if before == old and after is not None and after != old:
        known[old] = after
        middle = (
            step[sign : number.start]
            + _with_number(step[: number.end], number, after)[number.start :]
        )
    return head + middle + tail


def _replaced(text: str, known: Mapping[Fraction, Fraction]) -> str:
    """A text with known numbers replaced, wherever they stand."""
    pieces, end = list[str](), 0
    for number in find_numbers(text):
        size = None if number.value is None else abs(number.value)
        unsigned = Number(number.first, number.first, number.end, size)
        for one in (number, unsigned):
            if one.value is not None and one.value in known:
                new = _with_number(text[: one.end], one, known[one.value])[one.start :]
                pieces += [text[end : one.start], new]
                end = number.end
                break
        else:  # "10/2" and "3,4" may hold known numbers
            parts = _WHOLE.sub(lambda part: _other(part[0], known), text[number.first : number.end])
            pieces += [text[end : number.first], parts]
            end = number.end
    return "".join(pieces) + text[end:]


def _other(digits: str, known: Mapping[Fraction, Fraction]) -> str:
    new = known.get(Fraction(digits))
    return digits if new is None else _like(digits, new)
