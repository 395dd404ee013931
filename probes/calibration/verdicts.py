"""Verdicts: is a number calibrated for a construct, or not, or is that undecided?

A number is **calibrated** for a construct if, over organisms of training seeds that no setting was
chosen on,

* it agrees with the truth: of its AUROC (for doses, rank correlation) the lower limit over recipes
  is at least `BAR`;
* models that should not differ do so in at most `NULL_BAR` of the cases (two seeds of one recipe),
  and an organism never differs from itself;
* its 95 % intervals cover in `COVERED` of the cases.

It is *not calibrated* if one of these is shown to fail: the upper limit of the agreement is below
`BAR`, or the lower limit of the share of seeds that differ is above `NULL_BAR`. Otherwise it is
*undecided*: the recipes are too few to tell. The row says which criteria are not met.

The lower limit decides because with few recipes a high agreement is no evidence. Of one recipe of
either kind an unrelated score tells all pairs apart in half of the cases, of two of either kind in
one sixth; where all pairs are told apart, the lower limit reaches 0.9 with 35 recipes of either
kind. How often an unrelated score agrees as well (`agreement.by_chance`) stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from interp.stats.estimates import MIN_PROBLEMS
from probes.calibration.agreement import Agreement, Retest, measured
from probes.calibration.constructs import CONSTRUCTS
from probes.calibration.nulls import LEAST, Coverage, Nulls
from probes.calibration.scores import Unit
from probes.probe import Claim

BAR, NULL_BAR, COVERED = 0.9, 0.05, (LEAST, 0.98)
YES, NO, UNDECIDED = "calibrated", "not calibrated", "undecided"


class Fault(NamedTuple):
    """A criterion that is not met."""

    verdict: str
    """`NO` where it is shown to fail, `UNDECIDED` where the data cannot tell."""
    reason: str


def find_faults(
    claim: Claim,
    units: Sequence[Unit],
    agreement: Agreement,
    nulls: Nulls,
    again: Retest,
    covered: Coverage,
    itself: float,
) -> list[Fault]:
    """The criteria that are not met, those first that are shown to fail."""
    known = measured(units)
    if not units:
        return [Fault(UNDECIDED, "no organism of known truth")]
    if not known:
        return [Fault(UNDECIDED, "not measurable in any organism of known truth")]
    faults = [
        _judge_agreement(claim, agreement),
        _judge_itself(itself),
        _judge_seeds(claim, known, nulls, again),
        _judge_coverage(covered),
    ]
    return sorted(filter(None, faults), key=lambda fault: fault.verdict != NO)


def _judge_agreement(claim: Claim, agreement: Agreement) -> Fault | None:
    value, (low, high) = agreement.value, agreement.recipes
    name = f"{name_statistic(claim)} {value:z.2f}"
    why = f": {claim.why}" if claim.why and value < BAR else ""
    if value != value:
        reason = "all organisms measured have the same truth or the same score"
        return Fault(UNDECIDED, reason)
    if high < BAR:
        return Fault(NO, f"{name} is below {BAR}{why}")
    if low >= BAR:
        return None
    if low != low:
        return Fault(UNDECIDED, f"{name} has no interval, which takes {MIN_PROBLEMS} recipes{why}")
    return Fault(UNDECIDED, f"too few recipes: {BAR} is within the interval of {name}{why}")


def _judge_itself(itself: float) -> Fault | None:
    if itself != itself:
        return Fault(UNDECIDED, "no organism was compared with itself")
    return Fault(NO, f"an organism differs from itself by {itself:.2g}") if itself else None


def _judge_seeds(claim: Claim, known: Sequence[Unit], nulls: Nulls, again: Retest) -> Fault | None:
    if not nulls.n_pairs:
        reason = "no contrast of two seeds of one recipe"
        return Fault(UNDECIDED, reason)
    if nulls.seeds <= NULL_BAR:
        return None
    n = nulls.n_independent
    is_shown = _exact_low(nulls.seeds * n, n) > NULL_BAR
    few = "" if is_shown else f", of which {n} are independent: too few to tell"
    return Fault(
        NO if is_shown else UNDECIDED,
        f"{nulls.seeds:.0%} of {nulls.n_pairs} same-recipe seed pairs{few} differ significantly "
        f"({nulls.exchanged:.0%} after random label swaps), by {again.difference:.2g} on "
        f"average{_class_difference(claim, known)}",
    )


def _exact_low(successes: float, n: int) -> float:
    """Lower 95 % limit of a share (Clopper and Pearson 1934): Wilson's is .06 for 1 of 3."""
    from scipy.special import betaincinv

    return float(betaincinv(successes, n - successes + 1, 0.025))


def _judge_coverage(covered: Coverage) -> Fault | None:
    low, high = COVERED
    if not covered.n_units:
        return Fault(UNDECIDED, "no organism in which the items vary, so coverage is unknown")
    if low <= covered.share <= high:
        return None
    return Fault(NO, f"95 % intervals cover in {covered.share:.2%}{_too_wide(covered)}")


def _too_wide(covered: Coverage) -> str:
    """Why intervals cover too often, in words; empty where they cover too rarely."""
    low, high = COVERED
    if covered.share <= high:
        return ""
    if covered.attainable > low:
        return (
            f": too wide, not too narrow (near 0 and 1 counts are small: intervals with at least "
            f"{low:.0%} in every unit cover in {covered.attainable:.2%} or more)"
        )
    return (
        ": too wide, not too narrow (numbers near 0 or 1 get the interval of a share, and vary "
        "less than one)"
    )


def _class_difference(claim: Claim, known: Sequence[Unit]) -> str:
    """How far the means of positive and negative organisms lie apart, in words."""
    kinds = [[unit.score for unit in known if unit.label == label] for label in (0.0, 1.0)]
    if CONSTRUCTS[claim.construct].kind != "label" or not all(kinds):
        return ""
    difference = abs(fmean(kinds[0]) - fmean(kinds[1]))
    return f", while positive and negative organisms differ by {difference:.2g}"


def name_statistic(claim: Claim) -> str:
    """The statistic by which a claim is judged: of a label, of a dose."""
    return "AUROC" if CONSTRUCTS[claim.construct].kind == "label" else "Spearman"
