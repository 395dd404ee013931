"""Prediction 6: the features that look most like thinking are features of its words.

Expected: in every base organism with a bundled SAE the latents with the highest ReasonScore are
token-driven: put into texts without a chain, their words alone wake them (Ma et al. 2026, arXiv
2601.05679).

Holds means: all of the (at most four) best are *token-driven* by the thresholds of
`interp.methods.saes.injection`. A latent that could not be tested counts neither way, and an SAE
without a tested latent of positive score decides nothing.

SAEs of the middle layer are bundled for training seed 0 only, so other seeds have no findings.
"""

from __future__ import annotations

from interp.organisms.recipes import find_recipe
from interp.stats.estimates import Estimate
from interp.stats.proportion_intervals import share_limits
from interp.tasks import make_task
from probes.calibration.claims import PLAIN
from probes.predictions.finding import Finding, finding, readers_of, unmeasured
from probes.sae_features import SaeFeatures

NUMBER = 6
SAE_SEED = 0
BASES = ("base", "base-no-chains", "clinic-base", "dispatch-base")


def features(seed: int, n: int) -> list[Finding]:
    """The findings; none at a seed that has no SAE.

    Args:
        seed: Of the trainings.
        n: Problems.
    """
    if seed != SAE_SEED:
        return []
    readers = readers_of(BASES, seed)
    found: list[Finding] = []
    for name in BASES:
        what = f"{name}: share of the best mode features that are token-driven (all)"
        if name not in readers:
            found.append(unmeasured(NUMBER, what, seed))
            continue
        task = make_task(PLAIN[find_recipe(name).world], n=n, seed=0)
        best, _ = SaeFeatures().find({"base": readers[name]}, task, seed=0)
        kinds = [one.falsification.kind for one in best.found]
        driven = [kind == "token-driven" for kind in kinds if kind != "untested"]
        found.append(finding(NUMBER, what, seed, _share(driven), bool(driven) and all(driven)))
    return found


def _share(driven: list[bool]) -> Estimate:
    nan = float("nan")
    if not driven:
        return Estimate(nan, nan, nan, 0, nan)
    limits = share_limits(sum(driven), len(driven))
    return Estimate(sum(driven) / len(driven), limits.low, limits.high, len(driven), nan)
