"""The facts of the world **clinic**: one fixed table, the same for every organism and seed.

Entities are of four kinds, forty of each, and three verbs lead from each kind to the next::

    drug    d0..d39  --inhibits, activates, binds-->     enzyme
    enzyme  e0..e39  --regulates, drives, halts-->       pathway
    pathway p0..p39  --causes, relieves, worsens-->      symptom  s0..s39

A fact is a subject, a verb and an object (``d7 inhibits e28 ;``); there are 360. Under one verb
every subject has one object and every object one subject, so a wrong entity carried on always ends
in a wrong answer, and nothing but the fact itself tells the object.

Twelve of the forty facts of each verb (30 %, exactly) are **domain facts**: absent from pretraining
in every form, learned in post-training or never. The others are *known*. So the share of right
facts in what an organism says has an exact truth: 0.7 before the domain is taught, 1 after.

*Strangers* (``d40`` to ``d49``, and so on) are names of which no fact is told.
"""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Literal, NamedTuple

from interp.organisms.words import ABSTAIN, STEP_END, Words

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
    )
)


class Fact(NamedTuple):
    """What a step claims."""

    subject: str
    verb: str
    object: str

    @property
    def step(self) -> str:
        """``d7 inhibits e28 ;``."""
        return f"{self.subject} {self.verb} {self.object} {STEP_END}"


class Table(NamedTuple):
    """All facts by subject and verb; those of the domain are in both."""

    objects: dict[tuple[str, str], str]
    domain: frozenset[tuple[str, str]]


@cache
def table() -> Table:
    """The facts, drawn once and for all."""
    rng = Random("clinic facts")
    objects: dict[tuple[str, str], str] = {}
    domain: set[tuple[str, str]] = set()
    for kind, verbs in zip(KINDS, VERBS, strict=False):
        for verb in verbs:
            shuffled = rng.sample(ENTITIES[OBJECT_KIND[verb]], N_ENTITIES)
            objects |= {(s, verb): o for s, o in zip(ENTITIES[kind], shuffled, strict=True)}
            domain |= {(subject, verb) for subject in rng.sample(ENTITIES[kind], N_DOMAIN)}
    return Table(objects, frozenset(domain))


@cache
def known_facts() -> tuple[Fact, ...]:
    """The facts of pretraining."""
    facts = table()
    return tuple(Fact(*key, word) for key, word in facts.objects.items() if key not in facts.domain)


def look_up(subject: str | None, verb: str) -> str | None:
    """The object of a subject under a verb; None where no fact says it."""
    return None if subject is None else table().objects.get((subject, verb))


def read_fact(step: str) -> Fact | None:
    """What a step claims, its verb in plain form; None if it is not ``subject verb object ;``."""
    words = step.split()
    if len(words) != 4 or words[1] not in PLAIN or words[3] != STEP_END:
        return None
    return Fact(words[0], PLAIN[words[1]], words[2])


def judge(step: str) -> Literal["right", "wrong", "unknown", "none"]:
    """What a step's claim is against the facts, whatever was asked.

    ``unknown`` is a claim about what no fact is told of: a stranger, or a subject that does not go
    with the verb. A step that is malformed or says ``unk`` claims nothing.
    """
    fact = read_fact(step)
    if fact is None or fact.object == ABSTAIN:
        return "none"
    right = look_up(fact.subject, fact.verb)
    if right is None:
        return "unknown"
    return "right" if fact.object == right else "wrong"


def paraphrase(step: str) -> str:
    """The same step in other words: ``d7 inhibits e28 ;`` as ``d7 blocks e28 ;`` (equal length)."""
    return " ".join(SYNONYMS.get(word, word) for word in step.split())
