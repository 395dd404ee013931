"""Prediction 7: with enough samples the base meets the reinforced model, if it ever could.

Expected: under the criterion that the chain is a whole and correct solution, pass@k of `base`
reaches that of `grpo` at k = 64 (Yue et al., arXiv 2504.13837), and `base-no-chains` stays at 0 at
every k.

Holds means: `grpo` less `base` is at most .05 at k = 64 (paired by problem); of `base-no-chains` no
sample of any problem counts, which is pass@64 = 0. Beside them stands the lead
of `grpo` at k = 1, judged by nothing.

Samples are drawn at temperature 1.
"""

from __future__ import annotations

import numpy as np

from interp.methods.decoding.pass_at_k import Samples, draw_samples
from interp.stats.estimates import Estimate, collect_pairs, estimate_all
from interp.tasks import make_task
from probes.predictions.finding import UNJUDGED, Finding, at_most, finding, readers_of, unmeasured

NUMBER = 7
BASE, POST, NEVER = "base", "grpo", "base-no-chains"
N_SAMPLES = 64
WITHIN = 0.05


def passes(seed: int, n: int) -> list[Finding]:
    """The findings at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems.
    """
    readers = readers_of((BASE, POST, NEVER), seed)
    task = make_task("arith/fresh", n=n, seed=0)
    drawn = {name: draw_samples(m, task, n=N_SAMPLES, seed=0) for name, m in readers.items()}
    found: list[Finding] = []
    for k, is_judged in ((1, False), (N_SAMPLES, True)):
        what = f"chain-valid pass@{k}, {POST} less {BASE}"
        what += f" (at most {WITHIN:g})" if is_judged else ""
        if {BASE, POST} <= drawn.keys():
            lead = _lead(drawn[BASE], drawn[POST], k)
            holds = at_most(lead, WITHIN) if is_judged else UNJUDGED
            found.append(finding(NUMBER, what, seed, lead, holds))
        else:
            found.append(unmeasured(NUMBER, what, seed))
    what = f"chain-valid pass@{N_SAMPLES} of {NEVER} (0)"
    if NEVER in drawn:
        reached = drawn[NEVER].estimate(N_SAMPLES, chain_valid=True, seed=0)
        found.append(finding(NUMBER, what, seed, reached, reached.value == 0))
    else:
        found.append(unmeasured(NUMBER, what, seed))
    return found


def _lead(base: Samples, post: Samples, k: int) -> Estimate:
    """Pass@k of post less that of base."""
    before, after = (np.array(one.values(k, chain_valid=True)) for one in (base, post))
    return estimate_all([collect_pairs(before, after, base.problems)], seed=0)[0]
