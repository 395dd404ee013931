"""The table of calibration: a row for each claim, with a verdict that reports cite (`verdicts`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.results.kept import CODE
from interp.results.run_folder import read_rows, write_rows
from probes.calibration.agreement import (
    NOWHERE,
    Agreement,
    auroc,
    by_chance,
    measured,
    retest,
    spearman,
)
from probes.calibration.constructs import CONSTRUCTS, ProbeClaim, probes_without_truth
from probes.calibration.nulls import Coverage, coverage, null_pairs
from probes.calibration.scores import Unit, kinds_of
from probes.calibration.verdicts import (
    NO,
    UNDECIDED,
    YES,
    find_faults,
    name_statistic,
)
from probes.probe import OWN, Claim

KEPT = CODE / "artifacts" / "calibration" / "calibration.parquet"
"""The table that reports cite."""
EVALUATION, DEVELOPMENT = "evaluation", "development"
ABSENT = "There is no calibration table: how often this is right has not been measured."
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
    n_false: int
    """Recipes with a unit of which it is false; 0 for doses."""
    statistic: str
    """'AUROC' or 'Spearman'."""
    value: float
    low: float
    high: float
    """Over recipes."""
    low_trainings: float
    high_trainings: float
    """Over trainings, the recipes taken as given."""
    by_chance: float
    """How often an unrelated score agrees as well."""
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
    """'calibrated', 'not calibrated' or 'undecided'."""
    reason: str
    """Which criteria are not met; empty when all are."""


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
    true = {u.line for u in known if u.label == 1} if is_label else {u.label for u in known}
    false = {u.line for u in known if u.label == 0} if is_label else set()
    faults = find_faults(claim, units, agreement, nulls, again, covered, itself)
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
        n_false=len(false),
        statistic=name_statistic(claim),
        value=agreement.value,
        low=agreement.recipes.low,
        high=agreement.recipes.high,
        low_trainings=agreement.trainings.low,
        high_trainings=agreement.trainings.high,
        by_chance=by_chance(claim, known, is_label=is_label),
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
        verdict=min((fault.verdict for fault in faults), key=(NO, UNDECIDED).index, default=YES),
        reason="; ".join(fault.reason for fault in faults),
    )


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
        f"units of {_recipes(row)}, and an unrelated score agrees as well in {row.by_chance:.1%}; "
        f"{_verdict(row)}"
        for row in rows
        if (row.probe, row.role, row.seeds) == (probe, "primary", EVALUATION)
        and row.construct in CONSTRUCTS  # a kept table may name one that is gone
    ]
    if not sentences:
        reason = probes_without_truth().get(probe, "the table has no row of this probe")
        return f"Undecided: {reason}."
    return f"On organisms of known truth (calibration table): {'. '.join(sentences)}."


def to_markdown(rows: Sequence[CalibrationRow]) -> str:
    """The evaluation rows in Markdown: a table of the primary ones, and one of the others."""
    heads = (
        "probe", "number", "construct", "agreement [recipes] [trainings]", "by chance",
        "development seeds", "units / recipes", "seed pairs that differ", "after label swaps",
        "coverage", "ICC", "verdict",
    )  # fmt: skip
    developed = {_key(row): row.value for row in rows if row.seeds == DEVELOPMENT}
    tables: list[str] = []
    for role in ("primary", "secondary"):
        chosen = [row for row in rows if (row.role, row.seeds) == (role, EVALUATION)]
        lines = [heads, ("---",) * len(heads)]
        lines += [_line(row, _number(developed.get(_key(row), float("nan")))) for row in chosen]
        if role == "primary":
            missing = probes_without_truth().items()
            empty = ("",) * (len(heads) - 2)
            lines += [(name, *empty, f"{UNDECIDED}: {reason}") for name, reason in missing]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(tables)


def _key(row: CalibrationRow) -> tuple[str, ...]:
    return *number_of(row.probe, row), row.construct


def _line(row: CalibrationRow, development: str) -> tuple[str, ...]:
    trainings = _interval(row.low_trainings, row.high_trainings)
    return (
        row.probe, f"`{row.condition}/{row.metric}`{_of_whom(row)}",
        row.construct.replace("_", " "),
        f"{_agreement(row)} {trainings}".strip(), _rate(row.by_chance), development,
        f"{row.n_units} / {_recipes(row)}", _rate(row.null_seeds, row.n_pairs),
        _rate(row.null_exchanged), _rate(row.coverage), _number(row.icc), _verdict(row),
    )  # fmt: skip


def _of_whom(row: CalibrationRow) -> str:
    """The variant, the source of a direction or the model of a pair that the number is about."""
    name = row.variant or row.source or ("" if row.reader == OWN else row.reader)
    return f" of `{name}`" if name else ""


def _agreement(row: CalibrationRow) -> str:
    return f"{row.statistic} {_number(row.value)} {_interval(row.low, row.high)}".strip()


def _recipes(row: CalibrationRow) -> str:
    """How many recipes, by kind (one may be of both, on two tasks) or by dose."""
    if row.statistic == "AUROC":
        return f"{row.n_recipes} recipes ({row.n_true} true, {row.n_false} false)"
    return f"{row.n_recipes} recipes ({row.n_true} doses)"


def _verdict(row: CalibrationRow) -> str:
    return row.verdict if row.verdict == YES else f"{row.verdict}: {row.reason}"


def _interval(low: float, high: float) -> str:
    return f"[{low:z.2f}, {high:z.2f}]" if low == low else ""


def _number(value: float) -> str:
    return f"{value:z.2f}" if value == value else "\u2013"


def _rate(share: float, n: int = 0) -> str:
    known = share == share
    return f"{share:.3f}{f' of {n}' if n else ''}" if known else "\u2013"
