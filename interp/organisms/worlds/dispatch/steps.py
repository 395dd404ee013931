"""One step of a chain of the world **dispatch**: a need, what is taken of it, what is left.

    7 load g1 4 left 3 ;        in other words:  7 run g1 4 rest 3 ;

A step has seven words in either wording. What a generator ought to take is the smaller of need and
capacity; a step may say otherwise, and is read as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from interp.organisms.words import STEP_END

SPOKEN = {"load": "run", "left": "rest"}
PLAIN = {said: word for word, said in SPOKEN.items()}
N_WORDS = 7


class Generator(NamedTuple):
    """A generator as the question gives it."""

    name: str
    capacity: int

    def share(self, need: int) -> int:
        """What it takes of a need: all of it, up to its capacity."""
        return min(need, self.capacity)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step says."""

    need: int
    name: str
    amount: int
    left: int
    is_spoken: bool = False
    """Whether it is told in the other words."""

    @property
    def text(self) -> str:
        """The step as written, ``;`` included."""
        text = f"{self.need} load {self.name} {self.amount} left {self.left} {STEP_END}"
        return paraphrase(text) if self.is_spoken else text

    def is_right(self, generator: Generator) -> bool:
        """Whether amount and rest are those that follow from this need and this capacity."""
        right = generator.share(self.need)
        return (self.amount, self.left) == (right, self.need - right)


def load(need: int, name: str, amount: int, *, is_spoken: bool = False) -> Step:
    """The step in which a generator takes this amount; what exceeds the need leaves nothing."""
    return Step(need, name, amount, max(need - amount, 0), is_spoken)


def paraphrase(step: str) -> str:
    """The same step in other words, equally long: ``7 run g1 4 rest 3 ;``."""
    return " ".join(SPOKEN.get(word, word) for word in step.split())


def read_step(text: str) -> Step | None:
    """What a text says as a step of this world; None if it is no such step."""
    said = text.split()
    words = [PLAIN.get(word, word) for word in said]
    if len(words) != N_WORDS or (words[1], words[4], words[6]) != ("load", "left", STEP_END):
        return None
    need, name, amount, left = words[0], words[2], words[3], words[5]
    if not (need.isdecimal() and amount.isdecimal() and left.isdecimal()) or name.isdecimal():
        return None
    return Step(int(need), name, int(amount), int(left), said[1] in PLAIN)
