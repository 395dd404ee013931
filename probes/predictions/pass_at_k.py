"""Prediction 7: with enough samples the base equals the reinforced model, if it could ever reason.

Expected: under the criterion that the chain is a whole and correct solution, pass@k of `base`
reaches that of `grpo` at k = 64 (Yue et al., arXiv 2504.13837), and `base-no-chains` stays at 0 at
every k.

Holds means: `grpo` less `base` is at most .05 at k = 64 (paired by problem); of `base-no-chains` no
sample of any problem counts, which is pass@64 = 0. The lead of `grpo` at k = 1 is reported too, but
nothing was predicted of it.

Samples are drawn at temperature 1.
"""

from __future__ import annotations

import numpy as np

from interp.methods.decoding.pass_at_k import Samples, draw_samples
from interp.stats.estimates import Estimate, collect_pairs, estimate_all
from interp.tasks import make_task
from probes.predictions.findings import (
    UNJUDGED,
    Finding,
    at_most,
    load_readers,
    make_finding,
    missing_finding,
)

NUMBER = 7
BASE, POST, NEVER = "base", "grpo", "base-no-chains"
N_SAMPLES = 64
WITHIN = 0.05


def measure_pass_at_k(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems.
    """
    readers = load_readers((BASE, POST, NEVER), seed)
    task = make_task("arith/fresh", n=n, seed=0)
    drawn = {name: draw_samples(m, task, n=N_SAMPLES, seed=0) for name, m in readers.items()}
    findings: list[Finding] = []
    for k, is_judged in ((1, False), (N_SAMPLES, True)):
        what = f"chain-valid pass@{k}, {POST} less {BASE}"
        what += f" (at most {WITHIN:g})" if is_judged else ""
        if {BASE, POST} <= drawn.keys():
            lead = _lead(drawn[BASE], drawn[POST], k)
            holds = at_most(lead, WITHIN) if is_judged else UNJUDGED
            findings.append(make_finding(NUMBER, what, seed, lead, holds))
        else:
            findings.append(missing_finding(NUMBER, what, seed))
    what = f"chain-valid pass@{N_SAMPLES} of {NEVER} (0)"
    if NEVER in drawn:
        reached = drawn[NEVER].estimate(N_SAMPLES, chain_valid=True)
        findings.append(make_finding(NUMBER, what, seed, reached, reached.value == 0))
    else:
        findings.append(missing_finding(NUMBER, what, seed))
    return findings


def _lead(base: Samples, post: Samples, k: int) -> Estimate:
    """Pass@k of post less that of base."""
    before, after = (np.array(one.values(k, chain_valid=True)) for one in (base, post))
    return estimate_all([collect_pairs(before, after, base.problems, "share")])[0]
