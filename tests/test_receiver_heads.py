"""Receiver heads: patterns of the plain Hugging Face model, and statistics worked out by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from conftest import make_hf
from torch import Tensor

import interp.methods.attention.receiver_heads as heads_module
from interp.methods.attention import (
    SteppedText,
    find_receiver_heads,
    kurtosis,
    lay_out,
    step_attention,
    vertical_scores,
)
from interp.models import make_model

EXACT = 1e-5


def some_text(model: Any, seed: int = 0, n_steps: int = 9) -> SteppedText:
    rng = random.Random(seed)
    parts = [[rng.randrange(3, model.d_vocab) for _ in range(rng.randint(1, 4))]] * (n_steps + 1)
    parts = [[rng.randrange(3, model.d_vocab) for _ in part] for part in parts]
    return lay_out(parts[0], parts[1:], [7])


def slow_attention(text: SteppedText) -> Tensor:
    hf = make_hf(attn_implementation="eager")
    with torch.no_grad():
        patterns = hf(torch.tensor([text.ids]), output_attentions=True).attentions
    n = len(text.steps)
    found = torch.zeros(3, 4, n, n)
    for layer in range(3):
        for head in range(4):
            for i, rows in enumerate(text.steps):
                for j, columns in enumerate(text.steps):
                    block = [float(patterns[layer][0, head, q, k]) for q in rows for k in columns]
                    found[layer, head, i, j] = sum(block) / len(block)
    return found


@pytest.mark.parametrize("block", [256, 5, 1])
def test_step_attention_is_the_mean_of_each_block(
    tiny: Any, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(heads_module, "QUERY_BLOCK", block)
    text = some_text(tiny)
    found = step_attention(tiny, text)
    assert torch.allclose(found, slow_attention(text), atol=EXACT)
    assert float(found.triu(1).abs().max()) == 0.0 and float(found.max()) > 0.05


def test_the_model_keeps_its_kernel_and_its_weights(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    readers: list[Any] = []
    read = heads_module._patterns

    def watch(reader: Any, *rest: Any) -> Any:
        assert tiny.hf.config._attn_implementation == "sdpa"  # another thread may be reading
        readers.append(reader)
        return read(reader, *rest)

    monkeypatch.setattr(heads_module, "_patterns", watch)
    step_attention(tiny, some_text(tiny))
    assert readers[0].hf.config._attn_implementation == "eager"
    weights = zip(readers[0].hf.parameters(), tiny.hf.parameters(), strict=True)
    assert all(copied is own for copied, own in weights)


def test_a_model_without_patterns_is_an_error(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tiny.hf, "set_attn_implementation", lambda _: None)
    with pytest.raises(RuntimeError, match="returned attention patterns of 0 of 3 layers"):
        step_attention(tiny, some_text(tiny))


def test_vertical_scores_by_hand():
    attention = torch.arange(16.0).reshape(1, 1, 4, 4)
    far = vertical_scores(attention, distance=2)[0, 0]
    assert torch.allclose(
        far, torch.tensor([(8 + 12) / 2, 13.0, torch.nan, torch.nan]), equal_nan=True
    )
    assert float(vertical_scores(attention, distance=1)[0, 0, 0]) == (4 + 8 + 12) / 3
    with pytest.raises(ValueError, match="at least 1, received 0"):
        vertical_scores(attention, distance=0)


def test_kurtosis_is_that_of_scipy():
    from scipy import stats

    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(2, 3, 12, generator=generator)
    expected = torch.from_numpy(stats.kurtosis(scores.double().numpy(), axis=-1))
    padded = torch.cat([scores, torch.full((2, 3, 4), torch.nan)], -1)
    assert torch.allclose(kurtosis(padded).double(), expected, atol=1e-5)
    peaked = torch.zeros(1, 1, 12)
    peaked[0, 0, 3] = 1.0
    assert float(kurtosis(peaked)) > float(expected.max())


def test_too_little_data_gives_nan():
    assert bool(kurtosis(torch.rand(1, 1, 3)).isnan()) and bool(
        kurtosis(torch.ones(1, 1, 9)).isnan()
    )


def test_receiver_heads_are_ranked_by_mean_kurtosis(tiny: Any):
    texts = [some_text(tiny, seed, n_steps) for seed, n_steps in enumerate((9, 12, 5))]
    found = find_receiver_heads(tiny, texts, k=3)
    vertical = [vertical_scores(slow_attention(text)) for text in texts]
    expected = (kurtosis(vertical[0]) + kurtosis(vertical[1])) / 2
    assert found.n_texts == 2 and torch.allclose(found.kurtosis, expected, atol=1e-2)
    ranked = sorted(
        ((layer, head) for layer in range(3) for head in range(4)),
        key=lambda place: -float(found.kurtosis[place]),
    )
    assert found.top == tuple(ranked[:3])
    for scores, of_text in zip(found.step_scores, vertical, strict=True):
        mean = torch.stack([of_text[place] for place in found.top]).mean(0)
        assert torch.allclose(scores, mean, atol=EXACT, equal_nan=True)
        assert bool(scores[-4:].isnan().all()) and not bool(scores[:-4].isnan().any())


def test_texts_do_not_notice_each_other(tiny: Any):
    texts = [some_text(tiny, seed, 10) for seed in (1, 2)]
    together = find_receiver_heads(tiny, texts, k=12)
    alone = [find_receiver_heads(tiny, [text], k=12) for text in texts]
    mean = (alone[0].kurtosis + alone[1].kurtosis) / 2
    assert torch.allclose(together.kurtosis, mean, atol=EXACT)


def test_short_texts_give_no_receiver_heads(tiny: Any):
    found = find_receiver_heads(tiny, [some_text(tiny, 0, 7)], k=3)
    assert found.n_texts == 0 and found.top == () and bool(found.kurtosis.isnan().all())
    assert bool(found.step_scores[0].isnan().all())


def test_input_that_does_not_fit(tiny: Any):
    for k in (0, 13):
        with pytest.raises(ValueError, match=f"picks 1 to all 12 heads of tiny.*k={k}"):
            find_receiver_heads(tiny, [], k=k)
    with pytest.raises(ValueError, match="distance is at least 1; received k=3 and distance=0"):
        find_receiver_heads(tiny, [], k=3, distance=0)
    with pytest.raises(ValueError, match="text 1 has no steps"):
        find_receiver_heads(tiny, [some_text(tiny), SteppedText((1, 2), ())], k=3)


def test_nan_is_an_error(tiny: Any):
    model = make_model(make_hf(), tiny.tokenizer, name="broken")
    text = some_text(tiny)
    model.hf.model.embed_tokens.weight.data[text.ids[3]] = float("nan")
    with pytest.raises(ValueError, match="attention weights that are not finite"):
        step_attention(model, text)
    assert model.hf.config._attn_implementation == "sdpa"
