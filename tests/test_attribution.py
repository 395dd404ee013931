"""Attribution patching against slopes, plain gradients and exact grids."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from patch_loops import (
    CLEAN,
    CORRUPTED,
    METRIC,
    PER_HEAD,
    look,
)
from torch import Tensor

from interp.engine import run
from interp.interventions import Intervention, interpolate
from interp.methods.patching import (
    Donor,
    Grid,
    GridLayout,
    agreement,
    attribution_grid,
    denoise,
    patch_grid,
)


def test_attribution_is_the_slope_of_the_exact_effect(tiny: Any):
    """Finite differences in double precision: a ten-thousandth of the way to the donor."""
    from interp.models import load_model

    model = load_model(tiny.tokenizer.name_or_path)
    model.hf.double()
    streams = ("resid_pre", "q", "v", "z", "attn_out", "resid_mid", "mlp_post", "mlp_out")
    layout, small = GridLayout(streams=streams, positions=(2, 5, 8)), 1e-4
    donor = Donor(model, CLEAN)
    guess = attribution_grid(model, CORRUPTED, donor, METRIC, layout)
    given = run(model, [CLEAN], capture=guess.plan.sites).captures
    cells = [
        [Intervention(site, interpolate, given[site][0][at], dose=small, positions=(at,))]
        for site in guess.plan.sites
        for at in guess.plan.places
    ]
    moved = METRIC(sweep_in_double(model, CORRUPTED, [*cells, []]))
    slope = ((moved[:-1] - moved[-1]) / small).reshape(guess.plan.shape).float()
    assert torch.allclose(guess.effects, slope, rtol=1e-2, atol=1e-2)
    assert guess.effects.abs().max() > 1
    exact = patch_grid(model, CORRUPTED, donor, METRIC, layout)
    assert torch.allclose(guess.doses, exact.doses, rtol=1e-4, atol=1e-6)
    assert (guess.clean, guess.corrupted) == pytest.approx((exact.clean, exact.corrupted))


def sweep_in_double(model: Any, ids: list[int], cells: Any) -> Tensor:
    """Last logits without rounding to float32, by plain hooks, a cell at a time."""
    from interp.engine.editor import Editor
    from interp.models import hooked
    from interp.models.forward import body

    rows = []
    for cell in cells:
        editor = Editor(model, cell, {0: len(ids)}, writes=False)
        editor.move([0], [0], decoding=False)
        with torch.no_grad(), hooked(model, editor.handlers()):
            rows.append(model.hf.lm_head(body(model, torch.tensor([ids]))[0, -1]))
    return torch.stack(rows)


def test_attribution_by_head_and_its_cost(tiny: Any):
    """Heads against gradients taken by plain PyTorch."""
    guess = attribution_grid(tiny, CORRUPTED, Donor(tiny, CLEAN), METRIC, PER_HEAD)
    hf, leaves = tiny.hf, dict[int, Tensor]()
    handles = []
    for layer, block in enumerate(hf.model.layers):

        def hook(_module: Any, args: Any, layer: int = layer) -> Any:
            flat = args[0]
            leaves[layer] = flat if flat.requires_grad else flat.detach().requires_grad_()
            leaves[layer].retain_grad()
            return (leaves[layer],)

        handles.append(block.self_attn.o_proj.register_forward_pre_hook(hook))
    METRIC(hf(torch.tensor([CORRUPTED]), use_cache=False).logits[:, -1]).sum().backward()
    for handle in handles:
        handle.remove()
    for layer in range(tiny.n_layers):
        donor_z = look(tiny, CLEAN, (layer, "z"))[layer, "z"]
        gradient = leaves[layer].grad
        assert gradient is not None
        product = (donor_z - leaves[layer].detach()[0]) * gradient[0]
        expected = product.unflatten(-1, (tiny.n_heads, -1)).sum((0, 2))
        assert torch.allclose(guess.effects[0, layer], expected, atol=1e-4)
    assert guess.n_block_tokens == (3 + 1) * tiny.n_layers * len(CLEAN), "and the donor's run"
    assert guess.n_naive == tiny.n_layers * tiny.n_heads * tiny.n_layers * len(CLEAN)


def test_attribution_is_zero_where_nothing_is_read(tiny: Any):
    """Queries of the last layer matter at the last position only; weights ask for no gradient."""
    layout = GridLayout(streams=("q",), layers=(2,))
    guess = attribution_grid(tiny, CORRUPTED, Donor(tiny, CLEAN), METRIC, layout)
    assert not guess.effects[0, 0, :-1].any()
    assert not any(weight.requires_grad for weight in tiny.hf.parameters())


def test_logits_that_are_not_finite_are_no_estimate(tiny: Any):
    """Here one token, which the metric does not look at, has a broken row of the unembedding."""
    from interp.models import load_model

    broken = load_model(tiny.tokenizer.name_or_path)
    with torch.no_grad():
        broken.hf.lm_head.weight[40] = float("inf")
    with pytest.raises(ValueError, match="not finite for the patched text"):
        attribution_grid(broken, CORRUPTED, Donor(tiny, CLEAN), METRIC)


def with_values(grid: Grid, values: Tensor) -> Grid:
    from dataclasses import replace as changed

    return changed(grid, values=grid.corrupted + values)


def test_agreement_is_pearson_and_spearman(tiny: Any):
    from scipy import stats

    grid = denoise(tiny, CLEAN, CORRUPTED, METRIC)
    x, y = torch.randn((2, *grid.values.shape), generator=torch.Generator().manual_seed(0))
    y = (y + x).round()  # ties
    found = agreement(with_values(grid, x), with_values(grid, y))
    x, y = x[grid.doses > 0], y[grid.doses > 0]
    assert found.pearson == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-5)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-5)
    assert found.n == len(x) == 2 + 2 * 7  # both words at layer 0, all from the first one later
    nothing = agreement(grid, with_values(grid, torch.zeros_like(grid.values)))
    assert math.isnan(nothing.pearson) and math.isnan(nothing.spearman)
    other = denoise(tiny, CLEAN, CORRUPTED, METRIC, GridLayout(positions=(1, 2, 3)))
    with pytest.raises(ValueError, match="same cells"):
        agreement(grid, other)
