"""`run` against plain forward passes with hand-placed PyTorch hooks, one row at a time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from interp.engine import run
from interp.engine.editor import Editor
from interp.interventions import Intervention, add, interpolate, project_out, replace, zero_ablate
from interp.models.checks import all_sites
from interp.sites import Site

EXACT = 1e-4
POST1 = Site(1, "resid_post")


def some_rows(model: Any, n: int = 6, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(model.d_vocab) for _ in range(rng.randint(3, 15))] for _ in range(n)]


def vector(width: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


def by_hand(model: Any, row: list[int], edit: Callable[[Tensor], Tensor], layer: int = 1) -> Tensor:
    """Logits of one row; `edit` changes the output [pos, d_model] of a block."""
    block = model.hf.model.layers[layer]
    handle = block.register_forward_hook(lambda _m, _a, out: edit(out[0])[None])
    try:
        with torch.no_grad():
            return model.hf(torch.tensor([row]), use_cache=False).logits[0]
    finally:
        handle.remove()


def plain(model: Any, row: list[int]) -> Tensor:
    return by_hand(model, row, lambda x: x)


@pytest.mark.parametrize("pad_side", ["left", "right"])
def test_batch_equals_loop_on_both_pad_sides(tiny: Any, pad_side: Any):
    rows = some_rows(tiny)
    result = run(tiny, rows, capture=[POST1, Site(0, "z")], pad_side=pad_side)
    last = run(tiny, rows, logits_at="last", pad_side=pad_side)
    for number, row in enumerate(rows):
        expected = plain(tiny, row)
        assert torch.allclose(result.logits[number], expected, atol=EXACT)
        assert torch.allclose(last.last[number], expected[-1], atol=EXACT)
        alone = run(tiny, [row], capture=[POST1, Site(0, "z")])
        for site in (POST1, Site(0, "z")):
            found = result.captures[site][number]
            assert found.shape[0] == len(row)
            assert torch.allclose(found, alone.captures[site][0], atol=EXACT)


@pytest.mark.parametrize("pad_side", ["left", "right"])
def test_every_row_its_own_interventions(tiny: Any, pad_side: Any):
    """Operators, doses, rows and positions all differ; each row must see exactly its own."""
    rows = some_rows(tiny, 5)
    v, w = vector(seed=1), vector(seed=2)
    interventions = [
        Intervention(POST1, add, v, dose=2.0, rows=(0, 3)),
        Intervention(POST1, add, w, dose=-1.0, positions=(-1, 0), rows=(1, 3)),
        Intervention(POST1, project_out, w, positions=(1,), rows=(2,)),
        Intervention(POST1, add, v, dose=0.5, unit="norms", positions=(-2,), rows=(2, 4)),
    ]

    def one(x: Tensor) -> Tensor:
        return x + 2.0 * v

    def ends(x: Tensor) -> Tensor:
        x = x.clone()
        x[0] -= w
        x[-1] -= w
        return x

    def project(x: Tensor) -> Tensor:
        x = x.clone()
        x[1] -= (x[1] @ w) / (w @ w) * w
        return x

    def scaled(x: Tensor) -> Tensor:
        x = x.clone()
        x[-2] += 0.5 * x[-2].norm() * v / v.norm()
        return x

    expected = [one, ends, lambda x: scaled(project(x)), lambda x: ends(one(x)), scaled]
    result = run(tiny, rows, interventions=interventions, pad_side=pad_side)
    for row, edit, logits in zip(rows, expected, result.logits, strict=True):
        assert torch.allclose(logits, by_hand(tiny, row, edit), atol=EXACT)
        assert not torch.allclose(logits, plain(tiny, row), atol=1e-2)
    n = [len(row) for row in rows]
    landed = {(r.intervention, r.row): r.positions for r in result.receipts}
    assert landed == {
        (0, 0): tuple(range(n[0])),
        (0, 3): tuple(range(n[3])),
        (1, 1): (0, n[1] - 1),
        (1, 3): (0, n[3] - 1),
        (2, 2): (1,),
        (3, 2): (n[2] - 2,),
        (3, 4): (n[4] - 2,),
    }


def test_receipts_measure_the_edit(tiny: Any):
    row, v = [1, 6, 17, 30], vector()
    norms = run(tiny, [row], capture=[POST1]).captures[POST1][0].norm(dim=-1)
    raw, scaled = (
        run(tiny, [row], interventions=[Intervention(POST1, add, v, dose=3.0, unit=unit)])
        for unit in ("raw", "norms")
    )
    (receipt,) = raw.receipts
    assert receipt.n_positions == 4 and receipt.site == POST1
    assert receipt.edit_norm == pytest.approx(3 * float(v.norm()), rel=1e-4)
    assert receipt.dose_in_norms == pytest.approx(float((3 * v.norm() / norms).mean()), rel=1e-4)
    (receipt,) = scaled.receipts
    assert receipt.dose_in_norms == pytest.approx(3.0, rel=1e-4)
    assert receipt.edit_norm == pytest.approx(3 * float(norms.mean()), rel=1e-4)


def test_order_matters_and_is_kept(tiny: Any):
    row, v = [1, 6, 17, 30], vector()
    steer, erase = Intervention(POST1, add, v), Intervention(POST1, project_out, v)

    def cleared(x: Tensor) -> Tensor:
        return x - (x @ v)[:, None] / (v @ v) * v

    first = run(tiny, [row], interventions=[steer, erase]).logits[0]
    second = run(tiny, [row], interventions=[erase, steer]).logits[0]
    assert torch.allclose(first, by_hand(tiny, row, lambda x: cleared(x + v)), atol=EXACT)
    assert torch.allclose(second, by_hand(tiny, row, lambda x: cleared(x) + v), atol=EXACT)


def test_same_operator_twice_at_one_place_adds_up(tiny: Any):
    row, v = [1, 6, 17, 30], vector()
    twice = run(tiny, [row], interventions=[Intervention(POST1, add, v)] * 2).logits[0]
    assert torch.allclose(twice, by_hand(tiny, row, lambda x: x + 2 * v), atol=EXACT)


@pytest.mark.parametrize("pad_side", ["left", "right"])
def test_zero_dose_and_self_patch_change_nothing(tiny: Any, pad_side: Any):
    rows = some_rows(tiny)
    sites = [site for site in all_sites(tiny) if site.layer in (None, 1)]
    before = run(tiny, rows, capture=sites, pad_side=pad_side)
    for site in sites:
        patches = [
            Intervention(site, replace, value, positions=tuple(range(len(value))), rows=(number,))
            for number, value in enumerate(before.captures[site])
        ]
        zero = Intervention(site, add, torch.ones_like(before.captures[site][0][0]), dose=0.0)
        for edits in (patches, [zero]):
            after = run(tiny, rows, interventions=edits, pad_side=pad_side)
            assert all(map(torch.equal, before.logits, after.logits)), str(site)
            assert all(receipt.edit_norm == 0 for receipt in after.receipts)


def test_patching_from_another_row(tiny: Any):
    """Everything after block 1 taken from another row gives the other row's logits there."""
    clean, corrupted = [1, 6, 17, 30, 18], [1, 6, 17, 31, 18]
    capture = run(tiny, [clean], capture=[POST1])
    source = capture.captures[POST1][0]
    patch = Intervention(POST1, replace, source, positions=tuple(range(5)))
    patched = run(tiny, [corrupted], interventions=[patch])
    assert torch.allclose(patched.logits[0], capture.logits[0], atol=EXACT)
    half = Intervention(POST1, interpolate, source[3:4], dose=0.5, positions=(3,))
    between = run(tiny, [corrupted], interventions=[half])

    def blend(x: Tensor) -> Tensor:
        x = x.clone()
        x[3] = (x[3] + source[3]) / 2
        return x

    assert torch.allclose(between.logits[0], by_hand(tiny, corrupted, blend), atol=EXACT)


def test_one_head(tiny: Any):
    """Zero ablation of one head of z equals zero columns in the output weights."""
    row, head, d_head = [1, 6, 17, 30], 2, tiny.d_head
    found = run(tiny, [row], interventions=[Intervention(Site(0, "z"), zero_ablate, head=head)])
    weights = tiny.hf.model.layers[0].self_attn.o_proj.weight
    kept = weights.data[:, head * d_head : (head + 1) * d_head].clone()
    weights.data[:, head * d_head : (head + 1) * d_head] = 0
    try:
        expected = plain(tiny, row)
    finally:
        weights.data[:, head * d_head : (head + 1) * d_head] = kept
    assert torch.allclose(found.logits[0], expected, atol=EXACT)
    push = Intervention(Site(0, "z"), add, vector(d_head), positions=(1,), head=head)
    (receipt,) = run(tiny, [row], interventions=[push]).receipts
    assert receipt.edit_norm == pytest.approx(float(vector(d_head).norm()), rel=1e-4)


def test_captures_show_the_edit_and_own_their_memory(tiny: Any):
    row, v = [1, 6, 17, 30], vector()
    plain_run = run(tiny, [row], capture=[POST1, Site(2, "resid_pre")])
    edited = run(tiny, [row], interventions=[Intervention(POST1, add, v)], capture=[POST1])
    before = plain_run.captures[POST1][0]
    assert torch.allclose(edited.captures[POST1][0], before + v, atol=1e-5)
    before += 1
    assert not torch.equal(plain_run.captures[Site(2, "resid_pre")][0], before)


def test_half_precision_keeps_its_dtype(tiny_folder: Any):
    from interp.models import load_model

    model = load_model(tiny_folder, dtype="bfloat16")
    edit = Intervention(POST1, add, vector(), unit="norms", dose=0.5)
    result = run(model, some_rows(model), interventions=[edit], capture=[POST1])
    assert result.captures[POST1][0].dtype == torch.bfloat16
    assert all(r.dose_in_norms == pytest.approx(0.5, rel=0.02) for r in result.receipts)


def test_shares_of_an_activation_of_zero(tiny: Any):
    """Nothing added to nothing is no change; anything added is infinitely much of it."""
    clear, push = Intervention(POST1, zero_ablate), Intervention(POST1, add, vector())
    first, again, more = run(tiny, [[1, 6]], interventions=[clear, clear, push]).receipts
    assert first.dose_in_norms == pytest.approx(1)
    assert (again.edit_norm, again.dose_in_norms) == (0, 0)
    assert more.edit_norm > 0 and more.dose_in_norms == float("inf")


@dataclass(frozen=True)
class Rotate:
    """An operator with a tensor in it, which == cannot tell from another."""

    matrix: Tensor

    def __call__(self, activation: Tensor, _vector: Tensor, _dose: Tensor) -> Tensor:
        return activation @ self.matrix


@dataclass(frozen=True)
class Shift:
    by: float

    def __call__(self, activation: Tensor, _vector: Tensor, _dose: Tensor) -> Tensor:
        return activation + self.by


def test_equal_operators_are_one_group_and_one_copy(tiny: Any):
    edits = [Intervention(POST1, Shift(2.0), vector(), rows=(row,)) for row in range(3)]
    turned = [Intervention(POST1, Rotate(torch.eye(32) * n), vector(), rows=(n,)) for n in range(3)]
    editor = Editor(tiny, [*edits, *turned], dict.fromkeys(range(3), 4), writes=False)
    editor.move(range(3), [0] * 3, decoding=False)
    assert [len(group.owners) for group in editor._groups[POST1]] == [12, 4, 4, 4]
    given = torch.randn(1, 4, 32).expand(3, -1, -1)
    before = given.clone()
    found = editor._edit(POST1, given)
    assert torch.equal(given, before), "what the model handed in is its own"
    factor = torch.arange(3.0)[:, None, None]
    assert found is not None and torch.allclose(found, (before + 2) * factor)


def test_no_rows(tiny: Any):
    assert run(tiny, [], capture=[POST1]).captures == {POST1: ()}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Intervention(POST1, add, vector(), positions=(4,)), "use 0 to 3, or -4 to -1"),
        (Intervention(POST1, add, vector(), positions=(3, -1)), "asks twice for one position"),
        (Intervention(POST1, add, vector(), positions="generated"), "Use positions='all'"),
        (Intervention(POST1, add, vector(), rows=(0, 2)), r"names rows \[2\], but there are 2"),
        (Intervention(POST1, add, vector(31)), r"has shape \(32,\); received \(31,\)"),
        (Intervention(Site(0, "z"), add, vector(8)), r"has shape \(4, 8\); received \(8,\)"),
        (Intervention(Site(0, "k"), zero_ablate, head=2), "heads 0 to 1, received 2"),
        (Intervention(Site(9, "z"), zero_ablate), "its last is 2"),
    ],
)
def test_interventions_that_do_not_fit(tiny: Any, edit: Intervention, message: str):
    with pytest.raises(ValueError, match=message):
        run(tiny, [[1, 2, 3, 4], [1, 2, 3, 4]], interventions=[edit])


def test_rows_that_do_not_fit(tiny: Any):
    with pytest.raises(ValueError, match="row 1 is empty"):
        run(tiny, [[1], []])
    with pytest.raises(ValueError, match="row 0 is 257 tokens long and tiny reads at most 256"):
        run(tiny, [[1] * 257])


def test_overdose_is_an_error_that_names_the_row(tiny: Any):
    edit = Intervention(Site(2, "resid_post"), add, vector(), dose=3e38, rows=(1,))
    with pytest.raises(ValueError, match="not finite for row 1.*too large a dose"):
        run(tiny, [[1, 2], [3, 4], [5, 6]], interventions=[edit])


def test_a_module_that_runs_twice_voids_the_result(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    block = tiny.hf.model.layers[1]
    plain_forward = block.mlp.forward
    monkeypatch.setattr(block.mlp, "forward", lambda x: plain_forward(x))
    monkeypatch.setattr(
        block.post_attention_layernorm,
        "forward",
        lambda x, norm=block.post_attention_layernorm.forward: norm(x) + 0 * block.mlp(x),
    )
    edit = Intervention(Site(1, "mlp_out"), add, vector(), positions=(0, 2))
    with pytest.raises(RuntimeError, match="should have edited 2 positions.*and edited 4"):
        run(tiny, [[1, 2, 3]], interventions=[edit])


def test_missed_positions_void_the_result(tiny: Any):
    editor = Editor(tiny, [Intervention(POST1, add, vector())], {0: 3}, writes=True)
    editor.move([0], [0], decoding=False)
    editor._edit(POST1, torch.randn(1, 3, 32))
    assert editor.receipts({0: 0})[0].positions == (0, 1, 2)
    with pytest.raises(RuntimeError, match=r"should have edited 5 .*missed: \[3, 4\]"):
        editor.receipts({0: 2})
