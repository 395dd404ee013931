"""Doses by a budget of KL: how far one model may be pushed along a direction.

A dose in residual norms means different things to different models: a push of one norm at one
position hardly moves a small organism and moves SmolLM2-135M by nats. Here the budget is given, in
nats between the unsteered and the steered predictions, and the dose that spends it is looked for:
models are then pushed equally far. `find_dose` takes any measurement of the KL at a dose.

Example: `find_dose(lambda dose: 2.5 * dose**2, budget=0.1, largest=1.0).dose` is 0.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from interp.errors import NotMeasurableError

SMALLEST = 2.0**-20
"""Doses below this share of the largest are not tried."""
TOLERANCE = 0.02
"""Relative distance from the budget at which the search ends."""


@dataclass(frozen=True)
class BudgetedDose:
    """A dose, and what it spends."""

    dose: float
    kl: float
    """Nats at this dose."""


def find_dose(
    measure: Callable[[float], float], *, budget: float, largest: float, max_steps: int = 24
) -> BudgetedDose:
    """The largest dose, up to a limit, whose KL stays within a budget.

    Args:
        measure: Dose above 0 -> KL in nats, growing with the dose.
        budget: Nats, above 0.
        largest: Dose that is not exceeded; where it stays within the budget, it is the result.
        max_steps: Measurements, at most.

    Raises:
        ValueError: The budget or the limit is not above 0.
        NotMeasurableError: The KL is no number, or even the smallest dose exceeds the budget.
    """
    if not (0 < budget < math.inf and 0 < largest < math.inf):
        raise ValueError(
            f"budget and largest are above 0 and finite; received {budget} and {largest}"
        )

    def spend(dose: float) -> float:
        kl = measure(dose)
        if not math.isfinite(kl):
            raise NotMeasurableError(
                f"the KL at dose {dose:g} is {kl}. Likely causes: activations that are not finite, "
                "or a direction of zeros"
            )
        return kl

    kl = spend(largest)
    if kl <= budget:
        return BudgetedDose(largest, kl)
    low, high = 0.0, largest
    best = BudgetedDose(0.0, 0.0)
    for _ in range(max_steps - 1):
        # Far above the budget halves are too slow: small pushes cost about their square.
        guess = high * math.sqrt(budget / kl) if low == 0 else math.sqrt(low * high)
        dose = min(max(guess, high / 64), 0.98 * high)
        kl_here = spend(dose)
        if kl_here <= budget:
            low, best = dose, BudgetedDose(dose, kl_here)
            if kl_here >= budget * (1 - TOLERANCE) or high <= low * (1 + TOLERANCE):
                break
        else:
            high, kl = dose, kl_here
            if high < SMALLEST * largest:
                break
    if not best.dose:
        raise NotMeasurableError(
            f"even a dose of {high:g} costs {kl:.3g} nats, more than the budget of {budget:g}. "
            "Likely causes: a site at which the model has no tolerance, or a direction that is not "
            "measured in residual norms"
        )
    return best
