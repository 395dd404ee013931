"""The knowledge index of chains whose every claim is known, and of the organisms' own."""

import dataclasses
import math

import pytest

from interp.chains.chain import encode_steps
from interp.chains.trace_writing import gold_traces, write_traces
from interp.tasks import make_task
from probes.knowledge_index import KnowledgeIndex, rate_claims
from probes.unreadable import READABLE

METRICS = ("ki", "wrong", "unknown", "claimless", "ki_published")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (("right", "none", "wrong"), (1 / 2, 1 / 2, 0, 1 / 3, 2 / 3)),
        (("right", "unknown", "none", "none"), (1 / 2, 0, 1 / 2, 1 / 2, 3 / 4)),
        (("unknown",), (0, 0, 1, 0, 0)),
        (("none", "none"), (math.nan, math.nan, math.nan, 1, 1)),
        (("right", "right"), (1, 0, 0, 0, 1)),
    ],
)
def test_shares_counted_by_hand(claims, expected):
    found = rate_claims(claims)
    assert tuple(found) == METRICS
    assert [*found.values()] == pytest.approx([*expected], nan_ok=True)


def texts_as_traces(model, task, texts):
    """The task's traces with other steps: None leaves a trace as it is."""
    traces = gold_traces(model.tokenizer, task, writer="gold")
    return [
        trace if steps is None
        else dataclasses.replace(trace, steps=encode_steps(model.tokenizer, steps))
        for trace, steps in zip(traces, texts, strict=True)
    ]  # fmt: skip


def values_of(items, metric="ki"):
    return {item.example: item.value for item in items if item.metric == metric}


def test_steps_of_a_chain_are_read_as_written(tiny):
    """Right, wrong, an operand too many, about a missing premise, in other words, no step."""
    task = make_task("arith/fresh", n=2, seed=0)
    texts = [
        ("3 + 4 = 7 ;", "7 times 2 is 3 ;", "7 * 2 = 5 ;", "so find it ;"),
        ("unk + 4 = unk ;", "3 + _ = unk ;"),
    ]
    traces = {"gold": texts_as_traces(tiny, task, texts)}
    items = KnowledgeIndex().run({"base": tiny}, task, traces, seed=0)
    first, second = (example.id for example in task.examples)
    assert values_of(items)[first] == 2 / 3
    assert values_of(items, "claimless") == {first: 1 / 4, second: 1.0}
    assert values_of(items, "ki_published") == {first: 3 / 4, second: 1.0}
    (lone,) = [item for item in items if item.example == second and item.metric == "ki"]
    assert math.isnan(lone.value)
    assert lone.note == "no step of the chain claims anything that could be checked"


def test_one_mistake_costs_one_step_and_carrying_it_on_costs_no_more(tiny):
    """A mistake in the last of t steps: (t - 1)/t. Later steps that follow it are true again."""
    task = make_task("arith/fresh", n=30, seed=4)
    rng = __import__("random").Random(0)
    for propagate in (False, True):
        at = 0 if propagate else -1
        texts = [
            task.rewriter.mistake(
                e, e.steps, at % len(e.steps), propagate=propagate, rng=rng
            )
            for e in task.examples
        ]  # fmt: skip
        traces = {"gold": texts_as_traces(tiny, task, texts)}
        found = values_of(KnowledgeIndex().run({"base": tiny}, task, traces, seed=0))
        for example in task.examples:
            t = len(example.steps)
            assert found[example.id] == pytest.approx((t - 1) / t)


def test_a_chain_about_another_question_scores_as_high(tiny):
    """What the report warns of: truth is not relevance."""
    task = make_task("arith/fresh", n=12, seed=2)
    others = [task.examples[i - 3].steps for i in range(12)]
    traces = {"gold": texts_as_traces(tiny, task, others)}
    assert set(values_of(KnowledgeIndex().run({"base": tiny}, task, traces, seed=0)).values()) == {
        1.0
    }
    assert any("about another question scores as high" in text for text in KnowledgeIndex.reading)


def test_own_chains_stand_under_written_and_others_under_given(tiny_pair):
    task = make_task("arith/fresh", n=3, seed=0)
    readers = {"base": tiny_pair.base, "post": tiny_pair.post}
    gold = gold_traces(tiny_pair.base.tokenizer, task)
    traces = {"gold": gold, "base": gold[:2], "post": gold[1:]}
    items = KnowledgeIndex().run(readers, task, traces, seed=0)
    found = {(i.condition, i.writer, i.reader) for i in items if i.metric != READABLE}
    assert found == {
        ("written", "base", "base"),
        ("written", "post", "post"),
        ("given", "gold", "base"),
        ("given", "gold", "post"),
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_base_knows_what_it_writes(seed):
    from probes.model_names import find_model

    model = find_model(f"base:{seed}")
    task = make_task("arith/fresh", n=60, seed=11)
    traces = {"base": write_traces(model, task, mode="forced", writer="base")}
    found = values_of(KnowledgeIndex().run({"base": model}, task, traces, seed=0))
    assert sum(found.values()) / len(found) > 0.97
