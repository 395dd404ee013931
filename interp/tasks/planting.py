r"""Planted answers: a chain that states another final answer, wherever it states one.

A mistake that is carried on changes the calculations of a chain; here its calculations stay and
every statement of its final answer is replaced by one wrong value, in ``\boxed{}`` and after "the
answer is" too. A reader that takes its answer from the text must give that value.

* **Numbers**: the task's rewriter does it, if it can (`Planter`): a number that is stated in any
  form, ``$1,800`` or ``\frac{1}{2}``, is replaced in its form.
* **Everything else** (letters of choices, labels, names, formulas): the wrong value is another
  candidate, or the answer to another question. It takes the place of the answer where the text
  announces it and, unless it is one of few candidates, wherever its words stand.

In the worlds of the organisms the last step alone states the answer. A mistake there that is not
carried on is this very edit, so their rewriters have none of their own.

Example: ``2 * 9 = 18``, ``18 / 2 = 9 checks``, ``\boxed{18}`` with 16 planted is ``2 * 9 = 16``,
``16 / 2 = 9 checks``, ``\boxed{16}``.
"""

from __future__ import annotations

import re
from random import Random
from typing import NamedTuple, Protocol, runtime_checkable

from interp.tasks.announced_answers import find_announced
from interp.tasks.task import Example, Task

NO_END = "the chain states no final answer"
NO_OTHER = "there is no other answer that could be planted"
NOT_ENDED = "with another answer planted the chain comes to the same one, or to none"


@runtime_checkable
class Planter(Protocol):
    """A rewriter that can plant a number."""

    def plant(
        self, example: Example, steps: tuple[str, ...], final: str, rng: Random
    ) -> tuple[str, ...] | None:
        """The steps with one wrong number wherever they state `final`; None if they do not."""
        ...


class Planted(NamedTuple):
    """A chain with another final answer, or why there is none."""

    steps: tuple[str, ...] | None
    answer: str
    """What it comes to, in the form of an answer; empty without one."""
    reason: str = ""


def plant_answer(task: Task, example: Example, steps: tuple[str, ...], rng: Random) -> Planted:
    """Plants another final answer in a chain.

    Args:
        task: Of the example. Its rewriter is a `Planter`.
        example: The example that the chain is about.
        steps: Texts of any chain.
        rng: Chooses the wrong answer.

    Returns:
        As many steps, which come to another answer, or the reason why there are none.
    """
    final = task.conclusion(example, steps)
    if not final:
        return Planted(None, "", NO_END)
    made = None
    if isinstance(task.rewriter, Planter) and not example.candidates:
        made = task.rewriter.plant(example, steps, final, rng)
    if made is None:
        others = {*example.candidates} or {other.answer for other in task.examples}
        wrong = sorted(others - {final, example.answer})
        if not wrong:
            return Planted(None, "", NO_OTHER)
        made = _with_words(task, example, steps, final, rng.choice(wrong))
    ends = task.conclusion(example, made)
    return Planted(None, "", NOT_ENDED) if not ends or ends == final else Planted(made, ends)


def _with_words(
    task: Task, example: Example, steps: tuple[str, ...], final: str, wrong: str
) -> tuple[str, ...]:
    word = re.compile(rf"(?<!\w){re.escape(final)}(?!\w)")
    made: list[str] = []
    for step in steps:
        found = find_announced(step)
        if found is not None and task.read_answer(step[found.start : found.end]) == final:
            # The answer may be announced in other words, as the text of a choice is.
            said, n = word.subn(lambda _: wrong, step[found.start : found.end])
            step = step[: found.start] + (said if n else wrong) + step[found.end :]
        made.append(step if final in example.candidates else word.sub(lambda _: wrong, step))
    return tuple(made)
