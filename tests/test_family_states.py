"""Every family: sweeps, edited and hidden states, and attention patterns equal plain, slow ways.

The texts are two to five times as long as the sliding windows of the models.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from families import EXPERTS, FAMILIES, WINDOW, make_family, make_hf
from test_cached_states import other_ids, slow_reading
from test_cached_states import some_text as asked_text
from test_edit_sweep import as_rows, random_edit
from test_family_passes import ROWS, masked, plain
from test_suppression import some_text

import interp.methods.attention.receiver_heads as heads_module
from interp.engine import sweep
from interp.methods.attention import StateEdit, edit_states, step_attention, suppress_steps
from interp.models.model import Model

EXACT = 1e-4
"""Logits, log-probabilities and mean divergences of other kernels and batches, in float32."""
PLACES = ((0, 1), (2, 0))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> Model:
    return make_family(family)


def test_a_sweep_equals_rows_of_a_run(model: Model):
    rng, ids = random.Random(0), [*ROWS[2]]
    cells = [[random_edit(model, rng) for _ in range(n % 3)] for n in range(24)]
    found = sweep(model, ids, cells, logits_at="all", position_block=4)
    expected, unchanged, n_moved = as_rows(model, ids, cells), plain(model, ROWS[2]), 0
    for logits, right in zip(found.logits, expected.logits, strict=True):
        assert torch.allclose(logits, right, atol=EXACT)
        n_moved += bool((right - unchanged).abs().max() > 100 * EXACT)
    assert n_moved >= 12, "edits that move nothing would test nothing"


def test_edited_states_equal_a_cache_edited_by_hand(family: str, model: Model):
    text, donor = asked_text(model, 0), asked_text(model, 1, n_answer=3)
    assert len(text.text.ids) > 2 * WINDOW
    references = other_ids(model)
    edits = [
        StateEdit(1),
        StateEdit(2, None, PLACES, recompute=True),
        StateEdit(0, donor, recompute=True),
        StateEdit(2, donor, PLACES),
        StateEdit(1, text),
    ]
    found = edit_states(model, [text], [edits], references=references)[0]
    moved = 0.0
    for edit, reading in zip(edits[:-1], found[:-1], strict=True):
        expected, written = slow_reading(model, text, edit, references)
        assert torch.allclose(reading.logprobs, expected, atol=EXACT), edit
        assert reading.written[:2] == written
        moved = max(moved, float((expected - reading.unedited).abs().max()))
    assert moved > 100 * EXACT, "edits that move nothing would test nothing"
    unchanged = found[-1]
    assert not unchanged.receipt.n_changed
    assert torch.allclose(unchanged.logprobs, unchanged.unedited, atol=EXACT)
    # An expert reads the tokens of all rows in one product, and rounds so.
    if family not in EXPERTS:
        assert torch.equal(unchanged.logprobs, unchanged.unedited)


def test_hidden_steps_equal_whole_passes_under_a_mask(model: Model):
    text = some_text(model)
    found = suppress_steps(model, text, temperature=1.0).kl
    base, at = plain(model, text.ids).double().log_softmax(-1), torch.arange(len(text.ids))
    for source, span in enumerate(text.steps[:-1]):
        hidden = (at[:, None] >= span.stop) & (at >= span.start) & (at < span.stop)
        visible = (at[:, None] >= at) & ~hidden
        with torch.no_grad():
            other = masked(model, text.ids, visible).double().log_softmax(-1)
        divergence = (base.exp() * (base - other)).sum(-1)
        for target in range(source + 1, len(text.steps)):
            expected = divergence[list(text.steps[target])].mean()
            assert abs(found[target, source] - expected) < EXACT, (target, source)
    assert float(found.nanmean()) > 10 * EXACT


@pytest.mark.parametrize("block", [256, 5])
def test_patterns_equal_those_of_the_library(
    family: str, model: Model, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(heads_module, "QUERY_BLOCK", block)
    text, kernel = some_text(model), model.hf.config._attn_implementation
    found = step_attention(model, text)
    assert model.hf.config._attn_implementation == kernel
    hf: Any = make_hf(family, attn_implementation="eager")
    with torch.no_grad():
        patterns = hf(torch.tensor([text.ids]), use_cache=False, output_attentions=True).attentions
    for layer, pattern in enumerate(patterns):
        for i, rows in enumerate(text.steps):
            for j, columns in enumerate(text.steps):
                expected = pattern[0, :, list(rows)][:, :, list(columns)].mean((1, 2))
                assert torch.allclose(found[layer, :, i, j], expected, atol=EXACT)
