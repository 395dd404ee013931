"""Verdict: four questions answered with one of three values each, and what they amount to.

An answer is about an *effect* (what the intervention changes, in the wanted way) and its *excess*
over the strongest control, both paired by example, with intervals over problems. With the bound b
of the settings:

* **no**: the interval at 1 - 2 alpha of effect or excess lies below b (one side of Schuirmann's
  two one-sided tests, at alpha: an effect of b or more is ruled out);
* **yes**: otherwise, if the interval at 1 - alpha of the effect lies above b and that of the excess
  above 0;
* **undecided**: anything else.

The strongest control is the one with the largest mean on the problems of the test itself, which
works against the direction. An excess over the best of n random directions also has
p <= 1 / (n + 1).

Verdicts, the first that holds:

1. *expressed*: the base reasons unsteered in more than b of its texts, and in at least `share` of
   post's rate (interval of base - share x post above 0);
2. *latent-usable*: usable. Some direction makes the base reason rightly;
3. *represented*: not usable, but decodable and transferable;
4. *absent*: not usable because the effect itself is below b, not transferable, and the base's own
   rate is below b;
5. *undecided*.

The verdict is about the base, whether or not post reasons. Where post does not (its rate is below
b), there is *nothing to explain* in the pair, which is reported beside the verdict.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from interp.stats.estimates import Estimate, Sample, collect, collect_pairs, estimate_all
from probes.pre_existence.arms import Values
from probes.pre_existence.settings import PreExistenceSettings
from probes.pre_existence.steering_cells import SteeringCell

Answer = Literal["yes", "no", "undecided"]
Verdict = Literal["expressed", "latent-usable", "represented", "absent", "undecided"]


@dataclass(frozen=True)
class Quantity:
    """A number with the two intervals that answers are read from."""

    value: float
    low: float
    high: float
    """At 1 - alpha."""
    upper: float
    """Upper limit at 1 - 2 alpha, for equivalence."""
    lower: float
    """Lower limit at 1 - 2 alpha."""
    n: int


@dataclass(frozen=True)
class QuestionResult:
    """One of the four questions, answered."""

    name: str
    answer: Answer
    effect: Quantity
    excess: Quantity | None
    """Over the strongest control; None where the control is a number (a shuffled-label band)."""
    control: str
    """Which control was the strongest."""
    where: str
    """Source, site and dose."""
    is_null: bool
    """Whether the effect itself is below the bound, not merely no larger than the controls'."""


def estimate_difference(
    first: Values, second: Values, problems: Sequence[Hashable], settings: PreExistenceSettings
) -> Quantity:
    """Mean of second - first, numbers in [0, 1], paired."""
    return estimate_quantity(collect_pairs(first, second, problems, "share"), settings)


def estimate_rate(
    values: Values, problems: Sequence[Hashable], settings: PreExistenceSettings
) -> Quantity:
    """Mean of numbers in [0, 1]."""
    return estimate_quantity(collect(values, problems, "share"), settings)


def estimate_quantity(sample: Sample, settings: PreExistenceSettings) -> Quantity:
    """The estimate of a sample at both levels."""
    alpha = settings.alpha
    (wide,), (narrow,) = (
        estimate_all([sample], level=level) for level in (1 - alpha, 1 - 2 * alpha)
    )
    return join_estimates(wide, narrow)


def join_estimates(wide: Estimate, narrow: Estimate) -> Quantity:
    """One number from its estimates at 1 - alpha and 1 - 2 alpha."""
    return Quantity(wide.value, wide.low, wide.high, narrow.high, narrow.low, wide.n)


def answer_question(effect: Quantity, excess: Quantity | None, bound: float) -> Answer:
    """The three-valued answer, by the rule above.

    Args:
        effect: In the wanted way.
        excess: Over the strongest control; None if there is none.
        bound: Effects below it count as none.
    """
    if effect.upper < bound or (excess is not None and excess.upper < bound):
        return "no"
    if effect.low > bound and (excess is None or excess.low > 0):
        return "yes"
    return "undecided"


def judge_cell(
    name: str,
    cell: SteeringCell,
    controls: Sequence[str],
    problems: Sequence[Hashable],
    settings: PreExistenceSettings,
) -> QuestionResult:
    """The answer that a cell gives.

    Args:
        name: Of the question.
        cell: On the problems of the test.
        controls: Beginnings of the names of the controls that count.
        problems: Of each example.
        settings: Bound and alpha.
    """
    plain, steered = cell.values(cell.unsteered), cell.values(cell.outcome)
    rivals = {
        key: values for key, values in cell.controls.items() if key.startswith(tuple(controls))
    }
    sign = 1 if cell.want == "up" else -1
    strongest = max(rivals, key=lambda key: sign * float(rivals[key].mean()))
    # An effect counts in the wanted way: for 'down' and 'ablated' that is a fall.
    ends = (plain, steered) if sign > 0 else (steered, plain)
    over = (rivals[strongest], steered) if sign > 0 else (steered, rivals[strongest])
    effect = estimate_difference(*ends, problems, settings)
    excess = estimate_difference(*over, problems, settings)
    answer = answer_question(effect, excess, settings.bound)
    where = f"{cell.source} direction at {cell.site}, dose {cell.dose:g}, {cell.want}"
    return QuestionResult(
        name, answer, effect, excess, strongest, where, effect.upper < settings.bound
    )


def decide(
    results: Mapping[str, QuestionResult], base: Quantity, lead: Quantity, bound: float
) -> tuple[Verdict, str]:
    """The verdict, and the reason in words.

    Args:
        results: 'decodable', 'transferable' and 'usable'; 'necessary' does not decide.
        base: Rate at which the base reasons unsteered.
        lead: Mean of base - share x post, unsteered.
        bound: Rates below it count as none.
    """
    answers = {name: result.answer for name, result in results.items()}
    if base.low > bound and lead.low > 0:
        return "expressed", "the base reasons unsteered, at a good share of post's rate"
    if answers["usable"] == "yes":
        return "latent-usable", "a direction makes the base reason rightly"
    if answers["usable"] == "undecided":
        return "undecided", "whether a direction makes the base reason is not settled"
    if answers["transferable"] == "yes" and answers["decodable"] == "yes":
        return "represented", "the base's direction moves post and does not move the base"
    is_off = base.upper < bound
    if results["usable"].is_null and answers["transferable"] == "no" and is_off:
        return "absent", "nothing makes the base reason, and its direction moves post by no more"\
            " than controls do"  # fmt: skip
    if not results["usable"].is_null:
        return "undecided", "what makes the base reason is no more than a push of that size does"
    missing = [name for name in ("transferable", "decodable") if answers[name] == "undecided"]
    missing += [] if is_off else ["the base's own rate"]
    return "undecided", f"not settled: {', '.join(missing) or 'the answers contradict each other'}"
