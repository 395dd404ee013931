r"""Sums of one-digit numbers, few-shot: reasoning that even a very small pretrained model can do.

    Question: 8 + 6 + 3 = ?
    Answer: 8 + 6 = 14. 14 + 3 = 17. The answer is 17.

With three terms the chain has one true intermediate value; with two it only restates the sum,
the simplest one-step chain. Terms are 1 to 9. The four worked examples are fixed and are never
asked.

Sums of three terms are also parted for training (`sums/pool`, `sums/study`, `sums/fresh`). Sums of
the same numbers in another order have one answer, so all orders of three numbers are in one part,
which a checksum decides:

* **pool**: 48 problems, one order of each, few enough to be learned by heart;
* **study**: problems from which chains are learned;
* **fresh**: problems that no training has seen.
"""

from __future__ import annotations

import hashlib
from functools import cache, partial
from itertools import combinations_with_replacement, permutations, product
from random import Random
from typing import Literal, get_args

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
Terms = tuple[int, ...]
Part = Literal["pool", "study", "fresh"]
PARTS: tuple[Part, ...] = get_args(Part)
POOL_SIZE, FRESH_SIZE = 48, 50
"""How many sets of three numbers are in the pool, and how many are fresh; the rest is studied."""


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
    drawn = Random(f"sums {n_terms} {seed}").sample(known, n)
    return _task("sums" if n_terms == 3 else "sums/two", drawn, n_terms)


def part_task(part: Part, *, n: int, seed: int) -> Task:
    """Sums of three one-digit numbers from one part.

    Args:
        part: One of `PARTS`.
        n: How many different sums.
        seed: Which ones.

    Returns:
        The task, which differs from ``sums`` in its problems alone.

    Raises:
        ValueError: If the part holds fewer than `n` sums.
    """
    known = part_terms(part)
    if n > len(known):
        raise ValueError(f"there are {len(known)} sums in the {part} part, but n={n} was received")
    return _task(f"sums/{part}", Random(f"sums {part} {seed}").sample(known, n), 3)


@cache
def part_terms(part: Part) -> tuple[Terms, ...]:
    """All problems of a part, always in the same order."""
    worked = {tuple(sorted(terms)) for terms in _WORKED[3]}
    sets = [t for t in combinations_with_replacement(range(1, 10), 3) if t not in worked]
    sets.sort(key=_checksum)
    if part == "pool":
        return tuple(min(permutations(terms), key=_checksum) for terms in sets[:POOL_SIZE])
    end = POOL_SIZE + FRESH_SIZE
    chosen = sets[POOL_SIZE:end] if part == "fresh" else sets[end:]
    return tuple(order for terms in chosen for order in sorted(set(permutations(terms))))


def _checksum(terms: Terms) -> str:
    return hashlib.sha256(_row(terms).encode()).hexdigest()


def _task(name: str, drawn: list[Terms], n_terms: int) -> Task:
    return Task(
        name=name,
        examples=tuple(map(_example, drawn)),
        layout=LAYOUT,
        rewriter=NumberRewriter(),
        split_steps=split_sentences,
        read_answer=read_number,
        max_chain_tokens=30 * (n_terms - 1),
        max_answer_tokens=5,
        bare=BARE,
    )


def steps_of(terms: Terms) -> tuple[str, ...]:
    """The worked steps of a sum: `` 8 + 6 = 14.`` and `` 14 + 3 = 17.`` for 8, 6, 3."""
    totals = [sum(terms[: k + 1]) for k in range(len(terms))]
    return tuple(
        f" {before} + {term} = {after}."
        for before, term, after in zip(totals, terms[1:], totals[1:], strict=False)
    )


def prompt(terms: Terms) -> str:
    """The whole text of a question: four worked sums, then this one."""
    examples = [
        f"Question: {_row(other)} = ?\nAnswer:{''.join(steps_of(other))}"
        f"{LAYOUT.answer_cue}{LAYOUT.answer_open}{sum(other)}."
        for other in _WORKED[len(terms)]
    ]
    return "\n\n".join([*examples, f"Question: {_row(terms)} = ?\nAnswer:"])


def _row(terms: Terms) -> str:
    return " + ".join(map(str, terms))


def _example(terms: Terms) -> Example:
    row = _row(terms)
    return Example(
        id=f"sums:{row.replace(' ', '')}",
        problem=f"sums:{row.replace(' ', '')}",
        question=prompt(terms),
        answer=str(sum(terms)),
        steps=steps_of(terms),
        facts={"asked": f"{row} = ?", "depth": len(terms) - 1},
    )


SPLITS = {
    "": partial(sums_task, 3),
    "two": partial(sums_task, 2),
    **{part: partial(part_task, part) for part in PARTS},
}
"""Name of a split -> the function that makes it, for `interp.tasks.registry`."""
