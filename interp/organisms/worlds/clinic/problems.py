"""The problems of the world **clinic**: questions of one to three facts in a row.

A problem is an entity and a row of verbs that leads away from it; each step is exactly one fact::

    Q d7 inhibits regulates ? <think> d7 inhibits e28 ; e28 regulates p19 ; </think> A p19
    Q d7 inhibits regulates ? A p19                                     (answered directly)

Besides the problem as posed there are

- a *mistaken* chain: one object replaced, the later steps left alone or worked out from it;
- a *stranger twin*: it begins at a name without any fact, so the right answer is ``unk``, and so is
  every entity of its chain (``unk inhibits unk ;``);
- a *shorter* problem: the last verb taken away;
- a *reversed* question, ``Q regulates inhibits d7 ?``, a form that is never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from interp.organisms.words import ABSTAIN, ASK, QUESTION
from interp.organisms.worlds.clinic.facts import ENTITIES, OBJECT_KIND, Fact, draw_facts, look_up


@dataclass(frozen=True, slots=True)
class Problem:
    """An entity, a row of verbs, and perhaps a reversed question; everything else follows."""

    start: str
    verbs: tuple[str, ...]
    is_reversed: bool = False
    family: str = ""
    """Id of the problem that this one was made from; empty when it was made from none."""

    @property
    def problem_id(self) -> str:
        """Id shared by a problem, its twin and its other forms: the unit of a bootstrap."""
        return self.family or self.id

    @property
    def id(self) -> str:
        """Id of this very question."""
        return ":".join(("clinic", self.start, *self.verbs)) + ("!" if self.is_reversed else "")

    @property
    def depth(self) -> int:
        """Number of verbs, which is the number of steps."""
        return len(self.verbs)

    @property
    def question(self) -> str:
        """Text of the question, from ``Q`` to ``?``, without ``<bos>``."""
        row = [self.start, *self.verbs]
        return " ".join([QUESTION, *(reversed(row) if self.is_reversed else row), ASK])

    @property
    def values(self) -> tuple[str | None, ...]:
        """The entity that each step leads to; None from the first missing fact on."""
        return _follow(self.start, self.verbs)

    @property
    def steps(self) -> tuple[str, ...]:
        """The correct chain, one text per step, each ending in ``;``."""
        return _chain(self.start, self.verbs, self.values)

    @property
    def answer(self) -> str:
        """The right answer as a word; ``unk`` if a fact is missing."""
        return self.values[-1] or ABSTAIN

    @property
    def candidates(self) -> tuple[str, ...]:
        """The forty entities of the kind that the last verb leads to."""
        return ENTITIES[OBJECT_KIND[self.verbs[-1]]]

    @property
    def n_domain(self) -> int:
        """How many of its facts are domain facts."""
        subjects = (self.start, *self.values[:-1])
        return sum(
            (subject, verb) in draw_facts().domain
            for subject, verb in zip(subjects, self.verbs, strict=True)
        )

    def mistaken(self, step: int, entity: str, *, propagate: bool) -> tuple[str, ...]:
        """The chain with the object of one step replaced by a wrong entity.

        Args:
            step: Which step goes wrong, zero-based.
            entity: The wrong entity written there, of the kind that belongs there.
            propagate: Whether the later steps follow the facts from the wrong entity (they are
                then right in themselves) or are left as they were (the chain then contradicts
                itself).

        Returns:
            Step texts, as many as in ``steps``.

        Raises:
            ValueError: If the entity is the right one or of another kind, or there is no such step.
        """
        if entity not in self.wrong_values(step):
            raise ValueError(
                f"a mistake is a wrong entity of the kind that belongs there; received {entity!r}, "
                f"and step {step} of {self.question!r} is {self.steps[step]!r}. "
                f"Take one of wrong_values({step})."
            )
        values = list(self.values)
        values[step] = entity
        if propagate:
            values[step + 1 :] = _follow(entity, self.verbs[step + 1 :])
            return _chain(self.start, self.verbs, values)
        chain = list(self.steps)
        chain[step] = _chain(self.start, self.verbs, values)[step]
        return tuple(chain)

    def wrong_values(self, step: int) -> tuple[str, ...]:
        """The entities of the right kind that this step does not lead to."""
        if not 0 <= step < self.depth:
            raise ValueError(
                f"steps count from 0 to {self.depth - 1} in {self.question!r}; received {step}"
            )
        right = self.values[step]
        return tuple(e for e in ENTITIES[OBJECT_KIND[self.verbs[step]]] if e != right)

    def twin(self, stranger: str) -> Problem:
        """The same question about a name without any fact; its answer is ``unk``."""
        return replace(self, start=stranger, family=self.problem_id)

    def shorter(self) -> Problem:
        """The same question without its last verb.

        Raises:
            ValueError: If it has only one.
        """
        if self.depth == 1:
            raise ValueError(
                f"the last verb is taken from a question that has several, and {self.question!r} "
                "has one; call this on a problem of depth 2 or 3"
            )
        return replace(self, verbs=self.verbs[:-1], family=self.problem_id)

    def backwards(self) -> Problem:
        """The same problem with its question written from the last word to the first."""
        return replace(self, is_reversed=True, family=self.problem_id)


def _follow(start: str | None, verbs: Sequence[str]) -> tuple[str | None, ...]:
    values: list[str | None] = []
    for verb in verbs:
        start = look_up(start, verb)
        values.append(start)
    return tuple(values)


def _chain(start: str, verbs: Sequence[str], values: Sequence[str | None]) -> tuple[str, ...]:
    named = start if start in ENTITIES[start[0]] else None
    return tuple(
        Fact(before or ABSTAIN, verb, after or ABSTAIN).step
        for before, verb, after in zip((named, *values[:-1]), verbs, values, strict=True)
    )
