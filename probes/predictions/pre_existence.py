"""Prediction 2: the base's own direction makes it reason, unless thinking was suppressed.

Expected: in the 2 x 2 test (`probes.pre_existence`) of `base` and `grpo` the base's direction is
usable in the base, unlike in Ward et al. (arXiv 2507.12638). Where training on answers suppressed
thinking (`answers-sft-pool`, against the `grpo` of the same seed) their pattern appears:
represented, not usable.

Holds means: the test's own three-valued answers, at its declared bound of .1 and its intervals,
are those predicted. The figure kept is the excess over the strongest control, where there is one,
else the effect; the answer looks at both (`probes.pre_existence.verdict`).
"""

from __future__ import annotations

from typing import NamedTuple

from interp.tasks import make_task
from probes.pre_existence import PreExistenceSettings, examine
from probes.predictions.findings import (
    UNDECIDED,
    Finding,
    load_readers,
    make_finding,
    missing_finding,
)

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


def measure_pre_existence(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems; directions and doses are chosen on one half and tested on the other.
    """
    task = make_task("arith/fresh", n=n, seed=0)
    findings: list[Finding] = []
    for base in dict.fromkeys(one.base for one in EXPECTED):
        readers = load_readers((base, POST), seed)
        answers = (
            examine(readers[base], readers[POST], task, PreExistenceSettings(), seed=0).findings
            if len(readers) == 2
            else {}
        )
        for one in (one for one in EXPECTED if one.base == base):
            what = f"{base} and {POST}: {one.words}"
            if one.question not in answers:
                findings.append(missing_finding(NUMBER, what, seed))
                continue
            result = answers[one.question]
            holds = UNDECIDED if result.answer == UNDECIDED else result.answer == one.answer
            findings.append(make_finding(NUMBER, what, seed, result.excess or result.effect, holds))
    return findings
