r"""The numbers of a step by the part that they play: operands, results, and mentions.

A step of running text may hold several equations, ``319 - 318 = 1, and 3183 - 318 = 2865``. The
number right of an equals sign is a **result**. Its equation is *checked* if an expression that ends
at the sign comes to that number: the longest one is taken, words and units aside (``5 boxes * 3
pens = 15 pens``, ``30% of 50 = 15``, ``\frac{48}{2} = 24``), and up to rounding where decimals are
written (``10 / 3 = 3.33``). The numbers in that expression are its **operands**. A result whose
equation cannot be checked is not worked out anew from anything.

``is`` and ``gives`` count as equals signs after a bare expression: ``3183 - 319 is 2864``.

Every other number is a **mention** (``So 18 eggs are left``), except those that are no values and
are never changed:

- parts of names: ``x1``, ``x_1``, ``covid-19``, ``4's``, ``1st``, ``digit 4``, ``Step 2``, and the
  number that opens an item of a list;
- exponents and other numbers of formulas: ``a^2``, ``2m``, ``\binom{6}{3}``, ``6!``, ``6 - 2m``;
- ranges, ``40-49``, and dates, ``March 3, 2019``, ``in 2019,``;
- lengths of LaTeX: ``\hspace{3cm}``, ``\\[4pt]``.

Example: in ``1. He sells 2 * 9 = 18 eggs, so 18 are gone`` 2 and 9 are operands, the first 18 is
their result, the second one a mention, and 1 none of these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from interp.tasks.announced_answers import find_announced
from interp.tasks.number_reading import (
    EQUALS,
    Number,
    evaluate,
    find_numbers,
    find_result,
    is_lead,
    read_size,
)

MOST_OPERANDS = 12
"""Numbers before an equals sign at which its expression may begin."""

ROUNDING = Fraction(1, 10**6)
"""Relative error of a written decimal that is taken for rounding on the way."""

_SIGN = re.compile(rf"(?P<strong>{EQUALS})|\b(?:is|gives|makes)\b", re.I)
_CLAUSE = re.compile(r"\n|;|[.?!:](?=\s)")
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_PART = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_SPOKEN = (
    (re.compile(r"\\?%\s*of\b|\\?%", re.I), "/100*"),
    (re.compile(r"/100\*(?=\s*(?:[-+*/×÷)]|$))"), "/100"),
    (re.compile(r"(?<!\\)\b(?:multiplied by|times)\b", re.I), "*"),
    (re.compile(r"\bdivided by\b", re.I), "/"),
    (re.compile(r"\bplus\b", re.I), "+"),
    (re.compile(r"\bminus\b", re.I), "-"),
    (re.compile(r"\\(?:left|right|displaystyle)\b|\\text\s*\{[^{}]*\}|\*{2,}"), " "),
    # Units and other words; a single letter is a symbol, and "x" a sign.
    (re.compile(r"(?<=[\w)\s])/\s*[A-Za-z]{2,}|(?<!\\)\b(?:[A-Za-z]{2,}|a)(?:['’]s)?\b"), " "),
)
_OPERATOR = re.compile(
    r"[-+*/×÷·−–%]|\\(?:times|cdot|div)|frac|\b(?:multiplied by|times|divided by|plus|minus)\b",
    re.I,
)
_TWO_NUMBERS = re.compile(r"[\d.]\s+[\d.]")

_LIST = re.compile(r",(?!\d{3})")
"""A comma that does not part thousands."""

_NAMES = (
    "step|case|part|equation|eq|example|question|problem|chapter|section|figure|fig|table|option"
    "|choice|method|digit|digits|number|line|no|day|page"
)
_MONTHS = (
    "(?-i:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_UNITS = "kg|mg|ml|cm|mm|km|lb|lbs|oz|ft|mph|hrs?|mins?|secs?|percent"
_UNNAMED_BEFORE = re.compile(
    rf"[\w^\\#]$|\w[-–]$|[\^_]\s*\{{[^{{}}]*$"
    rf"|\b(?:{_NAMES})\.?\s*\(?$|\b(?:{_MONTHS})\.?\s+(?:\d{{1,2}}(?:st|nd|rd|th)?,?\s+)?$"
    r"|\\d?t?binom\s*\{[^{}]*\}?\s*\{?[^{}]*$|\\(?:[hv]space|[hv]skip|rule|kern|label|ref|tag)\*?"
    r"\s*(?:\{[^{}]*\})?\{?[^{}]*$|\\\\\[$|(?<![A-Za-z])[b-hj-z]\s*[-+*/·−]\s*$",
    re.I,
)
_LIST_ITEM = re.compile(r"(?:^|\n)\s*(?:[-*#]+\s*)?\(?$")
_UNNAMED_AFTER = re.compile(
    rf"(?!(?:{_UNITS})\b)[A-Za-z_]|['’]s\b|!\s*[-+*/×=)}}\\]|[-–]\w|\^|\\?\([a-z]|\s*(?:{_MONTHS})\b"
    r"|\s*(?:[-+*/·−]|\\(?:cdot|times))\s*\(?\d*[b-hj-zB-HJ-Z](?![A-Za-z])",
    re.I,
)
_AFTER_ITEM = re.compile(r"[.)](?:\s|\*\*|$)")
_YEAR_BEFORE = re.compile(r"\b(?:in|since|year|by|until|from|before|after|during)\s+$", re.I)
_YEAR_AFTER = re.compile(r"\s*(?:[.,;:)?!]|$)")


@dataclass(frozen=True)
class Atom:
    """One number of a step."""

    number: Number
    kind: Literal["operand", "result", "mention"]
    equations: tuple[int, ...] = ()
    """Of a result: which equations of the step give it, the nearest first; none where no equation
    could be checked, several in ``4 * 60 / 5 = 4 * 12 = 48``."""
    fraction: Number | None = None
    """Of an operand: the fraction of which it is a part, as 5 is of ``5/11``."""


@dataclass(frozen=True)
class Equation:
    """An expression and the number that it comes to."""

    start: int
    """Where the expression begins."""
    sign: int
    """Where it ends, at the equals sign."""
    decimals: int | None
    """To how many decimals its result is rounded; None where it is exact."""
    operands: frozenset[Fraction]


@dataclass(frozen=True)
class ParsedStep:
    """The numbers of a step."""

    atoms: tuple[Atom, ...]
    """In order; those that are no values are left out."""
    equations: tuple[Equation, ...]
    stated: Atom | None
    """The value that the step states: its last result, else the answer that it announces, else the
    last number that it mentions."""

    is_announced: bool
    """Whether that is the answer which the step announces."""

    @property
    def values(self) -> frozenset[Fraction]:
        """All values of the step, without their signs too."""
        own = {value_of(atom) for atom in self.atoms}
        return frozenset(own | {abs(value) for value in own})


def value_of(atom: Atom) -> Fraction:
    """The value of a number that has one."""
    assert atom.number.value is not None, "numbers without a value are no atoms"
    return atom.number.value


@lru_cache(maxsize=8192)
def parse_step(text: str) -> ParsedStep:
    """Finds the numbers of a step and the parts that they play.

    Example:
        >>> parsed = parse_step("He sells 2 * 9 = 18 eggs, so 18 are gone.")
        >>> [(atom.kind, int(value_of(atom))) for atom in parsed.atoms]
        [('operand', 2), ('operand', 9), ('result', 18), ('mention', 18)]
    """
    numbers = find_numbers(text)
    results: dict[int, tuple[int, ...]] = {}
    equations: list[Equation] = []
    spans: list[tuple[int, int]] = []  # what stands left of each sign since the last result
    start = 0
    for sign in _SIGN.finditer(text):
        is_strong = sign["strong"] is not None
        spans.append((start, sign.start()))
        right = next((at for at, one in enumerate(numbers) if one.start >= sign.end()), None)
        if right is not None and numbers[right].value is None:
            right = None
        if right is not None and is_lead(text[sign.end() : numbers[right].start]):
            found = [_checked(text, numbers, s, numbers[right], sign.group()) for s in spans[::-1]]
            fits = [e for e in found if e and (is_strong or _is_bare(text[e.start : e.sign]))]
            last = find_result(text)
            if fits or (is_strong and last is not None and last[1] == numbers[right]):
                results[right] = tuple(range(len(equations), len(equations) + len(fits)))
                equations += fits
                spans = []
        if is_strong:
            start = sign.end()
        else:
            spans = []
    atoms = _atoms(text, numbers, results, equations)
    return ParsedStep(tuple(atoms), tuple(equations), *_stated(text, atoms))


def work_out(expression: str) -> Fraction | None:
    r"""An expression of running text worked out; None if it is none.

    Example:
        >>> str(work_out("30% of 50 eggs")), str(work_out(r"\frac{3}{4} \times 8 pens"))
        ('15', '6')
    """
    plain = _FRACTION.sub(r"((\1)/(\2))", expression)
    for pattern, sign in _SPOKEN:
        plain = pattern.sub(sign, plain)
    if _TWO_NUMBERS.search(plain) or _LIST.search(plain.replace("{,}", ",")):
        return None
    return evaluate(plain)


def _checked(
    text: str, numbers: list[Number], span: tuple[int, int], right: Number, sign: str
) -> Equation | None:
    """The longest expression before a sign that comes to the number after it."""
    first, end = span
    for cut in _CLAUSE.finditer(text, first, end):
        first = cut.end()
    inside = [one for one in numbers if first <= one.start and one.end <= end][-MOST_OPERANDS:]
    written = text[right.first : right.end]
    places = len(written.partition(".")[2]) if _PART.fullmatch(written) else 0
    for one in inside:
        opening = re.search(r"(?:\\left)?\(?\s*$", text[first : one.start])
        begins = {one.start, one.start if opening is None else first + opening.start()}
        for start in sorted(begins):
            value = None
            if _OPERATOR.search(text, start, end):
                value = work_out(text[start:end])
            if value is None or right.value is None:
                continue
            is_rounded = value != right.value
            near = Fraction(1, 10**places) if places or sign != "=" else Fraction(0)
            if near:
                near = max(near, abs(value) * ROUNDING)
            if is_rounded and not abs(value - right.value) < near:
                continue
            values = frozenset(map(value_of, _operands(text, start, end, numbers)))
            return Equation(start, end, places if is_rounded else None, values)
    return None


def _operands(text: str, start: int, end: int, numbers: list[Number]) -> list[Atom]:
    """The numbers of an expression; of ``10/2`` its parts."""
    found: list[Atom] = []
    for one in numbers:
        if not (start <= one.first and one.end <= end):
            continue
        if not re.search(r"[/⁄]|frac", text[one.first : one.end]):
            found.append(Atom(one, "operand"))
            continue
        for part in _PART.finditer(text, one.first, one.end):
            number = Number(part.start(), part.start(), part.end(), read_size(part[0]))
            found.append(Atom(number, "operand", fraction=one))
    return [atom for atom in found if atom.number.value is not None]


def _is_bare(expression: str) -> bool:
    return not re.search(r"(?<!\\)\b[A-Za-z]", expression)


def _atoms(
    text: str, numbers: list[Number], results: dict[int, tuple[int, ...]], equations: list[Equation]
) -> list[Atom]:
    atoms: list[Atom] = []
    for at, number in enumerate(numbers):
        if at in results:
            # "= 3x" is no 3, unless an expression comes to it.
            if results[at] or not _UNNAMED_AFTER.match(text[number.end :][:40]):
                atoms.append(Atom(number, "result", results[at]))
            continue
        around = [e for e in equations if e.start <= number.first and number.end <= e.sign]
        if around:
            parts = _operands(text, number.first, number.end, [number])
            inside = [n for n in numbers if around[0].start <= n.first and n.end <= around[0].sign]
            # In "10/2 = 5" the fraction is the expression.
            atoms += [replace(part, fraction=None) for part in parts] if len(inside) == 1 else parts
        elif number.value is None:
            atoms += _listed(text, number)
        elif is_value(text, number):
            atoms.append(Atom(number, "mention"))
    return atoms


def _listed(text: str, number: Number) -> list[Atom]:
    """The numbers of ``3,4``, a list without blanks; none of ``12:30`` and ``1.2.3``."""
    if not re.fullmatch(r"\d+(?:,\d+)+", text[number.first : number.end]):
        return []
    parts = re.compile(r"\d+").finditer(text, number.first, number.end)
    return [Atom(Number(p.start(), p.start(), p.end(), Fraction(p[0])), "mention") for p in parts]


def is_value(text: str, number: Number) -> bool:
    """Whether a number is a value, and no part of a name, a formula, a date or a length."""
    before, after = text[: number.start][-60:], text[number.end :][:40]
    if _UNNAMED_BEFORE.search(before) or _UNNAMED_AFTER.match(after):
        return False
    if _LIST_ITEM.search(before) and _AFTER_ITEM.match(after):
        return False
    written = text[number.first : number.end]
    is_year = re.fullmatch(r"1[5-9]\d\d|20\d\d", written) is not None
    return not (is_year and _YEAR_BEFORE.search(before) and _YEAR_AFTER.match(after))


def _stated(text: str, atoms: list[Atom]) -> tuple[Atom | None, bool]:
    """The value that a step states, and whether it announces it as its answer."""
    announced = find_announced(text)
    within: list[Atom] = []
    if announced is not None:
        _, start, end = announced
        within = [atom for atom in atoms if start <= atom.number.first and atom.number.end <= end]
    last = find_result(text)
    if last is not None:
        stated = next((atom for atom in atoms if atom.number == last[1]), None)
        return stated, stated in within
    if within:
        return within[0], True
    values = [atom for atom in atoms if atom.kind != "operand"]
    return (values[-1] if values else None), False
