"""Hybrid decoding: its controls are fair, its headline does without post, and it knows a null."""

from __future__ import annotations

import math
from dataclasses import replace

import jaxtyping
import pytest
import torch

from interp.chains.completion_format import find_format
from interp.engine import generate
from interp.errors import NotMeasurableError
from interp.methods.decoding.hybrid import (
    ALONE,
    CONTROLS_OF,
    VARIANTS,
    WITH_POST,
    BaseGate,
    HybridSettings,
    find_category,
    fit_gate,
    label_texts,
    prepare,
    write_hybrid,
)
from interp.methods.directions import Source, collect, make_direction
from interp.models import ModelPair, load_model
from interp.organisms.zoo import organism_path
from interp.results.summaries import summarise
from interp.sites import Site
from interp.tasks.registry import make_task
from probes.hybrid import (
    HEADLINE,
    TRAINING,
    HybridDecoding,
    describe_hybrid,
    recovery_of,
    split_task,
)
from probes.probe import Results

BY_NAME = {variant.name: variant for variant in VARIANTS}
ZERO = HybridSettings(doses=(0.0,))


def organism(name):
    return load_model(organism_path(name, 0))


@pytest.fixture(scope="module")
def pair():
    return ModelPair(organism("base"), organism("grpo"))


@pytest.fixture(scope="module")
def sides():
    return split_task(make_task("arith/fresh", n=50, seed=0), 0.6, seed=0)


@pytest.fixture(scope="module")
def setup(pair, sides):
    return prepare(pair, sides[0], HybridSettings(), seed=0)


def counts_of(task, written):
    return {
        e.id: (len(h.fired), len(h.text.ids)) for e, h in zip(task.examples, written, strict=True)
    }


def write(pair, task, setup, name, **more):
    return write_hybrid(pair, task, setup, BY_NAME[name], seed=0, **more)


def test_at_dose_zero_every_steered_variant_writes_what_base_writes(pair, sides, setup):
    task = sides[1]
    form = find_format(task, pair.base)
    plain = generate(pair.base, form.prompts(), max_new_tokens=form.max_new_tokens, stop=form.stop)
    zero = replace(setup, settings=ZERO)
    for variant in VARIANTS:
        if not variant.is_steered or variant.gate == "shuffled":
            continue
        dose = None if variant.asks_post else 0.0
        found = write_hybrid(pair, task, zero, variant, seed=0, dose=dose)
        assert [h.text.ids for h in found] == [one.ids for one in plain], variant.name
        assert all(norm == 0 for h in found for norm in h.edit_norms)


def test_the_norms_of_every_control_equal_those_of_the_method(pair, sides, setup):
    dose, task = 2.0, sides[1]
    one_dose = replace(setup, settings=HybridSettings(doses=(dose,)))
    wanted = dose * setup.vectors.bias.reference_norm
    for name in ("hybrid", "random_vectors", "bias_only", "random_category", "random_choice"):
        norms = [n for h in write(pair, task, one_dose, name) for n in h.edit_norms]
        assert norms and norms == pytest.approx([wanted] * len(norms), rel=1e-4), name
    for variant in ALONE:
        if variant.is_steered and variant.gate != "shuffled":
            found = write_hybrid(pair, task, setup, variant, seed=0, dose=dose)
            norms = [n for h in found for n in h.edit_norms]
            assert norms and norms == pytest.approx([wanted] * len(norms), rel=1e-4), variant.name


def test_the_dose_unit_is_the_mean_norm_of_base_at_the_places_of_decision(pair, sides, setup):
    form = find_format(sides[0], pair.base)
    prompts = form.prompts()
    texts = generate(pair.post, prompts, max_new_tokens=form.max_new_tokens, stop=form.stop)
    rows = [(*p, *t.ids) for p, t in zip(prompts, texts, strict=True)]
    where = [range(len(p) - 1, len(r) - 1) for p, r in zip(prompts, rows, strict=True)]
    norm = collect(pair.base, rows, where, setup.site).mean_norm
    every = [setup.vectors.bias, *setup.vectors.category.values(), *setup.vectors.random.values()]
    assert [one.reference_norm for one in every] == pytest.approx([norm] * len(every), rel=1e-5)


def test_vectors_are_plain_differences_of_means_where_the_two_differ(pair, sides, setup):
    """base and grpo differ at the first new token only, which the last of the question decides."""
    prompts = find_format(sides[0], pair.base).prompts()
    means = []
    for model in (pair.post, pair.base):
        states = []
        with torch.no_grad():
            for prompt in prompts:
                out = model.hf(input_ids=torch.tensor([prompt]), output_hidden_states=True)
                states.append(out.hidden_states[setup.site.layer + 1][0, -1].double())
        means.append(torch.stack(states).mean(0))
    wanted = means[0] - means[1]
    found = setup.vectors.category["open"]
    assert float(found.vector.double() @ wanted / wanted.norm()) == pytest.approx(1, abs=1e-4)


def test_the_headline_is_the_same_whatever_post_is(pair, sides, setup):
    other = ModelPair(pair.base, organism("base-no-chains"))
    for variant in ALONE:
        if variant.gate == "shuffled":
            continue
        dose = 2.0 if variant.is_steered else None
        first = write_hybrid(pair, sides[1], setup, variant, seed=0, dose=dose)
        second = write_hybrid(other, sides[1], setup, variant, seed=0, dose=dose)
        assert [h.text.ids for h in first] == [h.text.ids for h in second], variant.name
        assert all(h.differing is None for h in first)


def test_a_shuffled_gate_fires_as_often_in_every_text_that_reaches_as_far(pair, sides, setup):
    task = sides[1]
    hybrid = write(pair, task, setup, "hybrid")
    counts = counts_of(task, hybrid)
    again = write(pair, task, setup, "shuffled_positions", counts=counts)
    for one, example in zip(again, task.examples, strict=True):
        n, length = counts[example.id]
        assert len(one.fired) <= n
        if len(one.text.ids) >= length:
            assert len(one.fired) == n
    assert [h.fired for h in again] != [h.fired for h in hybrid]


def test_guardrail_only_has_as_many_candidates_and_no_vector(pair, sides, setup):
    found = write(pair, sides[1], setup, "guardrail_only")
    assert all(not h.steered for h in found) and any(h.fired for h in found)
    narrow = replace(setup, settings=HybridSettings(doses=(1.0,)))
    form = find_format(sides[1], pair.base)
    plain = generate(pair.base, form.prompts(), max_new_tokens=form.max_new_tokens, stop=form.stop)
    top = write(pair, sides[1], narrow, "guardrail_only")
    assert [h.text.ids for h in top] == [one.ids for one in plain], "one candidate is base's own"


def test_the_hybrid_reaches_post_and_so_does_the_guardrail_alone(pair, sides, setup):
    """On an organism post finds the token that it wants among base's likeliest: a leak."""
    for name in ("hybrid", "guardrail_only"):
        found = write(pair, sides[1], setup, name)
        assert sum(h.text.is_chain_valid is True for h in found) >= len(found) - 1
    for one in write(pair, sides[1], setup, "hybrid"):
        assert one.n_prompt > 0 and set(one.steered) <= set(one.fired)
        assert one.n_strict <= len(one.fired) and one.differing is not None


def test_categories_follow_the_layout(pair, sides):
    form = find_format(sides[0], pair.base)
    text = "<think> 3 + 4 = 7 ; 7 * 2 = 3 ; </think> A 3 <eos>"
    ids = form.tokenizer(text, add_special_tokens=False)["input_ids"]
    ends = frozenset({form.tokenizer.convert_tokens_to_ids(";")})
    found = [find_category(form, ends, ids[:n]) for n in range(len(ids))]
    assert found == ["open", "step", *["inside"] * 5, "step", *["inside"] * 5, "step",
                     *["answer"] * 3]  # fmt: skip
    direct = form.tokenizer("A 3 <eos>", add_special_tokens=False)["input_ids"]
    assert [find_category(form, ends, direct[:n]) for n in range(3)] == ["open", "answer", "answer"]


def test_doses_and_counts_belong_to_their_variants(pair, sides, setup):
    for name, more in (("hybrid", {"dose": 1.0}), ("base_alone", {})):
        with pytest.raises(ValueError, match="a dose belongs"):
            write(pair, sides[1], setup, name, **more)
    for name, more in (("hybrid", {"counts": {}}), ("shuffled_positions", {})):
        with pytest.raises(ValueError, match="shuffled gate"):
            write(pair, sides[1], setup, name, **more)


def test_a_pair_of_a_model_with_itself_has_no_vectors(pair, sides):
    with pytest.raises(ValueError, match="do not differ"):
        prepare(ModelPair(pair.base, pair.base), sides[0], HybridSettings(), seed=0)


def test_layouts_without_a_chain_are_refused(tiny, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    task = make_task("arith/fresh", n=2, seed=0)
    plain = replace(task, layout=replace(task.layout, think_open=""))
    with pytest.raises(ValueError, match="think_open"):
        find_format(plain, tiny)


def test_training_problems_and_measured_ones_are_disjoint(sides):
    learn, test = ({e.problem for e in side.examples} for side in sides)
    assert not learn & test and len(learn) == 30 and len(test) == 20
    with pytest.raises(ValueError, match="one side empty"):
        split_task(sides[1], 0.0, seed=0)


def test_every_method_has_its_controls():
    assert set(CONTROLS_OF["hybrid"]) == {v.name for v in WITH_POST} - {"hybrid"}
    assert set(CONTROLS_OF["base_alone"]) == {v.name for v in ALONE} - {"base_alone"}
    assert not any(variant.asks_post for variant in ALONE)


@pytest.fixture(scope="module")
def probed(pair):
    task = make_task("arith/fresh", n=45, seed=0)
    readers = {"base": pair.base, "post": pair.post}
    probe = HybridDecoding(doses=(1.0,))
    return readers, task, probe, probe.run(readers, task, {}, seed=0)


@pytest.fixture(scope="module")
def without_gap(tiny_pair):
    """Random models: no gap, and too few problems in which they agree to fit a gate."""
    task = make_task("arith/fresh", n=5, seed=0)
    readers = {"base": tiny_pair.base, "post": tiny_pair.post}
    return HybridDecoding(doses=(1.0,)).run(readers, task, {}, seed=0)


def test_the_probe_has_items_of_every_variant_and_says_what_was_trained_on(probed):
    _, task, _, items = probed
    assert {i.variant or i.reader for i in items} == {"base", "post", *BY_NAME}
    assert all(i.writer == i.reader and (i.token is not None) == (i.metric == "edit_norm")
               for i in items)  # fmt: skip
    assert {i.example for i in items} == {e.id for e in task.examples}
    trained = {i.example for i in items if i.note.startswith("a training problem")}
    assert len(trained) == 18
    assert all(math.isnan(i.value) for i in items if i.example in trained)
    steered = {(i.variant, i.example): i.value for i in items if i.metric == "steered"}
    norms: dict[tuple[str, str], int] = {}
    for item in items:
        if item.metric == "edit_norm":
            norms[item.variant, item.example] = norms.get((item.variant, item.example), 0) + 1
    assert norms and all(norms.get(key, 0) == n for key, n in steered.items() if n == n)


def test_the_lines_give_raw_accuracies_and_flag_a_pair_without_a_gap(probed, without_gap):
    *_, items = probed
    found = recovery_of(items, "hybrid", seed=0)
    lines = describe_hybrid(items, seed=0)
    assert f"base {found.base.value:.3f}" in lines[0]
    assert not any(line.startswith("NOT TO BE READ") for line in lines)
    assert sum(line.startswith("gap recovered by") for line in lines) == 2
    lines = describe_hybrid(without_gap, seed=0)
    assert any(line.startswith("NOT TO BE READ") for line in lines)
    assert sum(line.startswith("gap recovered by") for line in lines) == 1  # there is no gate


def test_without_a_gate_the_variants_that_read_it_are_not_measurable(probed, monkeypatch):
    readers, task, probe, items = probed
    module = "interp.methods.decoding.hybrid.writing.fit_gate"

    def too_few(*_, **__):
        raise NotMeasurableError("they never differ")

    monkeypatch.setattr(module, too_few)
    found = probe.run(readers, task, {}, seed=0)
    alone = {variant.name for variant in ALONE}
    measured = {i.variant for i in found if i.metric == "correct" and i.value == i.value}
    assert measured == {"", *BY_NAME} - alone
    notes = {i.note for i in found if i.variant in alone}
    assert notes == {"they never differ", TRAINING}
    (line,) = [line for line in describe_hybrid(found, seed=0) if "never differ" in line]
    assert all(name in line for name in alone)
    rows = summarise(found, pair="a", chance={task.name: 0.1}, seed=0, n_boot=200)
    (row,) = [r for r in rows if (r.variant, r.metric) == (HEADLINE, "correct")]
    assert math.isnan(row.value) and "they never differ" in row.note
    kept = [i for i in items if i.variant not in alone]
    assert repr(kept) == repr([i for i in found if i.variant not in alone])

    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr(module, broken)
    with pytest.raises(ValueError, match="a bug"):
        probe.run(readers, task, {}, seed=0)


def test_a_gate_that_never_sees_a_difference_is_not_fitted(pair, sides):
    form = find_format(sides[0], pair.base)
    texts = [(5, 6, 2)] * len(form.prompts())
    problems = [example.problem for example in sides[0].examples]
    same = label_texts(ModelPair(pair.base, pair.base), form, form.prompts(), texts, problems)
    with pytest.raises(NotMeasurableError, match="they never differ"):
        fit_gate(pair.base, same, same, Site(1, "resid_post"), seed=0)
    few = replace(same, differs=((True, False, False), *same.differs[1:]))
    with pytest.raises(NotMeasurableError, match="received 1 problems with positive"):
        fit_gate(pair.base, few, few, Site(1, "resid_post"), seed=0)


def test_what_leaves_nothing_to_measure_is_said_and_a_bug_is_not_hidden(probed, monkeypatch):
    readers, task, probe, _ = probed
    twins = {"base": readers["base"], "post": readers["base"]}
    one = replace(task, examples=task.examples[:1])
    for asked, of, reason in ((twins, task, "do not differ"), (readers, one, "one side empty")):
        items = probe.run(asked, of, {}, seed=0)
        assert items and all(math.isnan(i.value) and reason in i.note for i in items)

    def broken(*_, **__):
        raise TypeError("a bug")

    monkeypatch.setattr("probes.hybrid.prepare", broken)
    with pytest.raises(TypeError, match="a bug"):
        probe.run(readers, task, {}, seed=0)


def test_the_figure_draws_accuracy_by_variant(probed):
    _, task, probe, items = probed
    rows = summarise(items, pair="a", chance={task.name: 0.1}, seed=0)
    (drawing,) = probe.figures(Results(tuple(rows), items, {}, (task.name,), "", 0))
    assert {row.variant for row in drawing.data} == {"", *BY_NAME}
    figure = drawing.draw(drawing.data, **drawing.options)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["unsteered", *BY_NAME]


def test_one_reader_is_not_applicable(probed):
    readers, task, probe, _ = probed
    items = probe.run({"base": readers["base"]}, task, {}, seed=0)
    assert all(math.isnan(i.value) and "post" in i.note for i in items)
    assert describe_hybrid(items, seed=0) == ["hybrid decoding needs a base and a post model"]
    with pytest.raises(ValueError, match="both readers"):
        recovery_of(items, "hybrid", seed=0)


def test_a_gate_reads_activations_in_half_precision():
    vector = torch.eye(4)[0]
    gate = BaseGate(
        make_direction(vector, Site(0, "resid_post"), Source("test")), 0.5, 1.0, torch.zeros(4), {}
    )
    assert gate.fires((2 * vector).bfloat16()) and not gate.fires(-vector.bfloat16())
