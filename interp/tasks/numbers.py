"""Numbers in running text: reading the result of a step, mistakes, and paraphrases.

A step such as ``She makes 9 * 2 = $18 every day.`` holds an equation. Its **result** is the number
after the last ``=`` (or ``equals``). There are three operations:

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

import ast
import math
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from interp.tasks.task import Example

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_NUMBERS = re.compile(rf"(?<![\d.]){_NUMBER}")
_SIGNED = re.compile(rf"(?P<sign>-?)\s*[$€£]?\s*(?P<number>{_NUMBER})")
_RESULT = re.compile(rf"(?:=|\bequals\b)\s*{_SIGNED.pattern}")
_EQUATION = re.compile(rf"(?P<left>[\d.,$()\s+*/x×−-]*\d\)?)\s*=\s*{_SIGNED.pattern}")
_OPERATOR = re.compile(r"(?:(?<=[\d)%])\s*([-+*×−x])|\s([-+*×−x/])(?=\s))\s*(?=[$(]?\.?\d)")
_SPOKEN = {
    **{"+": "plus", "/": "divided by"},
    **dict.fromkeys("*×x", "times"),
    **dict.fromkeys("-−", "minus"),
}
_LEAD_INS = ("That is to say: ", "In this step: ", "What follows is this: ")


def read_number(text: str) -> str:
    """The first number of a text in normal form.

    Args:
        text: What was written after an answer cue.

    Returns:
        Digits, a sign and a decimal point where needed; empty if the text has no number.

    Example:
        >>> read_number("$1,200.50 a day")
        '1200.5'
    """
    match = _SIGNED.search(text)
    return "" if match is None else write_number(_value(match))


def write_number(value: Fraction) -> str:
    """A number in normal form: ``18``, ``-3``, ``0.25`` (at most four decimals)."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.4f}".rstrip("0").rstrip(".")


def evaluate(expression: str) -> Fraction | None:
    """An arithmetic expression worked out exactly.

    Args:
        expression: Numbers, ``+ - * /`` and brackets; ``$``, commas and blanks are ignored.

    Returns:
        Its value; None if the text is something else, or divides by zero.
    """
    plain = re.sub(r"[$,\s]", "", expression).translate(str.maketrans("×x−", "**-"))
    if len(plain) > 200:
        return None
    # Python's grammar refuses leading zeros.
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", plain)
    try:
        return _walk(ast.parse(plain, mode="eval").body, plain)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


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
        match = _last_result(steps[at])
        if match is None:
            return None
        old = _value(match)
        new = _wrong_value(old, rng)
        changed = [*steps]
        known = {old: new}
        tail = _replaced(steps[at][match.end() :], known)
        changed[at] = _with_result(steps[at][: match.end()], match, new) + tail
        if propagate:
            # Worked examples are left out: their numbers are not those of this question.
            question = str(example.facts.get("asked", example.question))
            asked = {Fraction(n.replace(",", "")) for n in _NUMBERS.findall(question)}
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
        match = _last_result(step)
        return None if match is None else write_number(_value(match))


def _walk(node: ast.expr, source: str) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        # From the text: as a float 0.1 would not be exactly a tenth.
        return Fraction(ast.get_source_segment(source, node) or "")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _walk(node.operand, source)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _walk(node.left, source), _walk(node.right, source)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
    raise ValueError("not arithmetic")


def _value(match: re.Match[str]) -> Fraction:
    size = Fraction(match["number"].replace(",", ""))
    return -size if match["sign"] else size


def _last_result(step: str) -> re.Match[str] | None:
    return next(iter(reversed([*_RESULT.finditer(step)])), None)


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


def _with_result(step: str, match: re.Match[str], value: Fraction) -> str:
    """The step with another result, written as the old one was (commas kept)."""
    start = match.start("sign") if match["sign"] or value < 0 else match.start("number")
    between = step[match.end("sign") : match.start("number")] if value < 0 else ""
    sign = "-" + between if value < 0 else ""
    return step[:start] + sign + _like(match["number"], abs(value)) + step[match.end("number") :]


def _like(old: str, value: Fraction) -> str:
    """A number written as another was: commas, and at least as many decimals."""
    if value.denominator == 1:
        return f"{value.numerator:,}" if "," in old else str(value.numerator)
    decimals = max(2, len(old.partition(".")[2]))
    return f"{float(value):.{decimals}f}" if "." in old else write_number(round(value, 2))


def _carried_on(
    step: str, left: str | None, known: dict[Fraction, Fraction], asked: Set[Fraction]
) -> str:
    """A later step with the numbers in `known` replaced; its new result is added to `known`.

    Numbers that the question holds too (`asked`) are replaced inside the equation alone; a step
    without a result has all its numbers replaced.
    """
    prose = {old: new for old, new in known.items() if old not in asked}
    match = _last_result(step)
    if match is None:
        return _replaced(step, known)
    equation = next(iter(reversed([*_EQUATION.finditer(step)])), None)
    start = 0 if equation is None else equation.start()
    before = None if left is None else evaluate(left)
    after = None if left is None else evaluate(_replaced(left, known))
    old = _value(match)
    head = _replaced(step[:start], prose) + _replaced(step[start : match.start()], known)
    tail = _replaced(step[match.end() :], prose)
    middle = step[match.start() : match.end()]
    moved = _last_result(middle)
    # A result that its equation did not give cannot be worked out anew from it.
    if moved is not None and before == old and after is not None and after != old:
        known[old] = after
        middle = _with_result(middle, moved, after)
    return head + middle + tail


def _replaced(text: str, known: Mapping[Fraction, Fraction]) -> str:
    return _NUMBERS.sub(lambda match: _other(match[0], known), text)


def _other(number: str, known: Mapping[Fraction, Fraction]) -> str:
    new = known.get(Fraction(number.replace(",", "")))
    return number if new is None else _like(number, new)
