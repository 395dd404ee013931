"""Metrics and settings of patching, and what is refused before any forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from jaxtyping import config
from patch_loops import (
    CLEAN,
    CORRUPTED,
    METRIC,
    UNRELATED,
)

from interp.methods.patching import (
    Donor,
    GridLayout,
    LogitDiff,
    Receiver,
    attribution_grid,
    denoise,
    patch_grid,
    path_patch,
    recovered_fraction,
)


def test_recovered_fraction():
    patched = torch.tensor([0.0, 1.0, 2.0, 4.0])
    assert recovered_fraction(patched, 2.0, 1.0).tolist() == [-1.0, 0.0, 1.0, 3.0]
    assert recovered_fraction(patched, 1.0, 3.0).tolist() == [1.5, 1.0, 0.5, -0.5]
    assert bool(recovered_fraction(patched, 1.0, 1.005).isnan().all())
    assert recovered_fraction(patched, 1.0, 1.005, margin=0.001).isfinite().all()
    assert bool(recovered_fraction(patched, float("nan"), 1.0).isnan().all())
    assert bool(recovered_fraction(patched, 1.0, 1.0, margin=0.0).isnan().all())


def grid(model: Any, metric: Any = METRIC, **settings: Any) -> Any:
    return patch_grid(model, CLEAN, Donor(model, CORRUPTED), metric, **settings)


def control(model: Any, metric: Any, **settings: Any) -> Any:
    donor = Donor(model, UNRELATED)
    return denoise(model, CLEAN, CORRUPTED, metric, donor=donor, **settings)


def guess(model: Any, metric: Any = METRIC, **settings: Any) -> Any:
    return attribution_grid(model, CLEAN, Donor(model, CORRUPTED), metric, **settings)


def path(model: Any, receiver: Receiver, **settings: Any) -> Any:
    donor = Donor(model, CORRUPTED)
    return path_patch(model, CLEAN, donor, [[(1, 0)]], receivers=[receiver], **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: denoise(m, CLEAN, CORRUPTED[:-1], METRIC), "same number of tokens.* 8 and 9"),
        (lambda m: patch_grid(m, CLEAN, Donor(m, CLEAN[1:]), METRIC), "places={position"),
        (lambda m: patch_grid(m, CLEAN, Donor(m, CLEAN, {0: 99}), METRIC), r"received \{0: 99\}"),
        (lambda m: patch_grid(m, CLEAN, Donor(m, CLEAN, {}), METRIC), "received none"),
        (
            lambda m: denoise(m, CLEAN, CORRUPTED, METRIC, GridLayout(positions=(9,))),
            r"partner: \[9\]",
        ),
        (
            lambda m: denoise(m, CLEAN, CORRUPTED, METRIC, GridLayout(positions=(8, -1))),
            "listed once",
        ),
        (lambda m: denoise(m, CLEAN, CORRUPTED, METRIC, GridLayout(layers=(3,))), "its last is 2"),
        (lambda m: denoise(m, CLEAN, CORRUPTED, lambda x: x), r"\[row, d_vocab\] to one number"),
        (
            lambda m: denoise(m, CLEAN, CORRUPTED, METRIC, GridLayout(("k", "z"), by="head")),
            r"different numbers of heads \[2, 4\]",
        ),
        (lambda _: GridLayout(streams=("embed",)), "streams of blocks"),
        (lambda _: GridLayout(streams=("mlp_out",), by="head"), "has no heads. Use by='pos'"),
        (lambda _: GridLayout(layers=()), "must list something"),
        (lambda _: GridLayout(by="heads"), "'pos' or 'head', received 'heads'"),
        (lambda m: grid(m, direction="denoize"), "'denoise' or 'noise', received 'denoize'"),
        (lambda m: guess(m, direction="denoize"), "'denoise' or 'noise', received 'denoize'"),
        (lambda m: grid(m, position_block=0), "position_block must be at least 1"),
        (lambda m: grid(m, token_budget=-1), "token_budget must be at least 1"),
        (lambda m: control(m, METRIC, token_budget=0), "token_budget must be at least 1"),
        (lambda m: control(m, lambda x: x), r"one number per row.*shape \(2, 67\)"),
        (lambda m: grid(m, lambda x: x.mean()), r"one number per row.*shape \(\)"),
        (lambda m: grid(m, LogitDiff(9999, 3)), "tokens 0 to 66; received.*another tokenizer"),
        (lambda m: guess(m, LogitDiff(3, 67)), "tokens 0 to 66"),
        (lambda m: guess(m, lambda x: x.argmax(-1)), "has none.*or the exact patch_grid"),
        (lambda m: guess(m, lambda x: x[:, 3].detach()), "the metric's gradient"),
        (lambda _: LogitDiff(-1, 5), "ids from 0 on; received right=-1 and wrong=5"),
        (lambda _: LogitDiff(5, 5), "two different tokens"),
        (lambda _: Receiver(2, "z", 3), "receives q, k and v; received the stream 'z'"),
        (lambda _: Receiver(2, "q", 3, ()), "at least one position"),
        (lambda _: Receiver(2, "q", 3, [1]), r"received \[1\]. Example: Receiver"),
        (lambda _: Receiver(2, "q", 3, (1, 1)), "none twice"),
        (lambda m: path(m, Receiver(2, "q", 3, (99,))), "a text of 9 tokens"),
        (lambda m: path(m, Receiver(2, "q", 3, (-10,))), "a text of 9 tokens"),
        (lambda m: path(m, Receiver(2, "q", 3, (-1, 8))), r"named once \(-1 is 8\)"),
        (lambda m: path(m, Receiver(2, "q", 3), token_budget=0), "token_budget must be at least"),
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
def test_what_does_not_fit_is_refused_before_any_pass(
    tiny: Any, call: Any, message: str, monkeypatch: pytest.MonkeyPatch
):
    # As users have it: without the shape checks of the tests, which would refuse some of it first.
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    passes: list[Any] = []
    handle = tiny.hf.model.register_forward_pre_hook(lambda *inputs: passes.append(inputs))
    try:
        with pytest.raises(ValueError, match=message):
            call(tiny)
    finally:
        handle.remove()
    assert not passes


@pytest.mark.parametrize("verb", [patch_grid, attribution_grid])
def test_a_metric_that_is_not_finite_is_refused(tiny: Any, verb: Any):
    with pytest.raises(ValueError, match="finite for every row; received inf.*log_softmax"):
        verb(tiny, CLEAN, Donor(tiny, CORRUPTED), lambda x: (x[:, 18].abs() * 1e30).exp())


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
