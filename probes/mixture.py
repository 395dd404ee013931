"""Mixtures: a reader that follows its chain on some problems and not on others.

A share of followed chains near one half has two causes. The reader may be unsure on each problem,
so that chance or a detail of the edit decides; or it may depend on the chain on some problems and
ignore it on others, each time certainly. The two are told apart by repeating the edit: several
propagated mistakes in one chain, each leading elsewhere (`joint/certain` of `probes.corruption`).
A reader that follows each mistake with the same chance p answers all four alike (all followed, or
none) in at most p^4 + (1 - p)^4 of the problems, which is .66 at p = .9 and less in between. So

* *in part* = the interval of `joint/follows` lies within `INSIDE` and is no wider than `WIDEST`,
  and that of `joint/certain` lies above `CERTAIN`.

**By which property it splits** (`find_split`). Every known property of the problems
(`Example.facts`: depth, domain, shift, cue ...) becomes yes-no questions: is it given, is it this
value, is it at least this number? For each question the score is the covariance of its answer with
following, added up by problem and divided by its standard error. The p of the best question is the
share of random sign flips of the problems' terms in which *any* question scores as high (max-T of
Westfall and Young 1993, by a wild cluster bootstrap with the null imposed: Cameron, Gelbach and
Miller 2008). So it holds for the best of many questions.

Example: a reader that copies a cue from the question and works by its chain where there is none
reads "in part (0.50 [0.40, 0.60])", and splits by whether a cue is given: 0.00 against 1.00.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interp.results.rows import Item, Measurement

PROBE, CONDITION, FOLLOWS = "corruption", "joint", "follows"
INSIDE = (0.1, 0.9)
"""Between these limits the interval of the share lies: beyond them one behaviour is all but all."""
WIDEST = 0.3
"""Width of that interval above which there is too little data to name a share."""
CERTAIN = 0.8
"""Least share of problems on which all mistakes are followed or none; above what one chance for
all problems can give."""
LEAST_SIDE = 5
"""Problems that both answers to a question need."""
N_FLIPS = 4000
LEVEL = 0.05

Facts = Mapping[str, Mapping[str, str | int]]
"""Example -> what is known about it (`Example.facts`)."""


@dataclass(frozen=True)
class Split:
    """The property of the problems that best tells where the chain is followed."""

    question: str
    """Such as ``depth is at least 3``."""
    share_if_yes: float
    share_if_no: float
    n_yes: int
    """Problems."""
    n_no: int
    p: float
    """That any property tells as much by chance, all questions considered."""

    @property
    def sentence(self) -> str:
        """What is known about the property, for a reader of the page."""
        shares = f"{self.share_if_yes:.2f} against {self.share_if_no:.2f} elsewhere"
        if self.p < LEVEL:
            return f"Where {self.question}, {shares} (p = {self.p:.3g}, all properties considered)."
        return (
            "No known property of the problems tells where it follows (the best: "
            f"{self.question}, {shares}, p = {self.p:.2g})."
        )


@dataclass(frozen=True)
class Mixture:
    """A reader that follows its chain in part of the problems, each certainly."""

    share: Measurement
    """Of problems on which it follows."""
    certain: Measurement
    """Of problems on which all mistakes are followed or none."""
    split: Split | None
    """None where no property is known."""

    @property
    def words(self) -> str:
        """The reading, as it stands in place of *load-bearing*."""
        return f"in part ({self.share.describe()})"

    @property
    def sentence(self) -> str:
        """The reading with its reason."""
        return " ".join(
            [
                f"{self.share.task}: {self.share.reader} follows the chain {self.words}. Several "
                "planted mistakes in one chain are all followed or all ignored in "
                f"{self.certain.describe()} of the problems, so single problems are decided.",
                *([] if self.split is None else [self.split.sentence]),
            ]
        )


def read_mixture(
    rows: Sequence[Measurement],
    task: str,
    reader: str,
    writer: str,
    *,
    items: Sequence[Item] = (),
    facts: Facts | None = None,
    seed: int = 0,
) -> Mixture | None:
    """Whether a reader follows its chain in part of the problems, each certainly.

    Args:
        rows: Of a run.
        task: The questions.
        reader: Whose answers.
        writer: Whose chains.
        items: Of the same run, for the split.
        facts: What is known about the examples; no split without.
        seed: Of the test of the split.

    Returns:
        The mixture; None where the reader has no share between few and nearly all, is unsure on
        single problems, or was asked too little to tell.
    """
    found = {
        row.metric: row
        for row in rows
        if (row.probe, row.condition) == (PROBE, CONDITION)
        and (row.task, row.reader, row.writer) == (task, reader, writer)
        and row.is_whole
    }
    share, certain = found.get(FOLLOWS), found.get("certain")
    if share is None or certain is None:
        return None
    # A NaN limit makes each comparison false.
    is_between = INSIDE[0] < share.low and share.high < INSIDE[1]
    if not (is_between and share.high - share.low <= WIDEST and certain.low > CERTAIN):
        return None
    mine = [
        item
        for item in items
        if (item.probe, item.condition, item.metric) == (PROBE, CONDITION, FOLLOWS)
        and (item.task, item.reader, item.writer) == (task, reader, writer)
    ]
    return Mixture(share, certain, find_split(mine, facts or {}, seed=seed))


def find_split(items: Sequence[Item], facts: Facts, *, seed: int = 0) -> Split | None:
    """The known property that best tells items of value 1 from items of value 0.

    Args:
        items: One number for each example; NaN are left out.
        facts: What is known about the examples.
        seed: Of the sign flips.

    Returns:
        The best split; None where no property divides the problems.
    """
    known = [item for item in items if item.value == item.value]
    problems = [item.problem for item in known]
    questions = _ask(known, facts)
    if not questions:
        return None
    values = np.array([item.value for item in known])
    answers = np.array([*questions.values()], dtype=np.float64).T  # [example, question]
    terms = (answers - answers.mean(axis=0)) * (values - values.mean())[:, None]
    _, codes = np.unique(problems, return_inverse=True)
    by_problem = np.zeros((codes.max() + 1, len(questions)))
    np.add.at(by_problem, codes, terms)
    spread = np.sqrt((by_problem**2).sum(axis=0))
    safe = np.where(spread > 0, spread, 1.0)
    scores = np.abs(by_problem.sum(axis=0)) / safe
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(N_FLIPS, len(by_problem)))
    highest = (np.abs(signs @ by_problem) / safe).max(axis=1)
    best = int(scores.argmax())
    # Rounding must not make a flip that equals the data smaller than it.
    p = (1 + int((highest >= scores[best] * (1 - 1e-9)).sum())) / (1 + N_FLIPS)
    yes = answers[:, best] == 1
    n_yes, n_no = (len({*np.array(problems)[side]}) for side in (yes, ~yes))
    shares = float(values[yes].mean()), float(values[~yes].mean())
    return Split([*questions][best], *shares, n_yes, n_no, p)


def _ask(items: Sequence[Item], facts: Facts) -> dict[str, tuple[bool, ...]]:
    """Question -> its answer for each item; only those that divide the problems, each once."""
    names = dict.fromkeys(name for item in items for name in facts.get(item.example, {}))
    asked: dict[tuple[bool, ...], str] = {}
    for name in names:
        values = [facts.get(item.example, {}).get(name) for item in items]
        counts = Counter(value for value in values if value is not None)
        ways = {f"{name} is given": tuple(value is not None for value in values)}
        for number in sorted(value for value in counts if isinstance(value, int)):
            ways[f"{name} is at least {number}"] = tuple(
                isinstance(value, int) and value >= number for value in values
            )
        for word in (
            value for value, n in counts.items() if isinstance(value, str) and n >= LEAST_SIDE
        ):
            ways[f"{name} is {word}"] = tuple(value == word for value in values)
        for question, answers in ways.items():
            sides = (
                {i.problem for i, a in zip(items, answers, strict=True) if a is side}
                for side in (True, False)
            )
            if all(len(side) >= LEAST_SIDE for side in sides):
                asked.setdefault(answers, question)
    return {question: answers for answers, question in asked.items()}
