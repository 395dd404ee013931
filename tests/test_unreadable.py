"""What breaks off: no probe of chains loses an item in silence, and its share is shown."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import fields, replace

import pytest

from interp.chains.trace_writing import gold_traces
from interp.results.rows import Item
from interp.results.summaries import summarise
from interp.tasks import make_task
from probes import PROBES, find_probe, statistics_of
from probes.abstention import Abstention
from probes.accuracy import Accuracy
from probes.generalisation import Generalisation
from probes.unreadable import CHAINS, NEVER_ENDS, READABLE, add_unreadable

QUICK = {
    "corruption": {}, "early_answering": {}, "path_masks": {}, "information_gain": {},
    "knowledge_index": {}, "accuracy": {}, "first_token": {}, "cross_patching": {},
    "direction_by_corruption": {"n_random": 2}, "resampling": {"n_samples": 2, "temperature": 3.0},
}  # fmt: skip
"""Probes of chains that tiny models can be asked in seconds, and their settings."""
CURVES = ("step", "token")


@pytest.fixture(scope="module")
def task():
    return make_task("arith/fresh", n=6, seed=0)


@pytest.fixture(scope="module")
def readers(tiny_pair):
    return {"base": tiny_pair.base, "post": tiny_pair.post}


def cut_off(trace, status="truncated"):
    """The trace with this status; nothing of it can be read as a chain."""
    return replace(trace, status=status, answer="", answer_ids=(), correct=False)


@pytest.fixture(scope="module")
def traces(task, readers):
    """Base lost two of six chains, post one and another by an empty chain."""
    gold = gold_traces(readers["base"].tokenizer, task)
    written = {name: [replace(t, writer=name, mode="forced") for t in gold] for name in readers}
    for at in (1, 4):
        written["base"][at] = cut_off(written["base"][at])
    written["post"][2] = cut_off(written["post"][2])
    written["post"][3] = replace(cut_off(written["post"][3], "empty"), steps=())
    return {"gold": gold, **written}


def key(item: Item):
    names = [f.name for f in fields(item) if f.name not in ("example", "problem", "value", "note")]
    return tuple(getattr(item, name) for name in names)


def test_the_quick_ones_are_all_but_those_that_need_weights():
    reading = {name for name in PROBES if find_probe(name).writers}
    assert set(QUICK) <= reading
    assert reading - set(QUICK) <= {"sae_transfer", "crosscoding", "sae_features"}


@pytest.mark.parametrize("name", QUICK)
def test_a_chain_that_cannot_be_read_is_missing_under_every_metric(name, readers, task, traces):
    probe = find_probe(name)(**QUICK[name])
    items = probe.run(readers, task, traces, seed=0)
    lost = {
        (t.writer, t.example): f"the chain is {t.status}"
        for written in traces.values()
        for t in written
        if t.status != "valid"
    }
    assert len(lost) == 4
    members = defaultdict(dict)
    for item in items:
        members[key(item)][item.example] = item
    own_answers = {"free", "forced", "direct", "alone", "chains"}
    n_checked = 0
    for of_key in members.values():
        one = next(iter(of_key.values()))
        is_curve = any(getattr(one, point) is not None for point in CURVES)
        if is_curve or one.condition in own_answers or one.condition.endswith(("base", "post")):
            continue
        if one.writer not in traces or one.metric == "accuracy_strict":
            continue
        for (writer, example), note in lost.items():
            if writer == one.writer:
                found = of_key[example]
                assert math.isnan(found.value) and found.note == note, (name, found)
                n_checked += 1
    assert n_checked >= 4
    shown = {
        (i.writer, i.reader): i for i in items if (i.condition, i.metric) == (CHAINS, READABLE)
    }
    assert {writer for writer, _ in shown} == set(traces)
    for writer in traces:
        values = {
            i.example: i.value
            for i in items
            if (i.condition, i.metric, i.writer) == (CHAINS, READABLE, writer)
        }
        assert values == {e.id: float((writer, e.id) not in lost) for e in task.examples}


def test_the_share_of_readable_chains_is_a_row(readers, task, traces):
    items = find_probe("path_masks")().run(readers, task, traces, seed=0)
    rows = summarise(
        items, pair="a -> b", chance={task.name: task.chance}, seed=0, n_boot=200,
        **statistics_of(["path_masks"]),
    )  # fmt: skip
    shares = {(r.writer, r.reader): r.value for r in rows if r.metric == READABLE}
    assert shares["gold", "base"] == shares["gold", "post"] == 1.0
    assert shares["base", "base"] == shares["post", "post"] == pytest.approx(4 / 6)
    (masks,) = [
        r for r in rows
        if (r.metric, r.writer, r.reader) == ("necessity_js", "base", "post") and r.is_whole
    ]  # fmt: skip
    assert masks.n_missing == 2 and "the chain is truncated (2)" in masks.note


@pytest.mark.parametrize("name", ["corruption", "knowledge_index", "information_gain"])
def test_where_no_chain_can_be_read_the_main_numbers_say_so(name, readers, task, traces):
    none = {"base": [cut_off(trace) for trace in traces["base"]]}
    items = find_probe(name)(**QUICK[name]).run(readers, task, none, seed=0)
    assert {i.value for i in items if i.metric == READABLE} == {0.0}
    named = {(h.condition, h.metric) for h in find_probe(name).headline if h.condition != "given"}
    missing = {(i.condition, i.metric) for i in items if i.note == "the chain is truncated"}
    assert {("joint", "follows"), ("written", "ki"), ("chain", "total")} & named & missing


def test_numbers_of_own_chains_are_missing_only_there(readers, task, traces):
    def item(metric, writer, reader, example):
        return Item(
            probe="p", task=task.name, condition="c", metric=metric, value=1.0, writer=writer,
            reader=reader, example=example.id, problem=example.problem,
        )  # fmt: skip

    first = task.examples[0]
    made = [item("m", "gold", r, first) for r in readers]
    made += [item(m, "base", "base", first) for m in ("m", "own")]
    found = add_unreadable(made, "p", ("c", ("m",)), readers, task, traces)
    new = [i for i in found[len(made) :] if i.metric != READABLE]
    assert {(i.writer, i.reader) for i in new if i.metric == "own"} == {
        ("base", "base"), ("post", "post"),
    }  # fmt: skip
    assert sum(i.metric == "m" for i in new) == 4 * len(readers)


def with_last_unfinished(monkeypatch, module, tiny, task, answer):
    """Readers give the right answers, but none of the last example's ever ends."""
    gold = gold_traces(tiny.tokenizer, task)
    last = replace(gold[-1], status="truncated", answer=answer, correct=False)
    told = [*gold[:-1], last]
    monkeypatch.setattr(
        f"probes.{module}.answer_alone", lambda *_, **__: {"direct": told, "forced": told}
    )
    monkeypatch.setattr(f"probes.{module}.write_traces", lambda *_, **__: told, raising=False)


def means(items):
    """Condition and metric -> mean and number of values, by hand."""
    groups = defaultdict(list)
    for item in items:
        groups[item.condition, item.metric].append(item.value)
    known = {k: [v for v in of if not math.isnan(v)] for k, of in groups.items()}
    return {k: (sum(of) / len(of) if of else math.nan, len(of)) for k, of in known.items()}


def test_accuracy_is_strict_and_stands_beside_that_of_finished_answers(monkeypatch, tiny, task):
    with_last_unfinished(monkeypatch, "accuracy", tiny, task, task.examples[-1].answer)
    items = Accuracy().run({"base": tiny}, task, {}, seed=0)
    found = means(items)
    for mode in ("free", "forced", "direct"):
        assert found[mode, "accuracy"] == (pytest.approx(5 / 6), 6)
        assert found[mode, "finished"] == (pytest.approx(5 / 6), 6)
        assert found[mode, "accuracy_if_finished"] == (1.0, 5)
    assert {i.note for i in items if i.value != i.value} >= {NEVER_ENDS}


def test_given_chains_that_cannot_be_read_are_missing_and_strictly_wrong(readers, task, traces):
    items = Accuracy().run(readers, task, traces, seed=0)
    for reader in readers:
        for writer, n in (("gold", 6), ("base", 4), ("post", 4)):
            of = [i for i in items if (i.writer, i.reader) == (writer, reader)]
            plain = [i.value for i in of if (i.condition, i.metric) == ("given_chain", "accuracy")]
            strict = [i.value for i in of if i.metric == "accuracy_strict"]
            known = [value for value in plain if not math.isnan(value)]
            assert len(plain) == len(strict) == 6 and len(known) == n
            assert sum(strict) == sum(known)


def test_abstention_leaves_out_what_never_ends_and_counts_it_strictly(monkeypatch, tiny):
    task = make_task("arith/abstain", n=6, seed=0)
    with_last_unfinished(monkeypatch, "abstention", tiny, task, "unk")  # the last has no answer
    found = means(Abstention().run({"base": tiny}, task, {}, seed=0))
    for mode in ("direct", "forced"):
        assert found[mode, "recall"] == (1.0, 2)
        assert found[mode, "recall_strict"] == (pytest.approx(2 / 3), 3)
        assert found[mode, "appropriate"] == (pytest.approx(5 / 6), 6)
        assert found[mode, "appropriate_if_finished"] == (1.0, 5)
        assert found[mode, "finished"] == (pytest.approx(5 / 6), 6)
    assert found["forced", "recall_change"] == (0.0, 2)


def test_an_unfinished_allocation_has_no_form(monkeypatch, tiny):
    task = make_task("dispatch/shifts", n=8, seed=0)
    told = {
        mode: [
            replace(
                trace_of(e), status="truncated" if k == 7 else "valid", answer=e.answer,
                correct=k != 7,
            )
            for k, e in enumerate(task.examples)
        ]
        for mode in ("direct", "forced")
    }  # fmt: skip
    monkeypatch.setattr("probes.generalisation.answer_alone", lambda *_, **__: told)
    found = means(Generalisation().run({"base": tiny}, task, {}, seed=0))
    assert found["rule", "format_valid"] == found["rule", "feasible"] == (0.5, 2)
    assert found["rule", "infeasible_in_form"] == (0.0, 2)
    assert found["rule", "accuracy"] == (0.5, 2) and found["rule", "finished"] == (0.5, 2)
    assert found["rule", "accuracy_if_finished"] == (1.0, 1)
    assert found["none", "format_valid"] == (1.0, 2)


def trace_of(example):
    """A finished trace of this example, without tokens."""
    from interp.chains.trace import Trace

    return Trace(
        example=example.id, problem=example.problem, task="t", writer="base", mode="forced",
        status="valid", prompt_ids=(), steps=(), answer=example.answer, answer_ids=(1,),
        correct=True,
    )  # fmt: skip
