"""Prediction 5: new behaviour adds latents of post alone, selection adds none.

Expected: a crosscoder (`probes.crosscoding`) of `base` and `grpo` has hardly any exclusive latents;
of `base` and `swapped-sft-pool`, and of `base` and `hint`, it has several. The base against itself
has none.

Holds means: *several* are at least three exclusive latents, and a share of the judged ones above
that of either null (the 95 % interval of the difference); *hardly any* is a share of at most 2 %
that is not above. Three or more that cannot be told from a null are undecided. Without a judged
latent nothing is decided. Nothing was predicted of a further figure: how many of the eight planted
directions were found as latents of post alone. It shows what a count of none is worth.

Texts are questions, correct chains and answers of the task that shows what the organism was trained
for. Crosscoders are trained for few steps, alike for pairs and controls.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from interp.methods.crosscoder import (
    BASE_ONLY,
    N_PLANTED,
    NULLS,
    PAIR,
    PLANT,
    POST_ONLY,
    SAME,
    CrosscoderComparison,
    CrosscoderSettings,
    LatentReport,
    crosscode,
)
from interp.models import ModelPair
from interp.sites import Site
from interp.stats.estimates import Estimate
from interp.stats.proportion_intervals import compare_shares
from interp.tasks import make_task
from probes.crosscoding import whole_texts
from probes.predictions.findings import (
    NO,
    UNDECIDED,
    UNJUDGED,
    YES,
    Answer,
    Finding,
    at_most,
    load_readers,
    make_finding,
    missing_finding,
    share_estimate,
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


def measure_crosscoders(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: A fifth of the texts.
    """
    readers = load_readers((BASE, *TASKS), seed)
    findings: list[Finding] = []
    for post in TASKS:
        if BASE in readers and post in readers:
            compared = _crosscode(ModelPair(readers[BASE], readers[post]), TASKS[post], n)
            findings += _findings(post, compared, seed)
        else:
            findings += [missing_finding(NUMBER, what, seed) for what in _words(post)]
    return findings


def _crosscode(pair: ModelPair, task: str, n: int) -> CrosscoderComparison:
    texts = whole_texts(pair.tokenizer, make_task(task, n=TEXTS_PER_PROBLEM * n, seed=0))
    with TemporaryDirectory() as folder:
        return crosscode(pair, texts, SITE, SETTINGS, folder=Path(folder))


def _words(post: str) -> tuple[str, ...]:
    expected = "several" if post in NEW_BEHAVIOUR else "hardly any"
    words = (
        f"{BASE} -> {post}: {expected} exclusive latents (share of the judged)",
        f"{BASE} -> {post}: planted directions found as latents of post alone (share of "
        f"{N_PLANTED})",
    )
    itself = f"{BASE} -> itself: hardly any exclusive latents (share of the judged)"
    return words if post in NEW_BEHAVIOUR else (*words, itself)


def _findings(post: str, compared: CrosscoderComparison, seed: int) -> list[Finding]:
    share, n_exclusive = _exclusive(compared.reports[PAIR])
    if post in NEW_BEHAVIOUR:
        holds: Answer = NO if n_exclusive < SEVERAL else YES if _is_above(compared) else UNDECIDED
    else:
        holds = NO if _is_above(compared) else at_most(share, HARDLY)
    if not all(compared.reports[name].n_judged for name in (PAIR, *NULLS)):
        holds = UNJUDGED
    itself, _ = _exclusive(compared.reports[SAME])
    planted = share_estimate(compared.reports[PLANT].count(POST_ONLY), N_PLANTED)
    figures: tuple[tuple[Estimate, Answer], ...] = (
        (share, holds),
        (planted, UNJUDGED),
        (itself, at_most(itself, HARDLY)),
    )
    # Not strict: the base against itself is the same in all pairs, and is reported with one.
    return [
        make_finding(NUMBER, what, seed, figure, answer)
        for what, (figure, answer) in zip(_words(post), figures, strict=False)
    ]


def _is_above(compared: CrosscoderComparison) -> bool:
    """Whether the pair has a larger share of exclusive latents than either null."""
    pair, *nulls = (
        (_exclusive(compared.reports[name])[1], compared.reports[name].n_judged)
        for name in (PAIR, *NULLS)
    )
    return all(null[1] and compare_shares(null, pair).low > 0 for null in nulls)


def _exclusive(report: LatentReport) -> tuple[Estimate, int]:
    """Share of the judged latents that one model alone has, and their number."""
    n_exclusive = report.count(BASE_ONLY) + report.count(POST_ONLY)
    return share_estimate(n_exclusive, report.n_judged), n_exclusive
