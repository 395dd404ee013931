"""Elicitation methods: costs are counted, and a base that could is told from one that could not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from conftest import make_hf

from interp.models import load_model, make_model
from interp.organisms.training.vectors import with_vectors
from interp.organisms.zoo import organism_path
from interp.results.plots import MethodCost, elicitation_costs
from interp.results.summaries import summarise
from interp.tasks.registry import make_task
from probes.elicitation_methods import TRAINING, ElicitationMethods
from probes.elicitation_methods.methods import count_trained
from probes.elicitation_methods.summary import delta_auroc, describe_methods, method_costs
from probes.probe import Results

FEW = ElicitationMethods(n_samples=16, n_paths=4, doses=(0.5, 1.0), n_latents=0)


def rows_of(items):
    names = {item.task for item in items}
    return summarise(items, pair="a", chance=dict.fromkeys(names, 0.1), seed=0, n_boot=200)


def costs_of(items):
    return {cost.name: cost for cost in method_costs(rows_of(items), items)}


def organism(name):
    return load_model(organism_path(name, 0))


@pytest.fixture(scope="module")
def readers():
    return {"base": organism("base"), "grpo": organism("grpo")}


@pytest.fixture(scope="module")
def items(readers):
    return FEW.run(readers, make_task("arith/fresh", n=30, seed=0), {}, seed=0)


@pytest.fixture(scope="module")
def rows(items):
    return costs_of(items)


def test_trained_parameters_are_counted_in_the_weights(tiny):
    same = make_model(make_hf(), tiny.tokenizer, name="same")
    assert count_trained(tiny, same) == 0
    changed = make_hf()
    changed.model.layers[1].mlp.up_proj.weight.data[0, 0] += 1
    post = make_model(changed, tiny.tokenizer, name="post")
    assert count_trained(tiny, post) == changed.model.layers[1].mlp.up_proj.weight.numel()
    whole = make_hf(seed=1)
    pairs = zip(make_hf().parameters(), whole.parameters(), strict=True)
    n = sum(old.numel() for old, new in pairs if not torch.equal(old, new))
    assert count_trained(tiny, make_model(whole, tiny.tokenizer, name="whole")) == n > 0


def test_vectors_count_as_one_per_layer_and_zero_biases_not_at_all(tiny):
    hf = with_vectors(make_hf())
    assert count_trained(tiny, make_model(hf, tiny.tokenizer, name="zero")) == 0
    for layer in hf.model.layers:
        layer.mlp.down_proj.bias.data += 0.1
    assert count_trained(tiny, make_model(hf, tiny.tokenizer, name="vectors")) == 3 * 32


def test_the_costs_of_each_route(readers, rows):
    d_model = readers["base"].d_model
    assert (rows["base"].trained, rows["base"].fitted, rows["base"].touched) == (0, 0, 0)
    assert (rows["template"].trained, rows["template"].touched) == (0, 1)
    steer = rows["steer[grpo]"]
    assert (steer.trained, steer.fitted, steer.touched) == (0, d_model + 1, 1)
    assert rows["grpo"].trained > 100_000 and rows["grpo"].touched > 10 and rows["grpo"].is_post
    assert not rows["steer[grpo]"].is_post and not rows["base"].is_post


def test_template_and_steering_reach_the_reinforced_model_and_base_does_not(rows):
    for name in ("template", "steer[grpo]", "grpo"):
        assert rows[name].accuracy > 0.9 and rows[name].chain_valid > 0.9, name
    assert rows["base"].accuracy < 0.5 and rows["base"].chain_valid == 0


def test_a_base_that_could_meets_the_reinforced_model_at_large_k(items):
    def mean(reader, k, metric="pass_chain_valid"):
        values = [
            i.value
            for i in items
            if (i.reader, i.variant, i.k, i.metric) == (reader, "", k, metric)
        ]
        return sum(values) / len(values)

    assert mean("base", 1) < 0.3 < 0.5 < mean("base", 16) and mean("grpo", 1) > 0.9
    assert all(mean("base", k) <= mean("base", k, "pass_correct") for k in (1, 2, 4, 8, 16))


def test_a_base_that_never_saw_a_chain_has_none_to_find():
    readers = {"base": organism("base-no-chains"), "grpo": organism("grpo-no-chains")}
    found = FEW.run(readers, make_task("arith/fresh", n=20, seed=0), {}, seed=0)
    strict = [i.value for i in found if i.metric == "pass_chain_valid" and i.k == 16]
    loose = [i.value for i in found if i.metric == "pass_correct" and i.k == 16]
    assert max(strict) == 0 and sum(loose) / len(loose) > 0.3
    assert math.isnan(delta_auroc(found, "delta_chain", "delta_no_chain", seed=0).value)


def test_the_lines_name_every_method_and_k(items, rows):
    text = "\n".join(describe_methods(rows_of(items), items, seed=0))
    assert all(name in text for name in rows)
    assert "pass@k, chain valid" in text and "AUROC for 'the path has a chain'" in text


def test_training_problems_have_no_value_and_say_why(items):
    missing = {i.example for i in items if i.note.startswith("a training problem")}
    assert len(missing) == 12
    assert all(math.isnan(i.value) for i in items if i.example in missing)


def test_items_say_who_wrote_by_which_method_and_from_where_the_direction_is(items):
    methods = {(i.reader, i.variant, i.source) for i in items if i.condition == "one_answer"}
    assert methods == {
        ("base", "", ""), ("grpo", "", ""), ("base", "template", ""), ("base", "vote", ""),
        ("base", "steer", "grpo"),
        *(("base", f"cot_{how}", "") for how in ("best", "summed", "likeliest")),
    }  # fmt: skip
    assert all(i.writer == i.reader for i in items)
    assert all((i.k is not None) == (i.condition == "pass_at_k") for i in items)
    deltas = [i for i in items if i.metric.startswith("delta")]
    assert {i.draw for i in deltas} == set(range(4)) and {i.variant for i in deltas} == {"cot"}


def test_what_leaves_nothing_to_measure_is_said_and_a_bug_is_not_hidden(tiny_pair, monkeypatch):
    task = make_task("arith/fresh", n=6, seed=0)
    probe = ElicitationMethods(n_samples=2, n_paths=2, doses=(1.0,), n_latents=1)
    twins = {"base": tiny_pair.base, "post": tiny_pair.base}
    found = probe.run(twins, task, {}, seed=0)
    notes = {i.variant: i.note for i in found if i.note not in ("", TRAINING) and not i.draw
             and i.condition == "one_answer"}  # fmt: skip
    assert notes.keys() == {"steer", "sae_latent"}
    assert "do not differ" in notes["steer"] and "none is bundled" in notes["sae_latent"]
    lines = describe_methods(rows_of(found), found, seed=0)
    assert any(line.startswith("steer[post]: not measurable") for line in lines)
    assert any(line.startswith("sae_latent: not measurable") for line in lines)
    one = replace(task, examples=task.examples[:1])
    for readers, asked, reason in (
        ({"base": tiny_pair.base}, task, "a base and the models made from it"),
        (twins, one, "one side empty"),
    ):
        items = probe.run(readers, asked, {}, seed=0)
        assert items and all(math.isnan(i.value) and reason in i.note for i in items)
        assert describe_methods(rows_of(items), items, seed=0) == [items[0].note]

    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr("probes.elicitation_methods.difference_direction", broken)
    with pytest.raises(ValueError, match="a bug"):
        probe.run(twins, task, {}, seed=0)


def test_an_sae_latent_is_chosen_on_training_problems_and_added_at_its_site(readers, tmp_path):
    """An SAE whose one useful latent is the direction from base to grpo at the last token."""
    sae_lens = pytest.importorskip("sae_lens")
    from interp.methods.directions import collect
    from interp.sites import Site

    base, d = readers["base"], readers["base"].d_model
    task = make_task("arith/fresh", n=20, seed=0)
    questions = [example.question for example in task.examples]
    prompts = base.tokenizer(questions, add_special_tokens=False)["input_ids"]
    site = Site(1, "resid_post")
    last = [(-1,)] * len(prompts)
    means = [collect(m, prompts, last, site).values.mean(0) for m in (readers["grpo"], base)]
    wanted = means[0] - means[1]
    cues = [
        collect(base, [p + [base.tokenizer.convert_tokens_to_ids(w)] for p in prompts], last, site)
        for w in ("<think>", "A")
    ]
    apart = cues[0].values.mean(0) - cues[1].values.mean(0)
    cfg = sae_lens.StandardSAEConfig(
        d_in=d, d_sae=4, dtype="float32", device="cpu",
        metadata=sae_lens.saes.sae.SAEMetadata(hook_name=str(site), model_name="base"),
    )  # fmt: skip
    sae = sae_lens.StandardSAE(cfg)
    with torch.no_grad():
        for weight in sae.parameters():
            weight.zero_()
        sae.W_enc[:, 2] = apart / apart.norm()
        sae.W_dec[:] = torch.randn(4, d, generator=torch.Generator().manual_seed(0))
        sae.W_dec[2] = wanted
    sae.save_model(str(tmp_path))
    probe = ElicitationMethods(
        n_samples=2, n_paths=2, doses=(0.5, 1.0), sae=str(tmp_path), n_latents=1
    )
    row = costs_of(probe.run(readers, task, {}, seed=0))["sae_latent"]
    assert row.accuracy > 0.9 and row.fitted == d + 1 and row.touched == 1


def test_the_figure_draws_every_method_once(items, rows):
    results = Results(tuple(rows_of(items)), items, {}, ("arith/fresh",), "", 0)
    (drawing,) = FEW.figures(results)
    assert [cost.name for cost in drawing.data] == list(rows)
    assert FEW.describe(results) == describe_methods(rows_of(items), items, seed=0)
    figure = elicitation_costs(list(rows.values()))
    left, right = figure.axes
    assert len(left.containers) == len(right.containers) == len(rows)
    assert left.get_ylabel() == "Accuracy"
    one = MethodCost("a", 0.5, 0.4, 0.6, 0.0, 0, 0, 0.0)
    with pytest.raises(ValueError, match="each once"):
        elicitation_costs([one, one])
    with pytest.raises(ValueError, match="at least one"):
        elicitation_costs([])
