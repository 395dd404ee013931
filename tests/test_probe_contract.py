"""What every probe must hold to, checked on each of them with the tiny random pair."""

import dataclasses
import math
from typing import Any

import pytest

from probes import PROBES, audit_probes

SEED = 3
TASKS = {"abstention": "arith/abstain", "generalisation": "arith/shifts"}
"""Probes that ask for tasks of a kind; the others are run on arith/fresh."""
AUDIT = audit_probes()
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


OF_OTHERS = {"same_answer_by_bias", "early_change_by_chance", "moved_js"}
"""Metrics that are read from all problems together."""


def key_of(item):
    from interp.results.rows import COORDINATES

    return (item.example, item.condition, item.metric, *(getattr(item, c) for c in COORDINATES))


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_is_complete(name):
    from probes.contract import check_probe

    assert check_probe(name) == []


HALF = '''
from dataclasses import dataclass
from typing import ClassVar

from probes.probe import Headline, Probe


@dataclass(frozen=True)
class Half(Probe):
    """Half a probe."""

    name: ClassVar[str] = "half"
    title: ClassVar[str] = "Half"
    question: ClassVar[str] = "Is it complete"
    reading: ClassVar[tuple[str, ...]] = ("No.",)
    headline: ClassVar[tuple[Headline, ...]] = (Headline("all", "value", "the value:"),)

    undescribed: int = 0
    table: dict[str, int] | None = None
    """A type that no command line can write."""
'''


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({}, "`kinds` does not say of which kind 'follows_mistake' is"),
        ({"same_answer": "real", "reliant": "share"}, "'decorative'"),
    ],
)
def test_metrics_without_a_kind_are_found(monkeypatch, kinds, words):
    from probes import find_probe
    from probes.contract import check_run

    made = find_probe("corruption")
    monkeypatch.setattr(made, "kinds", kinds)
    assert words in "\n".join(check_run(made))


def test_items_that_are_not_of_their_kind_are_found(monkeypatch):
    from probes import find_probe
    from probes.contract import check_run

    made = find_probe("early_answering")
    monkeypatch.setattr(made, "kinds", {**made.kinds, "aoc": "binary"})
    (fault,) = check_run(made)
    assert "metric 'aoc': items of the kind 'binary' are 0 or 1" in fault


def test_an_incomplete_probe_is_told_what_it_lacks(monkeypatch, tmp_path):
    """Each fault below is planted, and each is named."""
    import importlib.util
    import sys

    import probes
    from probes.contract import check_probe

    (tmp_path / "half.py").write_text(HALF)
    spec: Any = importlib.util.spec_from_file_location("probes.half", tmp_path / "half.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "probes.half", module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(probes.PROBES, "half", "Half")
    faults = "\n".join(check_probe("half"))
    for words in (
        "question mark",
        "'undescribed' has no description",
        "`claims`",
        "must open",
        "'table' has a type",
    ):
        assert words in faults


def test_names_that_no_item_has_and_seeds_that_do_not_hold_are_found(monkeypatch):
    from interp.results.rows import Ratio
    from probes import find_probe
    from probes.contract import check_run
    from probes.probe import Headline

    made = find_probe("early_answering")
    assert check_run(made) == []
    monkeypatch.setattr(made, "ratios", (Ratio("early_answering", "r", "same_answr", "aoc"),))
    monkeypatch.setattr(made, "headline", (Headline("cut", "aok", "AOC is"),))
    run, calls = made.run, []

    def drift(self, readers, task, traces, *, seed):
        calls.append(seed)
        items = run(self, readers, task, traces, seed=seed + len(calls))[:-1]
        return tuple(item for item in items if item.note != "the chain is truncated")

    monkeypatch.setattr(made, "run", drift)
    monkeypatch.setattr(made, "figures", lambda *_: [])
    faults = "\n".join(check_run(made))
    uncounted = "a chain that cannot be read is not counted under cut, aoc"
    for words in ("'same_answr'", "'aok'", "draws nothing", uncounted):
        assert words in faults


@pytest.mark.parametrize("name", AUDIT)
def test_a_model_against_itself_shows_no_difference(name, setting):
    from interp.results.rows import CONTRAST
    from interp.results.summaries import summarise
    from probes import find_probe, statistics_of

    readers, task, traces = setting
    twins = {"base": readers["base"], "post": readers["base"]}
    items = find_probe(name)().run(twins, task, traces, seed=SEED)
    by_reader = {
        reader: {
            key_of(dataclasses.replace(i, reader="", writer="")): i.value
            for i in items
            if i.reader == reader
        }
        for reader in twins
    }
    assert by_reader["base"].keys() == by_reader["post"].keys()
    for key, value in by_reader["base"].items():
        other = by_reader["post"][key]
        assert value == other or (math.isnan(value) and math.isnan(other)), key
    rows = summarise(
        items, pair="twins", chance={task.name: task.chance}, seed=0, n_boot=200,
        kinds=statistics_of([name])["kinds"],
    )  # fmt: skip
    contrasts = [row for row in rows if row.reader == CONTRAST and row.n > 1]
    assert contrasts
    for row in contrasts:
        assert row.value == 0.0
        # Fewer than six problems have no interval.
        assert row.n < 6 or (row.low <= 0.0 <= row.high and row.p == 1.0)


@pytest.mark.parametrize("name", AUDIT)
def test_a_batch_of_items_equals_the_problems_one_by_one(name, setting):
    """What needs other problems sees fewer of them alone; everything else must not move."""
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
    values = {key_of(item): item.value for item in together}
    compared = 0
    for item in alone:
        if item.condition in {"swapped", "joint"} or item.metric in OF_OTHERS:
            continue
        key = key_of(item)
        # 2e-4 nats, which for a perplexity is a share of it.
        assert item.value == pytest.approx(values[key], rel=2e-4, abs=2e-4, nan_ok=True), key
        compared += 1
    assert compared > len(task.examples)


@pytest.mark.parametrize("name", [name for name in AUDIT if name not in OWN])
def test_traces_without_a_chain_are_counted_not_scored(name, setting):
    from probes import find_probe

    readers, task, traces = setting
    empty = [dataclasses.replace(trace, status="empty", steps=()) for trace in traces["gold"]]
    items = find_probe(name)().run(readers, task, {"base": empty}, seed=SEED)
    assert {item.example for item in items} == {trace.example for trace in empty}
    shown = [item for item in items if item.metric == "readable"]
    assert [item.value for item in shown] == [0.0] * len(empty)
    missing = [item for item in items if item.metric != "readable"]
    assert missing and all(
        math.isnan(item.value) and item.note == "the chain is empty" for item in missing
    )


@pytest.mark.parametrize("name", [*TASKS, "knowledge_index"])
def test_a_task_that_a_probe_cannot_be_asked_of_is_one_line_with_its_reason(name, setting):
    """Sums have neither facts, nor questions without an answer, nor shifts."""
    from interp.results.report.tables import make_summary
    from interp.results.summaries import summarise
    from interp.tasks import make_task
    from probes import find_probe

    readers, _, _ = setting
    task = make_task("sums", n=5, seed=0)
    items = find_probe(name)().run(readers, task, {}, seed=SEED)
    rows = summarise(items, pair="a -> b", chance={"sums": 0.1}, seed=0)
    (table,) = make_summary(rows)
    (line,) = table.lines
    assert all(cell.is_missing for cell in line.cells) and len(line.cells) == 3
    assert line.notes == (f"base, post, post \u2212 base: not measurable: {items[0].note} (5)",)
    assert len(items) == 10


def test_unknown_probe_lists_the_known_ones():
    from probes import find_probe

    with pytest.raises(ValueError, match="known: accuracy, early_answering"):
        find_probe("faithfulness")


def test_traces_of_another_task_are_refused(setting):
    from interp.tasks import make_task
    from probes import find_probe

    readers, _, traces = setting
    other = make_task("arith/fresh", n=6, seed=99)
    with pytest.raises(ValueError, match="another seed or n"):
        find_probe("corruption")().run(readers, other, traces, seed=0)
