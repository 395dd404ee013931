r"""The mathematical value that a text gives as its answer, in one normal form.

`read_math` finds the answer, works out what it is, and writes it so that equal values give equal
texts: ``1/2``, ``0.5`` and ``\boxed{\frac12}`` are all ``0.5``; ``\sqrt{12}`` is ``2 \sqrt{3}``. So
answers are compared as everywhere else, by equality of texts.

1. The answer is what the last ``\boxed{}`` holds; else what follows the last "answer is" or
   "answer:" before another question begins; else the whole text.
2. A plain number, also one among words (``18 pens``), is read by `interp.tasks.number_reading`,
   under its rules: thousands, fractions, U+2212, the last value of an equation, units and percent
   signs left out.
3. Anything else between ``$`` signs, in a box or without words is parsed by math-verify, and
   rewritten: decimals as exact fractions, roots and sums worked out, products expanded, fractions
   cancelled, and of ``x = 5`` the 5. LaTeX that cannot be parsed stays as text without white space.

math-verify guards itself by signals, which only the main thread has. Here its timeout is off, and
what may take long is refused before it is worked out: long texts, towers of powers, large powers,
factorials and binomials. Such an answer is compared as text.

Limits: two values that no rule above brings together (``\sin^2 x + \cos^2 x`` and 1) count as
different. ``[1, 2]`` is an interval and ``(1, 2)`` a point, as in the MATH data.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache, lru_cache
from math import comb, prod
from threading import Lock
from typing import Any, cast

from interp.tasks.announced_answers import find_box
from interp.tasks.number_reading import find_numbers, read_number, write_number

LONGEST = 300
"""Characters of an expression that is parsed; a longer one is compared as text."""
N_OPERATIONS = 60
"""Operations of an expression that is rewritten."""
HIGHEST_POWER = 200
"""Exponent of a number that is worked out."""
MOST_TERMS = 100
"""Terms of a product that is multiplied out."""
HIGHEST_CANCELLED = 30
"""Power in a fraction that is cancelled."""

_CUE = re.compile(r"\banswer(?:\s+is|\s*:)(?:\s*:)?", re.I)
_NEXT_QUESTION = re.compile(r"\n\s*(?:Question|Problem|Q)\s*:", re.I)
_IN_DOLLARS = re.compile(
    r"\$\$(.+?)\$\$|(?<!\\)\$(?!\s)([^$]*?[^$\s\\])\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.S
)
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[A-Za-z]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_FUNCTIONS = {"sin", "cos", "tan", "log", "ln", "exp", "pi", "sqrt", "min", "max", "gcd", "lcm"}
_ORNAMENT = re.compile(
    r"\\(?:left|right|displaystyle|quad|qquad|big|Big|limits)(?![A-Za-z])|(?<!\\)\\[,!;: ]"
    r"|\^\s*\{?\\circ\}?|\\?%|\\\$|\\degree|~"
)
_PLAIN = re.compile(r"[-−–+*/×÷=≈$€£¥%\d\s.]*")
_REPEATING = re.compile(r"(-?)(\d*)\.(\d*)\\overline\s*\{?(\d+)\}?")
_TOO_LARGE = re.compile(
    r"!\s*!|\d{4,}\s*\)?\s*!|\)\s*!|binom|choose|\^[^+\-=,]*\^[^+\-=,]*\^"
    r"|\\(?:sum|prod|int|lim)"
)
_LOCK = Lock()
"""The parser keeps tables that grow while it parses."""


class _TooLarge(Exception):
    """Working this out may take long."""


def find_answer(text: str) -> str:
    r"""The part of a text that states its answer.

    Args:
        text: A whole response, or what stands after an answer cue.

    Returns:
        The content of the last ``\boxed{}``; else what follows the last "answer is"; else all of it
        up to where another question begins.

    Example:
        >>> find_answer(r"So it is \boxed{\frac{1}{2}}."), find_answer("The answer is B.")
        ('\\frac{1}{2}', 'B.')
    """
    own = _NEXT_QUESTION.split(text, maxsplit=1)[0]
    boxed = _last_boxed(own)
    return (_CUE.split(own)[-1] if boxed is None else boxed).strip()


def _last_boxed(text: str) -> str | None:
    box = find_box(text)
    return None if box is None else text[box.start : box.end]


def read_math(text: str) -> str:
    r"""The mathematical answer that a text gives, in normal form.

    Args:
        text: What was written: a whole response or what stands after an answer cue.

    Returns:
        A number as `read_number` writes it, or LaTeX; empty if the text gives no answer.

    Example:
        >>> read_math("$18 a day"), read_math(r"\boxed{\frac12}"), read_math(r"$x = \sqrt{12}$")
        ('18', '0.5', '2 \\sqrt{3}')
        >>> read_math("I do not know")
        ''
    """
    is_boxed = _last_boxed(text) is not None
    stated = find_answer(text)
    found = [next(part for part in parts if part) for parts in _IN_DOLLARS.findall(stated)]
    formula = found[-1] if found else stated
    formula = formula.strip().strip("$").rstrip(".").strip()
    if not formula:
        return ""
    if not found and not is_boxed and _has_words(formula):
        return read_number(stated)
    if not found and not is_boxed and _PLAIN.fullmatch(formula):
        return read_number(formula)  # nothing for a range or an expression without a result
    return _read_formula(formula)


def is_math(text: str) -> bool:
    """Whether a gold answer is a number or a formula, and not words."""
    formula = find_answer(text).strip().strip("$")
    if not any(c.isdigit() for c in formula) or _has_words(formula):
        return False
    # "a, b, c1" is a list of names.
    return bool(re.search(r"[\\^]", formula)) or not re.search(r"[A-Za-z].*,|,.*[A-Za-z]", formula)


def _has_words(text: str) -> bool:
    plain = _COMMAND.sub(" ", _TEXT.sub(" ", text))
    return any(word.lower() not in _FUNCTIONS for word in _WORD.findall(plain))


def _read_formula(formula: str) -> str:
    bare = _ORNAMENT.sub(" ", formula).replace("−", "-").replace("–", "-").strip()
    inside = _TEXT.sub(" ", bare).strip(" .,;")
    if not inside:  # the answer is words, such as \text{Evelyn}
        return " ".join(_TEXT.sub(r"\1", bare).split())
    repeating = _REPEATING.fullmatch(inside.replace(" ", ""))
    if repeating is not None:
        return write_number(_repeating(repeating))
    numbers = find_numbers(formula if formula.startswith("−") else inside)
    if len(numbers) == 1 and numbers[0].value is not None:
        before, after = inside[: numbers[0].start], inside[numbers[0].end :]
        if not re.search(r"[^\s$€£¥=≈]", before) and not re.search(r"[^\s.]", after):
            return write_number(numbers[0].value)
    if "\\" not in inside and not re.search(r"[A-Za-z^!({\[]", inside):
        stated = read_number(inside)
        if stated:  # "10 + 8 = 18"
            return stated
    return _parsed(inside) or re.sub(r"\s+", "", inside)


def _repeating(match: re.Match[str]) -> Fraction:
    sign, whole, fixed, period = match.groups()
    shift = 10 ** len(fixed)
    size = Fraction(int(whole or 0)) + Fraction(int(fixed or 0), shift)
    size += Fraction(int(period), shift * (10 ** len(period) - 1))
    return -size if sign else size


@lru_cache(maxsize=4096)
def _parsed(formula: str) -> str:
    """The normal form of LaTeX; empty where it cannot be parsed or may take too long."""
    if len(formula) > LONGEST or _TOO_LARGE.search(formula):
        return ""
    with _LOCK:
        try:
            found = _parser()(f"${formula}$")
            return _written(found[0]) if found and not isinstance(found[0], str) else ""
        # Whatever a parser of LaTeX and a computer algebra raise: then it is compared as text.
        except Exception:
            return ""


@cache
def _parser() -> Any:
    from functools import partial

    from math_verify import LatexExtractionConfig, parse

    log = logging.getLogger("math_verify.parser")
    log.addFilter(lambda record: "Timeout is disabled" not in record.getMessage())
    wanted, no_timeout = [LatexExtractionConfig()], cast("int", None)  # its type forgets None
    return partial(parse, extraction_config=wanted, fallback_mode="no_fallback",
                   parsing_timeout=no_timeout)  # fmt: skip


def _written(parsed: Any) -> str:
    """A parsed expression in normal form."""
    import sympy

    if isinstance(parsed, sympy.Eq):
        left, right = parsed.args
        if left.is_Symbol or not left.free_symbols or left.is_Function:
            parsed = right
    value = _worked_out(parsed)
    if isinstance(value, sympy.Rational):
        return write_number(Fraction(int(value.p), int(value.q)))
    text = sympy.latex(value, mat_str="pmatrix", mat_delim="")
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])|\\ (?= )", "", text)
    text = re.sub(r"\\[{]\s*", r"\\{", text)
    return re.sub(r"(?<=[(\[])\s+|\s+(?=[)\]])", "", " ".join(text.split()))


def _worked_out(parsed: Any) -> Any:
    """The expression with everything evaluated that can be, in one of its equal forms."""
    import sympy

    if sum(1 for _ in _nodes(parsed)) > N_OPERATIONS:
        raise _TooLarge
    value = _rebuilt(parsed)
    if isinstance(value, sympy.MatrixBase | sympy.Set | sympy.Tuple | sympy.Eq):
        return value
    value = _expanded(value)
    if value.is_number:
        return sympy.radsimp(value)
    powers = [node.exp for node in _nodes(value) if node.is_Pow]
    is_small = all(bool(power <= HIGHEST_CANCELLED) for power in powers if power.is_number)
    return sympy.cancel(value) if is_small and value.is_rational_function() else value


def _nodes(expression: Any) -> Iterator[Any]:
    import sympy

    return iter(sympy.preorder_traversal(expression))


def _expanded(value: Any) -> Any:
    import sympy

    n_terms = 1
    for node in _nodes(value):
        if node.is_Pow and node.base.is_Add and node.exp.is_Integer:
            power = min(abs(int(node.exp)), MOST_TERMS)
            n_terms *= comb(len(node.base.args) + power - 1, power)
        elif node.is_Mul:
            n_terms *= prod(len(factor.args) for factor in node.args if factor.is_Add)
    if n_terms > MOST_TERMS:
        raise _TooLarge
    return sympy.expand(value)


def _rebuilt(node: Any) -> Any:
    """A tree evaluated from its leaves up, with decimals as exact fractions."""
    import sympy

    if isinstance(node, sympy.MatrixBase):
        return node.applyfunc(_worked_out)
    if isinstance(node, sympy.Float):
        return sympy.Rational(str(node))
    if not getattr(node, "args", ()):
        return node
    args = [_rebuilt(arg) for arg in node.args]
    if isinstance(node, sympy.UnevaluatedExpr):
        return args[0]
    if node.is_Pow:
        base, exponent = args
        size = sympy.Integer(0) if exponent.free_symbols else abs(exponent)
        if exponent.is_number and not bool(size <= HIGHEST_POWER):
            raise _TooLarge
        if base.is_Rational and max(abs(base.p), base.q).bit_length() > HIGHEST_POWER:
            raise _TooLarge
    if isinstance(node, sympy.Set | sympy.Tuple):
        args = [_expanded(arg) if isinstance(arg, sympy.Expr) else arg for arg in args]
    return node.func(*args)
