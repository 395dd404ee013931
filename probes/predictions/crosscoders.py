"""Prediction 5: new behaviour brings latents of its own, selection brings none.

Expected: a crosscoder (`probes.crosscoding`) of `base` and `grpo` has hardly any latents of one
model alone; of `base` and `swapped-sft-pool`, and of `base` and `hint`, it has several. The base
against itself has none.

Holds means: *several* are at least three exclusive latents, and a share of the judged ones above
that of either null (the 95 % interval of the difference); *hardly any* is a share of at most 2 %
that is not above. Three or more that cannot be told from a null are undecided. Without a judged
latent nothing is told. Beside them stands, judged by nothing, how many of the eight planted
directions were found as latents of post alone: what a count of none is worth.

Texts are questions, correct chains and answers of the task that shows what the organism was
trained for. Crosscoders are
trained for few steps, alike for pairs and controls.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from interp.methods.crosscoder import BASE_ONLY, POST_ONLY, CrosscoderSettings, LatentReport
from interp.models import ModelPair
from interp.sites import Site
from interp.stats.estimates import Estimate
from interp.stats.proportion_intervals import share_limits, shares_differ
from interp.tasks import make_task
from probes.crosscoding import (
    N_PLANTED,
    NULLS,
    PAIR,
    PLANT,
    SAME,
    Crosscoding,
    crosscode,
    whole_texts,
)
from probes.predictions.finding import (
    NO,
    UNDECIDED,
    UNJUDGED,
    YES,
    Answer,
    Finding,
    at_most,
    finding,
    readers_of,
    unmeasured,
)

NUMBER = 5
BASE = "base"
SITE = Site(1, "resid_post")
SETTINGS = CrosscoderSettings(steps=1500, warmup=200, batch_size=256)
"""Few, and enough to find six of the eight planted directions at seed 0, where this was chosen."""
TEXTS_PER_PROBLEM = 5
"""A text costs two passes; the problems of the other predictions are too few to train on."""
SEVERAL, HARDLY = 3, 0.02
TASKS = {"grpo": "arith/fresh", "swapped-sft-pool": "arith/pool", "hint": "arith/cued"}
"""Post-trained organism -> task of the texts."""
NEW_BEHAVIOUR = ("swapped-sft-pool", "hint")


def crosscoders(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: A fifth of the texts.
    """
    readers = readers_of((BASE, *TASKS), seed)
    found: list[Finding] = []
    for post in TASKS:
        if BASE in readers and post in readers:
            seen = _crosscoded(ModelPair(readers[BASE], readers[post]), TASKS[post], n)
            found += _findings(post, seen, seed)
        else:
            found += [unmeasured(NUMBER, what, seed) for what in _words(post)]
    return found


def _crosscoded(pair: ModelPair, task: str, n: int) -> Crosscoding:
    asked = make_task(task, n=TEXTS_PER_PROBLEM * n, seed=0)
    texts = whole_texts(pair.tokenizer, asked)
    with TemporaryDirectory() as place:
        return crosscode(pair, texts, SITE, SETTINGS, folder=Path(place))


def _words(post: str) -> tuple[str, ...]:
    expected = "several" if post in NEW_BEHAVIOUR else "hardly any"
    words = (
        f"{BASE} -> {post}: {expected} exclusive latents (share of the judged)",
        f"{BASE} -> {post}: planted directions found as latents of post alone (share of "
        f"{N_PLANTED})",
    )
    itself = f"{BASE} -> itself: hardly any exclusive latents (share of the judged)"
    return words if post in NEW_BEHAVIOUR else (*words, itself)


def _findings(post: str, seen: Crosscoding, seed: int) -> list[Finding]:
    share, n_found = _exclusive(seen.reports[PAIR])
    if post in NEW_BEHAVIOUR:
        holds: Answer = NO if n_found < SEVERAL else YES if _is_above(seen) else UNDECIDED
    else:
        holds = NO if _is_above(seen) else at_most(share, HARDLY)
    if not all(seen.reports[name].n_judged for name in (PAIR, *NULLS)):
        holds = UNJUDGED
    itself, _ = _exclusive(seen.reports[SAME])
    planted = _share(seen.reports[PLANT].count(POST_ONLY), N_PLANTED)
    figures: tuple[tuple[Estimate, Answer], ...] = (
        (share, holds),
        (planted, UNJUDGED),
        (itself, at_most(itself, HARDLY)),
    )
    return [
        finding(NUMBER, what, seed, figure, told)
        for what, (figure, told) in zip(_words(post), figures, strict=False)
    ]


def _is_above(seen: Crosscoding) -> bool:
    """Whether the pair has a larger share of exclusive latents than either null."""
    pair, *nulls = (
        (_exclusive(seen.reports[name])[1], seen.reports[name].n_judged) for name in (PAIR, *NULLS)
    )
    return all(null[1] and shares_differ(null, pair).low > 0 for null in nulls)


def _exclusive(report: LatentReport) -> tuple[Estimate, int]:
    """Share of the judged latents that one model alone has, and their number."""
    found = report.count(BASE_ONLY) + report.count(POST_ONLY)
    return _share(found, report.n_judged), found


def _share(found: int, of: int) -> Estimate:
    nan = float("nan")
    if not of:
        return Estimate(nan, nan, nan, 0, nan)
    limits = share_limits(min(found, of), of)
    return Estimate(found / of, limits.low, limits.high, of, nan)
