"""Tasks that cannot check the steps of a chain: what asks for a right chain says so."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from interp.chains.completion_format import find_format
from interp.chains.completions import ANSWER_ONLY, read_completion
from interp.chains.texts import encode
from interp.errors import NotMeasurableError
from interp.methods.decoding.pass_at_k import draw_samples
from interp.tasks import make_task
from probes.elicitation_methods import ElicitationMethods
from probes.hybrid import METRICS, _text_items
from probes.pre_existence.arms import AskedModel


@pytest.fixture(scope="module")
def unchecked():
    return replace(make_task("arith/fresh", n=4, seed=0), check_claim=None)


def test_pass_at_k_of_right_chains_is_refused_and_that_of_answers_is_not(tiny, unchecked):
    samples = draw_samples(tiny, unchecked, n=2, seed=0)
    assert all(value in (0.0, 1.0) for value in samples.values(2, chain_valid=False))
    for ask in (samples.values, samples.estimate):
        with pytest.raises(NotMeasurableError, match="only its answer is known"):
            ask(2, chain_valid=True)


def test_without_checked_steps_a_model_reasons_by_its_answer_and_a_stated_result(tiny, unchecked):
    asked = AskedModel(tiny, unchecked, batch_size=4)
    example = unchecked.examples[0]
    chain = " ".join(example.steps)
    for text, is_reasoned in (
        (f"<think> {chain} </think> A {example.answer} <eos>", True),
        (f"<think> so ; </think> A {example.answer} <eos>", False),
        (f"A {example.answer} <eos>", False),
        (f"<think> {chain} </think> A {(int(example.answer) + 1) % 11} <eos>", False),
    ):
        written = read_completion(asked.format, example, encode(tiny.tokenizer, text))
        assert asked._is_reasoned(written) == is_reasoned


def test_hybrid_texts_have_an_answer_and_no_chain_to_judge(tiny, unchecked):
    form = find_format(unchecked, tiny)
    example = unchecked.examples[0]
    where = {"probe": "hybrid", "task": "t", "example": "e", "problem": "e", "condition": "free"}
    for answer in (example.answer, "unk"):
        words = f"<think> {' '.join(example.steps)} </think> A {answer} <eos>"
        text = read_completion(form, example, tiny.tokenizer(words)["input_ids"])
        values = dict(zip(METRICS, _text_items(where, text), strict=True))
        assert values["correct"].value == float(answer == example.answer)
        assert math.isnan(values["chain_valid"].value)
        assert values["chain_valid"].note == ANSWER_ONLY and not values["correct"].note
        assert values["finished"].value == 1.0
        cut = read_completion(form, example, tiny.tokenizer(words)["input_ids"][:-1])
        values = dict(zip(METRICS, _text_items(where, cut), strict=True))
        assert values["finished"].value == values["correct"].value == 0.0


def test_elicitation_methods_report_the_answers_only(tiny_pair, unchecked):
    readers = {"base": tiny_pair.base, "post": tiny_pair.post}
    few = ElicitationMethods(n_paths=2, n_samples=2, doses=(1.0,), n_latents=0)
    items = few.run(readers, unchecked, {}, seed=0)
    strict = [i for i in items if i.metric in ("pass_chain_valid", "chain_valid")]
    assert strict and all(math.isnan(i.value) and i.note == ANSWER_ONLY for i in strict)
    assert all(not math.isnan(i.value) for i in items if i.metric == "pass_correct")
