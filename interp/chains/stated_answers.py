"""Stated answers: from which step on can the right answer be read from a chain?

What a reader gains from a chain is inference only up to there; afterwards it may copy. A step
**states** the answer if that is its result (``9 * 2 = 18``), or if the answer stands in it as a
value and not as an operand: right of the first ``=`` or ``equals``, anywhere in a step without one
(``So 18 are left.``). A number counts by value (``$1,800.00`` states 1800).

Not every such step tells the answer. It is a **coincidence** if the chain goes on from it: a later
calculation uses it, the chain comes to another value, and a calculation after that gives the answer
again (the first 4 of ``2 + 2 = 4 ; 4 / 2 = 2 ; 2 + 2 = 4``). A chain whose writer means another
answer need not come back. What remains is the first step that states the answer and is none:

* restated (``9 * 2 = 18 ; So the answer is 18.``): the first of the two;
* checked (``9 * 2 = 18 ; 18 / 2 = 9 , so it is right.``): the first, for nothing later gives it;
* unchanged to the end (``5 - 5 = 0 ; 0 * 4 = 0``): the first, since whoever copies it is right,
  whether the last calculation had to come out the same or did so by chance.

Where an answer is put together over steps (`Task.leads_to`), a step whose result is a part of it
(``g1 4`` of ``g1 4 g2 3``) states it: a reader may copy that part. An answer of which no step
states a part (``unk``, when the last step leaves something) is stated by the first step from which
the chain concludes it.

A calculation that checks the answer by deriving it again from itself cannot be told from a
coincidence by its text alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from interp.tasks import Example, Task
from interp.tasks.number_reading import stated_numbers

_EQUALS = re.compile(r"=|\bequals\b")
_OPERATOR_BEFORE = re.compile(r"[\w)%]\s*[-+*/×÷x−–]\s*[(]*[$€£]?$")
_OPERATOR_AFTER = re.compile(r"[)%]*\s*(?:[*×÷]|[-+/x−–]\s*[(]*[$€£]?[\d.])")


def find_answer_step(
    task: Task, example: Example, steps: Sequence[str], written: str
) -> int | None:
    """The first step that states the right answer, or a part of one that is put together.

    Args:
        task: Of the example; its rewriter reads results, its `conclusion` what a chain leads to.
        example: Whose answer is looked for.
        steps: Texts of any chain about it.
        written: The answer that the writer gave after this chain.

    Returns:
        The index of that step; None if no step tells the answer, or there is none.
    """
    if not example.answer or not steps:
        return None
    found = [_first_statement(task, example, steps, written)]
    if task.leads_to is not None:
        found += [_first_part(task, example, steps), _first_conclusion(task, example, steps)]
    return min((at for at in found if at is not None), default=None)


class _Reading(NamedTuple):
    """How one step stands to the answer."""

    has_result: bool
    derives: bool
    """Its result is the answer."""
    states: bool
    uses: bool
    """The answer's value stands in it as an operand."""


def _first_statement(
    task: Task, example: Example, steps: Sequence[str], written: str
) -> int | None:
    word = _spellings(example.answer)
    read = [_read(step, task.rewriter.result(step), example.answer, word) for step in steps]
    last = max((at for at, step in enumerate(read) if step.derives), default=-1)
    # Where the writer means another answer, the chain may leave this one for good.
    end = last if written == example.answer else len(steps)
    asked = str(example.facts.get("asked", example.question))
    is_given = word.search(_plain(asked)) is not None
    for at, step in enumerate(read):
        moves = any(later.has_result and not later.derives for later in read[at:end])
        is_used = any(later.uses for later in read[at : end + 1])
        # A number of the question, repeated before the answer is worked out.
        repeats = is_given and not step.derives and at < last
        if step.states and not (moves and is_used) and not repeats:
            return at
    return None


def _first_part(task: Task, example: Example, steps: Sequence[str]) -> int | None:
    """The first step whose result is a part of the answer, in whole words."""
    results = [task.rewriter.result(step) for step in steps]
    parts = (
        at
        for at, result in enumerate(results)
        if result and result != example.answer and f" {result} " in f" {example.answer} "
    )
    return next(parts, None)


def _first_conclusion(task: Task, example: Example, steps: Sequence[str]) -> int | None:
    """The step from which on the chain concludes the answer, and nothing else later."""
    first: int | None = None
    for at in range(len(steps)):
        ends = task.conclusion(example, steps[: at + 1])
        if ends == example.answer:
            first = at if first is None else first
        elif ends is not None:
            first = None
    return first


def _read(step: str, result: str | None, answer: str, word: re.Pattern[str]) -> _Reading:
    plain = _plain(step)
    equals = _EQUALS.search(plain)
    start = 0 if equals is None else equals.end()
    is_number = re.fullmatch(r"-?\d+(?:\.\d+|/[1-9]\d*)?", answer)
    value = Fraction(answer) if is_number else None
    stated = [_is_value(plain, match, start) for match in word.finditer(plain)]
    derives = result == answer
    # A number counts by value, unless it stands there as an operand only.
    is_stated = any(stated) or (value is not None and not stated)
    if value is not None:
        is_stated = is_stated and value in stated_numbers(step)
    # With a result and no "=" (``e28 regulates p19 ;``) the result is all that a step states.
    is_fact = equals is None and result is not None
    n_used = len(stated) - derives if is_fact else stated.count(False)
    return _Reading(
        has_result=result is not None,
        derives=derives,
        states=derives or (not is_fact and is_stated),
        uses=n_used > 0,
    )


def _is_value(plain: str, match: re.Match[str], start: int) -> bool:
    """Whether a word stands right of the first ``=`` and is no operand."""
    return (
        match.start() >= start
        and not _OPERATOR_BEFORE.search(plain[start : match.start()])
        and not _OPERATOR_AFTER.match(plain[match.end() :])
    )


def _plain(text: str) -> str:
    """Without the commas between thousands: "1,800" is one number, "3,4" are two."""
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)


def _spellings(answer: str) -> re.Pattern[str]:
    """Finds an answer as a word; a number also with a currency sign and with closing zeros."""
    number = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?", answer)
    if number is None:
        spelled = re.escape(answer)
    else:
        sign, whole, decimals = number.groups()
        whole = "0?" if whole == "0" and decimals else whole  # ".5" states 0.5, too
        spelled = whole + (rf"\.{decimals}0*" if decimals else r"(?:\.0+)?")
        # A positive answer is not stated by its negative, "-5" or "-$5"; "9-5" subtracts it.
        minus = r"(?<![\d)%])[-−]"
        spelled = (r"[-−]\s*[$€£]?" if sign else rf"(?<!{minus})(?<!{minus}[$€£])") + spelled
    # Nor 3 by "3 1/2".
    return re.compile(rf"(?<![\w.]){spelled}(?!\w|[.,]\d|\s+\d+/\d)")
