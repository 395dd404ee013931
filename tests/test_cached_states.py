"""Edits of cached states against a cache edited by hand and read token by token.

Also the canaries: on an organism whose chain is known to carry the answer, the state of the last
step must decide it, and that of a step already used must not.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import interp.methods.attention.cached_states as kv_module
import interp.methods.attention.text_caches as caches_module
from interp.methods.attention import (
    AskedText,
    StateEdit,
    SteppedText,
    edit_states,
    lay_out,
    repair_rate,
)

EXACT = 1e-4
"""Log-probabilities of one token at a time against a whole pass, in float32."""


def some_text(
    model: Any, seed: int, lengths: tuple[int, ...] = (3, 4, 2), n_answer: int = 2
) -> Any:
    rng = random.Random(seed)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, model.d_vocab) for _ in range(n))

    text = lay_out(tokens(5), [tokens(n) for n in lengths], tokens(1))
    return AskedText(text, tokens(2), (*tokens(n_answer - 1), 2))


def other_ids(model: Any, *, first: int = 100, n: int = 8) -> list[tuple[int, ...]]:
    """References that no text of the tests begins like."""
    return [some_text(model, seed).text.ids for seed in range(first, first + n)]


def rows_by_hand(model: Any, ids: tuple[int, ...]) -> Any:
    from transformers import DynamicCache

    cache = DynamicCache()  # keeps all rows, also beyond a sliding window
    with torch.no_grad():
        model.hf(torch.tensor([ids]), past_key_values=cache, use_cache=True)
    return cache


def slow_reading(
    model: Any, asked: AskedText, edit: StateEdit | None, references: Any = (), span: Any = None
) -> tuple[Tensor, tuple[int, ...]]:
    """Answer log-probabilities and greedy answer, one token and one cache row at a time."""
    cache, n_kept = rows_by_hand(model, asked.text.ids), len(asked.text.ids)
    if edit is not None:
        span = asked.text.steps[edit.step]
        sources = [edit.donor.text.ids] if edit.donor else [r for r in references]
        others = [rows_by_hand(model, ids) for ids in sources]
        for number, layer in enumerate(cache.layers):
            for head in range(model.n_kv_heads):
                if edit.places is not None and (number, head) not in edit.places:
                    continue
                for at in span:
                    reach = [o for o, ids in zip(others, sources, strict=True) if len(ids) > at]
                    for table in ("keys", "values"):
                        rows = [getattr(o.layers[number], table)[0, head, at] for o in reach]
                        getattr(layer, table)[0, head, at] = sum(rows) / len(rows)
        if edit.recompute:
            n_kept = span.stop
            cache.crop(n_kept - len(asked.text.ids))
    before = (*asked.text.ids[n_kept:], *asked.after)

    def read(token: int) -> Tensor:
        with torch.no_grad():
            read = model.hf(torch.tensor([[token]]), past_key_values=cache, use_cache=True)
        return read.logits[0, -1].log_softmax(-1)

    rows = [read(token) for token in before]
    found, written, last = [], list[int](), rows[-1]
    for token in asked.answer:
        found.append(last[token])
        last = read(token)
    cache.crop(-len(asked.answer))
    last = rows[-1]
    while len(written) < len(asked.answer) and 2 not in written:
        written.append(int(last.argmax()))
        last = read(written[-1])
    return torch.stack(found), tuple(written)


ONE_HEAD = ((1, 0),)
SOME = ((0, 1), (2, 0), (2, 1))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("places", [None, ONE_HEAD, SOME])
def test_every_edit_equals_the_cache_edited_by_hand(tiny: Any, recompute: bool, places: Any):
    text, donor = some_text(tiny, 0), some_text(tiny, 1, n_answer=3)
    references = [*other_ids(tiny), (1, 5, 7, 9, 11, 13, 17)]
    edits = [
        StateEdit(step, swap, places, recompute) for step in range(3) for swap in (None, donor)
    ]
    twins = [text.text.ids, (*text.text.ids, 5), text.text.ids]  # they have no say in the mean
    found = edit_states(tiny, [text], [edits], references=[*twins, *references])[0]
    unedited, unedited_written = slow_reading(tiny, text, None)
    moved = 0.0
    for edit, reading in zip(edits, found, strict=True):
        expected, written = slow_reading(tiny, text, edit, references)
        assert reading.edit == edit and reading.logprobs.shape == (2,)
        assert torch.allclose(reading.logprobs, expected, atol=EXACT), edit
        assert torch.allclose(reading.unedited, unedited, atol=EXACT)
        assert reading.written[:2] == written and reading.unedited_written[:2] == unedited_written
        assert reading.same_answer == (reading.written == reading.unedited_written)
        moved = max(moved, float((expected - unedited).abs().max()))
    assert moved > 0.05, "edits that move nothing would test nothing"


def test_answers_are_told_apart(tiny: Any):
    text = some_text(tiny, 0)
    written = edit_states(tiny, [text], [[StateEdit(0, text)]])[0][0].written
    right = replace(text, answer=written)
    donor = replace(some_text(tiny, 1), answer=written)
    reading = edit_states(tiny, [right], [[StateEdit(1, text)]])[0][0]
    assert reading.was_right and reading.is_right and reading.is_donors is False
    same = edit_states(tiny, [text], [[StateEdit(1, replace(donor, text=text.text))]])[0][0]
    assert same.is_donors and not same.was_right and same.edit.kind == "swap"
    assert edit_states(tiny, [text], [[]])[0] == []


def test_an_answer_may_hold_its_last_token_twice(tiny: Any):
    """Answers are compared over their whole length, those of the donor over theirs."""
    text = some_text(tiny, 4, n_answer=6)
    greedy = slow_reading(tiny, text, None)[1]
    n = next(n for n in range(2, 6) if greedy[n - 1] in greedy[: n - 1])
    asked = replace(text, answer=greedy[:n])
    donor = replace(text, answer=greedy)
    for other in (asked, donor):
        reading = edit_states(tiny, [asked], [[StateEdit(0, other)]])[0][0]
        assert reading.was_right and reading.is_right and reading.same_answer and reading.is_donors
        assert reading.written == greedy[: len(other.answer)]
    wrong = replace(asked, answer=(*greedy[: n - 2], greedy[n - 2] ^ 1, greedy[n - 1]))
    reading = edit_states(tiny, [wrong], [[StateEdit(0, wrong)]])[0][0]
    assert not reading.was_right and not reading.is_right and not reading.is_donors


@pytest.mark.parametrize("recompute", [False, True])
def test_swapping_with_oneself_changes_not_one_bit(tiny: Any, recompute: bool):
    text = some_text(tiny, 4)
    edits = [StateEdit(step, text, recompute=recompute) for step in range(3)]
    # A donor that differs only later has the same states, whatever its length rounds them to.
    alike = replace(text, text=replace(text.text, ids=(*text.text.ids, *range(3, 40))))
    edits += [StateEdit(step, alike, recompute=recompute) for step in range(3)]
    for reading in edit_states(tiny, [text], [edits])[0]:
        assert torch.equal(reading.logprobs, reading.unedited) and reading.same_answer
        assert reading.receipt.n_rows == len(text.text.steps[reading.edit.step]) * 6
        assert reading.receipt.n_changed == 0 and reading.receipt.edit_norm == 0.0


def test_receipts_count_rows_and_measure_them(tiny: Any):
    text, donor = some_text(tiny, 5), some_text(tiny, 6)
    found = edit_states(tiny, [text], [[StateEdit(1, donor), StateEdit(1, donor, SOME)]])[0]
    assert [reading.receipt.n_rows for reading in found] == [4 * 6, 4 * 3]
    assert [reading.receipt.n_changed for reading in found] == [4 * 6, 4 * 3]
    old, new = (rows_by_hand(tiny, each.text.ids) for each in (text, donor))
    changes, shares = [], []
    for layer, head in SOME:
        for at in text.text.steps[1]:
            was, now = (
                torch.cat([rows.layers[layer].keys, rows.layers[layer].values], -1)[0, head, at]
                for rows in (old, new)
            )
            changes.append(float((now - was).norm()))
            shares.append(changes[-1] / float(was.norm()))
    assert found[1].receipt.edit_norm == pytest.approx(sum(changes) / 12, rel=1e-4)
    assert found[1].receipt.relative_norm == pytest.approx(sum(shares) / 12, rel=1e-4)


@pytest.mark.parametrize("token_budget", [1, 40])
def test_texts_and_edits_do_not_notice_each_other(tiny: Any, token_budget: int):
    texts = [some_text(tiny, seed) for seed in range(3)]
    edits = [
        [
            StateEdit(0, texts[(n + 1) % 3]),
            StateEdit(2, recompute=True),
            StateEdit(0, recompute=True),
            StateEdit(1),
        ]
        for n in range(3)
    ]
    references = [*other_ids(tiny, n=6), *(text.text.ids for text in texts)]
    together = edit_states(tiny, texts, edits, references=references)
    for n, text in enumerate(texts):
        for place, edit in enumerate(edits[n]):
            alone = edit_states(
                tiny, [text], [[edit]], references=references, token_budget=token_budget
            )[0][0]
            assert alone.edit == together[n][place].edit
            assert torch.allclose(alone.logprobs, together[n][place].logprobs, atol=EXACT)
            assert alone.receipt.n_rows == together[n][place].receipt.n_rows


def test_memory_shortage_halves_the_batch(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    text = some_text(tiny, 7)
    edits = [StateEdit(step, some_text(tiny, 8)) for step in range(3)]
    expected = edit_states(tiny, [text], [edits])[0]
    plain, sizes = kv_module.repeat, list[int]()

    def repeat_or_fail(cache: Any, n_rows: int, n_tokens: int) -> Any:
        sizes.append(n_rows)
        if n_rows > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(cache, n_rows, n_tokens)

    monkeypatch.setattr(kv_module, "repeat", repeat_or_fail)
    found = edit_states(tiny, [text], [edits])[0]
    assert sizes[0] == 3 and sizes.count(1) == 3
    for one, two in zip(expected, found, strict=True):
        assert torch.allclose(one.logprobs, two.logprobs, atol=EXACT)


def test_a_restore_that_does_not_restore_is_an_error(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    plain, calls = kv_module._write, list[int]()

    def write_once(stack: Any, jobs: Any, rows: Any) -> Any:
        calls.append(len(jobs))
        return plain(stack, jobs, rows) if len(calls) == 1 else []

    monkeypatch.setattr(kv_module, "_write", write_once)
    with pytest.raises(RuntimeError, match="bit for bit, but its log-probabilities moved by up to"):
        edit_states(tiny, [some_text(tiny, 0)], [[StateEdit(2, some_text(tiny, 1))]])
    assert calls == [1, 1]


@pytest.mark.parametrize(
    ("shift", "message"), [(0, "0 hold the new values"), (1, "others changed")]
)
def test_an_edit_that_lands_elsewhere_is_an_error(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, shift: int, message: str
):
    plain = kv_module._write

    def write_elsewhere(stack: Any, jobs: Any, rows: Any) -> Any:
        if shift == 0:
            return rows
        moved = [replace(j, span=range(j.span.start + 1, j.span.stop + 1)) for j in jobs]
        return plain(stack, moved, rows)

    monkeypatch.setattr(kv_module, "_write", write_elsewhere)
    with pytest.raises(RuntimeError, match=message):
        edit_states(tiny, [some_text(tiny, 0)], [[StateEdit(1, some_text(tiny, 1))]])


def test_a_cache_without_all_tokens_is_refused(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    plain = caches_module.body

    def forgetful(model: Any, ids: Tensor, *, cache: Any) -> Tensor:
        hidden = plain(model, ids, cache=cache)
        cache.crop(-3)
        return hidden

    monkeypatch.setattr(caches_module, "body", forgetful)
    with pytest.raises(ValueError, match="layer 0 of tiny keeps 12 of 15. Likely it attends"):
        edit_states(tiny, [some_text(tiny, 0)], [[StateEdit(0, some_text(tiny, 1))]])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (StateEdit(3), "changes step 3, but the text has steps 0 to 2"),
        (StateEdit(-1), "changes step -1, but the text has steps 0 to 2"),
        (StateEdit(2), "reaches to position 13, and 0 of 12 references reach as far"),
        (StateEdit(1), "at least 8 other texts .* position 11, and 7 of 12 references"),
        (StateEdit(0, places=()), "at least one and none twice"),
        (StateEdit(0, places=((0, 0), (0, 0))), "none twice"),
        (StateEdit(0, places=((0, 2),)), "has layers 0 to 2 with key-value heads 0 to 1"),
    ],
)
def test_edits_that_do_not_fit(tiny: Any, edit: StateEdit, message: str):
    with pytest.raises(ValueError, match=message):
        text = some_text(tiny, 0)
        references = (
            [(n,) * 12 for n in (5, *range(3, 10))] + [text.text.ids[:12]] * 3 + [(40,) * 9]
        )
        edit_states(tiny, [text], [[edit]], references=references)


def test_donors_that_do_not_fit(tiny: Any):
    text, other = some_text(tiny, 0), some_text(tiny, 1, (4, 3, 2))
    with pytest.raises(ValueError, match="about positions 5 to 7, where the donor has no step"):
        edit_states(tiny, [text], [[StateEdit(0, other)]])
    assert edit_states(tiny, [text], [[StateEdit(2, other)]])[0][0].receipt.n_rows == 2 * 6
    with pytest.raises(ValueError, match="the answer of the donor of edit 0 of text 0 is empty"):
        edit_states(tiny, [text], [[StateEdit(0, replace(text, answer=()))]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"after": ()}, "what follows the chain of text 0 is empty"),
        ({"answer": ()}, "the answer of text 0 is empty"),
        ({"answer": (999,)}, "the answer of text 0 holds the id 999"),
        ({"after": (3,) * 240}, "text 0, with its longest answer, is 257 tokens long"),
        ({"text": SteppedText((1, 2, 3), ())}, "text 0 has no steps"),
    ],
)
def test_texts_that_do_not_fit(tiny: Any, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        edit_states(tiny, [replace(some_text(tiny, 0), **changes)], [[]])
    with pytest.raises(ValueError, match="received 0 texts and 1 lists"):
        edit_states(tiny, [], [[]])


def test_nan_is_an_error(tiny: Any):
    from conftest import make_hf

    from interp.models import make_model

    model = make_model(make_hf(), tiny.tokenizer, name="broken")
    text = some_text(tiny, 0)
    model.hf.model.embed_tokens.weight.data[text.text.ids[3]] = float("nan")
    with pytest.raises(ValueError, match="not finite for the answer after a text"):
        edit_states(model, [text], [[StateEdit(0, text)]])


def test_repair_rate_counts_those_that_were_right(tiny: Any):
    text = some_text(tiny, 0)
    reading = edit_states(tiny, [text], [[StateEdit(0, some_text(tiny, 1))]])[0][0]
    cases = [(True, True), (True, False), (True, True), (False, True), (False, False)]
    readings = [replace(reading, was_right=was, is_right=now) for was, now in cases]
    assert repair_rate(readings) == (2 / 3, 3)
    nothing = edit_states(tiny, [text], [[StateEdit(0, text)]])[0][0]
    unchanged = replace(nothing, was_right=True, is_right=True)
    assert unchanged.receipt.n_changed == 0
    assert repair_rate([*readings, unchanged]) == (2 / 3, 3), "nothing was removed"
    assert math.isnan(repair_rate(readings[3:]).value) and repair_rate([]).n == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_canaries_on_a_chain_that_carries_the_answer(seed: int):
    """The last step decides the answer; the steps before it are used up; a swap brings its own."""
    from interp.chains.chain import encode_answer, encode_layout, encode_steps
    from interp.chains.texts import encode
    from interp.models import load_model
    from interp.organisms.zoo import organism_path
    from interp.tasks import make_task

    model = load_model(organism_path("base", seed))
    task = make_task("arith/fresh", n=60, seed=1)
    layout, texts = encode_layout(model.tokenizer, task.layout), list[AskedText]()
    for example in task.examples:
        steps = [step.ids for step in encode_steps(model.tokenizer, example.steps)]
        before = encode(model.tokenizer, example.question) + layout.think_open
        answer = encode_answer(model.tokenizer, task.layout, example.answer) + layout.answer_end
        if len(steps) == 3:
            after = layout.think_close + layout.answer_cue
            texts.append(AskedText(lay_out(before, steps), after, answer))
    edits = []
    for n, text in enumerate(texts):
        donor = next(o for o in texts[n + 1 :] + texts[:n] if o.answer != text.answer)
        edits.append([StateEdit(step, swap) for step in range(3) for swap in (None, donor)])
    found = edit_states(model, texts, edits, references=[text.text.ids for text in texts])

    def share(edit: int, of: str) -> float:
        return sum(bool(getattr(readings[edit], of)) for readings in found) / len(found)

    assert len(texts) >= 15 and share(0, "was_right") > 0.95
    for used in range(4):
        assert share(used, "same_answer") > 0.95, "steps that were used already"
    ablated, swapped = 4, 5
    assert share(ablated, "same_answer") < 0.35 and share(swapped, "same_answer") < 0.05
    assert share(swapped, "is_donors") > 0.95
    assert repair_rate(readings[ablated] for readings in found).value < 0.35
