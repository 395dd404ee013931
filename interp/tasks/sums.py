r"""Sums of one-digit numbers, few-shot: reasoning that even a very small pretrained model can do.

    Question: 8 + 6 + 3 = ?
    Answer: 8 + 6 = 14. 14 + 3 = 17. The answer is 17.

With three terms the chain has one true intermediate value; with two it only restates the sum,
the simplest one-step chain. Terms are 1 to 9. The four worked examples are fixed and are never
asked.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from random import Random

from interp.tasks.number_reading import read_number
from interp.tasks.numbers import NumberRewriter
from interp.tasks.step_splitting import split_sentences
from interp.tasks.task import Example, Layout, Task

LAYOUT = Layout(
    think_open="",
    think_close="",
    answer_cue=" The answer is",
    answer_end=".\n",
    filler=" ...",
    joiner="",
    answer_open=" ",
)
BARE = "Question: {}\nAnswer:"
_WORKED = {
    2: ((8, 6), (3, 4), (9, 5), (2, 7)),
    3: ((8, 6, 3), (2, 5, 4), (7, 9, 8), (3, 1, 6)),
}


def sums_task(n_terms: int, *, n: int, seed: int) -> Task:
    """Sums of `n_terms` one-digit numbers, with worked steps.

    Args:
        n_terms: 2 or 3.
        n: How many different sums; at most 77 with two terms and 725 with three.
        seed: Which ones.

    Returns:
        The task.

    Raises:
        ValueError: If there are fewer than `n` sums.
    """
    worked = _WORKED[n_terms]
    known = [terms for terms in product(range(1, 10), repeat=n_terms) if terms not in worked]
    if n > len(known):
        raise ValueError(f"there are {len(known)} sums of {n_terms} terms, but n={n} was received")
    return Task(
        name="sums" if n_terms == 3 else "sums/two",
        examples=tuple(map(_example, Random(f"sums {n_terms} {seed}").sample(known, n))),
        layout=LAYOUT,
        rewriter=NumberRewriter(),
        split_steps=split_sentences,
        read_answer=read_number,
        max_chain_tokens=30 * (n_terms - 1),
        max_answer_tokens=5,
        bare=BARE,
    )


def steps_of(terms: tuple[int, ...]) -> tuple[str, ...]:
    """The worked steps of a sum: `` 8 + 6 = 14.`` and `` 14 + 3 = 17.`` for 8, 6, 3."""
    totals = [sum(terms[: k + 1]) for k in range(len(terms))]
    return tuple(
        f" {before} + {term} = {after}."
        for before, term, after in zip(totals, terms[1:], totals[1:], strict=False)
    )


def prompt(terms: tuple[int, ...]) -> str:
    """The whole text of a question: four worked sums, then this one."""
    examples = [
        f"Question: {_row(other)} = ?\nAnswer:{''.join(steps_of(other))}"
        f"{LAYOUT.answer_cue}{LAYOUT.answer_open}{sum(other)}."
        for other in _WORKED[len(terms)]
    ]
    return "\n\n".join([*examples, f"Question: {_row(terms)} = ?\nAnswer:"])


def _row(terms: tuple[int, ...]) -> str:
    return " + ".join(map(str, terms))


def _example(terms: tuple[int, ...]) -> Example:
    row = _row(terms)
    return Example(
        id=f"sums:{row.replace(' ', '')}",
        problem=f"sums:{row.replace(' ', '')}",
        question=prompt(terms),
        answer=str(sum(terms)),
        steps=steps_of(terms),
        facts={"asked": f"{row} = ?", "depth": len(terms) - 1},
    )


SPLITS = {"": partial(sums_task, 3), "two": partial(sums_task, 2)}
"""Name of a split -> the function that makes it, for `interp.tasks.registry`."""
