"""Patching against loops with plain PyTorch hooks, TransformerLens, and a planted truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from conftest import make_lens
from torch import Tensor

from interp.engine import run, sweep
from interp.interventions import Intervention, interpolate, replace
from interp.patching import (
    Donor,
    Grid,
    Layout,
    LogitDiff,
    Receiver,
    agreement,
    align_tokens,
    attribution_grid,
    denoise,
    noise,
    patch_across,
    patch_grid,
    path_patch,
    recovered_fraction,
)
from interp.sites import Site

EXACT = 2e-5
"""Logit differences of the tiny model go up to about 20; float32 sums in another order."""
LENS = 2e-4
"""Two implementations of the model."""

CLEAN = [1, 6, 17, 30, 18, 10, 27, 4, 19]
CORRUPTED = [1, 6, 23, 30, 18, 12, 27, 4, 19]
UNRELATED = [9, 8, 7, 33, 40, 41, 12, 13, 14]
METRIC = LogitDiff(right=18, wrong=30)
PER_HEAD = Layout(streams=("z",), by="head")

MODULES: dict[str, tuple[str, str]] = {
    "resid_pre": ("", "in"),
    "z": (".self_attn.o_proj", "in"),
    "v": (".self_attn.v_proj", "out"),
    "q": (".self_attn.q_proj", "out"),
    "attn_out": (".self_attn", "out"),
    "mlp_out": (".mlp", "out"),
    "resid_post": ("", "out"),
}
"""Where a Llama has each stream, written down anew."""

Change = Callable[[Tensor], None]
"""Writes into an activation [pos, width]."""


def plain(model: Any, ids: list[int], changes: dict[tuple[int, str], Change]) -> Tensor:
    """Last logits of a pass with hooks that write into activations, or just look at them."""

    def hook_for(change: Change, side: str) -> Any:
        def hook(_module: Any, args: Any, output: Any = None) -> Any:
            found = args if side == "in" else output
            whole = isinstance(found, Tensor)
            copy = (found if whole else found[0]).clone()
            change(copy[0])
            return copy if whole else (copy, *found[1:])

        return hook

    with ExitStack() as stack, torch.no_grad():
        for (layer, stream), change in changes.items():
            suffix, side = MODULES[stream]
            module = model.hf.get_submodule(f"model.layers.{layer}{suffix}")
            add = module.register_forward_pre_hook if side == "in" else module.register_forward_hook
            stack.callback(add(hook_for(change, side)).remove)
        return model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1]


def look(model: Any, ids: list[int], *keys: tuple[int, str]) -> dict[tuple[int, str], Tensor]:
    found: dict[tuple[int, str], Tensor] = {}

    def keep(key: tuple[int, str]) -> Change:
        return lambda x: found.update({key: x.clone()})

    plain(model, ids, {key: keep(key) for key in keys})
    return found


def put(values: Tensor, *index: Any) -> Change:
    def change(x: Tensor) -> None:
        x[index] = values[index]

    return change


def slow_grid(model: Any, ids: list[int], source: Any, donor_ids: list[int], layout: Layout) -> Any:
    """Metric of every cell, one pass each; heads are columns of the flat activation."""
    rows = []
    for stream in layout.streams:
        for layer in range(model.n_layers):
            values = look(source, donor_ids, (layer, stream))[layer, stream]
            indices: list[Any] = [(at,) for at in range(len(ids))]
            if layout.by == "head":
                n_heads = values.shape[-1] // model.d_head
                columns = [slice(h * model.d_head, (h + 1) * model.d_head) for h in range(n_heads)]
                at = list(layout.positions or range(len(ids)))
                indices = [(at, column) for column in columns]
            rows.append(
                [plain(model, ids, {(layer, stream): put(values, *index)}) for index in indices]
            )
    logits = torch.stack([torch.stack(row) for row in rows])
    return METRIC(logits.flatten(0, 1)).reshape(len(layout.streams), model.n_layers, -1)


LAYOUTS = [
    Layout(streams=("resid_pre", "attn_out", "mlp_out", "resid_post", "z", "v")),
    PER_HEAD,
    Layout(streams=("v",), by="head"),
    Layout(streams=("q", "z"), by="head", positions=(-1, 3)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_grids_equal_a_plain_loop(tiny: Any, layout: Layout):
    clean, corrupted = (float(METRIC(plain(tiny, ids, {})[None])) for ids in (CLEAN, CORRUPTED))
    for verb, patched, source in ((denoise, CORRUPTED, CLEAN), (noise, CLEAN, CORRUPTED)):
        grid = verb(tiny, CLEAN, CORRUPTED, METRIC, layout)
        expected = slow_grid(tiny, patched, tiny, source, layout)
        assert grid.values.shape == expected.shape == grid.plan.shape
        assert torch.allclose(grid.values, expected, atol=EXACT)
        assert (grid.clean, grid.corrupted) == pytest.approx((clean, corrupted), abs=EXACT)
        fraction = (expected - corrupted) / (clean - corrupted)
        assert torch.allclose(grid.recovered_fraction(), fraction, atol=1e-3)
        own = corrupted if verb is denoise else clean
        assert torch.allclose(grid.effects, expected - own, atol=2 * EXACT)


def test_grids_agree_with_transformer_lens(tiny: Any):
    from transformer_lens import patching

    lens = make_lens(tiny)
    ids = torch.tensor([CORRUPTED])
    with torch.no_grad():
        _, cache = lens.run_with_cache(torch.tensor([CLEAN]))

        def metric(logits: Tensor) -> Tensor:
            return METRIC(logits[:, -1])[0]

        for stream in ("resid_pre", "attn_out", "mlp_out", "resid_mid"):
            expected = getattr(patching, f"get_act_patch_{stream}")(lens, ids, cache, metric)
            found = denoise(tiny, CLEAN, CORRUPTED, METRIC, Layout(streams=(stream,))).values[0]
            assert torch.allclose(found, expected, atol=LENS), stream
        for stream, name in (("z", "out"), ("q", "q"), ("k", "k"), ("v", "v")):
            layout = Layout(streams=(stream,), by="head")
            every = getattr(patching, f"get_act_patch_attn_head_{name}_all_pos")
            expected = every(lens, ids, cache, metric)
            found = denoise(tiny, CLEAN, CORRUPTED, METRIC, layout).values[0]
            assert torch.allclose(found, expected, atol=LENS), stream
        by_pos = patching.get_act_patch_attn_head_out_by_pos(lens, ids, cache, metric)
        for position in (2, 5, 8):
            layout = Layout(streams=("z",), by="head", positions=(position,))
            found = denoise(tiny, CLEAN, CORRUPTED, METRIC, layout).values[0]
            assert torch.allclose(found, by_pos[:, position], atol=LENS)


def test_a_patch_from_the_run_itself_changes_nothing(tiny: Any):
    for layout in LAYOUTS:
        grid = patch_grid(tiny, CLEAN, Donor(tiny, CLEAN), METRIC, layout)
        assert grid.effects.abs().max() < EXACT
        assert grid.doses.abs().max() < 1e-5
        assert bool(grid.recovered_fraction().isnan().all())


def test_doses_are_zero_exactly_where_the_runs_agree(tiny: Any):
    """Before the first word that differs both runs are one; at layer 0 everywhere else too."""
    doses = denoise(tiny, CLEAN, CORRUPTED, METRIC).doses[0]
    assert not doses[:, :2].any() and bool((doses[1:, 2:] > 1e-3).all())
    assert doses[0].nonzero().flatten().tolist() == [2, 5]


def test_everything_at_the_first_layer_is_the_clean_run(tiny: Any):
    values = run(tiny, [CLEAN], capture=[Site(0, "resid_pre")]).captures[Site(0, "resid_pre")][0]
    everywhere = Intervention(
        Site(0, "resid_pre"), replace, values, positions=tuple(range(len(CLEAN)))
    )
    found = sweep(tiny, CORRUPTED, [[everywhere]]).last[0]
    assert torch.allclose(found, plain(tiny, CLEAN, {}), atol=EXACT)


def test_the_last_state_carries_everything_and_the_others_there_nothing(tiny: Any):
    layout = Layout(streams=("resid_post",), layers=(2,))
    restored = denoise(tiny, CLEAN, CORRUPTED, METRIC, layout).recovered_fraction().flatten()
    assert restored[-1] == pytest.approx(1, abs=1e-4)
    assert restored[:-1].abs().max() < 1e-4
    kept = noise(tiny, CLEAN, CORRUPTED, METRIC, layout).recovered_fraction().flatten()
    assert kept[-1] == pytest.approx(0, abs=1e-4) and bool((kept[:-1] > 1 - 1e-4).all())


def test_a_subset_of_layers_and_positions_is_cut_from_the_whole(tiny: Any):
    whole = denoise(tiny, CLEAN, CORRUPTED, METRIC, Layout(streams=("mlp_out", "z")))
    part = denoise(
        tiny, CLEAN, CORRUPTED, METRIC, Layout(("mlp_out", "z"), positions=(-1, 3), layers=(2, 0))
    )
    assert part.plan.layers == (2, 0) and part.plan.places == (8, 3)
    assert torch.allclose(part.values, whole.values[:, [2, 0]][:, :, [8, 3]], atol=EXACT)
    assert part.n_naive == 8 * tiny.n_layers * len(CLEAN)


def test_logits_beyond_the_budget_are_formed_in_parts(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    from interp.patching import grids

    whole = denoise(tiny, CLEAN, CORRUPTED, METRIC)
    monkeypatch.setattr(grids, "LOGIT_BUDGET", 5 * tiny.d_vocab)
    parts = denoise(tiny, CLEAN, CORRUPTED, METRIC)
    assert torch.allclose(parts.values, whole.values, atol=EXACT)
    assert torch.equal(parts.doses, whole.doses) and parts.n_naive == whole.n_naive
    assert parts.n_block_tokens > whole.n_block_tokens


# Across a pair


def test_across_a_pair_both_ways(tiny_pair: Any):
    base, post = tiny_pair.base, tiny_pair.post
    layout = Layout(streams=("z", "resid_pre", "mlp_out"))
    for direction, patched, giver in (
        ("post_to_base", base, post),
        ("base_to_post", post, base),
    ):
        grid = patch_across(tiny_pair, CLEAN, METRIC, layout, direction=direction)
        expected = slow_grid(patched, CLEAN, giver, CLEAN, layout)
        assert torch.allclose(grid.values, expected, atol=EXACT)
        assert grid.clean == pytest.approx(float(METRIC(plain(giver, CLEAN, {})[None])), abs=EXACT)
        own = float(METRIC(plain(patched, CLEAN, {})[None]))
        assert grid.corrupted == pytest.approx(own, abs=EXACT)


def test_a_control_keeps_the_scale_and_changes_the_donor(tiny: Any, tiny_pair: Any):
    grid = denoise(tiny, CLEAN, CORRUPTED, METRIC)
    control = denoise(tiny, CLEAN, CORRUPTED, METRIC, donor=Donor(tiny, UNRELATED))
    assert (control.clean, control.corrupted) == pytest.approx((grid.clean, grid.corrupted))
    expected = slow_grid(tiny, CORRUPTED, tiny, UNRELATED, Layout())
    assert torch.allclose(control.values, expected, atol=EXACT)
    across = patch_across(tiny_pair, CLEAN, METRIC, donor=Donor(tiny_pair.post, UNRELATED))
    expected = slow_grid(tiny_pair.base, CLEAN, tiny_pair.post, UNRELATED, Layout())
    assert torch.allclose(across.values, expected, atol=EXACT)
    assert across.clean == pytest.approx(patch_across(tiny_pair, CLEAN, METRIC).clean)


# Positions that belong together


def character_tokenizer(text: str) -> Any:
    """One token per character, blanks included."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({c: n for n, c in enumerate(sorted({*text, "?"}))}, "?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_tokens_are_aligned_by_the_characters_they_cover(tiny: Any):
    text = "Q 10 + 4 ?"
    places = align_tokens(text, tiny.tokenizer, character_tokenizer(text))
    assert places == {0: 0, 2: 5, 3: 7, 4: 9}  # "10" is one token here and two there
    back = align_tokens(text, character_tokenizer(text), tiny.tokenizer)
    assert back == {there: here for here, there in places.items()}
    assert align_tokens(text, tiny.tokenizer, tiny.tokenizer) == dict(enumerate(range(5)))
    with pytest.raises(ValueError, match="no token of the two tokenizers"):
        align_tokens("10", tiny.tokenizer, character_tokenizer("10"))


def test_only_positions_with_a_partner_are_patched(tiny: Any):
    """The donor's text is shifted by two words, and its last word is missing."""
    shifted = [5, 5, *CLEAN[:-1]]
    places = {here: here + 2 for here in range(1, 8)}
    donor = Donor(tiny, shifted, places)
    grid = patch_grid(tiny, CORRUPTED, donor, METRIC, Layout(streams=("mlp_out",)))
    assert grid.plan.places == tuple(range(1, 8))
    for layer in range(tiny.n_layers):
        values = look(tiny, shifted, (layer, "mlp_out"))[layer, "mlp_out"]
        for place, here in enumerate(range(1, 8)):

            def change(x: Tensor, here: int = here, values: Tensor = values) -> None:
                x[here] = values[here + 2]

            expected = METRIC(plain(tiny, CORRUPTED, {(layer, "mlp_out"): change})[None])
            assert grid.values[0, layer, place] == pytest.approx(float(expected), abs=EXACT)


# Attribution


def test_attribution_is_the_slope_of_the_exact_effect(tiny: Any):
    """Finite differences in double precision: a ten-thousandth of the way to the donor."""
    from interp.models import load_model

    model = load_model(tiny.tokenizer.name_or_path)
    model.hf.double()
    streams = ("resid_pre", "q", "v", "z", "attn_out", "resid_mid", "mlp_post", "mlp_out")
    layout, small = Layout(streams=streams, positions=(2, 5, 8)), 1e-4
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
    """Last logits without rounding to float32, by plain hooks of the door, a cell at a time."""
    from interp.engine.editing import Editor
    from interp.models import hooked
    from interp.models.passes import body

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
    assert guess.n_block_tokens == 3 * tiny.n_layers * len(CLEAN)
    assert guess.n_naive == tiny.n_layers * tiny.n_heads * tiny.n_layers * len(CLEAN)


def test_attribution_is_zero_where_nothing_is_read(tiny: Any):
    """Queries of the last layer matter at the last position only; weights ask for no gradient."""
    layout = Layout(streams=("q",), layers=(2,))
    guess = attribution_grid(tiny, CORRUPTED, Donor(tiny, CLEAN), METRIC, layout)
    assert not guess.effects[0, 0, :-1].any()
    assert not any(weight.requires_grad for weight in tiny.hf.parameters())


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
    other = denoise(tiny, CLEAN, CORRUPTED, METRIC, Layout(positions=(1, 2, 3)))
    with pytest.raises(ValueError, match="same cells"):
        agreement(grid, other)


# Paths


def slow_path(
    model: Any,
    senders: list[tuple[int, int]],
    receivers: list[Receiver],
    positions: list[int],
    frozen: bool,
) -> Tensor:
    """Path patching with a hook on every head, by hand."""
    width, n_layers = model.d_head, model.n_layers
    streams = ("z", "mlp_out") if frozen else ("z",)
    keys = [(layer, stream) for layer in range(n_layers) for stream in streams]
    own, given = look(model, CORRUPTED, *keys), look(model, CLEAN, *keys)
    changes: dict[tuple[int, str], Change] = {}
    for layer, stream in keys:
        value = own[layer, stream].clone()
        for at, head in senders:
            if (at, "z") == (layer, stream):
                columns = slice(head * width, (head + 1) * width)
                value[positions, columns] = given[layer, "z"][positions, columns]
        changes[layer, stream] = put(value, slice(None))
    seen: dict[tuple[int, str], Tensor] = {}
    for one in receivers:
        key = (one.layer, one.stream)
        changes[key] = lambda x, key=key: seen.update({key: x.clone()})
    logits = plain(model, CORRUPTED, changes)
    if not receivers:
        return logits
    second: dict[tuple[int, str], Change] = {}
    for one in receivers:
        columns = slice(one.head * width, (one.head + 1) * width)
        second[one.layer, one.stream] = put(
            seen[one.layer, one.stream], list(one.positions or range(len(CLEAN))), columns
        )
    return plain(model, CORRUPTED, second)


RECEIVERS = {
    "logits": [],
    "queries": [Receiver(2, "q", 3)],
    "values at the end": [Receiver(2, "v", 1, (-1, 5)), Receiver(1, "q", 0)],
}


@pytest.mark.parametrize("mlps", ["recomputed", "frozen"])
@pytest.mark.parametrize("to", RECEIVERS)
@pytest.mark.parametrize("positions", [None, (2, -1)])
def test_paths_equal_hooks_by_hand(tiny: Any, mlps: Any, to: str, positions: Any):
    receivers = RECEIVERS[to]
    groups = [[(0, 1)], [(0, 2), (0, 3)], [(0, 0), (1, 1), (1, 3)]]
    found = path_patch(
        tiny, CORRUPTED, Donor(tiny, CLEAN), groups, receivers=receivers, positions=positions,
        mlps=mlps, token_budget=20,
    )  # fmt: skip
    listed = [at % len(CLEAN) for at in positions or range(len(CLEAN))]
    for group, logits in zip(groups, found.logits, strict=True):
        expected = slow_path(tiny, group, receivers, listed, mlps == "frozen")
        assert torch.allclose(logits, expected, atol=EXACT)
    difference = found.logits - plain(tiny, CORRUPTED, {})
    assert difference.abs().amax(-1).min() > 1e-4
    assert {receipt.row for receipt in found.receipts} == {0, 1, 2}


def test_all_heads_of_the_donor_at_the_last_layer_are_all_there_is(tiny: Any):
    """In the last layer a direct path is the whole effect: same as patching those heads."""
    group = [(2, 0), (2, 3)]
    found = path_patch(tiny, CORRUPTED, Donor(tiny, CLEAN), [group]).logits[0]
    z = look(tiny, CLEAN, (2, "z"))[2, "z"]
    columns = [*range(8), *range(24, 32)]
    everywhere = list(range(len(CLEAN)))
    index = torch.tensor(everywhere)[:, None], torch.tensor(columns)
    assert torch.allclose(found, plain(tiny, CORRUPTED, {(2, "z"): put(z, *index)}), atol=EXACT)


def test_a_path_from_the_run_itself_leads_nowhere(tiny: Any):
    found = path_patch(tiny, CLEAN, Donor(tiny, CLEAN), [[(0, 1)]], receivers=[Receiver(2, "k", 1)])
    assert torch.allclose(found.logits[0], plain(tiny, CLEAN, {}), atol=EXACT)


# Metrics and refusals


def test_recovered_fraction():
    patched = torch.tensor([0.0, 1.0, 2.0, 4.0])
    assert recovered_fraction(patched, 2.0, 1.0).tolist() == [-1.0, 0.0, 1.0, 3.0]
    assert recovered_fraction(patched, 1.0, 3.0).tolist() == [1.5, 1.0, 0.5, -0.5]
    assert bool(recovered_fraction(patched, 1.0, 1.005).isnan().all())
    assert recovered_fraction(patched, 1.0, 1.005, margin=0.001).isfinite().all()
    assert bool(recovered_fraction(patched, float("nan"), 1.0).isnan().all())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: denoise(m, CLEAN, CORRUPTED[:-1], METRIC), "same number of tokens.* 8 and 9"),
        (lambda m: patch_grid(m, CLEAN, Donor(m, CLEAN[1:]), METRIC), "places={position"),
        (lambda m: patch_grid(m, CLEAN, Donor(m, CLEAN, {0: 99}), METRIC), r"received \{0: 99\}"),
        (lambda m: patch_grid(m, CLEAN, Donor(m, CLEAN, {}), METRIC), "received none"),
        (lambda m: denoise(m, CLEAN, CORRUPTED, METRIC, Layout(positions=(9,))), r"partner: \[9\]"),
        (lambda m: denoise(m, CLEAN, CORRUPTED, METRIC, Layout(positions=(8, -1))), "listed once"),
        (lambda m: denoise(m, CLEAN, CORRUPTED, METRIC, Layout(layers=(3,))), "its last is 2"),
        (lambda m: denoise(m, CLEAN, CORRUPTED, lambda x: x), r"\[row, d_vocab\] to one number"),
        (
            lambda m: denoise(m, CLEAN, CORRUPTED, METRIC, Layout(("k", "z"), by="head")),
            r"different numbers of heads \[2, 4\]",
        ),
        (lambda _: Layout(streams=("embed",)), "streams of blocks"),
        (lambda _: Layout(streams=("mlp_out",), by="head"), "has no heads. Use by='pos'"),
        (lambda _: Layout(layers=()), "must list something"),
        (lambda m: path_patch(m, CLEAN, Donor(m, CORRUPTED), [[]]), "at least one head"),
        (lambda m: path_patch(m, CLEAN, Donor(m, CORRUPTED), [[(0, 4)]]), "heads 0 to 3"),
        (
            lambda m: path_patch(
                m, CLEAN, Donor(m, CORRUPTED), [[(1, 0)]], receivers=[Receiver(1, "q", 0)]
            ),
            "no path leads.*Choose receivers after layer 1",
        ),
        (
            lambda m: path_patch(m, CLEAN, Donor(m, CORRUPTED), [[(1, 0)]], positions=(12,)),
            "without a partner",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tiny: Any, call: Any, message: str):
    with pytest.raises(ValueError, match=message):
        call(tiny)


def test_a_donor_of_another_shape_or_vocabulary(tiny: Any, tiny_copy: Any):
    from interp.models import load_model

    wide = load_model(tiny_copy(hidden_size=64, head_dim=8))
    with pytest.raises(ValueError, match=r"has \(32,\) in tiny and \(64,\) in model"):
        patch_grid(tiny, CLEAN, Donor(wide, CLEAN), METRIC)
    more = load_model(tiny_copy(seed=3, vocab_size=80))
    with pytest.raises(ValueError, match=r"reference=..., or float\('nan'\)"):
        patch_grid(tiny, CLEAN, Donor(more, CLEAN), METRIC)
    grid = patch_grid(tiny, CLEAN, Donor(more, CLEAN), METRIC, reference=float("nan"))
    assert bool(grid.recovered_fraction().isnan().all()) and grid.effects.abs().max() > 0.1


# A planted truth

CHAIN = "<bos> Q 8 * 2 + 4 ? <think> 8 * 2 = {} ; 5 + 4 = {} ; </think> A"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_last_result_is_necessary_and_a_consumed_early_one_is_not(seed: int):
    """A model that reads its answer off the chain: once the next step has copied an early result,
    nothing depends on the place where it was written first."""
    from interp.models import load_model
    from interp.organisms.zoo import organism_path

    model = load_model(organism_path("base", seed))

    def encode(text: str) -> list[int]:
        return model.tokenizer(text)["input_ids"]

    metric = LogitDiff(right=encode("9")[0], wrong=encode("1")[0])
    clean, last, early = (encode(CHAIN.format(*r)) for r in ((5, 9), (5, 1), (1, 9)))
    at_last, at_early = 19, 13
    assert [n for n, pair in enumerate(zip(clean, last, strict=True)) if len({*pair}) > 1] == [19]
    assert [n for n, pair in enumerate(zip(clean, early, strict=True)) if len({*pair}) > 1] == [13]
    whole = noise(model, clean, last, metric, Layout(positions=(at_last,)))
    assert whole.clean > 5 and whole.corrupted < -5
    assert whole.recovered_fraction().max() < 0.25
    consumed = noise(model, clean, early, metric, Layout(positions=(at_early,)))
    assert consumed.effects.abs().max() < 0.1 * (whole.clean - whole.corrupted)
    assert consumed.doses[0, 0, 0] > 0.1, "the two texts do differ there"
