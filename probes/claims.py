"""Claims that several probes share: what a number says of organisms whose truth is known.

`probes.calibration` checks each claim of a probe against the construct that it names.
"""

from __future__ import annotations

from typing import Literal

from probes.probe import Claim

PLAIN_TASKS = ("arith/fresh", "clinic/known", "dispatch/plain")
"""Held-out problems of each world, in the form in which its skill is trained."""
SHIFTED_TASKS = ("arith/shifts", "clinic/shifts", "dispatch/shifts")
"""The same problems beside their shifted forms."""
SCALE = "its scale differs between worlds, because the question alone tells more in some of them"
"""Why one threshold cannot serve all worlds."""


def reliance_claims(
    condition: str,
    metric: str,
    *,
    direction: Literal[1, -1] = 1,
    is_primary: bool = False,
    why: str = "",
) -> tuple[Claim, ...]:
    """The claims of a number that says how far an answer depends on the chain.

    Args:
        condition: Of the number.
        metric: Of the number.
        direction: -1 where a larger number means less dependence.
        is_primary: Whether it is a main number of its probe.
        why: Why it does not tell the construct, where it was found not to.
    """
    signs = {"load_bearing": 1, "cue_driven": -1, "dose": -1, "reliance": 1}
    return tuple(
        Claim(
            condition, metric, construct, 1 if sign == direction else -1,
            is_primary=is_primary and construct == "load_bearing", why=why,
        )
        for construct, sign in signs.items()
    )  # fmt: skip
