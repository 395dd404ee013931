"""What every probe must hold to, checked on each of them with the tiny random pair."""

import dataclasses
import math

import pytest
import torch

from probes import PROBES

SEED = 3
TASKS = {"abstention": "arith/abstain", "generalisation": "arith/shifts"}
"""Probes that ask for tasks of a kind; the others are run on arith/fresh."""
OWN = ("accuracy", *TASKS)
"""Probes whose models answer by themselves, whatever traces there are."""


@pytest.fixture
def setting(tiny_pair, request):
    from interp.chains.trace_writing import gold_traces
    from interp.tasks import make_task

    asked = request.node.callspec.params["name"] if hasattr(request.node, "callspec") else ""
    task = make_task(TASKS.get(asked, "arith/fresh"), n=8, seed=0)
    readers = {"base": tiny_pair.base, "post": tiny_pair.post}
    return readers, task, {"gold": gold_traces(tiny_pair.base.tokenizer, task)}


def as_numbers(items):
    """Items without their value, and the values (NaN compares unequal to itself)."""
    return [dataclasses.replace(item, value=0.0) for item in items], [i.value for i in items]


@pytest.mark.parametrize("name", PROBES)
def test_same_seed_gives_the_same_items_and_leaves_the_models_as_they_were(name, setting):
    from probes import find_probe

    readers, task, traces = setting
    before = {k: v.clone() for k, v in readers["post"].hf.state_dict().items()}
    first = as_numbers(find_probe(name)().run(readers, task, traces, seed=SEED))
    second = as_numbers(find_probe(name)().run(readers, task, traces, seed=SEED))
    assert first[0] == second[0]
    torch.testing.assert_close(first[1], second[1], rtol=0, atol=0, equal_nan=True)
    after = readers["post"].hf.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", PROBES)
def test_items_are_keyed_finite_or_explained_and_cover_both_readers(name, setting):
    from probes import find_probe

    readers, task, traces = setting
    items = find_probe(name)().run(readers, task, traces, seed=SEED)
    keys = [(i.writer, i.reader, i.task, i.example, i.condition, i.metric, i.step) for i in items]
    assert len(set(keys)) == len(keys)
    assert {item.reader for item in items} == {"base", "post"}
    assert {item.example for item in items} == {example.id for example in task.examples}
    for item in items:
        assert item.probe == name
        assert math.isfinite(item.value) or (math.isnan(item.value) and item.note), item


@pytest.mark.parametrize("name", PROBES)
def test_a_model_against_itself_shows_no_difference(name, setting):
    from interp.results.rows import CONTRAST, summarise
    from probes import find_probe

    readers, task, traces = setting
    twins = {"base": readers["base"], "post": readers["base"]}
    items = find_probe(name)().run(twins, task, traces, seed=SEED)
    by_reader = {
        reader: {
            (i.example, i.condition, i.metric, i.step): i.value for i in items if i.reader == reader
        }
        for reader in twins
    }
    assert by_reader["base"].keys() == by_reader["post"].keys()
    for key, value in by_reader["base"].items():
        other = by_reader["post"][key]
        assert value == other or (math.isnan(value) and math.isnan(other)), key
    rows = summarise(items, pair="twins", chance={task.name: task.chance}, seed=0, n_boot=200)
    contrasts = [row for row in rows if row.reader == CONTRAST and row.n > 1]
    assert contrasts
    for row in contrasts:
        assert row.value == 0.0
        assert row.low <= 0.0 <= row.high
        assert row.p == 1.0


@pytest.mark.parametrize("name", PROBES)
def test_a_batch_of_items_equals_the_problems_one_by_one(name, setting):
    """Edits that need another item's chain see fewer items alone; all others must not move."""
    from probes import find_probe

    readers, task, traces = setting
    readers = {"base": readers["base"]}
    together = find_probe(name)().run(readers, task, traces, seed=SEED)
    alone = []
    for problem in dict.fromkeys(example.problem for example in task.examples):
        small = dataclasses.replace(
            task, examples=tuple(e for e in task.examples if e.problem == problem)
        )
        written = [trace for trace in traces["gold"] if trace.problem == problem]
        alone += find_probe(name)().run(readers, small, {"gold": written}, seed=SEED)
    values = {(i.writer, i.example, i.condition, i.metric, i.step): i.value for i in together}
    compared = 0
    for item in alone:
        if item.condition in {"swapped", "joint"} or item.metric == "same_answer_by_bias":
            continue
        key = (item.writer, item.example, item.condition, item.metric, item.step)
        # 2e-4 nats, which for a perplexity is a share of it.
        assert item.value == pytest.approx(values[key], rel=2e-4, abs=2e-4, nan_ok=True), key
        compared += 1
    assert compared > len(task.examples)


@pytest.mark.parametrize("name", [name for name in PROBES if name not in OWN])
def test_traces_without_a_chain_are_counted_not_scored(name, setting):
    from probes import find_probe

    readers, task, traces = setting
    empty = [dataclasses.replace(trace, status="empty", steps=()) for trace in traces["gold"]]
    items = find_probe(name)().run(readers, task, {"base": empty}, seed=SEED)
    assert {item.example for item in items} == {trace.example for trace in empty}
    assert all(math.isnan(item.value) and item.note == "the chain is empty" for item in items)


@pytest.mark.parametrize("name", [*TASKS, "knowledge_index"])
def test_a_task_that_a_probe_cannot_be_asked_of_is_one_line_with_its_reason(name, setting):
    """Sums have neither facts, nor questions without an answer, nor shifts."""
    from interp.results.report.tables import summary
    from interp.results.rows import summarise
    from interp.tasks import make_task
    from probes import find_probe

    readers, _, _ = setting
    task = make_task("sums", n=5, seed=0)
    items = find_probe(name)().run(readers, task, {}, seed=SEED)
    rows = summarise(items, pair="a -> b", chance={"sums": 0.1}, seed=0)
    (table,) = summary(rows)
    (line,) = table.lines
    assert all(cell.is_missing for cell in line.cells) and len(line.cells) == 3
    assert line.notes == (f"base, post, post \u2212 base: not measurable: {items[0].note} (5)",)
    assert len(items) == 10


def test_unknown_probe_lists_the_known_ones():
    from probes import find_probe

    with pytest.raises(ValueError, match="Known probes: accuracy, early_answering"):
        find_probe("faithfulness")


def test_traces_of_another_task_are_refused(setting):
    from interp.tasks import make_task
    from probes import find_probe

    readers, _, traces = setting
    other = make_task("arith/fresh", n=6, seed=99)
    with pytest.raises(ValueError, match="another seed or n"):
        find_probe("corruption")().run(readers, other, traces, seed=0)
