"""Summary: accuracy and cost of each method, and lines about one task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan

from interp.results.plots import MethodCost
from interp.results.rows import Item, Measurement
from interp.stats.auroc import ScoredItem, collect_scores, estimate_pooled
from interp.stats.estimates import Estimate
from interp.stats.proportion_intervals import describe_interval

ONE, PASS, PATHS = "one_answer", "pass_at_k", "paths"
"""Conditions: one text per question; samples; the paths of CoT-decoding."""

Method = tuple[str, str, str]
"""Reader, variant and source."""


def _method(row: Item | Measurement) -> Method:
    return row.reader, row.variant, row.source


def _label(method: Method) -> str:
    reader, variant, source = method
    return f"{variant}[{source}]" if source else variant or reader


def method_costs(rows: Sequence[Measurement], items: Sequence[Item]) -> list[MethodCost]:
    """Accuracy and cost of each method that could be measured.

    Args:
        rows: Of this probe and one task, without contrasts.
        items: From which they were made: these have the methods in their order.
    """
    table = {(_method(row), row.metric): row for row in rows if row.condition == ONE}
    costs: list[MethodCost] = []
    for method in dict.fromkeys(_method(item) for item in items if item.condition == ONE):
        accuracy = table[method, "correct"]
        if isnan(accuracy.value):
            continue
        valid, touched, trained, fitted = (
            table[method, metric].value
            for metric in ("chain_valid", "touched", "trained_parameters", "fitted_numbers")
        )
        # Counts are equal in all items; rounding takes off the error of their mean.
        costs.append(
            MethodCost(
                _label(method), accuracy.value, accuracy.low, accuracy.high, valid, round(trained),
                round(fitted), touched, is_post=method[0] != "base",
            )
        )  # fmt: skip
    return costs


def describe_methods(rows: Sequence[Measurement], items: Sequence[Item], *, seed: int) -> list[str]:
    """Lines about one task.

    Args:
        rows: Of this probe and one task, without contrasts.
        items: From which they were made.
        seed: Of the intervals of what is pooled over paths.
    """
    costs = method_costs(rows, items)
    if not costs:
        return sorted({item.note for item in items if item.note})
    lines = [
        f"{'':24}{'accuracy':>24}{'chain valid':>13}{'trained':>10}{'fitted':>8}{'touched':>9}"
    ]
    for cost in costs:
        accuracy = describe_interval(cost.accuracy, cost.low, cost.high, decimals=3)
        lines.append(
            f"{cost.name:24}{accuracy:>24}{cost.chain_valid:>13.3f}{cost.trained:>10}"
            f"{cost.fitted:>8}{cost.touched:>9.1f}"
        )
    lines += [
        f"{_label(_method(row))}: {row.note}"
        for row in rows
        if (row.condition, row.metric) == (ONE, "correct") and isnan(row.value)
    ]
    for metric in ("pass_chain_valid", "pass_correct"):
        lines += _pass_lines(metric, rows, items)
    for words, yes, no in (
        ("the answer is right", "delta_right", "delta_wrong"),
        ("the path has a chain", "delta_chain", "delta_no_chain"),
    ):
        one = delta_auroc(items, yes, no, seed=seed)
        lines.append(
            f"Delta of CoT-decoding, AUROC for '{words}': "
            + describe_interval(one.value, one.low, one.high, decimals=3)
        )
    return lines


def _pass_lines(metric: str, rows: Sequence[Measurement], items: Sequence[Item]) -> Iterator[str]:
    table = {(_method(row), row.k): row for row in rows if row.metric == metric}
    ks = sorted({row.k for row in rows if row.metric == metric and row.k is not None})
    title = metric.replace("pass_", "pass@k, ").replace("_", " ")
    yield f"{title:24}" + "".join(f"{k:>22}" for k in ks)
    for method in dict.fromkeys(_method(item) for item in items if item.metric == metric):
        cells = [row.describe(3) if (row := table.get((method, k))) else "" for k in ks]
        yield f"  {_label(method):22}" + "".join(f"{cell:>22}" for cell in cells)


def delta_auroc(items: Sequence[Item], yes: str, no: str, *, seed: int) -> Estimate:
    """AUROC of Delta for one kind of path against the other, over all paths with an answer."""
    scored = [
        ScoredItem(f"{item.example}/{item.draw}", item.problem, item.value, item.metric == yes)
        for item in items
        if item.metric in (yes, no) and not isnan(item.value)
    ]
    return estimate_pooled(collect_scores("auroc", scored), seed=seed)
