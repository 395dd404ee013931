"""TransformerLens as the oracle: reading and editing at every shared site must agree with it.

HookedTransformer implements Llama anew, with its own attention and its own hook points, so that
agreement here means that names, places, axes and head layout are right.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import make_hf, make_lens
from torch import Tensor

from interp.engine import generate, run
from interp.interventions import Intervention, add, interpolate, zero_ablate
from interp.methods.attention import SteppedText, step_attention
from interp.models import load_model
from interp.models.checks import all_sites
from interp.models.model import site_shape
from interp.organisms.worlds.arith.problems import WORDS
from interp.sites import Site

EXACT = 2e-4
"""Logits of the tiny model go up to about 10; two float32 implementations differ by about 1e-5."""

IDS = [1, 6, 17, 30, 18, 10, 27, 4]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny model whose norms have uneven gains, so that before and after the gain differ."""
    hf = make_hf()
    generator = torch.Generator().manual_seed(7)
    for name, weight in hf.named_parameters():
        if "norm" in name:
            weight.data = 0.5 + torch.rand(weight.shape, generator=generator)
    folder = tmp_path_factory.mktemp("oracle") / "tiny"
    hf.save_pretrained(folder)
    WORDS.tokenizer().save_pretrained(folder)
    return load_model(folder)


@pytest.fixture(scope="module")
def lens(model: Any) -> Any:
    """The same model in TransformerLens."""
    return make_lens(model)


def lens_name(site: Site) -> str:
    """HookedTransformer has the norms' values before the gain only."""
    return str(site).replace("hook_out", "hook_normalized")


def gain(model: Any, site: Site) -> Tensor:
    """What a value at TransformerLens' norm hook is multiplied with to be the norm's output."""
    layers = model.hf.model.layers
    if site.stream == "ln1":
        return layers[site.layer].input_layernorm.weight
    if site.stream == "ln2":
        return layers[site.layer].post_attention_layernorm.weight
    return model.hf.model.norm.weight if site.stream == "ln_final" else torch.ones(())


def test_grouped_query_attention_is_tested(model: Any):
    assert model.n_kv_heads < model.n_heads and len(all_sites(model)) == 3 * 14 + 2


def test_logits_agree(model: Any, lens: Any):
    found = run(model, [IDS]).logits[0]
    with torch.no_grad():
        assert torch.allclose(found, lens(torch.tensor([IDS]))[0], atol=EXACT)


def test_every_site_reads_the_same(model: Any, lens: Any):
    sites = all_sites(model)
    found = run(model, [IDS], capture=sites).captures
    with torch.no_grad():
        _, cache = lens.run_with_cache(torch.tensor([IDS]))
    for site in sites:
        expected = cache[lens_name(site)][0] * gain(model, site)
        assert found[site][0].shape == expected.shape, str(site)
        assert torch.allclose(found[site][0], expected, atol=EXACT), str(site)


POSITIONS = (2, 5)


def make_edit(kind: str, site: Site, vector: Tensor) -> Intervention:
    """Adding a vector, moving half way to it, or zeroing, at two positions."""
    if kind == "zero":
        return Intervention(site, zero_ablate, positions=POSITIONS)
    operator, dose = (add, 1.0) if kind == "add" else (interpolate, 0.5)
    return Intervention(site, operator, vector, dose, positions=POSITIONS)


def make_hook(kind: str, vector: Tensor) -> Any:
    """The same edit as a TransformerLens hook."""

    def change(x: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
        x = x.clone()
        for at in POSITIONS:
            old = x[:, at]
            x[:, at] = {"add": old + vector, "interpolate": (old + vector) / 2, "zero": 0 * old}[
                kind
            ]
        return x

    return change


@pytest.mark.parametrize("kind", ["add", "interpolate", "zero"])
def test_every_site_edits_the_same(model: Any, lens: Any, kind: str):
    generator = torch.Generator().manual_seed(1)
    plain = run(model, [IDS]).logits[0]
    for site in all_sites(model):
        vector = torch.randn(site_shape(model, site), generator=generator)
        hook = make_hook(kind, vector / gain(model, site))
        with torch.no_grad():
            expected = lens.run_with_hooks(
                torch.tensor([IDS]), fwd_hooks=[(lens_name(site), hook)]
            )[0]
        found = run(model, [IDS], interventions=[make_edit(kind, site, vector)]).logits[0]
        assert torch.allclose(found, expected, atol=EXACT), str(site)
        assert (found - plain).abs().max() > 1e-2, str(site)


def test_one_head_of_z_edits_the_same(model: Any, lens: Any):
    vector = torch.randn(model.d_head, generator=torch.Generator().manual_seed(2))
    edit = Intervention(Site(1, "z"), add, vector, positions=(-1,), head=3)

    def change(z: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
        z = z.clone()
        z[:, -1, 3] += vector
        return z

    with torch.no_grad():
        expected = lens.run_with_hooks(
            torch.tensor([IDS]), fwd_hooks=[("blocks.1.attn.hook_z", change)]
        )[0]
    found = run(model, [IDS], interventions=[edit]).logits[0]
    assert torch.allclose(found, expected, atol=EXACT)


def test_steered_writing_agrees(model: Any, lens: Any):
    """Greedy text under steering, against TransformerLens reading the whole text every time."""
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(4))
    steer = Intervention(Site(1, "resid_mid"), add, vector, dose=2.0)
    found = generate(model, [IDS[:4]], max_new_tokens=6, interventions=[steer])[0]
    ids = IDS[:4]
    for _ in range(6):
        with torch.no_grad():
            logits = lens.run_with_hooks(
                torch.tensor([ids]),
                fwd_hooks=[("blocks.1.hook_resid_mid", lambda x, hook: x + 2.0 * vector)],  # noqa: ARG005
            )
        ids = [*ids, int(logits[0, -1].argmax())]
    assert found.ids == tuple(ids[4:])


def test_attention_between_steps_agrees(model: Any, lens: Any):
    text = SteppedText(tuple(IDS), (range(1, 3), range(3, 4), range(5, 8)))
    with torch.no_grad():
        _, cache = lens.run_with_cache(torch.tensor([IDS]))
    found = step_attention(model, text)
    for layer in range(model.n_layers):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0]
        for i, rows in enumerate(text.steps):
            for j, columns in enumerate(text.steps):
                block = pattern[:, rows.start : rows.stop, columns.start : columns.stop]
                assert torch.allclose(found[layer, :, i, j], block.mean((-1, -2)), atol=EXACT)
