"""Agreement by chance: how often do two answers agree when one tells nothing about the other?

A reader's early answer is compared with its answer after the full chain. Guesses agree with it,
too: every second time where two answers are equally common. What counts as chance is taken from
*different* problems: the early answer of one is compared with the full answer of another. Both
carry the reader's bias towards some answers, and neither tells anything about the other. The mean
over all such pairs estimates the sum over answers a of P(early = a) P(full = a) without bias,
however few problems there are.

The agreement by chance of one problem is the mean of two shares: of other problems' full answers
that equal its early answer, and of other problems' early answers that equal its full answer. Each
pair then counts half for each of its problems, so a bootstrap over problems draws both sides.

An answer among candidates is known, so a problem is compared with all others. An open answer is
known only by scoring it, so a problem is compared with the recorded answers of `N_DONORS` others.
Where another problem's answer is not among the candidates of this one, the candidate at the same
place stands for it: there the bias is one towards places.

Example: three problems, early answers yes, yes, no and full answers yes, no, no. The first early
answer agrees with neither other full answer, and the first full answer with one of the two other
early answers: (0 + 1/2) / 2 = 1/4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from jaxtyping import Float

N_DONORS = 4
"""Other problems whose answers are scored where answers are open."""
COMMONEST = 0.9
"""Share of one answer above which agreement is nearly always by chance and measures nothing."""


@dataclass(frozen=True)
class ReaderAnswers:
    """What a reader answered to one problem, after several early cuts and after the full chain."""

    problem: str
    full: str
    """Empty where it is not known (an open answer other than the recorded one)."""
    place: int = -1
    """Index of the full answer among the candidates; -1 without candidates."""
    candidates: tuple[str, ...] = ()
    early: tuple[int, ...] = ()
    """Index of the answer after each cut, with candidates."""
    gives: Mapping[int, tuple[bool, ...]] = field(default_factory=dict[int, tuple[bool, ...]])
    """Without candidates: which other problem -> whether its answer is given after each cut."""

    def agree_with(self, others: Sequence[ReaderAnswers]) -> Float[np.ndarray, "cut example"]:
        """Whether each early answer is the full answer of each other case; NaN where unknown."""
        if not self.candidates:
            unknown = [float("nan")] * max(map(len, self.gives.values()), default=0)
            return np.array([self.gives.get(at, unknown) for at in range(len(others))]).T
        place_of = {answer: place for place, answer in enumerate(self.candidates)}
        places = np.array([place_of.get(other.full, other.place) for other in others])
        early = np.array(self.early)
        return np.where(places >= 0, early[:, None] == places, np.nan)


def draw_others(problems: Sequence[str], seed: int) -> list[list[int]]:
    """For each case up to `N_DONORS` cases of other problems, each case drawn about equally often.

    Args:
        problems: The problem of each case.
        seed: Of the draw.

    Returns:
        For each case the indices of the others.
    """
    order = list(range(len(problems)))
    Random(f"chance {seed}").shuffle(order)
    found: list[list[int]] = [[] for _ in problems]
    for at, case in enumerate(order):
        following = (*order[at + 1 :], *order[:at])
        others = [one for one in following if problems[one] != problems[case]]
        found[case] = others[:N_DONORS]
    return found


def agree_by_chance(answered: Sequence[ReaderAnswers], n_cuts: int) -> list[list[float]]:
    """The agreement by chance of each problem after each early cut.

    Args:
        answered: Of one reader, on chains of one writer.
        n_cuts: Early cuts of each problem.

    Returns:
        For each problem one share per cut, [problem][cut]; NaN where no pair of different problems
        can be compared.
    """
    pairs = np.full((n_cuts, len(answered), len(answered)), np.nan)
    problems = np.array([one.problem for one in answered])
    is_known = np.array([bool(one.full) for one in answered])
    for at, one in enumerate(answered):
        if one.candidates or one.gives:
            is_other = is_known & (problems != one.problem)
            pairs[:, at] = np.where(is_other, one.agree_with(answered), np.nan)
    both = np.stack([_mean_known(pairs, axis=2), _mean_known(pairs, axis=1)])
    return _mean_known(both, axis=0).T.tolist()


def gives_one_answer(answered: Sequence[ReaderAnswers]) -> bool:
    """Whether one full answer is so common that agreement with it is nearly always by chance."""
    known = Counter(one.full for one in answered if one.full)
    return bool(known) and max(known.values()) > COMMONEST * known.total()


def _mean_known(values: np.ndarray, axis: int) -> np.ndarray:
    known = ~np.isnan(values)
    n = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)
