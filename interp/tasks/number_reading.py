r"""Numbers as people and models write them, and the one number that a text gives as its answer.

`find_numbers` finds every number of a text with its sign and its exact value. It knows

- thousands: ``9,500``, ``9{,}500``, ``9\,500``, and a narrow or fixed space between the groups;
- fractions: ``1/2``, ``3 1/2``, ``\frac{1}{2}``, ``3\tfrac12``, ``3½``;
- powers of ten: ``1e3``, ``1.5 x 10^3``, ``1.5 \times 10^{3}``;
- minus signs: ``-``, U+2212 and the short dash. After a number, a bracket or a letter it is an
  operator, a range or a hyphen, and no sign: ``9-4``, ``5–7``, ``covid-19``.

What has no single reading has **no value**: ``3,5`` (a decimal comma, or two numbers), ``12:30``,
``1.234.567``. A comma is never a decimal sign and a point never parts thousands. Units, currency
and percent signs are not part of a number: ``50%`` is 50.

`read_number` takes the number that a text gives, from its first sentence with a number:

1. the number after the last ``=``, ``≈`` or ``equals``: ``10 + 8 = 18``;
2. else the number with which the sentence begins (``18 pens for 3 days`` gives 18);
3. else the last number of the sentence (``The 2 boxes hold 18`` gives 18).

If that number is joined to another one, the text gives none: an expression without a result
(``10 + 8``), a range (``5-7``, ``between 5 and 7``) and a list (``1, 2``) are no number.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

_MINUS = "−–-"
VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_BETWEEN = r"(?:[.,:]|\{,\}|,?\\[,!]|[\u00a0\u2009\u202f](?=\d{3}))"
"""What may stand between two digits of one number."""
_DIGITS = rf"\.?\d(?:{_BETWEEN}?\d)*"
_SLASH = r"(?<![\d/])\d+[/⁄]\d+(?![\d/⁄]|\.\d)"
_LATEX = r"\\[dtc]?frac\s*(?:\{\s*\d+\s*\}\s*\{\s*\d+\s*\}|\d\s*\d)"
_POWER = (
    rf"(?:[eE][+{_MINUS}]?\d+(?!\w)"
    rf"|\s*(?:\\times|\\cdot|[×x*·])\s*10\s*\^\s*\{{?\s*[{_MINUS}]?\d+\s*\}}?)"
)
NUMBER = rf"(?:(?:\d+\s*)?(?:{_LATEX}|[{VULGAR}])|(?:\d+\s+)?{_SLASH}|{_DIGITS}{_POWER}?)"
_NUMBER = re.compile(NUMBER)
CURRENCY = r"(?:\\?[$€£¥]\s*)"
_SIGN = re.compile(
    rf"(?:^|(?<=[=≈(\[{{]))\s*(?P<far>[{_MINUS}])\s*{CURRENCY}?$|(?P<near>[{_MINUS}]){CURRENCY}?$"
)
N_BEFORE = 16
"""Characters before a number among which its sign is looked for."""
LONGEST = 400
"""Characters of a number that is read: Python refuses whole numbers of some thousand digits."""
_OPERAND = re.compile(r"[\w)\]}%]$|[\d)\]}%]\s+$")
_THOUSANDS = re.compile(r"\d{1,3}(?:(?:,|\{,\}|,?\\[,!]|[\u00a0\u2009\u202f])\d{3})+(?:\.\d+)?")
_PLAIN = re.compile(r"\d+(?:\.\d+)?|\.\d+")

# Not the sign in "<=", "!=" and "=>": a bound is no result.
EQUALS = r"(?:(?<![<>!=])=(?![=>])|≈|\\approx\b|\bequals\b)"
_STATED = re.compile(EQUALS)
_SENTENCE = re.compile(r"\n+|(?<=[.!?])\s+")
_MARKUP = re.compile(
    r"\\(?:boxed|text|textbf|mathrm|mathbf|left|right|displaystyle|quad)\b"
    r"|\\[()\[\]%;: ]|\*{2,}|[_~`]"
)
_OPERATORS = r"[-+*/×x÷·−–]|\\(?:times|cdot|div|pm)"
_OPENS = rf"\s*\(*[{_MINUS}]?{CURRENCY}?"
_OPERATION = re.compile(rf"(?:\\?%)?\)*\s*(?:{_OPERATORS}){_OPENS}")
# Not "a" and "I", which are words.
_UNKNOWN = re.compile(rf"\)*\s*(?:{_OPERATORS})\s*\(*(?:[b-hj-zB-HJ-Z](?![A-Za-z])|[α-ω])")
_JOINED = re.compile(
    rf"(?:\\?%)?\)*\s*(?:{_OPERATORS}|[,;:&]|\bto\b|\band\b|\bor\b)"
    rf"\s*(?:and\s|or\s)?{_OPENS}",
    re.I,
)
_LEADS = re.compile(r"(?:\\f?box(?:ed)?\b|\s|[^\w]|is|are|was|about|approximately|exactly)*", re.I)


@dataclass(frozen=True)
class Number:
    """A number in a text."""

    start: int
    """Where it begins, its sign and currency sign included."""
    first: int
    """Where its digits begin."""
    end: int
    value: Fraction | None
    """None where what is written has no single reading."""


def find_numbers(text: str) -> list[Number]:
    """All numbers of a text, in order.

    Args:
        text: Any text; LaTeX is understood as far as numbers go.

    Returns:
        Where each stands, and its value.

    Example:
        >>> [str(number.value) for number in find_numbers("9{,}500 − 1/2 = −3")]
        ['9500', '1/2', '-3']
    """
    found: list[Number] = []
    for match in _NUMBER.finditer(text):
        size, sign = read_size(match[0]), _find_sign(text, match.start())
        start = match.start() if sign is None else sign
        signed = size if size is None or sign is None else -size
        found.append(Number(start, match.start(), match.end(), signed))
    return found


def _find_sign(text: str, first: int) -> int | None:
    """Where the minus sign of the number that begins at `first` stands."""
    # A few characters only: a search from the beginning of a long text would cost its square.
    sign = _SIGN.search(text, max(0, first - N_BEFORE), first)
    if sign is None:
        return None
    at = sign.start(sign.lastgroup or 0)
    return None if _OPERAND.search(text, max(0, at - N_BEFORE), at) else at


def read_size(written: str) -> Fraction | None:
    """The value of a number without its sign; None where it has no single reading."""
    if len(written) > LONGEST:
        return None
    power = re.search(rf"{_POWER}$", written)
    if power is not None:
        size = read_size(written[: power.start()])
        exponent = int(re.sub(rf"[{_MINUS}]", "-", re.findall(rf"[+{_MINUS}]?\d+", power[0])[-1]))
        return None if size is None or abs(exponent) > 100 else size * Fraction(10) ** exponent
    if not re.search(rf"[/⁄{VULGAR}]|frac", written):
        if not (_PLAIN.fullmatch(written) or _THOUSANDS.fullmatch(written)):
            return None
        return Fraction(re.sub(r"[^\d.]", "", written))
    vulgar = re.search(f"[{VULGAR}]", written)
    if vulgar is not None:
        whole, part = written[: vulgar.start()], _vulgar(vulgar[0])
    elif "frac" in written:
        whole, _, rest = written.partition("\\")
        digits = re.findall(r"\d+" if "{" in rest else r"\d", rest)
        part = _ratio(digits[0], digits[1])
    else:
        whole, _, last = written.rpartition(" ")
        part = _ratio(*re.split("[/⁄]", last))
    if part is None or (whole.strip() and part >= 1):  # "12 24/7" is no mixed number
        return None
    return part + int(whole or 0)


def _vulgar(character: str) -> Fraction:
    return Fraction(unicodedata.numeric(character)).limit_denominator(10)


def _ratio(above: str, below: str) -> Fraction | None:
    return Fraction(int(above), int(below)) if int(below) else None


def read_number(text: str) -> str:
    """The number that a text gives, in normal form.

    Args:
        text: What was written after an answer cue.

    Returns:
        Digits, a sign and a decimal point or a slash where needed; empty if the text gives no
        number, or several that are joined. The head of this file has the rules.

    Example:
        >>> read_number("$1,200.50 a day"), read_number("The 2 boxes hold 18.")
        ('1200.5', '18')
        >>> read_number("3 1/2"), read_number("10 + 8")
        ('3.5', '')
    """
    for sentence in _SENTENCE.split(_MARKUP.sub(" ", text)):
        numbers = find_numbers(sentence)
        if numbers:
            value = _given(sentence, numbers)
            return "" if value is None else write_number(value)
    return ""


def _given(sentence: str, numbers: Sequence[Number]) -> Fraction | None:
    at = _chosen(sentence, numbers)
    if at > 0 and is_joined(sentence, numbers[at - 1], numbers[at]):
        return None
    if at + 1 < len(numbers) and is_joined(sentence, numbers[at], numbers[at + 1]):
        return None
    return numbers[at].value


def _chosen(sentence: str, numbers: Sequence[Number]) -> int:
    """Which number of a sentence is the one that it gives."""
    stated = _last_stated(sentence, numbers)
    if stated is not None:
        return stated[1]
    return 0 if is_lead(sentence[: numbers[0].start]) else len(numbers) - 1


def _last_stated(text: str, numbers: Sequence[Number]) -> tuple[int, int] | None:
    """Where the last equals sign with a number after it stands, and which number that is."""
    for sign in reversed([*_STATED.finditer(text)]):
        for at, number in enumerate(numbers):
            if number.start >= sign.end():
                if is_lead(text[sign.end() : number.start]):
                    return sign.start(), at
                break
    return None


def is_lead(text: str) -> bool:
    """Whether a text between an equals sign and a number is signs and words such as "about"."""
    return _LEADS.fullmatch(text) is not None


def find_result(step: str) -> tuple[int, Number] | None:
    """The result of a step: the number after its last equals sign.

    Args:
        step: Its text.

    Returns:
        Where the equals sign stands, and the number; None without one, where it has no value, or
        where an operation follows (``= 12 + 6``, ``= 6 * x``).
    """
    numbers = find_numbers(step)
    stated = _last_stated(step, numbers)
    if stated is None:
        return None
    sign, at = stated
    end = numbers[at].end
    goes_on = _UNKNOWN.match(step, end) or (
        at + 1 < len(numbers) and _OPERATION.fullmatch(step[end : numbers[at + 1].first])
    )
    return None if goes_on or numbers[at].value is None else (sign, numbers[at])


def stated_numbers(text: str) -> set[Fraction]:
    """The numbers that a step states: those right of its first equals sign, operands left out.

    Without an equals sign every number of the step counts. Where what is written has no single
    reading (``3,4``) each of its parts counts.

    Args:
        text: The step.

    Returns:
        Their values.
    """
    stated = _STATED.split(text, maxsplit=1)[-1]
    numbers = [one for one in find_numbers(stated) if not stated[one.end : one.end + 1].isalpha()]
    found: set[Fraction] = set()
    for at, number in enumerate(numbers):
        neighbours = [*numbers[max(0, at - 1) : at], number, *numbers[at + 1 : at + 2]]
        if any(_OPERATION.fullmatch(stated[a.end : b.first]) for a, b in pairwise(neighbours)):
            continue
        if number.value is not None:
            found.add(number.value)
        else:
            found |= {Fraction(part) for part in _PLAIN.findall(stated[number.first : number.end])}
    return found


def is_joined(text: str, one: Number, other: Number) -> bool:
    """Whether two neighbouring numbers stand in one expression, range or list."""
    return _JOINED.fullmatch(text[one.end : other.first]) is not None


def write_number(value: Fraction) -> str:
    """A number in normal form: ``18``, ``-3``, ``0.25``, ``1/3``.

    What has an end as a decimal is written so, with at most four decimals; else as a fraction.
    """
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1:
        return f"{value.numerator}/{value.denominator}"
    return f"{float(value):.4f}".rstrip("0").rstrip(".")


def evaluate(expression: str) -> Fraction | None:
    r"""An arithmetic expression worked out exactly.

    Args:
        expression: Numbers, ``+ - * /`` and brackets, or what stands for these; currency signs,
            commas and blanks are ignored.

    Returns:
        Its value; None if the text is something else, or divides by zero.
    """
    plain = expression.replace(r"\times", "*").replace(r"\cdot", "*").replace(r"\div", "/")
    plain = re.sub(r"\\[,!$ ]|[$€£¥,\s{}]", "", plain).translate(str.maketrans("×x·÷−–", "***/--"))
    if len(plain) > 200:
        return None
    # Python's grammar refuses leading zeros.
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", plain)
    try:
        return _walk(ast.parse(plain, mode="eval").body, plain)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


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
