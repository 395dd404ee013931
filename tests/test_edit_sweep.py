"""`sweep` against `run` with every cell as a row of its own, and against plain hooks in PyTorch."""

from __future__ import annotations

import inspect
import random
from contextlib import nullcontext
from dataclasses import replace as changed
from typing import Any

import pytest
import torch
from torch import Tensor

from interp.engine import Sweep, edit_sweep, run, sweep
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


def test_an_empty_cell_is_the_plain_run(tiny: Any):
    found = sweep(tiny, IDS, [[]], logits_at="all")
    assert torch.allclose(found.logits[0], run(tiny, [IDS]).logits[0], atol=EXACT)
    assert not found.receipts and sweep(tiny, IDS, []).logits == ()


def test_a_patch_of_itself_changes_nothing(tiny: Any):
    """Each cell against an empty one that climbs the same stairs: not one bit differs.

    With the last MLP at the last token alone, products have other shapes and may round otherwise.
    """
    sites = [site for site in all_sites(tiny) if site.stream != "embed"]
    own = run(tiny, [IDS], capture=sites).captures
    doses = []
    for site in sites:
        cells = [
            [Intervention(site, replace, own[site][0][at], positions=(at,))]
            for at in range(len(IDS))
        ]
        found = sweep(tiny, IDS, [*cells, []], logits_at="all")
        doses += [receipt.dose_in_norms for receipt in found.receipts]
        assert all(torch.equal(logits, found.logits[-1]) for logits in found.logits)
        last = sweep(tiny, IDS, [*cells, []]).last
        assert torch.allclose(last, found.last, atol=1e-6)
    assert max(doses) < 1e-5


def test_receipts_name_the_cell_and_the_place_in_it(tiny: Any):
    early = Intervention(Site(0, "z"), zero_ablate, positions=(2,), head=1)
    late = Intervention(Site(2, "mlp_out"), add, noise(32), dose=3.0, positions=(-1, 4))
    found = sweep(tiny, IDS, [[late], [], [late, early]])
    landed = [(r.row, r.intervention, str(r.site), r.positions) for r in found.receipts]
    last = len(IDS) - 1
    assert landed == [
        (0, 0, "blocks.2.hook_mlp_out", (4, last)),
        (2, 0, "blocks.2.hook_mlp_out", (4, last)),
        (2, 1, "blocks.0.attn.hook_z", (2,)),
    ]
    assert found.receipts[0].edit_norm == pytest.approx(3 * float(noise(32).norm()), rel=1e-4)


def test_order_within_a_cell_is_kept(tiny: Any):
    steer = Intervention(Site(1, "resid_post"), add, noise(32), positions=(3,))
    erase = Intervention(Site(1, "resid_post"), project_out, noise(32), positions=(3,))
    cells = [[steer, erase], [erase, steer], [erase], [steer]]
    found = check(tiny, IDS, cells)
    assert torch.allclose(found.last[0], found.last[2], atol=EXACT)
    assert not torch.allclose(found.last[1], found.last[2], atol=1e-2)


def test_cost_is_what_the_plan_says(tiny: Any):
    """By hand: 6 tokens, blocks of 3 positions, one cell at each of 3 layers x 6 positions."""
    cells = [
        [Intervention(Site(layer, "resid_pre"), zero_ablate, positions=(position,))]
        for layer in range(3)
        for position in range(6)
    ]
    found = sweep(tiny, IDS[:6], cells, position_block=3)
    cells_of_block = 3 * (3 + 2 + 1)
    reading = 3 * (6 + 6 + 3)  # the text and both stairs
    replay = 3 * 3 + 2 * 3 * (3 + 2 + 1)  # the last three tokens: reading, joining rows twice
    assert found.n_block_tokens == cells_of_block * 6 + cells_of_block * 3 + reading + replay
    assert found.n_naive == 18 * 3 * 6


def test_memory_that_runs_out_halves_the_batch(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    cells = [[Intervention(Site(0, "z"), zero_ablate, positions=(at,))] for at in range(12)]
    expected, sizes = sweep(tiny, IDS, cells).last, list[int]()
    score = edit_sweep._score

    def scarce(model: Any, text: Any, stair: Any, jobs: Any) -> Any:
        sizes.append(len(jobs))
        done = score(model, text, stair, jobs)
        if len(jobs) > 3:
            raise torch.OutOfMemoryError
        return done

    monkeypatch.setattr(edit_sweep, "_score", scarce)
    found = sweep(tiny, IDS, cells, position_block=64)
    assert torch.allclose(found.last, expected, atol=EXACT)
    assert sizes == [12, 6, 3, 3, 6, 3, 3] and len(found.receipts) == 12


def test_eager_attention(tiny_folder: Any):
    from interp.models import load_model

    model = load_model(tiny_folder)
    model.hf.set_attn_implementation("eager")
    rng = random.Random(5)
    check(model, IDS, [[random_edit(model, rng)] for _ in range(30)])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(tiny_folder: Any, dtype: Any):
    from interp.models import load_model

    model = load_model(tiny_folder, dtype=dtype)
    cells = [[Intervention(Site(1, "z"), zero_ablate, positions=(at,))] for at in range(12)]
    found, expected = sweep(model, IDS, cells).last, as_rows(model, IDS, cells).last
    tolerance = 4 * torch.finfo(model.dtype).eps * float(expected.abs().max())
    assert torch.allclose(found, expected, atol=tolerance, rtol=0)
    effects = (expected - run(model, [IDS]).last).abs().amax(1)
    assert bool((effects > 1.5 * tolerance).all()), "a sweep that edits nothing must not pass"


@pytest.mark.parametrize(
    ("dtype", "fault"), [("float32", 0.001), ("bfloat16", 0.1), ("float16", 0.1)]
)
def test_blocks_that_share_more_than_their_arguments_are_refused(
    tiny_folder: Any, dtype: Any, fault: float
):
    from interp.models import load_model

    model = load_model(tiny_folder, dtype=dtype)
    mlp, cells = model.hf.model.layers[2].mlp, [[Intervention(Site(1, "z"), zero_ablate)]]
    plain_forward = mlp.forward
    sweep(model, IDS, cells)
    mlp.forward = lambda x: plain_forward(x) * (1 + fault * (x.shape[0] - 1))
    with pytest.raises(RuntimeError, match=r"blocks are called one by one.*use `run`"):
        sweep(model, IDS, cells)


@pytest.mark.parametrize(("n_layers", "passes"), [(3, False), (32, True)])
def test_half_precision_may_be_off_by_more_in_a_deep_model(
    tiny_copy: Any, monkeypatch: pytest.MonkeyPatch, n_layers: int, passes: bool
):
    """Off by 4 %: rounding after 32 blocks on a GPU, a fault after 3."""
    from interp.models import load_model

    model = load_model(tiny_copy(num_hidden_layers=n_layers), dtype="bfloat16")
    climb = edit_sweep._climb

    def off(*args: Any, **settings: Any) -> Any:
        hidden, receipts = climb(*args, **settings)
        return hidden + 0.04 * hidden.abs().max(), receipts

    monkeypatch.setattr(edit_sweep, "_climb", off)
    with nullcontext() if passes else pytest.raises(RuntimeError, match="called one by one"):
        sweep(model, IDS, [[]])


def test_an_mlp_that_needs_more_than_its_last_token_is_refused(tiny: Any):
    """Where the last token alone is read; where all are, the MLP is given all."""
    mlp, cells = tiny.hf.model.layers[-1].mlp, [[Intervention(Site(1, "z"), zero_ablate)]]
    plain_forward = mlp.forward
    mlp.forward = lambda x: plain_forward(x) * (1.5 if x.shape[1] == 1 else 1.0)
    try:
        sweep(tiny, IDS, cells, logits_at="all")
        with pytest.raises(RuntimeError, match=r"blocks are called one by one.*use `run`"):
            sweep(tiny, IDS, cells)
    finally:
        del mlp.forward


def test_a_batch_holds_no_more_text_than_the_budget(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    """Rows count with their past too; logits of the beginning are formed once, in the plain run."""
    cells = [[Intervention(Site(0, "z"), zero_ablate, positions=(12,))]] * 8
    sizes, n_unembedded = list[int](), list[int]()
    climb, unembed = edit_sweep._climb, edit_sweep.unembed

    def climbing(model: Any, text: Any, stair: Any, jobs: Any, *, last_only: bool) -> Any:
        sizes.append(len(jobs))
        return climb(model, text, stair, jobs, last_only=last_only)

    def unembedding(model: Any, hidden: Tensor) -> Tensor:
        n_unembedded.append(hidden[..., 0].numel())
        return unembed(model, hidden)

    monkeypatch.setattr(edit_sweep, "_climb", climbing)
    monkeypatch.setattr(edit_sweep, "unembed", unembedding)
    sweep(tiny, IDS, cells, logits_at="all", position_block=1, token_budget=3 * len(IDS))
    assert sizes[1:] == [3, 3, 2] and n_unembedded == [len(IDS), 3, 3, 2]


def test_the_model_is_left_as_it_was(tiny: Any):
    def census() -> int:
        return sum(
            len(module._forward_hooks) + len(module._forward_pre_hooks)
            for module in tiny.hf.modules()
        )

    before, n_hooks = run(tiny, [IDS]).logits[0], census()
    sweep(tiny, IDS, [[Intervention(Site(1, "z"), zero_ablate, positions=(3,))]])
    assert census() == n_hooks and torch.equal(run(tiny, [IDS]).logits[0], before)


def test_overdose_names_the_cell(tiny: Any):
    harmless = [Intervention(Site(2, "resid_post"), add, noise(32), positions=(-1,))]
    deadly = [Intervention(Site(2, "resid_post"), add, noise(32), dose=3e38)]
    with pytest.raises(ValueError, match="not finite for cell 1"):
        sweep(tiny, IDS, [harmless, deadly, harmless])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Intervention(Site(1, "z"), zero_ablate, rows=(0,)), "cell 1 has rows=.*Leave `rows` out"),
        (Intervention(Site(None, "embed"), zero_ablate), r"Edit Site\(0, 'resid_pre'\)"),
        (Intervention(Site(1, "z"), zero_ablate, positions=(99,)), "row 1 has 13 tokens"),
        (Intervention(Site(1, "z"), add, noise(3)), "received \\(3,\\)"),
        (Intervention(Site(9, "z"), zero_ablate), "its last is 2"),
    ],
)
def test_cells_that_do_not_fit(tiny: Any, edit: Intervention, message: str):
    with pytest.raises(ValueError, match=message):
        sweep(tiny, IDS, [[], [edit]])


def test_settings_that_do_not_fit(tiny: Any):
    with pytest.raises(ValueError, match="the text is empty"):
        sweep(tiny, [], [[]])
    with pytest.raises(ValueError, match="position_block must be at least 1"):
        sweep(tiny, IDS, [[]], position_block=0)
    with pytest.raises(ValueError, match="logits_at is 'all' or 'last', received 'All'"):
        inspect.unwrap(sweep)(tiny, IDS, [[]], logits_at="All")  # past the checks of annotations


def test_thousands_of_edits_are_booked_together(tiny: Any):
    """Edits that are alike make one group per site, whatever order cells give them in."""
    heads = [
        Intervention(Site(1, "z"), replace, noise(8, seed=n), positions=(n % 13,), head=n % 4,
                     rows=(n,))
        for n in range(500)
    ]  # fmt: skip
    editor = edit_sweep.Editor(tiny, heads, dict.fromkeys(range(500), 13), writes=False)
    editor.move(range(500), [0] * 500, decoding=False)
    assert len(editor._groups[Site(1, "z")]) == 1
