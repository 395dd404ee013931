"""`sweep` against `run` with every cell as a row of its own, and against plain hooks in PyTorch."""

from __future__ import annotations

import random
from dataclasses import replace as changed
from typing import Any

import pytest
import torch
from torch import Tensor

from interp.engine import Sweep, run, sweep
from interp.interventions import Intervention, add, interpolate, project_out, replace, zero_ablate
from interp.models.checks import all_sites
from interp.models.model import site_shape
from interp.sites import Site

EXACT = 1e-5
"""Of logits up to about 10; the sums of the two ways are done in another order."""

IDS = [1, 6, 17, 30, 18, 10, 27, 4, 19, 33, 21, 5, 40]
OPERATORS = (add, project_out, interpolate, replace, zero_ablate)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_edit(model: Any, rng: random.Random) -> Intervention:
    """Any operator at any site, for one head or all, at any positions."""
    site = rng.choice([site for site in all_sites(model) if site.stream != "embed"])
    shape = site_shape(model, site)
    head = rng.randrange(shape[0]) if len(shape) == 2 and rng.random() < 0.7 else None
    operator = rng.choice(OPERATORS)
    chosen = tuple(rng.sample(range(-len(IDS), 0), rng.randint(1, 3)))
    positions = chosen if rng.random() < 0.9 else "all"
    vector = noise(*(shape if head is None else shape[1:]), seed=rng.randrange(1000))
    return Intervention(
        site,
        operator,
        None if operator is zero_ablate else vector,
        0.5 if operator in (add, interpolate) else 1.0,
        positions=positions,
        head=head,
    )


def as_rows(model: Any, ids: list[int], cells: Any) -> Any:
    """The slow way: the text once per cell."""
    edits = [changed(edit, rows=(row,)) for row, cell in enumerate(cells) for edit in cell]
    return run(model, [ids] * len(cells), interventions=edits)


def check(model: Any, ids: list[int], cells: Any, **settings: Any) -> Sweep:
    expected = as_rows(model, ids, cells)
    found = sweep(model, ids, cells, logits_at="all", **settings)
    last = sweep(model, ids, cells, **settings)
    for number in range(len(cells)):
        assert torch.allclose(found.logits[number], expected.logits[number], atol=EXACT), number
        assert torch.allclose(last.last[number], expected.last[number], atol=EXACT), number
    landed = sorted((r.row, str(r.site), r.positions) for r in expected.receipts)
    assert sorted((r.row, str(r.site), r.positions) for r in found.receipts) == landed
    return found


@pytest.mark.parametrize("position_block", [1, 4, 64])
def test_any_edits_equal_rows_of_a_run(tiny: Any, position_block: int):
    rng = random.Random(position_block)
    cells = [[random_edit(tiny, rng) for _ in range(rng.randint(0, 3))] for _ in range(80)]
    check(tiny, IDS, cells, position_block=position_block, token_budget=100)


def test_every_site_and_position(tiny: Any):
    cells = [
        [Intervention(site, add, noise(*site_shape(tiny, site)), positions=(position,))]
        for site in all_sites(tiny)
        if site.stream != "embed"
        for position in range(len(IDS))
    ]
    found = check(tiny, IDS, cells)
    assert found.n_block_tokens < 0.6 * found.n_naive
    assert len(found.receipts) == len(cells)


def test_against_plain_hooks(tiny: Any):
    """One cell per layer and position, the output of attention set to zero by hand."""
    cells, expected = [], []
    for layer in range(tiny.n_layers):
        for position in range(len(IDS)):
            cells.append(
                [Intervention(Site(layer, "attn_out"), zero_ablate, positions=(position,))]
            )

            def clear(_module: Any, _args: Any, output: Any, at: int = position) -> Any:
                output[0][:, at] = 0
                return output

            handle = tiny.hf.model.layers[layer].self_attn.register_forward_hook(clear)
            with torch.no_grad():
                expected.append(tiny.hf(torch.tensor([IDS]), use_cache=False).logits[0, -1])
            handle.remove()
    assert torch.allclose(sweep(tiny, IDS, cells).last, torch.stack(expected), atol=EXACT)
