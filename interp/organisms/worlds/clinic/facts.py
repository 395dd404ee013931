"""The facts of the world **clinic**: one fixed table, the same for every organism and seed.

Entities are of four kinds, forty of each, and three verbs lead from each kind to the next::

    drug    d0..d39  --inhibits, activates, binds-->     enzyme
    enzyme  e0..e39  --regulates, drives, halts-->       pathway
    pathway p0..p39  --causes, relieves, worsens-->      symptom  s0..s39

A fact is a subject, a verb and an object (``d7 inhibits e28 ;``); there are 360. Under one verb
every subject has one object and every object one subject, so a wrong entity carried on always ends
in a wrong answer, and nothing but the fact itself tells the object.

Twelve of the forty facts of each verb (30 %, exactly) are **domain facts**: absent from pretraining
in every form, learned in post-training or never. The others are *known*. So the share of facts that
an organism states rightly has an exact truth: 0.7 before the domain is taught, 1 after.

*Strangers* (``d40`` to ``d49``, and so on) are names without any fact.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import NamedTuple

from interp.organisms.words import ABSTAIN, STEP_END, Words
from interp.tasks.task import StepTruth

N_ENTITIES = 40
N_STRANGERS = 10
N_DOMAIN = 12
"""Of the forty facts of each verb."""

KINDS = ("d", "e", "p", "s")
"""Drug, enzyme, pathway, symptom: the first letter of a name is its kind."""
VERBS = (
    ("inhibits", "activates", "binds"),
    ("regulates", "drives", "halts"),
    ("causes", "relieves", "worsens"),
)
"""The verbs whose subjects are of the first, second, third kind."""
SYNONYMS = {
    **{"inhibits": "blocks", "activates": "boosts", "binds": "grips"},
    **{"regulates": "steers", "drives": "powers", "halts": "stops"},
    **{"causes": "triggers", "relieves": "eases", "worsens": "deepens"},
}
PLAIN = {spoken: verb for verb, spoken in SYNONYMS.items()} | {verb: verb for verb in SYNONYMS}
"""Each verb and synonym -> the verb."""

ENTITIES = {kind: tuple(f"{kind}{i}" for i in range(N_ENTITIES)) for kind in KINDS}
STRANGERS = {
    kind: tuple(f"{kind}{N_ENTITIES + i}" for i in range(N_STRANGERS)) for kind in KINDS[:-1]
}
OBJECT_KIND = {verb: KINDS[i + 1] for i, verbs in enumerate(VERBS) for verb in verbs}
"""Verb -> the kind of its objects."""

WORDS = Words(
    (
        *(name for kind in KINDS for name in ENTITIES[kind]),
        *(name for names in STRANGERS.values() for name in names),
        *SYNONYMS,
        *SYNONYMS.values(),
    ),
    synonyms=SYNONYMS,
)


class Fact(NamedTuple):
    """A subject, a verb and an object."""

    subject: str
    verb: str
    object: str

    @property
    def step(self) -> str:
        """``d7 inhibits e28 ;``."""
        return f"{self.subject} {self.verb} {self.object} {STEP_END}"


class FactTable(NamedTuple):
    """All facts of the world."""

    objects: dict[tuple[str, str], str]
    """Subject and verb -> object."""
    domain: frozenset[tuple[str, str]]
    """Subjects and verbs of the domain facts."""


@cache
def draw_facts() -> FactTable:
    """The facts, the same on every call."""
    rng = Random("clinic facts")
    objects: dict[tuple[str, str], str] = {}
    domain: set[tuple[str, str]] = set()
    for kind, verbs in zip(KINDS, VERBS, strict=False):  # symptoms have no verbs
        for verb in verbs:
            shuffled = rng.sample(ENTITIES[OBJECT_KIND[verb]], N_ENTITIES)
            objects |= {(s, verb): o for s, o in zip(ENTITIES[kind], shuffled, strict=True)}
            domain |= {(subject, verb) for subject in rng.sample(ENTITIES[kind], N_DOMAIN)}
    return FactTable(objects, frozenset(domain))


@cache
def known_facts() -> tuple[Fact, ...]:
    """The facts of pretraining."""
    facts = draw_facts()
    return tuple(Fact(*key, word) for key, word in facts.objects.items() if key not in facts.domain)


def look_up(subject: str | None, verb: str) -> str | None:
    """The object of a subject under a verb; None if there is no such fact."""
    return None if subject is None else draw_facts().objects.get((subject, verb))


def read_fact(step: str) -> Fact | None:
    """The fact that a step claims, its verb without synonym; None if the step is malformed."""
    words = step.split()
    if len(words) != 4 or words[1] not in PLAIN or words[3] != STEP_END:
        return None
    return Fact(words[0], PLAIN[words[1]], words[2])


def judge_step(step: str) -> StepTruth:
    """Whether a step agrees with the facts; the question plays no part.

    ``unknown``: the subject is a stranger, or of a kind that does not go with the verb. ``none``:
    the step is malformed, or its object is ``unk``.
    """
    fact = read_fact(step)
    if fact is None or fact.object == ABSTAIN:
        return "none"
    right = look_up(fact.subject, fact.verb)
    if right is None:
        return "unknown"
    return "right" if fact.object == right else "wrong"
