"""The frontier: how far a behaviour moves for how much damage, and which dose to take.

Doses of two directions are not comparable by themselves: one may break the model at a dose at which
the other does nothing. So effects are compared **at matched coherence**: every direction may use
any of its doses whose KL to the unsteered model is within a budget, and takes the one with the
largest effect. The controls choose by the same rule from the same doses; a best-of-many choice
lifts every arm, and only what it lifts more than them is an effect of the direction.

Which KL: `kl` over all new tokens, or, where the behaviour is the choice of the first of them,
`kl_rest`, since a budget that counts the wanted change as damage forbids it. An edit of the last
prompt position at the last layer cannot reach the rest at all, whose KL is then 0 by construction:
there the rate of valid texts shows what a dose breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from interp.methods.steering.doses import RANDOM, STEERED, DoseRow

Want = Literal["rise", "fall"]
Cost = Literal["kl", "kl_rest"]


@dataclass(frozen=True)
class DoseChoice:
    """The dose that a direction takes within a budget."""

    direction: str
    kind: str
    metric: str
    dose: float
    """0 where no other dose is within the budget, or none moves the metric the right way."""
    effect: float
    """Value at the dose minus value at dose 0."""
    kl: float
    """Of the kind that the budget is for, nats per token at the dose."""


@dataclass(frozen=True)
class Comparison:
    """A direction and its controls, each at the dose chosen for it."""

    metric: str
    want: Want
    cost: Cost
    kl_budget: float
    chosen: DoseChoice
    random: tuple[DoseChoice, ...]
    others: tuple[DoseChoice, ...]

    @property
    def band(self) -> tuple[float, float]:
        """Smallest and largest effect of the random directions; NaN if there are none."""
        effects = [one.effect for one in self.random] or [float("nan")]
        return min(effects), max(effects)

    @property
    def p(self) -> float:
        """Share of arms, this one included, with an effect at least as large (one-sided).

        With N random directions it is 1 / (N + 1) at best. NaN where an effect is not measurable.
        """
        effects = [one.effect for one in (self.chosen, *self.random)]
        if any(effect != effect for effect in effects):
            return float("nan")
        sign = 1 if self.want == "rise" else -1
        # A tie counts against the direction.
        as_large = sum(sign * one.effect >= sign * self.chosen.effect for one in self.random)
        return (1 + as_large) / (1 + len(self.random))


def choose_dose(
    rows: Sequence[DoseRow],
    metric: str,
    *,
    kl_budget: float,
    direction: str = STEERED,
    want: Want = "rise",
    cost: Cost = "kl",
) -> DoseChoice:
    """The dose with the largest effect among those within a KL budget.

    Args:
        rows: Of a sweep.
        metric: The behaviour.
        kl_budget: Largest mean KL to the unsteered model, nats per token.
        direction: Whose doses.
        want: Whether the metric should rise or fall.
        cost: Which KL the budget is for.

    Returns:
        The choice; of equal effects that with the smaller dose. A dose at which the metric could
        not be measured is never chosen.

    Raises:
        ValueError: If the rows have no such metric or direction.
    """
    values = _by_dose(rows, metric, direction)
    kls = _by_dose(rows, cost, direction)
    kind = next(row.kind for row in rows if row.direction == direction)
    sign = 1 if want == "rise" else -1
    known = [dose for dose in values if values[dose] == values[dose]]
    # Dose 0 costs nothing even where its KL is NaN (`kl_rest` of texts of one token).
    within = [dose for dose in known if kls[dose] <= kl_budget or dose == 0]
    if 0.0 not in within:
        within.append(0.0)
    best = max(within, key=lambda dose: (sign * values[dose], -abs(dose)))
    return DoseChoice(direction, kind, metric, best, values[best] - values[0.0], kls[best])


def compare(
    rows: Sequence[DoseRow],
    metric: str,
    *,
    kl_budget: float,
    want: Want = "rise",
    cost: Cost = "kl",
) -> Comparison:
    """A direction and all its controls, each at the best dose within one KL budget.

    Args:
        rows: Of a sweep.
        metric: The behaviour.
        kl_budget: Largest mean KL to the unsteered model, nats per token.
        want: Whether the metric should rise or fall.
        cost: Which KL the budget is for.

    Returns:
        The comparison.

    Raises:
        ValueError: If the rows have no such metric.
    """
    names = dict.fromkeys(row.direction for row in rows)
    choices = [
        choose_dose(rows, metric, kl_budget=kl_budget, direction=name, want=want, cost=cost)
        for name in names
    ]
    return Comparison(
        metric,
        want,
        cost,
        kl_budget,
        next(one for one in choices if one.kind == STEERED),
        tuple(one for one in choices if one.kind == RANDOM),
        tuple(one for one in choices if one.kind not in (STEERED, RANDOM)),
    )


def random_band(rows: Sequence[DoseRow], metric: str) -> dict[float, tuple[float, float]]:
    """Dose -> smallest and largest value of a metric among the random directions."""
    values: dict[float, list[float]] = {}
    for row in rows:
        if row.kind == RANDOM and row.metric == metric:
            values.setdefault(row.dose, []).append(row.value)
    return {dose: (min(band), max(band)) for dose, band in sorted(values.items())}


def _by_dose(rows: Sequence[DoseRow], metric: str, direction: str) -> dict[float, float]:
    values = {r.dose: r.value for r in rows if r.metric == metric and r.direction == direction}
    if not values:
        raise ValueError(
            f"these rows have no metric {metric!r} of {direction!r}. Metrics: "
            f"{', '.join(dict.fromkeys(r.metric for r in rows)) or 'none'}; directions: "
            f"{', '.join(dict.fromkeys(r.direction for r in rows)) or 'none'}"
        )
    return values
