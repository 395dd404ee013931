"""The table of calibration: a row for each claim, its verdict, and how it is said.

A number is **calibrated** for a construct if, over organisms of training seeds that no setting was
chosen on,

* it agrees with the truth: AUROC (for doses, rank correlation) at least `BAR`;
* pairs of equals differ in at most `NULL_BAR` of the cases (seeds of one recipe, and an organism
  never from itself);
* its 95 % intervals cover in `COVERED` of the cases.

Otherwise it is *not calibrated*, and the row says which of these failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

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
from probes.calibration.claims import CONSTRUCTS, GOLD, NO_TRUTH, OWN, Claim
from probes.calibration.nulls import LEAST, Coverage, Nulls, coverage, null_pairs
from probes.calibration.scores import CODE, Unit

KEPT = CODE / "artifacts" / "calibration" / "calibration.parquet"
"""The table that reports cite."""
BAR, NULL_BAR, COVERED = 0.9, 0.05, (LEAST, 0.98)
EVALUATION, DEVELOPMENT = "evaluation", "development"
ABSENT = "There is no calibration table: how often this is right has not been measured."
YES, NO = "calibrated", "not calibrated"


@dataclass(frozen=True)
class Row:
    """One claim, judged on the organisms of one kind of seed."""

    probe: str
    condition: str
    metric: str
    writer: str
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


def judge_all(units: Mapping[Claim, Sequence[Unit]]) -> tuple[Row, ...]:
    """The rows of all claims, in their order: evaluation seeds, then development seeds.

    Coverage is a matter of the number and not of what it is held to tell, so it is taken over the
    units of every claim of the same number.
    """
    rows: list[Row] = []
    for seeds, is_development in ((EVALUATION, False), (DEVELOPMENT, True)):
        chosen = {
            claim: [unit for unit in found if unit.is_tuned_on == is_development]
            for claim, found in units.items()
        }
        covered: dict[tuple[str, ...], Coverage] = {}
        for claim in chosen:
            if number_of(claim) not in covered:
                same = (u for c in chosen if number_of(c) == number_of(claim) for u in chosen[c])
                population = {(u.recipe, u.seed, u.task): u for u in measured(list(same))}
                covered[number_of(claim)] = coverage(claim, list(population.values()))
        rows += [_row(c, found, covered[number_of(c)], seeds) for c, found in chosen.items()]
    return tuple(rows)


def number_of(claim: Claim) -> tuple[str, ...]:
    """What is measured, whatever it is held to tell."""
    return claim.probe, claim.condition, claim.metric, claim.writer


def _row(claim: Claim, units: Sequence[Unit], covered: Coverage, seeds: str) -> Row:
    is_label = CONSTRUCTS[claim.construct].kind == "label"
    known = measured(units)
    agreement = Agreement(float("nan"), NOWHERE, NOWHERE)
    if known:
        agreement = (auroc if is_label else spearman)(claim, known)
    nulls, again = null_pairs(known), retest(known)
    itself = max(
        (u.self_difference for u in known if u.self_difference == u.self_difference),
        default=float("nan"),
    )
    reasons = _reasons(claim, units, known, agreement, nulls, again, covered, itself)
    true = {u.line for u in known if u.label == 1} if is_label else {u.label for u in known}
    return Row(
        claim.probe, claim.condition, claim.metric, claim.writer, claim.construct,
        claim.direction, "primary" if claim.is_primary else "secondary", seeds,
        len(known), len(units) - len(known), len({unit.line for unit in known}), len(true),
        _statistic(claim), agreement.value, *agreement.recipes, *agreement.trainings,
        itself, nulls.seeds, nulls.exchanged, nulls.n_pairs,
        covered.share, covered.worst, covered.attainable, covered.n_units,
        again.icc, again.difference,
        NO if reasons else YES, "; ".join(reasons),
    )  # fmt: skip


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
    found: list[str] = []
    value = agreement.value
    if value != value:
        found.append("all organisms measured have the same truth or the same score")
    elif value < BAR:
        why = f": {claim.why}" if claim.why else ""
        found.append(f"{_statistic(claim)} {value:.2f} is below {BAR}{why}")
    if itself != itself:
        found.append("no organism was set against itself")
    elif itself != 0:
        found.append(f"an organism differs from itself by {itself:.2g}")
    if not nulls.n_pairs:
        found.append("no contrast of two seeds of one recipe (contrasts of ratios are not tested)")
    elif nulls.seeds > NULL_BAR:
        found.append(
            f"two seeds of one recipe differ in {nulls.seeds:.0%} of {nulls.n_pairs} pairs "
            f"({nulls.exchanged:.0%} once exchanged), by {again.difference:.2g} on average"
            f"{_apart(claim, known)}"
        )
    low, high = COVERED
    if not covered.n_units:
        found.append("no organism in which the items vary, so coverage is unknown")
    elif not low <= covered.share <= high:
        said = f"95 % intervals cover in {covered.share:.2%}"
        if covered.share > high:
            said += ": too wide, not too narrow"
        if covered.share > high and covered.attainable > low:
            said += (
                f" (near 0 and 1 counts are few: intervals with at least {low:.0%} in every unit "
                f"cover in {covered.attainable:.2%} or more)"
            )
        elif covered.share > high:
            said += " (numbers near 0 or 1 get the interval of a share, and vary less than one)"
        found.append(said)
    return found


def _apart(claim: Claim, known: Sequence[Unit]) -> str:
    """How far the means of true and untrue organisms lie apart, in words."""
    kinds = [[unit.score for unit in known if unit.label == label] for label in (0.0, 1.0)]
    if CONSTRUCTS[claim.construct].kind != "label" or not all(kinds):
        return ""
    return f", where true and untrue ones lie {abs(fmean(kinds[0]) - fmean(kinds[1])):.2g} apart"


def write_table(file: Path, rows: Sequence[Row]) -> None:
    """Keeps the rows as parquet."""
    write_rows(file, Row, rows)


def read_table(file: Path) -> tuple[Row, ...]:
    """The kept rows.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no table of calibration, or one of another version.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"no calibration table at {file}; 'posthoc calibrate' measures and writes one"
        )
    return read_rows(file, Row)


def kept_table() -> tuple[Row, ...]:
    """The table that reports cite; empty if there is none."""
    return read_table(KEPT) if KEPT.is_file() else ()


def cite(rows: Sequence[Row], probe: str) -> str:
    """What a report says about a probe: its primary rows on evaluation seeds, in a sentence each.

    Args:
        rows: The table; empty if there is none.
        probe: Name of the probe.
    """
    if not rows:
        return ABSENT
    here = [r for r in rows if (r.probe, r.role, r.seeds) == (probe, "primary", EVALUATION)]
    told = [
        f"{row.metric} ({row.condition.replace('_', ' ')}) for "
        f"\u201c{CONSTRUCTS[row.construct].words}\u201d: {_agreement(row)} over {row.n_units} "
        f"units of {row.n_recipes} recipes, {_verdict(row)}"
        for row in here
        if row.construct in CONSTRUCTS
    ]
    if not told:
        return f"Not calibrated: {NO_TRUTH.get(probe, 'the table has no row of this probe')}."
    return f"On organisms of known truth (calibration table): {'. '.join(told)}."


def markdown(rows: Sequence[Row]) -> str:
    """The evaluation rows in Markdown: a table of the primary ones, and one of the others."""
    heads = (
        "probe", "number", "tells", "agreement [recipes] [trainings]", "development seeds",
        "units / recipes", "seeds differ", "exchanged", "coverage", "ICC", "verdict",
    )  # fmt: skip
    developed = {_key(row): row.value for row in rows if row.seeds == DEVELOPMENT}
    tables: list[str] = []
    for role in ("primary", "secondary"):
        chosen = [row for row in rows if (row.role, row.seeds) == (role, EVALUATION)]
        lines = [heads, ("---",) * len(heads)]
        lines += [_line(row, _number(developed.get(_key(row), float("nan")))) for row in chosen]
        if role == "primary":
            lines += [(name, *("",) * 9, f"{NO}: {why}") for name, why in NO_TRUTH.items()]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(tables)


def _key(row: Row) -> tuple[str, ...]:
    return row.probe, row.condition, row.metric, row.writer, row.construct


def _line(row: Row, development: str) -> tuple[str, ...]:
    trainings = _interval(row.low_trainings, row.high_trainings)
    return (
        row.probe, f"`{row.condition}/{row.metric}`{_of_whom(row)}",
        row.construct.replace("_", " "),
        f"{_agreement(row)} {trainings}".strip(), development, f"{row.n_units} / {row.n_recipes}",
        _rate(row.null_seeds, row.n_pairs), _rate(row.null_exchanged), _rate(row.coverage),
        _number(row.icc), _verdict(row),
    )  # fmt: skip


def _of_whom(row: Row) -> str:
    """The writer, where it is a way of decoding or the source of a direction."""
    return "" if row.writer in (GOLD, OWN) else f" of `{row.writer}`"


def _agreement(row: Row) -> str:
    return f"{row.statistic} {_number(row.value)} {_interval(row.low, row.high)}".strip()


def _verdict(row: Row) -> str:
    return row.verdict if row.verdict == YES else f"{row.verdict}: {row.reason}"


def _interval(low: float, high: float) -> str:
    return f"[{low:.2f}, {high:.2f}]" if low == low else ""


def _number(value: float) -> str:
    return f"{value:.2f}" if value == value else "\u2013"


def _rate(share: float, n: int = 0) -> str:
    known = share == share
    return f"{share:.3f}{f' of {n}' if n else ''}" if known else "\u2013"
