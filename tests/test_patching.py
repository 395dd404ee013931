"""Patching grids against loops with plain PyTorch hooks, TransformerLens, and a planted truth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import make_lens
from patch_loops import (
    CLEAN,
    CORRUPTED,
    EXACT,
    METRIC,
    PER_HEAD,
    UNRELATED,
    look,
    plain,
    slow_grid,
)
from torch import Tensor

from interp.engine import run, sweep
from interp.interventions import Intervention, replace
from interp.methods.patching import (
    Donor,
    GridLayout,
    LogitDiff,
    align_tokens,
    denoise,
    noise,
    patch_across,
    patch_grid,
)
from interp.sites import Site

LENS = 2e-4
"""Two implementations of the model."""

LAYOUTS = [
    GridLayout(streams=("resid_pre", "attn_out", "mlp_out", "resid_post", "z", "v")),
    PER_HEAD,
    GridLayout(streams=("v",), by="head"),
    GridLayout(streams=("q", "z"), by="head", positions=(-1, 3)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_grids_equal_a_plain_loop(tiny: Any, layout: GridLayout):
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
            found = denoise(tiny, CLEAN, CORRUPTED, METRIC, GridLayout(streams=(stream,))).values[0]
            assert torch.allclose(found, expected, atol=LENS), stream
        for stream, name in (("z", "out"), ("q", "q"), ("k", "k"), ("v", "v")):
            layout = GridLayout(streams=(stream,), by="head")
            every = getattr(patching, f"get_act_patch_attn_head_{name}_all_pos")
            expected = every(lens, ids, cache, metric)
            found = denoise(tiny, CLEAN, CORRUPTED, METRIC, layout).values[0]
            assert torch.allclose(found, expected, atol=LENS), stream
        by_pos = patching.get_act_patch_attn_head_out_by_pos(lens, ids, cache, metric)
        for position in (2, 5, 8):
            layout = GridLayout(streams=("z",), by="head", positions=(position,))
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
    layout = GridLayout(streams=("resid_post",), layers=(2,))
    restored = denoise(tiny, CLEAN, CORRUPTED, METRIC, layout).recovered_fraction().flatten()
    assert restored[-1] == pytest.approx(1, abs=1e-4)
    assert restored[:-1].abs().max() < 1e-4
    kept = noise(tiny, CLEAN, CORRUPTED, METRIC, layout).recovered_fraction().flatten()
    assert kept[-1] == pytest.approx(0, abs=1e-4) and bool((kept[:-1] > 1 - 1e-4).all())


def test_a_subset_of_layers_and_positions_is_cut_from_the_whole(tiny: Any):
    whole = denoise(tiny, CLEAN, CORRUPTED, METRIC, GridLayout(streams=("mlp_out", "z")))
    part = denoise(
        tiny,
        CLEAN,
        CORRUPTED,
        METRIC,
        GridLayout(("mlp_out", "z"), positions=(-1, 3), layers=(2, 0)),
    )
    assert part.plan.layers == (2, 0) and part.plan.places == (8, 3)
    assert torch.allclose(part.values, whole.values[:, [2, 0]][:, :, [8, 3]], atol=EXACT)
    assert part.n_naive == 8 * tiny.n_layers * len(CLEAN)


def test_logits_beyond_the_budget_are_formed_in_parts(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    from interp.methods.patching import grids

    whole = denoise(tiny, CLEAN, CORRUPTED, METRIC)
    monkeypatch.setattr(grids, "LOGIT_BUDGET", 5 * tiny.d_vocab)
    parts = denoise(tiny, CLEAN, CORRUPTED, METRIC)
    assert torch.allclose(parts.values, whole.values, atol=EXACT)
    assert torch.equal(parts.doses, whole.doses) and parts.n_naive == whole.n_naive
    assert parts.n_block_tokens > whole.n_block_tokens


# Across a pair


def test_across_a_pair_both_ways(tiny_pair: Any):
    base, post = tiny_pair.base, tiny_pair.post
    layout = GridLayout(streams=("z", "resid_pre", "mlp_out"))
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
    expected = slow_grid(tiny, CORRUPTED, tiny, UNRELATED, GridLayout())
    assert torch.allclose(control.values, expected, atol=EXACT)
    across = patch_across(tiny_pair, CLEAN, METRIC, donor=Donor(tiny_pair.post, UNRELATED))
    expected = slow_grid(tiny_pair.base, CLEAN, tiny_pair.post, UNRELATED, GridLayout())
    assert torch.allclose(across.values, expected, atol=EXACT)
    assert across.clean == pytest.approx(patch_across(tiny_pair, CLEAN, METRIC).clean)
    one_pass = tiny.n_layers * len(CLEAN)
    assert control.n_block_tokens == grid.n_block_tokens + one_pass, "one more text sets the scale"


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
    grid = patch_grid(tiny, CORRUPTED, donor, METRIC, GridLayout(streams=("mlp_out",)))
    assert grid.plan.places == tuple(range(1, 8))
    longer = Donor(tiny, [*shifted, 5, 5], places)
    grown = patch_grid(tiny, CORRUPTED, longer, METRIC, GridLayout(streams=("mlp_out",)))
    assert grown.n_block_tokens == grid.n_block_tokens + 2 * tiny.n_layers
    assert torch.allclose(grown.values, grid.values, atol=EXACT)
    for layer in range(tiny.n_layers):
        values = look(tiny, shifted, (layer, "mlp_out"))[layer, "mlp_out"]
        for place, here in enumerate(range(1, 8)):

            def change(x: Tensor, here: int = here, values: Tensor = values) -> None:
                x[here] = values[here + 2]

            expected = METRIC(plain(tiny, CORRUPTED, {(layer, "mlp_out"): change})[None])
            assert grid.values[0, layer, place] == pytest.approx(float(expected), abs=EXACT)


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
    whole = noise(model, clean, last, metric, GridLayout(positions=(at_last,)))
    assert whole.clean > 5 and whole.corrupted < -5
    assert whole.recovered_fraction().max() < 0.25
    consumed = noise(model, clean, early, metric, GridLayout(positions=(at_early,)))
    assert consumed.effects.abs().max() < 0.1 * (whole.clean - whole.corrupted)
    assert consumed.doses[0, 0, 0] > 0.1, "the two texts do differ there"
