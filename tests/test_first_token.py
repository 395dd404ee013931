"""Transplants of the first token, and divergences before and after it."""

import copy
import dataclasses
import math
from pathlib import Path

import pytest

from interp.chains.texts import encode
from interp.chains.trace_writing import gold_traces
from interp.engine import generate
from interp.engine.generation import Generation
from interp.methods.patching.span_patching import last_token_patches
from interp.models import ModelPair, load_model
from interp.organisms.zoo import organism_path
from interp.results.summaries import summarise
from interp.tasks import make_task
from probes import first_token, statistics_of
from probes.first_token import WRITERS, FirstToken
from probes.probe import Results

ROUNDING = 1e-4
"""Of log-probabilities in float32, between a row alone and a row of a batch."""


@pytest.fixture(scope="module")
def task():
    return make_task("arith/fresh", n=3, seed=0)


@pytest.fixture(scope="module")
def grpo():
    return ModelPair(load_model(organism_path("base", 1)), load_model(organism_path("grpo", 1)))


def readers_of(pair):
    return {"base": pair.base, "post": pair.post}


def test_last_token_patches_make_the_givers_first_token(tiny, tiny_pair, task):
    hf = copy.deepcopy(tiny.hf)
    hf.model.layers.load_state_dict(tiny_pair.post.hf.model.layers.state_dict())
    post = dataclasses.replace(tiny, name="post", hf=hf)  # the last norm and unembedding are shared
    prompts = [encode(tiny.tokenizer, example.question) for example in task.examples]
    edits = last_token_patches(post, prompts)
    written = generate(tiny, prompts, max_new_tokens=1, interventions=edits)
    theirs = generate(post, prompts, max_new_tokens=1)
    assert [one.ids for one in written] == [one.ids for one in theirs]
    assert [one.logprobs for one in written] == [
        pytest.approx(one.logprobs, abs=ROUNDING) for one in theirs
    ]


def test_the_first_token_carries_what_grpo_gained(grpo):
    task = make_task("arith/fresh", n=60, seed=3)
    traces = {"gold": gold_traces(grpo.tokenizer, task)[:4]}
    items = FirstToken().run(readers_of(grpo), task, traces, seed=0)
    chance, statistics = {task.name: 1 / 11}, statistics_of(["first_token"])
    rows = summarise(items, pair="x", chance=chance, seed=0, **statistics)
    found = {(row.condition, row.metric): row.value for row in rows if not row.contrast}
    assert found["post_then_base", "transplant_recovered"] > 0.95
    assert found["patched_base", "transplant_recovered"] > 0.95
    assert found["base_then_post", "transplant_recovered"] < 0.2
    assert found["text", "kl_first"] > 10 * found["text", "kl_rest"]
    results = Results(tuple(rows), items, {}, (task.name,), "gold", 0)
    lines = FirstToken().describe(results)
    assert any("base, first token from post: accuracy 1.00" in line for line in lines)
    (drawing,) = FirstToken().figures(results)
    assert [row.condition for row in drawing.data] == ["alone", "alone", *WRITERS]


def test_divergences_of_a_model_from_itself_are_none(tiny, task):
    traces = {"gold": gold_traces(tiny.tokenizer, task)}
    items = FirstToken().run({"base": tiny, "post": tiny}, task, traces, seed=0)
    kl = [item.value for item in items if item.metric.startswith("kl")]
    assert kl and kl == pytest.approx([0.0] * len(kl), abs=1e-6)
    assert {item.value for item in items if item.metric in ("gain", "transplant_gain")} == {0.0}


def test_the_reader_of_a_transplant_writes_all_tokens_after_the_first(tiny_pair, task):
    items = FirstToken().run(readers_of(tiny_pair), task, {}, seed=0)
    asked = {(i.condition, i.reader, i.writer) for i in items if i.condition != "alone"}
    assert asked == {(condition, model, model) for condition, model in WRITERS.items()}


@pytest.mark.parametrize(
    ("text", "is_correct"),
    [
        ("A {answer} <eos>", True),
        ("<think> 1 + 1 = 2 ; </think> A {answer} <eos>", True),
        ("A {answer}", False),  # nothing ends the answer
        ("A {answer} <eos> A {wrong} <eos>", True),  # the first answer counts
        ("A {wrong} <eos> A {answer} <eos>", False),
        ("<think> 1 + 1 = 2 ; A {answer} <eos>", False),  # the chain is not closed
    ],
)
def test_texts_are_graded_as_everywhere(tiny, monkeypatch, text, is_correct):
    task = make_task("arith/fresh", n=1, seed=0)
    (example,) = task.examples
    wrong = "0" if example.answer != "0" else "1"
    ids = encode(tiny.tokenizer, text.format(answer=example.answer, wrong=wrong))

    def written(_model, prompts, *, max_new_tokens, **_options):
        (prompt,) = prompts
        begun = len(prompt) - len(encode(tiny.tokenizer, example.question))
        new = ids[:1] if max_new_tokens == 1 else ids[begun:]
        return [Generation(new, (0.0,) * len(new), True)]

    monkeypatch.setattr(first_token, "generate", written)
    items = FirstToken().run({"base": tiny, "post": tiny}, task, {}, seed=0)
    values = {i.value for i in items if i.metric == "accuracy"}
    assert values == {float(is_correct)}


def test_one_reader_is_not_measurable(tiny, task, tmp_path: Path):
    part = FirstToken().examine({"base": tiny}, task, {}, seed=0, folder=tmp_path)
    assert {item.example for item in part.items} == {example.id for example in task.examples}
    assert all(math.isnan(item.value) and "base and a post" in item.note for item in part.items)
