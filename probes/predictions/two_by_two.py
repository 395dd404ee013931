"""Prediction 2: the base's own direction makes it reason, unless thinking was suppressed.

Expected: in the 2 x 2 test (`probes.pre_existence`) of `base` and `grpo` the base's direction is
usable in the base, unlike in Ward et al. (arXiv 2507.12638). Where training on answers suppressed
thinking (`answers-sft-pool`, against the `grpo` of the same seed) their pattern appears:
represented, not usable.

Holds means: the test's own three-valued answers, at its declared bound of .1 and its intervals,
are those predicted. The figure kept is the excess over the strongest control, where there is one,
else the effect; the answer looks at both (`probes.pre_existence.judging.answer`).
"""

from __future__ import annotations

from typing import NamedTuple

from interp.tasks import make_task
from probes.pre_existence import Settings, examine
from probes.predictions.finding import UNDECIDED, Finding, finding, readers_of, unmeasured

NUMBER = 2


class _Expected(NamedTuple):
    base: str
    question: str
    answer: str
    words: str


EXPECTED = (
    _Expected("base", "usable", "yes", "its own direction makes it reason (usable)"),
    _Expected("answers-sft-pool", "decodable", "yes", "results can be decoded (represented)"),
    _Expected("answers-sft-pool", "transferable", "yes", "its direction moves grpo (represented)"),
    _Expected("answers-sft-pool", "usable", "no", "its own direction does not make it reason"),
)
POST = "grpo"


def two_by_two(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems; directions and doses are chosen on one half and tested on the other.
    """
    task = make_task("arith/fresh", n=n, seed=0)
    found: list[Finding] = []
    for base in dict.fromkeys(one.base for one in EXPECTED):
        readers = readers_of((base, POST), seed)
        answers = (
            examine(readers[base], readers[POST], task, Settings(), seed=0).findings
            if len(readers) == 2
            else {}
        )
        for one in (one for one in EXPECTED if one.base == base):
            what = f"{base} and {POST}: {one.words}"
            if one.question not in answers:
                found.append(unmeasured(NUMBER, what, seed))
                continue
            said = answers[one.question]
            holds = UNDECIDED if said.answer == UNDECIDED else said.answer == one.answer
            found.append(finding(NUMBER, what, seed, said.excess or said.effect, holds))
    return found
