"""Routes: costs are counted, and a base that could is told from one that could not."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import make_hf

from interp.models import load_model, make_model
from interp.organisms.training.vectors import with_vectors
from interp.organisms.zoo import organism_path
from interp.results.plots import RouteRow, routes
from interp.tasks.registry import make_task
from probes.elicitation_methods import (
    Routes,
    delta_auroc,
    route_rows,
    routes_lines,
    trained_parameters,
)

FEW = Routes(n_samples=16, n_paths=4, doses=(0.5, 1.0))


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
    return {row.name: row for row in route_rows(items, seed=0)}


def test_trained_parameters_are_counted_in_the_weights(tiny):
    same = make_model(make_hf(), tiny.tokenizer, name="same")
    assert trained_parameters(tiny, same) == 0
    changed = make_hf()
    changed.model.layers[1].mlp.up_proj.weight.data[0, 0] += 1
    post = make_model(changed, tiny.tokenizer, name="post")
    assert trained_parameters(tiny, post) == changed.model.layers[1].mlp.up_proj.weight.numel()
    whole = make_hf(seed=1)
    pairs = zip(make_hf().parameters(), whole.parameters(), strict=True)
    n = sum(old.numel() for old, new in pairs if not torch.equal(old, new))
    assert trained_parameters(tiny, make_model(whole, tiny.tokenizer, name="whole")) == n > 0


def test_vectors_count_as_one_per_layer_and_zero_biases_not_at_all(tiny):
    hf = with_vectors(make_hf())
    assert trained_parameters(tiny, make_model(hf, tiny.tokenizer, name="zero")) == 0
    for layer in hf.model.layers:
        layer.mlp.down_proj.bias.data += 0.1
    assert trained_parameters(tiny, make_model(hf, tiny.tokenizer, name="vectors")) == 3 * 32


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
    def mean(writer, k, metric="pass_chain_valid"):
        values = [i.value for i in items if (i.writer, i.step, i.metric) == (writer, k, metric)]
        return sum(values) / len(values)

    assert mean("base", 1) < 0.3 < 0.5 < mean("base", 16) and mean("grpo", 1) > 0.9
    assert all(mean("base", k) <= mean("base", k, "pass_correct") for k in (1, 2, 4, 8, 16))


def test_a_base_that_never_saw_a_chain_has_none_to_find():
    readers = {"base": organism("base-no-chains"), "grpo": organism("grpo-no-chains")}
    found = FEW.run(readers, make_task("arith/fresh", n=20, seed=0), {}, seed=0)
    strict = [i.value for i in found if i.metric == "pass_chain_valid" and i.step == 16]
    loose = [i.value for i in found if i.metric == "pass_correct" and i.step == 16]
    assert max(strict) == 0 and sum(loose) / len(loose) > 0.3
    assert math.isnan(delta_auroc(found, "delta_chain", "delta_no_chain", seed=0).value)


def test_the_lines_name_every_route_and_k(items, rows):
    text = "\n".join(routes_lines(items, seed=0))
    assert all(name in text for name in rows)
    assert "pass@k, chain valid" in text and "AUROC for 'the path has a chain'" in text


def test_training_problems_have_no_value_and_say_why(items):
    missing = {i.example for i in items if i.note.startswith("a training problem")}
    assert len(missing) == 12
    assert all(math.isnan(i.value) for i in items if i.example in missing)


def test_a_single_model_is_not_applicable(readers):
    task = make_task("arith/fresh", n=3, seed=0)
    found = Routes().run({"base": readers["base"]}, task, {}, seed=0)
    assert all(math.isnan(i.value) for i in found)
    assert routes_lines(found, seed=0) == [
        "routes are compared on a base and the models made from it"
    ]


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
    probe = Routes(n_samples=2, n_paths=2, doses=(0.5, 1.0), sae=tmp_path, n_latents=1)
    row = next(r for r in route_rows(probe.run(readers, task, {}, seed=0), seed=0)
               if r.name == "sae_latent")  # fmt: skip
    assert row.accuracy > 0.9 and row.fitted == d + 1 and row.touched == 1


def test_the_figure_draws_every_route_once(rows):
    figure = routes(list(rows.values()))
    left, right = figure.axes
    assert len(left.containers) == len(right.containers) == len(rows)
    assert left.get_ylabel() == "Accuracy"
    one = RouteRow("a", 0.5, 0.4, 0.6, 0.0, 0, 0, 0.0)
    with pytest.raises(ValueError, match="each once"):
        routes([one, one])
    with pytest.raises(ValueError, match="at least one"):
        routes([])
