"""Every family: batches, branches, writing and path tables equal plain forward passes of one text.

The texts are three to five times as long as the sliding windows of the models.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import jaxtyping
import pytest
import torch
from families import FAMILIES, SLIDING, WINDOW, block, make_family
from torch import Tensor

import interp.engine.single_pass as running_module
from interp.engine import Branch, generate, run, score_branches
from interp.interventions import Intervention, add
from interp.methods.attention import PATHS, PathRow, path_logprobs
from interp.models.forward import body, new_cache, read_on
from interp.models.model import Model
from interp.sites import Site

EXACT = 1e-4


def text(seed: int, n: int) -> tuple[int, ...]:
    chosen = random.Random(seed)
    return tuple(chosen.randrange(3, 60) for _ in range(n))


ROWS = [text(0, 17), text(1, 9), text(2, 27)]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    return make_family(request.param)


def plain(model: Model, ids: tuple[int, ...]) -> Tensor:
    with torch.no_grad():
        return model.hf(torch.tensor([ids]), use_cache=False).logits[0].float()


def test_windows_are_shorter_than_the_texts_and_matter():
    assert all(len(row) > WINDOW for row in ROWS)
    branches = [Branch(20, text(3, 8))]
    for family in SLIDING:
        model = make_family(family)
        assert model.adapter.window == WINDOW
        blind = replace(model, adapter=replace(model.adapter, window=None))
        right, wrong = (score_branches(m, [ROWS[2]], [branches])[0][0] for m in (model, blind))
        assert (right.logprobs - wrong.logprobs).abs().max() > 1e-2, family


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_equals_each_row_alone(model: Model, side: Any):
    found = run(model, ROWS, pad_side=side).logits
    for logits, row in zip(found, ROWS, strict=True):
        assert torch.allclose(logits, plain(model, row), atol=EXACT)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"logits_at": "Last"}, "logits_at must be 'all' or 'last', received 'Last'"),
        ({"pad_side": "l"}, "pad_side must be 'left' or 'right', received 'l'"),
    ],
)
def test_unknown_settings_of_a_pass_are_refused(
    setting: Any, message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(running_module, "body", None)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users call it
    with pytest.raises(ValueError, match=message):
        run(make_family("llama"), ROWS, **setting)


def test_branches_equal_separate_passes(model: Model):
    branches = [
        [Branch(cut, text(10 * cut + n, n)) for cut in (1, 4, len(row)) for n in (1, 3, 15)]
        for row in ROWS
    ]
    found = score_branches(model, ROWS, branches)
    for row, of_row, scores in zip(ROWS, branches, found, strict=True):
        for branch, score in zip(of_row, scores, strict=True):
            logprobs = plain(model, row[: branch.cut] + branch.suffix).log_softmax(-1)
            asked = torch.tensor(branch.suffix)
            expected = logprobs[branch.cut - 1 : -1].gather(1, asked[:, None])[:, 0]
            assert torch.allclose(score.logprobs, expected, atol=EXACT)


def test_greedy_writing_equals_that_of_the_library(model: Model):
    width, n_new = max(map(len, ROWS)), 20
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in ROWS])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ROWS])
    expected = model.hf.generate(
        ids, attention_mask=mask, max_new_tokens=n_new, do_sample=False, pad_token_id=0
    )
    found = generate(model, ROWS, max_new_tokens=n_new)
    assert [list(row.ids) for row in found] == expected[:, width:].tolist()


def test_steered_writing_equals_reading_it_again(model: Model):
    """Read again, uncached, one row at a time, with a plain hook on the block."""
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(4))
    steer = Intervention(Site(1, "resid_post"), add, vector, dose=2.0)
    written = generate(model, ROWS, max_new_tokens=12, interventions=[steer])
    handle = block(model.hf, 1).register_forward_hook(lambda *io: io[2] + 2 * vector)
    try:
        for row, found in zip(ROWS, written, strict=True):
            logprobs = plain(model, row + found.ids).log_softmax(-1)[len(row) - 1 : -1]
            assert tuple(logprobs.argmax(-1).tolist()) == found.ids
            assert torch.allclose(logprobs.amax(-1), torch.tensor(found.logprobs), atol=EXACT)
    finally:
        handle.remove()
    assert [row.ids for row in written] != [
        row.ids for row in generate(model, ROWS, max_new_tokens=12)
    ]


def masked(model: Model, ids: tuple[int, ...], visible: Tensor) -> Tensor:
    """One pass over the whole text under a table written out for each type of layer."""
    at = torch.arange(len(ids))
    near = at[:, None] - at < WINDOW
    lowest = torch.finfo(torch.float32).min
    full, near_only = (
        torch.zeros(visible.shape).masked_fill(~seen, lowest)[None, None]
        for seen in (visible, visible & near)
    )
    config = model.hf.config
    mask: Any = full
    if getattr(config, "layer_types", None):
        mask = {"full_attention": full, "sliding_attention": near_only}
    elif getattr(config, "sliding_window", None):
        mask = near_only
    body = model.hf.base_model(
        torch.tensor([ids]), attention_mask=mask, position_ids=at[None], use_cache=False
    )
    logits = model.hf.lm_head(body.last_hidden_state)[0] / getattr(config, "logits_scaling", 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def test_paths_equal_whole_texts_under_their_tables(model: Model):
    row = PathRow(text(5, 11), text(6, 13), text(7, 9), n_cue=2)
    ids = row.prompt + row.cot + row.answer
    prompt, cot, sink = range(11), range(11, 24), range(1)
    hidden = {
        "full": [],
        "via_cot": [(range(24, 33), prompt)],
        "no_cot": [(range(24, 33), cot)],
        "no_prompt": [(range(11, 33), prompt)],
        "sink_only": [(range(24, 33), prompt), (range(24, 33), cot)],
    }
    found = path_logprobs(model, [row, PathRow(text(8, 3), (), text(9, 4), n_cue=1)])[0]
    for path in PATHS:
        visible = torch.ones(33, 33, dtype=torch.bool).tril()
        for queries, keys in hidden[path]:
            visible[queries.start : queries.stop, keys.start : keys.stop] = False
            if keys is prompt:
                visible[queries.start : queries.stop, sink.start : sink.stop] = True
        with torch.no_grad():
            expected = masked(model, ids, visible).log_softmax(-1)[25:32]
        assert torch.allclose(found[path], expected, atol=EXACT), path


def test_caches_keep_every_key_and_are_left_as_they_were(model: Model):
    cache = new_cache(model)
    with torch.no_grad():
        body(model, torch.tensor([ROWS[2]]), cache=cache)
        before = [layer.keys.clone() for layer in cache.layers]
        positions = torch.tensor([[len(ROWS[2])]])
        visible = torch.ones(1, 1, len(ROWS[2]) + 1, dtype=torch.bool)
        read_on(model, cache, torch.tensor([[5]]), positions, visible)
    assert all(layer.keys.shape[2] == len(ROWS[2]) for layer in cache.layers)
    assert all(
        torch.equal(layer.keys, keys) for layer, keys in zip(cache.layers, before, strict=True)
    )
