"""Prediction 1: hybrid decoding recovers the gap where the skill was there, and only there.

Expected: steered where post differs, the base recovers most of the gap to `grpo` and to
`chain-sft-fresh`; a base that never saw a chain (`base-no-chains`, against `chain-sft-no-chains`)
recovers nothing by itself. If it did, the protocol would leak post's knowledge.

Holds means: the hybrid's recovery is at least 80 % of the gap; without chains, the recovery of
`base_alone` is at most 10 %, and its excess over its best control does not lie above 0 (lower limit
of the interval: that it equals a control cannot be shown). A gap whose ratio should not be read
(`interp.stats.gap_recovered`) decides nothing. Two further figures have no
prediction: what `base_alone` recovers with the skill, and what the hybrid recovers beyond its best
control.

Vectors, gates and doses are learned on other problems, two for every three that are measured.
"""

from __future__ import annotations

from collections.abc import Sequence

from interp.methods.decoding.hybrid import CONTROLS_OF
from interp.results.rows import Item
from interp.stats.gap_recovered import Excess, excess_recovery
from interp.tasks import make_task
from probes.hybrid import HEADLINE, HybridDecoding, recovery_of, values_of
from probes.predictions.findings import (
    UNJUDGED,
    Answer,
    Finding,
    at_least,
    at_most,
    load_readers,
    make_finding,
    missing_finding,
)

NUMBER = 1
WITH_SKILL = (("base", "grpo"), ("base", "chain-sft-fresh"))
WITHOUT = ("base-no-chains", "chain-sft-no-chains")
MOST, LEAK = 80.0, 10.0
"""Per cent of the gap."""


def measure_hybrid(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems that are measured.
    """
    probe = HybridDecoding()
    task = make_task("arith/fresh", n=round(n / (1 - probe.train_share)), seed=0)
    findings: list[Finding] = []
    for base, post in (*WITH_SKILL, WITHOUT):
        words = _words(base, post)
        readers = load_readers((base, post), seed)
        if len(readers) < 2:
            findings += [missing_finding(NUMBER, what, seed) for what in words]
            continue
        pair = {"base": readers[base], "post": readers[post]}
        items = probe.run(pair, task, {}, seed=0)
        findings += _findings(words, items, seed, has_skill=(base, post) != WITHOUT)
    return findings


def _words(base: str, post: str) -> tuple[str, str, str, str]:
    pair = f"{base} -> {post}"
    if (base, post) == WITHOUT:
        return (
            f"{pair}: gap recovered by the hybrid, %",
            f"{pair}: hybrid beyond its best control, points of the gap",
            f"{pair}: gap recovered by base_alone at most {LEAK:g} %",
            f"{pair}: base_alone not beyond its best control, points of the gap",
        )
    return (
        f"{pair}: gap recovered by the hybrid at least {MOST:g} %",
        f"{pair}: hybrid beyond its best control, points of the gap",
        f"{pair}: gap recovered by base_alone, %",
        f"{pair}: base_alone beyond its best control, points of the gap",
    )


def _findings(
    words: Sequence[str], items: Sequence[Item], seed: int, *, has_skill: bool
) -> list[Finding]:
    steered, alone = (recovery_of(items, name, seed=0) for name in ("hybrid", HEADLINE))
    beyond, beyond_alone = (_excess(items, name) for name in ("hybrid", HEADLINE))
    is_read = not steered.flag and alone.low == alone.low  # resamples without a gap: no interval
    holds: tuple[bool | Answer, ...] = (
        (at_least(steered, MOST), UNJUDGED, UNJUDGED, UNJUDGED)
        if has_skill
        else (UNJUDGED, UNJUDGED, at_most(alone, LEAK), beyond_alone.low <= 0)
    )
    return [
        make_finding(NUMBER, what, seed, figure, answer if is_read else UNJUDGED)
        for what, figure, answer in zip(
            words, (steered, beyond, alone, beyond_alone), holds, strict=True
        )
    ]


def _excess(items: Sequence[Item], name: str) -> Excess:
    values, problems = values_of(items, "correct")
    controls = {control: values[control] for control in CONTROLS_OF[name]}
    return excess_recovery(values["base"], values[name], values["post"], controls, problems, seed=0)
