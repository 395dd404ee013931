"""The bridge: TransformerLens where it is right, and an error where it would be silently wrong."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from families import make_family, make_hf
from torch import Tensor

from interp.models import load_model
from interp.models.bridge import Bridge, load_bridge, open_bridge
from interp.organisms.worlds.arith.problems import WORDS

IDS = torch.tensor([[5, 6, 17, 30, 18, 10]])


@pytest.fixture(scope="module")
def bridge() -> Bridge:
    return open_bridge(make_family("qwen3"))


def make_stablelm() -> Any:
    """A family without a row in the adapter table."""
    from transformers import StableLmConfig, StableLmForCausalLM

    torch.manual_seed(0)
    config = StableLmConfig(
        vocab_size=len(WORDS.vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
    )
    return StableLmForCausalLM(config).eval()


def test_another_architecture_is_read_and_edited(tmp_path: Path):
    hf = make_stablelm()
    hf.save_pretrained(tmp_path / "m")
    WORDS.tokenizer().save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match=r"'StableLmForCausalLM'.*open_bridge"):
        load_model(tmp_path / "m")
    bridge = load_bridge(tmp_path / "m")
    name = "blocks.1.hook_resid_pre"
    logits, cache = bridge.run_with_cache(IDS, [name, "blocks.1.attn.hook_pattern"])
    with torch.no_grad():
        plain = hf(IDS, output_hidden_states=True)
    assert torch.allclose(logits, plain.logits, atol=1e-4)
    assert torch.allclose(cache[name], plain.hidden_states[1], atol=1e-4)
    pattern = cache["blocks.1.attn.hook_pattern"]
    assert torch.allclose(pattern.sum(-1), torch.ones(1, 4, 6)) and pattern.shape[-1] == 6
    push = torch.ones(32)
    handle = hf.model.layers[1].register_forward_pre_hook(
        lambda _module, args: (args[0] + push, *args[1:])
    )
    with torch.no_grad():
        expected = hf(IDS).logits
    handle.remove()
    found = bridge.run_with_hooks(IDS, [(name, lambda x, hook: x + push)])  # noqa: ARG005
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_model_is_left_alone():
    hf = make_hf("gpt2")
    before = {name: weight.clone() for name, weight in hf.state_dict().items()}
    level = logging.getLogger("transformers").level
    bridge = open_bridge(hf)
    assert before.keys() == hf.state_dict().keys()
    bridge.lens.W_E.data.zero_()
    assert all(torch.equal(before[name], weight) for name, weight in hf.state_dict().items())
    assert logging.getLogger("transformers").level == level


def test_unknown_names_are_errors(bridge: Bridge):
    for name in ("blocks.0.hook_resid_pst", "blocks.3.hook_resid_post", "resid_post.0"):
        with pytest.raises(ValueError, match=f"no hook point is called '{name}'.*hook_resid_post"):
            bridge.run_with_cache(IDS, [name])
    assert "blocks.2.hook_resid_post" in bridge.names


def test_hook_point_that_is_switched_off_or_silent_is_an_error(bridge: Bridge):
    with pytest.raises(ValueError, match="use_attn_result is False"):
        bridge.run_with_cache(IDS, ["blocks.0.attn.hook_result"])
    with pytest.raises(RuntimeError, match="exist but were never computed: blocks.0.attn.hook_hid"):
        bridge.run_with_cache(IDS, ["blocks.0.attn.hook_hidden_states"])


def test_middle_is_read_and_never_written(bridge: Bridge):
    name = "blocks.1.hook_resid_mid"
    parts = ["blocks.1.hook_resid_pre", "blocks.1.hook_attn_out", name]
    _, cache = bridge.run_with_cache(IDS, parts)
    assert torch.allclose(cache[parts[0]] + cache[parts[1]], cache[name], atol=1e-5)

    def in_place(x: Tensor, hook: Any) -> None:  # noqa: ARG001
        x.mul_(2)

    for write in (in_place, lambda x, hook: 2 * x):  # noqa: ARG005
        with pytest.raises(ValueError, match="not the skip connection.*hook_attn_out"):
            bridge.run_with_hooks(IDS, [(name, write)])


def test_remedy_for_the_middle_equals_our_edit_there(bridge: Bridge):
    from interp.engine import run
    from interp.interventions import Intervention, add
    from interp.sites import Site

    push = torch.randn(32, generator=torch.Generator().manual_seed(1))
    found = bridge.run_with_hooks(
        IDS,
        [("blocks.1.hook_attn_out", lambda x, hook: x + push)],  # noqa: ARG005
    )
    edit = Intervention(Site(1, "resid_mid"), add, push)
    expected = run(make_family("qwen3"), [IDS[0].tolist()], interventions=[edit]).logits[0]
    assert torch.allclose(found[0], expected, atol=1e-4)


def test_padding_is_hidden_by_the_mask(bridge: Bridge):
    alone = bridge.run_with_hooks(IDS, [])
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), IDS], 1)
    mask = (torch.arange(9) >= 3).long()[None]
    found = bridge.run_with_hooks(padded, [], attention_mask=mask)
    assert torch.allclose(found[:, 3:], alone, atol=1e-4)


def test_a_bridge_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch):
    from transformer_lens.model_bridge import TransformerBridge

    plain = TransformerBridge.forward
    monkeypatch.setattr(TransformerBridge, "forward", lambda *a, **k: 1.1 * plain(*a, **k))
    with pytest.raises(ValueError, match="another function than LlamaForCausalLM"):
        open_bridge(make_hf("llama"))


def test_architecture_that_nobody_knows():
    hf = make_hf("llama")
    hf.__class__ = type("Unheard", (type(hf),), {})
    with pytest.raises(ValueError, match="Unheard"):
        open_bridge(hf)
