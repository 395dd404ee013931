"""The table of calibration: a row for each claim, with a verdict that reports cite.

A number is **calibrated** for a construct if, over organisms of training seeds that no setting was
chosen on,

* it agrees with the truth: AUROC (for doses, rank correlation) of at least `BAR`;
* models that should not differ do so in at most `NULL_BAR` of the cases (two seeds of one recipe),
  and an organism never differs from itself;
* its 95 % intervals cover in `COVERED` of the cases.

Otherwise it is *not calibrated*, and the row says which of these failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from interp.results.kept import CODE
from interp.results.run_folder import read_rows, write_rows
from probes.calibration.agreement import (
    NOWHERE,
    Agreement,
    Retest,
    auroc,
    measured,
    retest,
    spearman,
)
from probes.calibration.constructs import CONSTRUCTS, ProbeClaim, probes_without_truth
from probes.calibration.nulls import LEAST, Coverage, Nulls, coverage, null_pairs
from probes.calibration.scores import Unit, kinds_of
from probes.probe import OWN, Claim

KEPT = CODE / "artifacts" / "calibration" / "calibration.parquet"
"""The table that reports cite."""
BAR, NULL_BAR, COVERED = 0.9, 0.05, (LEAST, 0.98)
EVALUATION, DEVELOPMENT = "evaluation", "development"
ABSENT = "There is no calibration table: how often this is right has not been measured."
YES, NO = "calibrated", "not calibrated"
NUMBER = ("condition", "metric", "writer", "reader", "source", "variant")
"""Fields of a claim that say which number of its probe it is about."""


@dataclass(frozen=True, kw_only=True)
class CalibrationRow:
    """One claim, judged on the organisms of one kind of seed."""

    probe: str
    condition: str
    metric: str
    writer: str
    """Of the chains, as in `probes.probe.Claim`."""
    reader: str
    source: str
    variant: str
    construct: str
    direction: int
    role: str
    """'primary' or 'secondary'."""
    seeds: str
    """'evaluation' (chosen on nothing) or 'development'."""
    n_units: int
    """Organism-task units with a score."""
    n_missing: int
    """Units in which nothing could be measured."""
    n_recipes: int
    n_true: int
    """Recipes with a unit of which the construct is true; for doses, different doses."""
    statistic: str
    """'AUROC' or 'Spearman'."""
    value: float
    low: float
    high: float
    """Over recipes."""
    low_trainings: float
    high_trainings: float
    """Over trainings, the recipes taken as given."""
    itself: float
    """Largest difference of an organism from itself."""
    null_seeds: float
    null_exchanged: float
    n_pairs: int
    coverage: float
    coverage_worst: float
    coverage_attainable: float
    """The least that intervals which cover enough everywhere could have covered."""
    n_covered: int
    icc: float
    retest_difference: float
    verdict: str
    reason: str
    """Which criteria failed; empty when none did."""


def judge_all(units: Mapping[ProbeClaim, Sequence[Unit]]) -> tuple[CalibrationRow, ...]:
    """The rows of all claims, in their order: evaluation seeds, then development seeds.

    Coverage belongs to the number, whatever construct it is claimed to measure, so it is taken over
    the units of every claim of the same number.
    """
    rows: list[CalibrationRow] = []
    for seeds, is_development in ((EVALUATION, False), (DEVELOPMENT, True)):
        chosen = {
            claim: [unit for unit in of_claim if unit.is_tuned_on == is_development]
            for claim, of_claim in units.items()
        }
        coverages: dict[tuple[str, ...], Coverage] = {}
        for probe, claim in chosen:
            number = number_of(probe, claim)
            if number not in coverages:
                same = (u for c in chosen if number_of(*c) == number for u in chosen[c])
                # Claims of one number share organisms and values, so each unit is taken once.
                population = {(u.recipe, u.seed, u.task): u for u in measured(list(same))}
                coverages[number] = coverage([*population.values()], kinds_of(probe, claim))
        rows += [
            _row(probe, claim, of_claim, coverages[number_of(probe, claim)], seeds)
            for (probe, claim), of_claim in chosen.items()
        ]
    return tuple(rows)


def number_of(probe: str, claim: Claim | CalibrationRow) -> tuple[str, ...]:
    """What is measured, whatever construct it is claimed to measure."""
    return probe, *(getattr(claim, name) for name in NUMBER)


def _row(
    probe: str, claim: Claim, units: Sequence[Unit], covered: Coverage, seeds: str
) -> CalibrationRow:
    is_label = CONSTRUCTS[claim.construct].kind == "label"
    known = measured(units)
    agreement = Agreement(float("nan"), NOWHERE, NOWHERE)
    if known:
        agreement = (auroc if is_label else spearman)(claim, known)
    nulls, again = null_pairs(known, kinds_of(probe, claim)), retest(known)
    itself = max(
        (u.self_difference for u in known if u.self_difference == u.self_difference),
        default=float("nan"),
    )
    reasons = _reasons(claim, units, known, agreement, nulls, again, covered, itself)
    true = {u.line for u in known if u.label == 1} if is_label else {u.label for u in known}
    return CalibrationRow(
        probe=probe,
        **{name: getattr(claim, name) for name in NUMBER},
        construct=claim.construct,
        direction=claim.direction,
        role="primary" if claim.is_primary else "secondary",
        seeds=seeds,
        n_units=len(known),
        n_missing=len(units) - len(known),
        n_recipes=len({unit.line for unit in known}),
        n_true=len(true),
        statistic=_statistic(claim),
        value=agreement.value,
        low=agreement.recipes.low,
        high=agreement.recipes.high,
        low_trainings=agreement.trainings.low,
        high_trainings=agreement.trainings.high,
        itself=itself,
        null_seeds=nulls.seeds,
        null_exchanged=nulls.exchanged,
        n_pairs=nulls.n_pairs,
        coverage=covered.share,
        coverage_worst=covered.worst,
        coverage_attainable=covered.attainable,
        n_covered=covered.n_units,
        icc=again.icc,
        retest_difference=again.difference,
        verdict=NO if reasons else YES,
        reason="; ".join(reasons),
    )


def _statistic(claim: Claim) -> str:
    return "AUROC" if CONSTRUCTS[claim.construct].kind == "label" else "Spearman"


def _reasons(
    claim: Claim,
    units: Sequence[Unit],
    known: Sequence[Unit],
    agreement: Agreement,
    nulls: Nulls,
    again: Retest,
    covered: Coverage,
    itself: float,
) -> list[str]:
    """The criteria that do not hold, in words; an unknown figure is one that does not hold."""
    if not units:
        return ["no organism of known truth"]
    if not known:
        return ["not measurable in any organism of known truth"]
    reasons: list[str] = []
    value = agreement.value
    if value != value:
        reasons.append("all organisms measured have the same truth or the same score")
    elif value < BAR:
        why = f": {claim.why}" if claim.why else ""
        reasons.append(f"{_statistic(claim)} {value:.2f} is below {BAR}{why}")
    if itself != itself:
        reasons.append("no organism was compared with itself")
    elif itself != 0:
        reasons.append(f"an organism differs from itself by {itself:.2g}")
    if not nulls.n_pairs:
        reasons.append(
            "no contrast of two seeds of one recipe (contrasts of ratios are not tested)"
        )
    elif nulls.seeds > NULL_BAR:
        reasons.append(
            f"{nulls.seeds:.0%} of {nulls.n_pairs} same-recipe seed pairs differ significantly "
            f"({nulls.exchanged:.0%} after random label swaps), by {again.difference:.2g} on "
            f"average{_class_difference(claim, known)}"
        )
    low, high = COVERED
    if not covered.n_units:
        reasons.append("no organism in which the items vary, so coverage is unknown")
    elif not low <= covered.share <= high:
        reasons.append(f"95 % intervals cover in {covered.share:.2%}{_too_wide(covered)}")
    return reasons


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


def write_table(file: Path, rows: Sequence[CalibrationRow]) -> None:
    """Keeps the rows as parquet."""
    write_rows(file, CalibrationRow, rows)


def read_table(file: Path) -> tuple[CalibrationRow, ...]:
    """The kept rows.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no table of calibration, or one of another version.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"no calibration table at {file}; 'posthoc calibrate' measures and writes one"
        )
    return read_rows(file, CalibrationRow)


def kept_table() -> tuple[CalibrationRow, ...]:
    """The table that reports cite; empty if there is none."""
    return read_table(KEPT) if KEPT.is_file() else ()


def cite(rows: Sequence[CalibrationRow], probe: str) -> str:
    """What a report says about a probe: its primary rows on evaluation seeds, in a sentence each.

    Args:
        rows: The table; empty if there is none.
        probe: Name of the probe.
    """
    if not rows:
        return ABSENT
    sentences = [
        f"{row.metric} ({row.condition.replace('_', ' ')}) for "
        f"\u201c{CONSTRUCTS[row.construct].words}\u201d: {_agreement(row)} over {row.n_units} "
        f"units of {row.n_recipes} recipes, {_verdict(row)}"
        for row in rows
        if (row.probe, row.role, row.seeds) == (probe, "primary", EVALUATION)
        and row.construct in CONSTRUCTS  # a kept table may name one that is gone
    ]
    if not sentences:
        reason = probes_without_truth().get(probe, "the table has no row of this probe")
        return f"Not calibrated: {reason}."
    return f"On organisms of known truth (calibration table): {'. '.join(sentences)}."


def to_markdown(rows: Sequence[CalibrationRow]) -> str:
    """The evaluation rows in Markdown: a table of the primary ones, and one of the others."""
    heads = (
        "probe", "number", "construct", "agreement [recipes] [trainings]", "development seeds",
        "units / recipes", "seed pairs that differ", "after label swaps", "coverage", "ICC",
        "verdict",
    )  # fmt: skip
    developed = {_key(row): row.value for row in rows if row.seeds == DEVELOPMENT}
    tables: list[str] = []
    for role in ("primary", "secondary"):
        chosen = [row for row in rows if (row.role, row.seeds) == (role, EVALUATION)]
        lines = [heads, ("---",) * len(heads)]
        lines += [_line(row, _number(developed.get(_key(row), float("nan")))) for row in chosen]
        if role == "primary":
            missing = probes_without_truth().items()
            lines += [(name, *("",) * 9, f"{NO}: {reason}") for name, reason in missing]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(tables)


def _key(row: CalibrationRow) -> tuple[str, ...]:
    return *number_of(row.probe, row), row.construct


def _line(row: CalibrationRow, development: str) -> tuple[str, ...]:
    trainings = _interval(row.low_trainings, row.high_trainings)
    return (
        row.probe, f"`{row.condition}/{row.metric}`{_of_whom(row)}",
        row.construct.replace("_", " "),
        f"{_agreement(row)} {trainings}".strip(), development, f"{row.n_units} / {row.n_recipes}",
        _rate(row.null_seeds, row.n_pairs), _rate(row.null_exchanged), _rate(row.coverage),
        _number(row.icc), _verdict(row),
    )  # fmt: skip


def _of_whom(row: CalibrationRow) -> str:
    """The variant, the source of a direction or the model of a pair that the number is about."""
    name = row.variant or row.source or ("" if row.reader == OWN else row.reader)
    return f" of `{name}`" if name else ""


def _agreement(row: CalibrationRow) -> str:
    return f"{row.statistic} {_number(row.value)} {_interval(row.low, row.high)}".strip()


def _verdict(row: CalibrationRow) -> str:
    return row.verdict if row.verdict == YES else f"{row.verdict}: {row.reason}"


def _interval(low: float, high: float) -> str:
    return f"[{low:.2f}, {high:.2f}]" if low == low else ""


def _number(value: float) -> str:
    return f"{value:.2f}" if value == value else "\u2013"


def _rate(share: float, n: int = 0) -> str:
    known = share == share
    return f"{share:.3f}{f' of {n}' if n else ''}" if known else "\u2013"
