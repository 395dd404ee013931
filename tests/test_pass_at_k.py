"""Pass@k against enumeration of all subsets, and what counts as a success."""

from __future__ import annotations

from itertools import combinations

import pytest

from interp.chains.completion_format import find_format
from interp.chains.completions import Completion, is_chain_valid, read_completion
from interp.methods.decoding.pass_at_k import Samples, draw_samples, pass_at_k
from interp.tasks.registry import make_task

CHANCE = 1 / 10


@pytest.mark.parametrize("n", [1, 4, 7])
def test_equals_the_share_of_subsets_with_a_success(n):
    for c in range(n + 1):
        marks = [1] * c + [0] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(marks, k))
            share = sum(any(subset) for subset in subsets) / len(subsets)
            assert pass_at_k(n, c, k) == pytest.approx(share)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, 2, 5), (4, 2, 0), (4, -1, 2)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match="0 <= c <= n"):
        pass_at_k(n, c, k)


def text(correct, valid):
    return Completion(
        ids=(), opens=False, steps=(), status="valid", answer_span=(0, 0), answer="",
        correct=correct, is_chain_valid=valid,
    )  # fmt: skip


def test_guessing_saturates_plain_pass_at_k_and_not_the_strict_one():
    assert 1 - (1 - CHANCE) ** 32 > 0.96
    guesses = [tuple(text((at + e) % 10 == 0, False) for at in range(40)) for e in range(30)]
    names = tuple(f"{e}" for e in range(30))
    samples = Samples(names, names, tuple(guesses))
    assert samples.estimate(32, chain_valid=False).value > 0.99
    strict = samples.estimate(32, chain_valid=True)
    assert strict.value == 0.0 and strict.low == 0.0 and strict.n == 30


@pytest.fixture(scope="module")
def form(tiny):
    return find_format(make_task("arith/fresh", n=6, seed=0), tiny)


def written(form, example, steps, answer, *, closes=True):
    close = "</think> A" if closes else ""
    words = f"<think> {' '.join(steps)} {close} {answer} <eos>"
    ids = form.tokenizer(words, add_special_tokens=False)["input_ids"]
    return read_completion(form, example, ids)


def test_a_text_counts_only_with_a_whole_and_correct_chain(form):
    for example in form.task.examples:
        gold = written(form, example, example.steps, example.answer)
        assert gold.is_chain_valid and gold.correct and gold.opens and gold.steps == example.steps
        short = written(form, example, example.steps[1:], example.answer)
        assert short.correct and not short.is_chain_valid
        other = next(a for a in example.candidates if a != example.answer)
        wrong_end = written(form, example, example.steps, other)
        assert not wrong_end.correct and not wrong_end.is_chain_valid
        changed = f"{example.steps[0].rsplit(' = ', 1)[0]} = {other} ;"
        if changed != example.steps[0]:
            bad = written(form, example, (changed, *example.steps[1:]), example.answer)
            assert bad.correct and not bad.is_chain_valid
        unclosed = written(form, example, example.steps, "", closes=False)
        assert not unclosed.answer and not unclosed.has_chain


def test_a_step_of_another_operation_with_the_same_result_is_wrong(form):
    example = form.task.examples[0]
    before, _, rest = example.steps[0].partition(" ")
    assert not is_chain_valid(form.task, example, (f"{before} {before} {rest}",))


def test_direct_answers_are_read_without_a_chain(form):
    example = form.task.examples[0]
    ids = form.tokenizer(f"A {example.answer} <eos>", add_special_tokens=False)["input_ids"]
    found = read_completion(form, example, ids)
    assert found.correct and not found.opens and not found.is_chain_valid
    assert found.answer_span == (1, 2)


def test_samples_differ_among_themselves_and_not_by_the_batch(tiny):
    task = make_task("arith/fresh", n=2, seed=0)
    first = draw_samples(tiny, task, n=5, seed=1, batch_size=3)
    again = draw_samples(tiny, task, n=5, seed=1)
    assert [[t.ids for t in of] for of in first.texts] == [
        [t.ids for t in of] for of in again.texts
    ]
    assert len({t.ids for t in first.texts[0]}) > 1
    other = draw_samples(tiny, task, n=5, seed=2)
    assert other.texts[0] != first.texts[0]
    forced = draw_samples(tiny, task, n=1, seed=1, forced=True)
    assert all(of[0].opens for of in forced.texts)
