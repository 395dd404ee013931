"""Readers that follow their chain on some problems and not on others."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from interp.chains.trace_writing import gold_traces
from interp.results.rows import Item
from interp.tasks import make_task
from probes.mixture import LEVEL, find_split, read_mixture
from tests.planted_readers import last_result, measure, memorised, plant

CELL = ("arith/fresh", "base", "gold")


def planted_rows(monkeypatch, tiny, uses, n=100):
    """Rows and items of a reader that uses its chain where `uses` says so: index, chain -> bool."""
    task = make_task("arith/fresh", n=n, seed=0)
    traces = {"gold": gold_traces(tiny.tokenizer, task)}
    order = {trace.prompt_ids: at for at, trace in enumerate(traces["gold"])}

    def answer_of(prompt, candidates, chain):
        reader = last_result if uses(order[prompt], chain) else memorised
        return reader(prompt, candidates, chain)

    plant(monkeypatch, answer_of)
    return (*measure("corruption", tiny, task, traces), task)


def test_half_of_the_problems_each_certainly_reads_in_part(monkeypatch, tiny):
    rows, items, task = planted_rows(monkeypatch, tiny, lambda at, _: at % 2 == 0)
    # Half of the problems have the property; it is another one that splits them.
    facts = {e.id: {"depth": 1 + at // 50, "shift": "deeper" if at % 2 else "none"}
             for at, e in enumerate(task.examples)}  # fmt: skip
    found = read_mixture(rows, *CELL, items=items, facts=facts)
    assert found is not None
    assert found.share.value == pytest.approx(0.5, abs=0.08)  # where the planted value was there
    assert found.words == f"in part ({found.share.describe()})"
    assert found.split is not None and found.split.question == "shift is none"
    assert (found.split.share_if_yes, found.split.share_if_no) == (1, 0)
    assert found.split.p < 0.001
    assert "Where shift is none, 1.00 against 0.00 elsewhere" in found.sentence


def test_a_reader_that_is_unsure_on_each_problem_does_not_read_in_part(monkeypatch, tiny):
    """It follows half of the chains, and another edit of the same chain gives another answer."""

    def toss(at, chain):
        return random.Random(f"{at} {[step.ids for step in chain or ()]}").random() < 0.5

    rows, _, _ = planted_rows(monkeypatch, tiny, toss)
    assert read_mixture(rows, *CELL) is None


@pytest.mark.parametrize("share", [0.0, 0.04, 0.96, 1.0])
def test_one_behaviour_on_all_but_all_problems_is_no_mixture(monkeypatch, tiny, share):
    rows, _, _ = planted_rows(monkeypatch, tiny, lambda at, _: at < 100 * share)
    assert read_mixture(rows, *CELL) is None


def test_few_problems_are_no_mixture(monkeypatch, tiny):
    rows, _, _ = planted_rows(monkeypatch, tiny, lambda at, _: at % 2 == 0, n=16)
    assert read_mixture(rows, *CELL) is None


def test_without_rows_of_the_reader_there_is_no_mixture():
    assert read_mixture([], *CELL) is None


def read_organism(organism, split):
    from probes.model_names import find_model

    model = find_model(f"{organism}:1")
    task = make_task(f"arith/{split}", n=60, seed=0)
    return measure("corruption", model, task, {"gold": gold_traces(model.tokenizer, task)})[0]


@pytest.mark.parametrize(("organism", "split"), [("base", "fresh"), ("decorative", "pool")])
def test_organisms_of_one_behaviour_do_not_read_in_part(organism, split):
    assert read_mixture(read_organism(organism, split), f"arith/{split}", "base", "gold") is None


def test_half_swapped_chains_made_a_reader_that_is_unsure_on_single_problems():
    """It was trained on a mixture and is none: it follows one mistake and not another."""
    rows = read_organism("swapped-50", "pool")
    certain = next(r for r in rows if r.metric == "certain")
    follows = next(r for r in rows if r.metric == "follows")
    assert certain.high < 0.75
    assert 0.4 < follows.value < 0.9
    assert read_mixture(rows, "arith/pool", "base", "gold") is None


def test_a_model_that_copies_cues_follows_in_part_of_mixed_questions_and_splits_by_the_cue():
    """The organism `hint`, on problems of which every second has a cue."""
    from probes.model_names import find_model

    model = find_model("hint:1")
    kinds = [make_task(f"arith/{split}", n=50, seed=0) for split in ("fresh", "cued")]
    examples = [
        replace(e, id=f"{k}{e.id}", problem=f"{k}{e.problem}")
        for k, one in enumerate(kinds)
        for e in one.examples
    ]
    task = replace(kinds[0], examples=tuple(examples))
    rows, items = measure("corruption", model, task, {"gold": gold_traces(model.tokenizer, task)})
    found = read_mixture(rows, *CELL, items=items, facts={e.id: e.facts for e in examples})
    assert found is not None and found.split is not None
    assert found.split.question == "cue is given"
    assert found.split.share_if_yes < 0.1 and found.split.share_if_no > 0.9
    assert found.split.p < 0.001


def items_of(values, problems):
    return [
        Item(probe="corruption", task="t", condition="joint", metric="follows", example=f"e{at}",
             problem=problem, value=float(value), reader="base", writer="gold")
        for at, (value, problem) in enumerate(zip(values, problems, strict=True))
    ]  # fmt: skip


def test_the_best_of_many_properties_that_tell_nothing_is_found_in_one_of_twenty():
    """Sixty problems of two examples that behave alike, and ten properties of a problem."""
    rng = np.random.default_rng(0)
    problems = [f"p{at // 2}" for at in range(120)]
    found = 0
    for seed in range(200):
        values = rng.integers(0, 2, 60).repeat(2)
        known = rng.integers(0, 2, (10, 60)).repeat(2, axis=1)
        facts = {
            f"e{at}": {f"fact{k}": "yes" if known[k, at] else "no" for k in range(10)}
            for at in range(120)
        }
        split = find_split(items_of(values, problems), facts, seed=seed)
        assert split is not None
        found += split.p < LEVEL
    # Binomial: 10 expected of 200 with sd 3.
    assert found <= 19


def test_numbers_split_at_a_threshold_and_rare_values_are_not_asked():
    depth = [1 + at % 4 for at in range(80)]
    facts = {f"e{at}": {"depth": d, "asked": f"question {at}"} for at, d in enumerate(depth)}
    facts["e0"] = {**facts["e0"], "odd": "only here"}
    items = items_of([d >= 3 for d in depth], [f"p{at}" for at in range(80)])
    split = find_split(items, facts)
    assert split is not None and split.question == "depth is at least 3"
    assert (split.n_yes, split.n_no) == (40, 40)
    assert find_split(items, {e: {"asked": f["asked"]} for e, f in facts.items()}) is None
    assert find_split([replace(i, value=math.nan) for i in items], facts) is None
