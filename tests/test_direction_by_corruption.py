"""Direction by corruption: differences of differences, against values worked out by hand."""

import math

import numpy as np
import pytest
import torch

from interp.chains.rendering import render
from interp.chains.texts import encode
from interp.chains.trace_writing import gold_traces
from interp.engine import run
from interp.interventions import Intervention, add
from interp.methods.directions import Direction, Source, random_directions
from interp.models import load_model
from interp.organisms.zoo import organism_path
from interp.results.rows import Item
from interp.results.summaries import summarise
from interp.sites import Site
from interp.tasks import make_task
from probes import statistics_of
from probes.cases import cases
from probes.direction_by_corruption import (
    EDITS,
    METRICS,
    RANDOM,
    UNREACHABLE,
    DirectionByCorruption,
    pair_direction,
    summarise_interactions,
)
from probes.probe import Results


@pytest.fixture(scope="module")
def readers():
    return {
        name: load_model(organism_path(of)) for name, of in (("base", "base"), ("post", "grpo"))
    }


@pytest.fixture(scope="module")
def asked(readers):
    task = make_task("arith/fresh", n=6, seed=0)
    return task, {"gold": gold_traces(readers["base"].tokenizer, task)}


def test_draws_are_numbered_and_the_direction_has_none(readers, asked):
    items = items_of(readers, asked, n_random=2)
    assert {(i.metric.partition("_")[0], i.draw) for i in items} == {
        ("interaction", None), ("random", 0), ("random", 1),
    }  # fmt: skip


def items_of(readers, asked, **settings):
    task, traces = asked
    items = DirectionByCorruption(**settings).run(readers, task, traces, seed=0)
    return [item for item in items if item.metric != "readable"]


def test_at_dose_0_every_interaction_is_exactly_0(readers, asked):
    for operator in ("add", "ablate"):
        items = items_of(readers, asked, dose=0.0, n_random=2, operator=operator)
        values = [item.value for item in items if not math.isnan(item.value)]
        assert values and set(values) == {0.0}


def test_an_interaction_is_the_difference_of_differences_of_single_passes(readers, asked):
    task, traces = asked
    model, tokenizer = readers["post"], readers["post"].tokenizer
    items = items_of(readers, asked, dose=0.8, n_random=0, positions="question", layer=1)
    direction = pair_direction(readers, traces, 1)
    assert direction is not None
    site = Site(1, "resid_post")
    questions = [encode(tokenizer, example.question) for example in task.examples]
    found = run(model, questions, capture=[site]).captures[site]
    norm = float(np.mean([float(one[-1].norm()) for one in found]))
    example, question = task.examples[2], questions[2]

    def logprob(text, dose):
        text = question + encode(tokenizer, text)
        answer = encode(tokenizer, example.answer) + encode(tokenizer, "<eos>")
        edit = Intervention(
            site, add, direction.vector * norm, dose, positions=(len(question) - 1,)
        )
        rows = run(model, [text + answer], interventions=[edit]).logits[0].log_softmax(-1)
        # The answer and what ends it: the last two positions that predict something.
        return sum(float(rows[len(text) - 1 + at][token]) for at, token in enumerate(answer))

    half = " ".join(example.steps[: len(example.steps) // 2])
    full = f"<think> {' '.join(example.steps)} </think> A"
    cut = f"<think> {half} </think> A"
    by_hand = (logprob(cut, 0.8) - logprob(full, 0.8)) - (logprob(cut, 0.0) - logprob(full, 0.0))
    (mine,) = [
        item.value for item in items
        if (item.example, item.reader, item.condition, item.metric)
        == (example.id, "post", "truncated", "interaction_logprob")
    ]  # fmt: skip
    assert mine == pytest.approx(by_hand, abs=2e-4)


def test_a_batch_of_chains_reads_as_one_by_one(readers, asked):
    for positions in ("all", "question"):
        batch = items_of(readers, asked, dose=0.5, n_random=1, positions=positions)
        single = items_of(readers, asked, dose=0.5, n_random=1, positions=positions, batch_size=1)
        pairs = list(zip(batch, single, strict=True))
        assert all(b.value == pytest.approx(s.value, abs=2e-4, nan_ok=True) for b, s in pairs)


@pytest.mark.parametrize("positions", ["question", "all"])
def test_random_ablations_edit_as_much_as_that_of_the_direction(readers, asked, positions):
    task, traces = asked
    direction = pair_direction(readers, traces, 2)
    (found,) = [f for *_, f in cases({"post": readers["post"]}, task, traces, seed=0)]
    probe, arms = (
        DirectionByCorruption(operator="ablate", n_random=3, positions=positions, dose=1.0),
        [],
    )
    original = DirectionByCorruption._answers

    def watched(self, model, cases_, edits, arm):
        arms.append(arm)
        return original(self, model, cases_, edits, arm)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectionByCorruption, "_answers", watched)
        probe.crossed(readers["post"], task, found, direction, seed=0)
    rows = [render(case.trace.prompt_ids, case.chain, case.layout) for case in found]
    norms, here = [], [(case, 0) for case in found]
    for arm in arms[1:]:  # the first is the plain reader
        receipts = run(readers["post"], rows, interventions=probe._edits(here, arm)).receipts
        total = sum(receipt.edit_norm * receipt.n_positions for receipt in receipts)
        norms.append(total / sum(receipt.n_positions for receipt in receipts))
    assert arms[0] is None and norms == pytest.approx([norms[0]] * 4, rel=1e-3)


def test_a_model_and_itself_have_no_direction_and_one_reader_no_pair(readers, asked):
    task, traces = asked
    same = {"base": readers["base"], "post": readers["base"]}
    for given, note in ((same, "do not differ"), ({"base": readers["base"]}, "pair")):
        items = DirectionByCorruption().run(given, task, traces, seed=0)
        assert items and all(math.isnan(i.value) and note in i.note for i in items)


def made(values, metric="interaction_logprob", draw=None, twins=True):
    return [
        Item(
            probe="direction_by_corruption", task="t", example=f"e{k}",
            problem=f"p{k // 2}" if twins else f"p{k}", condition=EDITS[0], metric=metric,
            value=value, writer="gold", reader="post", draw=draw,
        )
        for k, value in enumerate(values)
    ]  # fmt: skip


def results_of(items):
    statistics = statistics_of(["direction_by_corruption"])
    rows = summarise(items, pair="x", chance={"t": 0.1}, seed=0, **statistics)
    return Results(tuple(rows), tuple(items), {}, ("t",), "gold", 0)


def test_rows_hold_the_mean_and_the_band_of_the_random_means():
    own = [-1.0, -1.2, -1.5, -1.9, -1.4, -2.0, -1.2, -1.8, -1.3, -1.6, -1.1, -2.0]
    drawn = made([0.2] * 12, RANDOM, 0) + made([-0.4] * 12, RANDOM, 1)
    (row,) = summarise_interactions(made(own) + drawn)
    assert (row.value, row.n) == (pytest.approx(np.mean(own)), 6)
    assert (row.band_low, row.band_high) == (pytest.approx(-0.4), pytest.approx(0.2))
    assert row.low < np.mean(own) < row.high < 0 and row.is_specific
    results = results_of(made(own) + drawn)
    (line,) = DirectionByCorruption().describe(results)
    assert "post reads gold, truncated, logprob: -1.500" in line and "beyond random" in line
    (inside,) = summarise_interactions(made([-0.1, 0.1] * 6) + drawn)
    assert not inside.is_specific
    (few,) = summarise_interactions(made(own[:8]) + drawn)
    assert few.n == 4 and math.isnan(few.low) and not few.is_specific
    _, of_post = DirectionByCorruption().figures(results)
    direction, random = of_post.data
    assert (direction.metric, direction.value) == (METRICS[0], pytest.approx(row.value))
    assert random.metric == RANDOM
    assert (random.low, random.high) == pytest.approx((row.band_low, row.band_high))


def test_twins_of_one_problem_count_once():
    twins = [-1.0, -1.0, 1.0, 1.0] * 4
    (row,) = summarise_interactions(made(twins))
    alone = made(twins, twins=False)
    (other,) = summarise_interactions(alone)
    assert row.high - row.low > other.high - other.low


SLOW = (13, 14, 15, 29, 30, 31)
"""Of the 32 dimensions of a head those that rotate least with the position."""


def plant_a_switch(model, rows):
    """A direction under which heads after the first layer read the first token and no chain.

    It is the one that activations after the first layer have least of. The part of each query that
    it is made to write is what sets the key of the first token apart from all others.
    """
    site = Site(0, "resid_post")
    seen = torch.cat([one[1:] for one in run(model, rows, capture=[site]).captures[site]])
    switch = torch.linalg.svd(seen, full_matrices=False).Vh[-1]
    for layer in range(1, model.n_layers):
        at = Site(layer, "k")
        keys = run(model, rows, capture=[at]).captures[at]
        apart = torch.stack([k[0] for k in keys]).mean(0) - torch.cat([k[1:] for k in keys]).mean(0)
        block = model.hf.model.layers[layer]
        for head in range(4):
            query = torch.zeros(32)
            query[list(SLOW)] = apart[head // 2][list(SLOW)]
            row = torch.outer(query / query.norm(), switch / block.input_layernorm.weight)
            block.self_attn.q_proj.weight[32 * head : 32 * (head + 1)] += 10 * row
    return switch


@pytest.mark.parametrize("seed", [1, 2])
def test_a_planted_switch_of_the_chain_is_found_and_a_random_direction_is_none(seed):
    model = load_model(organism_path("base", seed))
    task = make_task("arith/fresh", n=40, seed=0)
    traces = {"gold": gold_traces(model.tokenizer, task)}
    ((*_, found),) = cases({"base": model}, task, traces, seed=0)
    rows = [render(c.trace.prompt_ids, c.chain, c.layout) for c in found]
    with torch.no_grad():
        switch = plant_a_switch(model, rows)
    probe = DirectionByCorruption(dose=0.5, positions="all", layer=0)
    direction = Direction(switch, Site(0, "resid_post"), Source("planted"))

    def same(direction):
        rows = summarise_interactions(probe.crossed(model, task, found, direction, seed=0))
        return {row.edit: row for row in rows if row.metric == "same"}

    planted = same(direction)  # a filled chain holds no other value to read: its change is small
    assert planted["truncated"].is_specific and planted["mistake_propagated"].is_specific
    (other,) = random_directions(direction, 1, seed=9)
    random = same(other)
    for edit in ("truncated", "mistake_propagated"):
        assert planted[edit].value > 0.5 and abs(random[edit].value) < 0.3


def test_an_edit_that_no_later_token_sees_is_refused(readers, asked):
    """After the last layer no other token reads the question's last token."""
    for layer in (-1, 2):
        items = items_of(readers, asked, layer=layer, n_random=1)
        assert {item.note for item in items} == {UNREACHABLE}
        assert all(math.isnan(item.value) for item in items)
    everywhere = items_of(readers, asked, layer=-1, n_random=1, positions="all")
    middle = items_of(readers, asked, n_random=1)
    for items in (everywhere, middle):
        assert any(item.value != 0 and not math.isnan(item.value) for item in items)
