"""Every family: each site is read and edited as an independent computation reads and edits it.

Which check stands for what:

| streams | families | independent computation |
| --- | --- | --- |
| all, read | all | TransformerLens' bridge, which has its own map of modules, splits fused weights its own way and computes attention anew |
| all but resid_mid, edited | all | hooks of the bridge |
| resid_mid, edited | all but neox | by hand: the rest of the block from the raw modules (the bridge's own edit misses the skip connection) |
| resid_pre, resid_mid | neox | absent: resid_mid; the rest as above |
"""  # noqa: E501

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from families import EXPERTS, FAMILIES, block, make_family, make_hf
from torch import Tensor

from interp.engine import run
from interp.interventions import Intervention, add, zero_ablate
from interp.models import hooked, load_model, make_model
from interp.models.adapters import LLAMA, Place, find_adapter
from interp.models.bridge import Bridge, open_bridge
from interp.models.checks import all_sites, check_model
from interp.models.model import Model, site_shape
from interp.organisms.worlds.arith.problems import WORDS
from interp.sites import STREAMS, Site

EXACT = 2e-4
"""Logits go up to about 10; two float32 implementations differ by about 1e-5."""

IDS = [5, 6, 17, 30, 18, 10, 27, 4, 33, 21]
POSITIONS = (2, 7)

TAILS = {
    "olmo2": ("mlp", "post_feedforward_layernorm"),
    "olmo3": ("mlp", "post_feedforward_layernorm"),
    "gemma2": ("pre_feedforward_layernorm", "mlp", "post_feedforward_layernorm"),
    "gemma3": ("pre_feedforward_layernorm", "mlp", "post_feedforward_layernorm"),
    "gpt2": ("ln_2", "mlp"),
}
"""What a block applies to its middle before it adds that; else the two modules of Llama."""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> Model:
    return make_family(family)


@pytest.fixture(scope="module")
def bridge(model: Model) -> Bridge:
    return open_bridge(model)


def edits(model: Model) -> list[tuple[Site, str, Tensor]]:
    """Adding a random vector and zeroing, at every site."""
    generator = torch.Generator().manual_seed(3)
    return [
        (site, kind, torch.randn(site_shape(model, site), generator=generator))
        for site in all_sites(model)
        for kind in ("add", "zero")
    ]


def edited(model: Model) -> tuple[Tensor, ...]:
    """Logits of all edits, each in its own row of one batch."""
    interventions = [
        Intervention(site, add, vector, positions=POSITIONS, rows=(row,))
        if kind == "add"
        else Intervention(site, zero_ablate, positions=POSITIONS, rows=(row,))
        for row, (site, kind, vector) in enumerate(edits(model))
    ]
    return run(model, [IDS] * len(interventions), interventions=interventions).logits


def bridge_factor(model: Model, site: Site) -> float:
    """What the bridge's activation is multiplied by: its embed of Granite is that of the module."""
    is_embed = site.stream == "embed"
    return getattr(model.hf.config, "embedding_multiplier", 1.0) if is_embed else 1.0


def test_streams_are_those_of_the_family(family: str, model: Model):
    absent = {
        "olmo2": {"ln1", "ln2"},
        "olmo3": {"ln1", "ln2"},
        **dict.fromkeys(EXPERTS, {"mlp_pre", "mlp_pre_linear", "mlp_post"}),
        "starcoder2": {"mlp_pre_linear"},
        "gpt2": {"mlp_pre_linear"},
        "neox": {"mlp_pre_linear", "resid_mid"},
        "neox-sequential": {"mlp_pre_linear"},
    }
    assert set(STREAMS) - set(model.adapter.streams) == absent.get(family, set())
    assert set(model.adapter.absent) == absent.get(family, set())
    for stream, reason in model.adapter.absent.items():
        site = Site(0, stream)
        with pytest.raises(ValueError, match=f"no stream '{stream}', because {reason}. It has: "):
            run(model, [IDS], capture=[site])
    grouped = family not in ("gpt2", "neox", "neox-sequential")
    assert (model.n_kv_heads < model.n_heads) == grouped
    assert model.d_mlp == (128 if family == "gpt2" else 48)


def test_every_site_reads_as_the_bridge_does(model: Model, bridge: Bridge):
    sites = all_sites(model)
    result = run(model, [IDS], capture=sites)
    logits, cache = bridge.run_with_cache(torch.tensor([IDS]), [str(site) for site in sites])
    assert torch.allclose(result.logits[0], logits[0], atol=EXACT)
    for site in sites:
        activation, expected = result.captures[site][0], cache[str(site)][0]
        assert activation.shape == expected.shape, str(site)
        expected = expected * bridge_factor(model, site)
        assert torch.allclose(activation, expected, atol=EXACT), str(site)


def test_every_site_edits_as_the_bridge_does(model: Model, bridge: Bridge):
    rows = edits(model)

    def hook_for(row: int, kind: str, vector: Tensor) -> Any:
        def change(activation: Tensor, hook: Any) -> Tensor:  # noqa: ARG001
            changed = activation.clone()
            for at in POSITIONS:
                changed[row, at] = changed[row, at] + vector if kind == "add" else 0
            return changed

        return change

    hooks = [
        (str(site), hook_for(row, kind, vector / bridge_factor(model, site)))
        for row, (site, kind, vector) in enumerate(rows)
        if site.stream != "resid_mid"
    ]
    expected = bridge.run_with_hooks(torch.tensor([IDS] * len(rows)), hooks)
    plain = run(model, [IDS]).logits[0]
    for found, wanted, (site, kind, _) in zip(edited(model), expected, rows, strict=True):
        if site.stream != "resid_mid":
            assert torch.allclose(found, wanted, atol=EXACT), f"{kind} at {site}"
        assert (found - plain).abs().max() > 1e-3, f"{kind} at {site}"


def test_middle_edits_as_computed_by_hand(family: str, model: Model):
    """The rest of the block after resid_mid, from the raw modules."""
    tail = TAILS.get(family, ("post_attention_layernorm", "mlp"))
    n_checked = 0
    for found, (site, kind, vector) in zip(edited(model), edits(model), strict=True):
        if site.stream != "resid_mid":
            continue
        assert site.layer is not None
        middle = run(model, [IDS], capture=[site]).captures[site][0].clone()[None]
        middle[:, POSITIONS] = middle[:, POSITIONS] + vector if kind == "add" else 0
        after = middle
        for name in tail:
            after = block(model.hf, site.layer).get_submodule(name)(after)
        output = middle + after * getattr(model.hf.config, "residual_multiplier", 1.0)
        handle = block(model.hf, site.layer).register_forward_hook(lambda *_, out=output: out)
        with torch.no_grad():
            expected = model.hf(torch.tensor([IDS]), use_cache=False).logits[0]
        handle.remove()
        assert torch.allclose(found, expected, atol=EXACT), f"{kind} at {site}"
        n_checked += 1
    assert n_checked == (0 if family == "neox" else 6)


def test_identity_edits_are_exact_no_ops(model: Model):
    plain = run(model, [IDS]).logits[0]
    sites = all_sites(model)
    nothing = [Intervention(site, add, torch.zeros(site_shape(model, site))) for site in sites]
    assert torch.equal(run(model, [IDS], interventions=nothing).logits[0], plain)
    with torch.no_grad(), hooked(model, [(site, torch.clone) for site in sites]):
        assert torch.equal(model.hf(torch.tensor([IDS]), use_cache=False).logits[0].float(), plain)


def test_parts_add_up_to_the_stream(family: str, model: Model):
    found = run(model, [IDS], capture=all_sites(model)).captures
    embed = found[Site(None, "embed")][0]
    if family == "gpt2":
        embed = embed + model.hf.transformer.wpe.weight[: len(IDS)]
    assert torch.allclose(embed, found[Site(0, "resid_pre")][0])
    for layer in range(3):
        part = {s: found[Site(layer, s)][0] for s in model.adapter.streams if STREAMS[s].in_blocks}
        total = part["resid_pre"] + part["attn_out"] + part["mlp_out"]
        assert torch.allclose(total, part["resid_post"], atol=1e-5)


def test_loads_from_a_folder(family: str, model: Model, tmp_path: Any):
    model.hf.save_pretrained(tmp_path / "m")
    WORDS.tokenizer().save_pretrained(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.adapter == model.adapter
    assert loaded.hf.config._attn_implementation == ("eager" if family == "gemma2" else "sdpa")
    assert torch.equal(run(loaded, [IDS]).logits[0], run(model, [IDS]).logits[0])


def swapped(one: str, other: str) -> Any:
    return lambda places: {one: places[other], other: places[one]}


def parts(names: str, **fields: Any) -> Any:
    """The streams in one module in another order, or laid out in another way."""
    order = tuple(names.split())
    return lambda places: {n: replace(places[n], parts=order, **fields) for n in order}


def at(stream: str, module: str) -> Any:
    return lambda _: {stream: Place(module, "out")}


def unscaled(stream: str) -> Any:
    return lambda places: {stream: replace(places[stream], factor=1.0)}


_RAW = "model.layers.{layer}."

FUSED = ("phi3", "gpt2", "neox")
UNFUSED = tuple(
    name for name in FAMILIES if name not in ("phi3", "gpt2", "neox", "neox-sequential")
)

WRONG = [
    *((name, swapped("k", "v"), "z of position 0") for name in UNFUSED),
    *(
        (name, swapped("mlp_pre", "mlp_pre_linear"), "mlp_post of")
        for name in UNFUSED
        if name not in ("starcoder2", *EXPERTS)
    ),
    *((name, swapped("attn_out", "mlp_out"), "attn_out|resid_mid") for name in FAMILIES),
    *((name, swapped("ln1", "ln2"), "constant ln1") for name in ("llama", "gemma3", "neox")),
    *(
        (name, at(f"{part}_out", f"{_RAW}{module}"), "resid_pre . attn_out . mlp_out")
        for name in ("olmo2", "olmo3", "gemma2", "gemma3")
        for part, module in (("attn", "self_attn"), ("mlp", "mlp"))
    ),
    *((name, parts("k q v"), "z of head 0|z over") for name in FUSED),
    *((name, parts("v k q"), "z of position 0") for name in FUSED),
    *((name, parts("q k v", per_head=name != "neox"), "z of position 0") for name in FUSED),
    ("neox-sequential", parts("q k v", per_head=False), "z of position 0"),
    ("phi3", parts("mlp_pre_linear mlp_pre"), "mlp_post of constant"),
    ("phi3", parts("q k"), r"should hold q, k in 1 x \[32, 16\] columns, received 64"),
    ("granite", unscaled("embed"), "embed against resid_pre of block 0 is off"),
    ("granite", unscaled("attn_out"), "resid_pre . attn_out . mlp_out of block 0 is off"),
    ("granite", unscaled("mlp_out"), "a multiplier on embeddings, sublayers or logits"),
]


@pytest.mark.parametrize(("name", "changes", "message"), WRONG)
def test_wrong_layout_is_refused(name: str, changes: Any, message: str):
    model = make_family(name)
    places = model.adapter.places
    wrong = replace(model.adapter, places={**places, **changes(places)})
    with pytest.raises(ValueError, match=message):
        check_model(replace(model, adapter=wrong))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("granite", "embed against resid_pre of block 0 is off.*a multiplier on embeddings"),
        ("qwen3-moe", r"names the module model.layers.0.mlp.gate_proj, which the model lacks"),
        ("starcoder2", r"names the module model.layers.0.mlp.gate_proj, which the model lacks"),
    ],
)
def test_taken_for_llama_a_family_is_refused_with_a_true_reason(name: str, message: str):
    with pytest.raises(ValueError, match=message):
        check_model(replace(make_family(name), adapter=LLAMA))


def test_logits_that_are_divided_need_the_divisor():
    model = make_family("granite")
    with pytest.raises(ValueError, match="unembedding of the body is off.*multiplier on embed"):
        check_model(replace(model, adapter=replace(model.adapter, logit_divisor=1.0)))


def test_an_unknown_family_is_told_where_its_row_belongs():
    with pytest.raises(ValueError, match="row in interp/models/adapters.py; received 'Mamba2") as e:
        find_adapter("Mamba2ForCausalLM")
    assert "GraniteForCausalLM" in str(e.value) and "open_bridge" in str(e.value)


def test_a_row_without_the_window_of_the_configuration_is_refused():
    """Short passes would agree, and branches of a longer text be wrong by nats."""
    model = make_family("starcoder2")
    assert model.adapter.window
    with pytest.raises(ValueError, match="has a sliding window of .* and the row .* has none"):
        check_model(replace(model, adapter=replace(model.adapter, window=None)))


def test_a_stream_left_out_without_a_reason_is_refused():
    model = make_family("starcoder2")
    with pytest.raises(ValueError, match="does neither for mlp_pre_linear"):
        check_model(replace(model, adapter=replace(model.adapter, absent={})))


def test_parallel_block_taken_for_a_sequential_one_is_refused():
    model = make_family("neox")
    sequential = replace(model.adapter, sequential=True)
    with pytest.raises(ValueError, match="mlp_out of constant resid_mid in block 0"):
        check_model(replace(model, adapter=sequential))


def test_gpt2_may_set_its_mlp_width():
    model = make_model(make_hf("gpt2", n_inner=40), WORDS.tokenizer(), name="narrow")
    assert model.d_mlp == 40


def test_phi3_with_two_sets_of_frequencies_is_limited_to_the_first():
    """Beyond it, one long row would change how the short rows of its batch are read."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [2.0] * 4,
        "original_max_position_embeddings": 24,
    }
    hf = make_hf("phi3", rope_parameters=rope, original_max_position_embeddings=24)
    model = make_model(hf, WORDS.tokenizer(), name="long")
    assert model.n_ctx == 24
    with pytest.raises(ValueError, match="is 25 tokens long and long reads at most 24"):
        run(model, [IDS, [5] * 25])
