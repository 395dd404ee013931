r"""Conclusions: the answer to which a chain in running text leads.

It is what the last step says that either announces an answer (``\boxed{2865}``, "the answer is
18", as in `interp.tasks.announced_answers`) or works one out (the number after its last ``=``). How
an answer is read is the task's affair: a box may hold a fraction, a formula or the letter of a
choice, and ``9 * 2 = 18`` concludes nothing where answers are letters.

Steps after that one are passed over: "Correct.", "So all steps seem solid.".

Example: the chain ``9 * 2 = 18``, ``18 / 2 = 9 checks``, ``The answer is 18.`` concludes 18;
without its last step it concludes 9, since a check by another calculation cannot be told from one
that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interp.tasks.announced_answers import find_announced
from interp.tasks.number_reading import find_result, write_number
from interp.tasks.task import Example

Conclude = Callable[[Example, Sequence[str]], str | None]
"""The form of `Task.leads_to`."""


def conclude_by(read: Callable[[str], str]) -> Conclude:
    r"""What a chain concludes, for `Task.leads_to`.

    Args:
        read: Reads an answer, as `Task.read_answer` does.

    Returns:
        A function of an example and the steps of a chain about it; it gives None where no step
        announces an answer or works one out.

    Example:
        >>> from interp.tasks.math_reading import read_math
        >>> task_example = Example("x", "x", "How many?", "0.5", ())
        >>> conclude_by(read_math)(task_example, ["2 / 4 = 0.5", r"So \boxed{\frac12}.", "Yes."])
        '0.5'
    """

    def conclude(_: Example, steps: Sequence[str]) -> str | None:
        return next(filter(None, (_stated(read, step) for step in reversed(steps))), None)

    return conclude


def _stated(read: Callable[[str], str], step: str) -> str:
    """The answer that one step announces or works out; empty if it does neither."""
    announced = find_announced(step)
    if announced is not None:
        stated = read(step[announced.start : announced.end])
        if stated:
            return stated
    result = find_result(step)
    # Read as an answer is: where answers are letters, a number is none.
    return "" if result is None or result[1].value is None else read(write_number(result[1].value))
