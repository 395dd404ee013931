"""Which rows a probe's figures draw and how its numbers are written, for all probes of an audit."""

import dataclasses
import math

import pytest

from interp.chains.trace_writing import gold_traces
from interp.results.rows import CONTRAST, Measurement
from interp.results.summaries import summarise
from interp.tasks import make_task
from probes import audit_probes, find_probe, statistics_of
from probes.probe import OWN, Results
from probes.selection import describe_rows, drop_unasked, pick_rows

FIGURES = {
    "accuracy": ["accuracy"],
    "early_answering": ["early_answering"],
    "information_gain": ["information_gain", "information_gain_ends", "information_gain_total"],
    "corruption": ["corruption"],
    "path_masks": ["path_masks"],
    "knowledge_index": ["knowledge_index"],
    "abstention": ["abstention_direct", "abstention_forced"],
    "generalisation": ["generalisation", "generalisation_drop", "generalisation_form"],
}
TASKS = {"abstention": "arith/abstain", "generalisation": "arith/shifts"}


def row(task, condition, metric, reader, value, writer="gold", **changes):
    numbers = {"low": value - 0.1, "high": value + 0.1, "n": 5, "n_missing": 0, "chance": 0.1}
    return Measurement(
        probe="p", pair="a -> b", task=task, condition=condition, metric=metric, reader=reader,
        writer=writer, value=value, seed=0, **(numbers | changes),
    )  # fmt: skip


def results_of(rows, tasks=("b", "a")):
    return Results(tuple(rows), (), {}, tasks, "gold", 0)


def test_rows_are_picked_by_writer_and_ordered_by_task_condition_metric_and_reader():
    wanted = [
        row(task, condition, metric, reader, 0.5)
        for task in ("b", "a")
        for condition in ("two", "one")
        for metric in ("y", "x")
        for reader in ("base", "post")
    ]
    others = [
        row("a", "one", "x", "base", 0.5, writer="base"),
        row("a", "one", "x", CONTRAST, 0.5),
        row("a", "three", "x", "base", 0.5),
        row("a", "one", "z", "base", 0.5),
        row("c", "one", "x", "base", 0.5),
    ]
    results = results_of([*wanted[::-1], *others])
    assert pick_rows(results, ("y", "x"), ("two", "one"), writer="gold") == wanted
    assert pick_rows(results, ("x",), ("one",), writer=OWN) == others[:1]


def test_a_task_without_any_value_has_no_panel():
    missing = row("b", "one", "x", "base", math.nan, n=0)
    kept = [row("a", "one", "x", "base", math.nan, n=0), row("a", "one", "x", "post", 0.5)]
    assert drop_unasked([missing, *kept]) == kept


def test_numbers_are_described_by_task_with_their_contrast():
    rows = [
        row("a", "one", "x", "post", 0.25),
        row("a", "one", "x", "base", 0.5),
        row("a", "one", "x", "base", 0.7, step=1),
        row("a", "one", "x", CONTRAST, -0.25),
        row("b", "one", "x", "base", math.nan, n=0),
    ]
    lines = describe_rows(
        results_of(rows), (("one", "x", "the x"), ("one", "y", "no y")), writer="gold"
    )
    assert lines == [
        "b, the x: base not measurable.",
        "a, the x: base 0.50 [0.40, 0.60]; post 0.25 [0.15, 0.35]; "
        "post - base -0.25 [-0.35, -0.15].",
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_a_probe_draws_and_describes_its_rows(name, tiny_pair):
    probe = find_probe(name)()
    task = make_task(TASKS.get(name, "arith/fresh"), n=8, seed=0)
    readers = {"base": tiny_pair.base, "post": tiny_pair.post}
    traces = {"gold": gold_traces(tiny_pair.base.tokenizer, task)}
    if name == "knowledge_index":  # whose figure is about own chains
        traces["base"] = [dataclasses.replace(t, writer="base") for t in traces["gold"]]
    items = probe.run(readers, task, traces, seed=0)
    rows = summarise(
        items, pair="a -> b", chance={task.name: 0.1}, seed=0, n_boot=50, **statistics_of([name])
    )
    results = Results(tuple(rows), items, {}, (task.name,), "gold", 0)
    drawings = probe.figures(results)
    assert [drawing.name for drawing in drawings] == FIGURES[name]
    for drawing in drawings:
        if drawing.name != "generalisation_form":  # arith/shifts has no grade of form
            assert drawing.data
            assert drawing.draw(drawing.data, **drawing.options).axes
    lines = probe.describe(results)
    assert 2 <= len(lines) <= 5
    assert all(line.startswith(f"{task.name}, ") for line in lines)
    assert probe.describe(results_of([])) == []


def test_the_figures_of_all_probes_of_an_audit_are_tested_here():
    assert list(FIGURES) == list(audit_probes())
