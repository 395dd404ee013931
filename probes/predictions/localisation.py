"""Predictions 3 and 4: where in the text is the change that GRPO made?

Expected (3): the first token of post followed by the base recovers most of `grpo`'s gain, and the
first token of the base followed by post hardly any ("Small Vectors, Big Effects", arXiv
2509.06608).

Holds means: `transplant_recovered` of post_then_base is at least .8, of base_then_post at most .2.

Expected (4): patched from post into the base, the last question token alone recovers most of the
difference of the models in the choice to think, and the operands of the steps hardly any of their
difference in the results of the steps.

Holds means: `mode_recovered` at the last question token, all layers jointly, is at least .5,
`step_recovered` at the operands at most .2.

Ratios need 60 problems (`interp.stats.estimates`); with fewer nothing is decided.
"""

from __future__ import annotations

from collections.abc import Callable

from interp.chains.position_classes import LAST, OPERANDS
from interp.tasks import make_task
from probes.cross_patching import PATCHED
from probes.predictions.findings import (
    Answer,
    Figure,
    Finding,
    at_least,
    at_most,
    load_readers,
    make_finding,
    measure_rows,
    missing_finding,
    pick_row,
)

TRANSPLANT, PATCHING = 3, 4
PAIR = ("base", "grpo")


def measure_transplants(seed: int, n: int) -> list[Finding]:
    """The findings of prediction 3 at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems.
    """
    return _ratios(
        TRANSPLANT, "first_token", seed, n,
        {
            ("base", "post_then_base", "transplant_recovered", ""): (
                "grpo's first token, then base: at least .8 of the gain", at_least, 0.8),
            ("post", "base_then_post", "transplant_recovered", ""): (
                "base's first token, then grpo: at most .2 of the gain", at_most, 0.2),
        },
    )  # fmt: skip


def measure_patches(seed: int, n: int) -> list[Finding]:
    """The findings of prediction 4 at one training seed.

    Args:
        seed: Of the trainings.
        n: Problems.
    """
    return _ratios(
        PATCHING, "cross_patching", seed, n,
        {
            ("base", PATCHED, "mode_recovered", LAST): (
                "grpo -> base at the last question token: at least .5 of the mode", at_least, 0.5),
            ("base", PATCHED, "step_recovered", OPERANDS): (
                "grpo -> base at the operands of steps: at most .2 of the results", at_most, 0.2),
        },
    )  # fmt: skip


def _ratios(
    number: int,
    probe: str,
    seed: int,
    n: int,
    expected: dict[tuple[str, str, str, str], tuple[str, Callable[[Figure, float], Answer], float]],
) -> list[Finding]:
    """Ratios against bounds: (reader, condition, metric, position) -> words, rule, bound."""
    readers = load_readers(PAIR, seed)
    if len(readers) < len(PAIR):
        return [missing_finding(number, words, seed) for words, *_ in expected.values()]
    base, post = PAIR
    named = {"base": readers[base], "post": readers[post]}
    rows = measure_rows((probe,), named, make_task("arith/fresh", n=n, seed=0))
    findings: list[Finding] = []
    for which, (words, rule, bound) in expected.items():
        row = pick_row(rows, *which)
        findings.append(make_finding(number, words, seed, row, rule(row, bound)))
    return findings
