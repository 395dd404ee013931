"""Hooks: activations are read as the model computes them, and no hook stays registered."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from interp.models import hooked
from interp.models.checks import all_sites
from interp.sites import Site

IDS = torch.tensor([[1, 6, 17, 30, 18, 10]])


def ignore(_activation: Tensor) -> None:
    """A handler that only looks."""


def census(model: Any) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.hf.modules()
    )


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model.hf(IDS, use_cache=False).logits


def read(model: Any, *sites: Site) -> list[Tensor]:
    found: dict[Site, Tensor] = {}

    def keep(site: Site) -> Any:
        def look(activation: Tensor) -> None:
            found[site] = activation

        return look

    with hooked(model, [(site, keep(site)) for site in sites]):
        logits(model)
    return [found[site] for site in sites]


def test_reading_equals_hidden_states_of_the_model(tiny: Any):
    with torch.no_grad():
        states = tiny.hf(IDS, output_hidden_states=True).hidden_states
    pre = read(tiny, *(Site(layer, "resid_pre") for layer in range(3)), Site(None, "ln_final"))
    assert all(torch.equal(a, b) for a, b in zip(pre, states, strict=True))


def test_middle_is_what_the_second_norm_reads(tiny: Any):
    seen: list[Tensor] = []
    norm = tiny.hf.model.layers[1].post_attention_layernorm
    handle = norm.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    middle = read(tiny, Site(1, "resid_mid"))[0]
    handle.remove()
    assert torch.equal(middle, seen[0])


def test_reading_changes_nothing(tiny: Any):
    before = logits(tiny)
    with hooked(tiny, [(site, ignore) for site in all_sites(tiny)]):
        assert torch.equal(logits(tiny), before)
    with hooked(tiny, [(site, torch.clone) for site in all_sites(tiny)]):
        assert torch.equal(logits(tiny), before)


def test_middle_edit_reaches_the_skip_connection(tiny: Any):
    """Scaling the middle is invisible to the MLP behind its norm, so only the skip can show it."""
    site, after = Site(1, "resid_mid"), Site(1, "resid_post")
    middle, mlp_out, plain = read(tiny, site, Site(1, "mlp_out"), after)
    found: list[Tensor] = []
    with hooked(tiny, [(site, lambda a: a * 3), (after, lambda a: found.append(a))]):
        logits(tiny)
    assert torch.allclose(found[0], 3 * middle + mlp_out, atol=1e-4)
    assert not torch.allclose(found[0], plain, atol=1e-1)


def test_zeroed_middle_is_exactly_zero(tiny: Any):
    """A rest of rounding would be blown up by the norm that follows."""
    found: list[Tensor] = []
    with hooked(
        tiny,
        [
            (Site(1, "resid_mid"), torch.zeros_like),
            (Site(1, "ln2"), lambda a: found.append(a)),
            (Site(1, "resid_post"), lambda a: found.append(a)),
        ],
    ):
        logits(tiny)
    assert len(found) == 2 and not found[0].any() and not found[1].any()


def test_attention_edit_comes_before_the_middle(tiny: Any):
    push = torch.ones(tiny.d_model)
    middle = read(tiny, Site(0, "resid_mid"))[0]
    found: list[Tensor] = []
    with hooked(
        tiny,
        [
            (Site(0, "resid_mid"), lambda a: found.append(a)),
            (Site(0, "attn_out"), lambda a: a + push),
        ],
    ):
        logits(tiny)
    assert torch.allclose(found[0], middle + push, atol=1e-5)


def test_handlers_of_a_site_run_in_order(tiny: Any):
    site = Site(0, "resid_post")
    plain = read(tiny, site)[0]
    found: list[Tensor] = []
    with hooked(
        tiny, [(site, lambda a: a + 1), (site, lambda a: a * 2), (site, lambda a: found.append(a))]
    ):
        logits(tiny)
    assert torch.equal(found[0], (plain + 1) * 2)


def test_heads_are_split_as_the_output_weights_read_them(tiny: Any):
    """Zeroing one head of z equals dropping its columns of the output weights."""
    n_heads, d_head = tiny.n_heads, tiny.d_head

    def zero_head(z: Tensor) -> Tensor:
        assert z.shape[2:] == (n_heads, d_head)
        return torch.cat([z[:, :, :2], torch.zeros_like(z[:, :, 2:3]), z[:, :, 3:]], 2)

    z = read(tiny, Site(1, "z"))[0]
    weights = tiny.hf.model.layers[1].self_attn.o_proj.weight
    found: list[Tensor] = []
    with hooked(
        tiny, [(Site(1, "z"), zero_head), (Site(1, "attn_out"), lambda a: found.append(a))]
    ):
        logits(tiny)
    kept = [0, 1, 3]
    by_hand = sum(z[:, :, h] @ weights[:, h * d_head : (h + 1) * d_head].T for h in kept)
    assert torch.allclose(found[0], by_hand, atol=1e-5)


def test_nothing_is_left_behind(tiny: Any):
    before, n_before = logits(tiny), census(tiny)
    everything = [(site, lambda a: a + 1) for site in all_sites(tiny)]
    with hooked(tiny, everything):
        assert census(tiny) > n_before
        assert not torch.equal(logits(tiny), before)
    assert census(tiny) == n_before
    with pytest.raises(ZeroDivisionError), hooked(tiny, everything):
        raise ZeroDivisionError
    assert census(tiny) == n_before
    with (
        pytest.raises(ValueError, match="no stream|out of range"),
        hooked(tiny, [*everything, (Site(3, "z"), lambda a: a)]),
    ):
        pass
    assert census(tiny) == n_before and torch.equal(logits(tiny), before)


def test_site_that_never_fires_is_an_error(tiny: Any):
    with (
        pytest.raises(RuntimeError, match=r"never computed: blocks\.2\.hook_mlp_out"),
        hooked(tiny, [(Site(2, "mlp_out"), ignore), (Site(None, "embed"), ignore)]),
    ):
        tiny.hf.model.embed_tokens(IDS)


def test_missing_layer_names_the_last(tiny: Any):
    with (
        pytest.raises(ValueError, match="its last is 2"),
        hooked(tiny, [(Site(3, "resid_post"), ignore)]),
    ):
        pass
    assert read(tiny, Site(2, "resid_post"))[0].shape == (1, 6, tiny.d_model)


def test_handler_must_keep_the_shape(tiny: Any):
    with (
        pytest.raises(ValueError, match=r"received \(1, 6, 32\).*returned \(1, 5, 32\)"),
        hooked(tiny, [(Site(0, "resid_post"), lambda a: a[:, 1:])]),
    ):
        logits(tiny)
