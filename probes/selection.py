"""Rows of one probe's results: which of them a figure draws, and how their numbers are written.

Example: ``pick_rows(results, ("aoc",), ("cut",), writer=results.writer)`` gives one row for each
task and reader, base before post; `describe_rows` writes the same rows and their contrast as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from interp.results.rows import CONTRAST, Measurement
from probes.probe import OWN, Results

READERS = ("base", "post")
SHARE_KEPT = {"x": "kept", "xlabel": "share of the chain kept"}
"""Options of a curve over shares of the chain."""


def name_chains(writer: str) -> str:
    """How the page names the chains of a writer."""
    return "reference chains" if writer == "gold" else f"{writer}'s chains"


def pick_rows(
    results: Results,
    metrics: Sequence[str],
    conditions: Sequence[str],
    *,
    writer: str,
    readers: Sequence[str] = READERS,
) -> list[Measurement]:
    """Rows of these metrics and conditions, by task, condition, metric and reader in this order.

    Args:
        results: Of one probe.
        metrics: Their names.
        conditions: Their names.
        writer: Whose chains: a role, or `OWN` for each reader on its own chains.
        readers: Roles of the readers.
    """
    order = (results.tasks, conditions, metrics, readers)

    def place(row: Measurement) -> list[int]:
        values = (row.task, row.condition, row.metric, row.reader)
        return [names.index(value) for names, value in zip(order, values, strict=True)]

    return sorted(
        (
            row
            for row in results.rows
            if row.metric in metrics
            and row.condition in conditions
            and row.reader in readers
            and row.task in results.tasks
            and row.writer == (row.reader if writer == OWN else writer)
        ),
        key=place,
    )


def drop_unasked(rows: Sequence[Measurement]) -> list[Measurement]:
    """The rows of the tasks on which at least one number could be measured.

    Some probes cannot be asked on some tasks: no question of arith/fresh lacks an answer, so a
    figure of abstention has no panel for it.
    """
    asked = {row.task for row in rows if row.n}
    return [row for row in rows if row.task in asked]


def describe_rows(
    results: Results, numbers: Sequence[tuple[str, str, str]], *, writer: str
) -> list[str]:
    """A line for each task and number: base, post and their contrast.

    Args:
        results: Of one probe.
        numbers: (condition, metric, words that name the number).
        writer: Whose chains: a role, or `OWN`.
    """
    readers = (*READERS, CONTRAST)
    lines: list[str] = []
    for task in results.tasks:
        for condition, metric, words in numbers:
            picked = pick_rows(results, (metric,), (condition,), writer=writer, readers=readers)
            rows = [row for row in picked if row.task == task and row.is_whole]
            values = "; ".join(f"{row.reader} {row.describe()}" for row in rows)
            lines += [f"{task}, {words}: {values}."] if rows else []
    return lines


def describe_defined(
    results: Results, numbers: Sequence[tuple[str, str, str]], *, writer: str
) -> list[str]:
    """A line for each task: on which share of the chains each number is defined, and why not.

    Args:
        results: Of one probe.
        numbers: (condition, metric, words that name the number); left out where there is no item.
        writer: Whose chains: a role, or `OWN`.
    """
    lines: list[str] = []
    for task in results.tasks:
        parts: list[str] = []
        for condition, metric, words in numbers:
            items = [
                item
                for item in results.items
                if (item.task, item.condition, item.metric) == (task, condition, metric)
                and item.writer == (item.reader if writer == OWN else writer)
                and item.is_whole
            ]
            why = Counter(item.note for item in items if item.value != item.value).most_common(1)
            share = sum(item.value == item.value for item in items) / max(1, len(items))
            reason = f" (mostly: {why[0][0]})" if why else ""
            parts += [f"{words} {share:.2f}{reason}"] if items else []
        if parts:
            lines.append(f"{task}, share of chains with a value: {'; '.join(parts)}.")
    return lines
