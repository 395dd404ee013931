"""Prediction 6: the features that look most like thinking are driven by the words of chains.

Expected: in every base organism with a bundled SAE the latents with the highest ReasonScore are
token-driven: the words of chains alone, inserted into texts without a chain, activate them (Ma et
al. 2026, arXiv 2601.05679).

Holds means: all of the (at most four) best are *token-driven* by the thresholds of
`interp.methods.saes.injection`. A latent that could not be tested counts neither way, and an SAE
without a tested latent of positive score decides nothing.

SAEs of the middle layer are bundled for training seed 0 only, so other seeds have no findings.
"""

from __future__ import annotations

from interp.organisms.recipes import find_recipe
from interp.tasks import make_task
from probes.calibration.constructs import PLAIN
from probes.predictions.findings import (
    Finding,
    load_readers,
    make_finding,
    missing_finding,
    share_estimate,
)
from probes.sae_features import SaeFeatures

NUMBER = 6
SAE_SEED = 0
BASES = ("base", "base-no-chains", "clinic-base", "dispatch-base")


def measure_sae_features(seed: int, n: int) -> list[Finding]:
    """The findings; none at a seed that has no SAE.

    Args:
        seed: Of the trainings.
        n: Problems.
    """
    if seed != SAE_SEED:
        return []
    readers = load_readers(BASES, seed)
    findings: list[Finding] = []
    for name in BASES:
        what = f"{name}: share of the best mode features that are token-driven (all)"
        if name not in readers:
            findings.append(missing_finding(NUMBER, what, seed))
            continue
        task = make_task(PLAIN[find_recipe(name).world], n=n, seed=0)
        best, _ = SaeFeatures().find({"base": readers[name]}, task, seed=0)
        kinds = [one.falsification.kind for one in best.found]
        driven = [kind == "token-driven" for kind in kinds if kind != "untested"]
        share = share_estimate(sum(driven), len(driven))
        # `all` of nothing is True, so an empty list must be ruled out.
        findings.append(make_finding(NUMBER, what, seed, share, bool(driven) and all(driven)))
    return findings
