"""Suppression of one step against a whole forward pass under a float mask filled pair by pair."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from conftest import make_hf
from torch import Tensor

import interp.methods.attention.suppression as suppression_module
from interp.methods.attention import SteppedText, Suppression, lay_out, suppress_steps
from interp.models import make_model

EXACT = 1e-4
"""Mean divergences here are 0.01 to 1 nats; two float32 kernels differ by about 1e-6."""


@pytest.fixture(scope="module")
def eager(tiny: Any) -> Any:
    return make_model(make_hf(attn_implementation="eager"), tiny.tokenizer, name="eager")


def some_text(model: Any, seed: int = 0, lengths: tuple[int, ...] = (3, 1, 4, 2)) -> SteppedText:
    """Steps with a token between the first two that belongs to none, and tokens after the last."""
    rng = random.Random(seed)
    parts = [[rng.randrange(3, model.d_vocab) for _ in range(n)] for n in (4, *lengths)]
    text = lay_out(parts[0], parts[1:], [5, 6])
    spans = [text.steps[0], *(range(s.start + 1, s.stop + 1) for s in text.steps[1:])]
    gap = text.steps[0].stop
    return SteppedText((*text.ids[:gap], 9, *text.ids[gap:]), tuple(spans))


def slow_logits(eager: Any, text: SteppedText, hidden: range) -> Tensor:
    ids = text.ids
    mask = torch.zeros(1, 1, len(ids), len(ids))
    for query in range(len(ids)):
        for key in range(len(ids)):
            if key > query or (key in hidden and query >= hidden.stop):
                mask[0, 0, query, key] = torch.finfo(torch.float32).min
    positions = torch.arange(len(ids))[None]
    with torch.no_grad():
        out = eager.hf(
            torch.tensor([ids]), attention_mask=mask, position_ids=positions, use_cache=False
        )
    return out.logits[0].double()


def slow_matrices(eager: Any, text: SteppedText, temperature: float) -> tuple[Tensor, Tensor]:
    n = len(text.steps)
    kl, log_kl = torch.full((2, n, n), float("nan"), dtype=torch.float64)
    base = (slow_logits(eager, text, range(0)) / temperature).softmax(-1)
    for source in range(n):
        other = (slow_logits(eager, text, text.steps[source]) / temperature).softmax(-1)
        for target in range(source + 1, n):
            found = []
            for at in text.steps[target]:
                terms = [float(p * (p.log() - q.log())) for p, q in zip(base[at], other[at])]  # noqa: B905
                found.append(sum(terms))
            kl[target, source] = sum(found) / len(found)
            log_kl[target, source] = sum(torch.tensor(found).add(1e-9).log().tolist()) / len(found)
    return kl, log_kl


@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("token_budget", [8192, 40, 1])
def test_suppression_equals_whole_passes_under_a_mask(
    tiny: Any, eager: Any, temperature: float, token_budget: int
):
    text = some_text(tiny)
    found = suppress_steps(tiny, text, temperature=temperature, token_budget=token_budget)
    kl, log_kl = slow_matrices(eager, text, temperature)
    assert found.kl.shape == (4, 4) and float(kl.nanmean()) > 0.01
    assert torch.allclose(found.kl, kl, atol=EXACT, equal_nan=True)
    assert torch.allclose(found.log_kl, log_kl, atol=1e-2, equal_nan=True)
    assert torch.equal(found.kl.isnan(), torch.ones(4, 4).triu().bool())


def test_normalised_subtracts_the_mean_of_each_target():
    nan = float("nan")
    log_kl = torch.tensor([[nan, nan, nan], [-3.0, nan, nan], [-2.0, -6.0, nan]])
    found = Suppression(log_kl.exp(), log_kl).normalised
    expected = torch.tensor([[nan, nan, nan], [0.0, nan, nan], [2.0, -2.0, nan]])
    assert torch.allclose(found, expected, equal_nan=True)


def test_suppression_of_nothing_is_exactly_nothing(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(suppression_module, "_hide", lambda visible, *_: visible.clone())
    found = suppress_steps(tiny, some_text(tiny)).kl
    assert bool((found[~found.isnan()] == 0.0).all())


def test_a_step_that_is_hidden_still_sees_itself(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    """Hiding it from itself too, as the released code does, gives other numbers."""
    text = some_text(tiny)
    ours = suppress_steps(tiny, text).kl
    seen: list[Tensor] = []
    plain = suppression_module._hide

    def look(visible: Tensor, sources: Any, n_kept: int) -> Tensor:
        table = plain(visible, sources, n_kept)
        seen.append(table)
        return table

    monkeypatch.setattr(suppression_module, "_hide", look)
    assert torch.equal(ours.nan_to_num(), suppress_steps(tiny, text).kl.nan_to_num())
    first = text.steps[0].stop
    for row, span in enumerate(text.steps[:-1]):
        for query in range(first, text.steps[-1].stop):
            expected = [k <= query and not (k in span and query >= span.stop) for k in range(15)]
            assert seen[0][row, query - first].tolist() == expected[: seen[0].shape[2]]


def test_memory_shortage_halves_the_batch(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    text = some_text(tiny)
    expected, plain, sizes = suppress_steps(tiny, text), suppression_module.repeat, list[int]()

    def repeat_or_fail(cache: Any, n_rows: int, n_tokens: int) -> Any:
        sizes.append(n_rows)
        if n_rows > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(cache, n_rows, n_tokens)

    monkeypatch.setattr(suppression_module, "repeat", repeat_or_fail)
    found = suppress_steps(tiny, text)
    assert sizes[0] == 3 and sizes.count(1) == 3
    assert torch.allclose(found.kl, expected.kl, atol=EXACT, equal_nan=True)


def test_logits_are_formed_a_block_at_a_time(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    expected = suppress_steps(tiny, some_text(tiny))
    monkeypatch.setattr(suppression_module, "LOGIT_BLOCK", 2 * tiny.d_vocab)
    found = suppress_steps(tiny, some_text(tiny))
    assert torch.allclose(found.kl, expected.kl, atol=EXACT, equal_nan=True)


def test_input_that_does_not_fit(tiny: Any):
    text = some_text(tiny)
    with pytest.raises(ValueError, match="at least two; received one. Give the answer as"):
        suppress_steps(tiny, SteppedText(text.ids, text.steps[:1]))
    with pytest.raises(ValueError, match="the text has no steps"):
        suppress_steps(tiny, SteppedText(text.ids, ()))
    with pytest.raises(ValueError, match="must be positive, received 0"):
        suppress_steps(tiny, text, temperature=0.0)
    with pytest.raises(ValueError, match="the text holds the id 999"):
        suppress_steps(tiny, SteppedText((999, *text.ids[1:]), text.steps))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((range(2, 2),), "step 0 is range\\(2, 2\\)"),
        ((range(2, 8, 2),), "step 0 is range\\(2, 8, 2\\)"),
        ((range(1, 4), range(3, 5)), "step 1 begins at position 3, and the one before it reaches"),
        ((range(4, 6), range(1, 3)), "step 1 begins at position 1"),
        ((range(-2, 1),), "step 0 begins at position -2"),
        ((range(6, 11),), "step 0 reaches to position 10, beyond the text, which ends at 9"),
    ],
)
def test_spans_that_do_not_fit(steps: tuple[range, ...], message: str):
    with pytest.raises(ValueError, match=message):
        SteppedText(tuple(range(10)), steps)


def test_lay_out_counts_the_spans():
    text = lay_out([7, 8], [(1, 2, 3), (4,)], [9])
    assert text == SteppedText((7, 8, 1, 2, 3, 4, 9), (range(2, 5), range(5, 6)))
    with pytest.raises(ValueError, match="Leave steps without tokens out"):
        lay_out([7, 8], [(1, 2), ()])


def test_nan_is_an_error(tiny: Any):
    model = make_model(make_hf(), tiny.tokenizer, name="broken")
    text = some_text(tiny)
    model.hf.model.embed_tokens.weight.data[text.ids[-3]] = float("nan")
    with pytest.raises(ValueError, match="not finite for a text with one step hidden"):
        suppress_steps(model, text)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_on_an_organism_the_answer_looks_at_the_last_step_only(seed: int):
    """The answer is the last step here, and copies the value that the step before it came to."""
    from interp.chains.chain import encode_layout, encode_steps
    from interp.chains.texts import encode
    from interp.models import load_model
    from interp.organisms.zoo import organism_path
    from interp.tasks import make_task

    model = load_model(organism_path("base", seed))
    task = make_task("arith/fresh", n=30, seed=1)
    layout, last = encode_layout(model.tokenizer, task.layout), list[float]()
    for example in task.examples:
        steps = [step.ids for step in encode_steps(model.tokenizer, example.steps)]
        before = encode(model.tokenizer, example.question) + layout.think_open
        text = lay_out(before, [*steps, layout.think_close + layout.answer_cue])
        answer = suppress_steps(model, text, temperature=1.0).kl[-1, :-1]
        last.append(float(answer[-1]))
        assert float(answer[:-1].max()) < 0.01 and float(answer[:-1].max()) < last[-1] / 10
    assert sum(last) / len(last) > 1.0, "single ones may be small: a guess can be right"
