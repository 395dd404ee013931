"""Abstention of readers whose behaviour is planted, and of the organisms."""

import dataclasses
import math

import pytest

from interp.chains.trace_writing import gold_traces
from interp.results.rows import CONTRAST
from interp.results.summaries import summarise
from interp.tasks import make_task
from probes import statistics_of
from probes.abstention import Abstention

NAN = float("nan")
STATISTICS = statistics_of(["abstention"])


def plant(monkeypatch, tiny, task, answers, probability):
    """Lets readers answer as told: mode -> one answer each; and P(abstention) by condition."""
    gold = {t.example: t for t in gold_traces(tiny.tokenizer, task)}

    def answer_alone(_reader, _model, asked, _traces, **_):
        return {
            mode: [
                dataclasses.replace(gold[e.id], answer=said, correct=said == e.answer)
                for e, said in zip(asked.examples, told, strict=True)
            ]
            for mode, told in answers.items()
        }

    monkeypatch.setattr("probes.abstention.answer_alone", answer_alone)
    monkeypatch.setattr("probes.abstention.abstention_probability", lambda *_: probability)


@pytest.fixture
def task():
    return make_task("arith/abstain", n=6, seed=0)


def test_rates_counted_by_hand(monkeypatch, tiny, task):
    """Direct: abstains on twins 1 and 2 and on original 3, answers original 1 alone rightly."""
    right = [e.answer for e in task.examples]
    wrong = ["0" if answer != "0" else "1" for answer in right]
    direct = [right[0], "unk", wrong[2], "unk", "unk", "7"]
    probability = {
        "direct": [0.1, 0.9, 0.3, 0.2, 0.6, 0.6],
        "forced": [0.1, 0.9, NAN, 0.8, 0.1, 0.7],
    }
    plant(monkeypatch, tiny, task, {"direct": direct, "forced": right}, probability)
    items = Abstention().run({"base": tiny}, task, {}, seed=0)
    rows = summarise(items, pair="a", chance={task.name: task.chance}, seed=0, **STATISTICS)
    found = {(row.condition, row.metric): row for row in rows}
    expected = {
        "recall": 2 / 3,
        "false_abstention": 1 / 3,
        "precision": 2 / 3,
        "accuracy_answerable": 1 / 3,
        "appropriate": 3 / 6,
        "p_unanswerable": (0.9 + 0.2 + 0.6) / 3,
        # Of nine pairs 0.9 wins three, 0.2 wins one, 0.6 wins two and ties one.
        "auroc": 6.5 / 9,
        "twin_auroc": (1 + 0 + 0.5) / 3,
    }
    for metric, value in expected.items():
        assert found["direct", metric].value == pytest.approx(value), metric
    assert found["forced", "recall"].value == found["forced", "appropriate"].value == 1.0
    assert found["forced", "recall_change"].value == pytest.approx(1 / 3)
    twin = found["forced", "twin_auroc"]
    assert (twin.value, twin.n, twin.n_missing) == (1.0, 2, 1)
    unknown = "not measurable in 1 of 3: the answer never ends (1)"
    assert twin.note.startswith(unknown)
    assert found["forced", "p_answerable"].note.startswith(unknown)


def test_a_lone_unanswerable_question_has_no_twin(monkeypatch, tiny, task):
    two = dataclasses.replace(task, examples=(task.examples[0], task.examples[3]))
    plant(
        monkeypatch, tiny, two, {"direct": ["1", "unk"], "forced": ["1", "unk"]},
        {"direct": [0.0, 1.0], "forced": [0.0, 1.0]},
    )  # fmt: skip
    items = Abstention().run({"base": tiny}, two, {}, seed=0)
    lone = [item for item in items if item.metric == "twin_auroc"]
    assert [item.note for item in lone] == ["its answerable twin is not among the examples"] * 2
    assert all(math.isnan(item.value) for item in lone)


def test_the_probability_is_that_of_a_plain_forward_pass(tiny, task):
    """Question, cue, and the chain between them, read one text at a time without the engine."""
    import torch

    from interp.chains.trace_writing import write_traces
    from probes.abstention import abstention_probability

    # A chain that was closed is read, once an answer ended after it.
    forced = [
        dataclasses.replace(trace, status="valid" if trace.answer_ids else "truncated")
        for trace in write_traces(tiny, task, mode="forced", writer="base")
    ]
    assert any(trace.answer_ids for trace in forced)
    found = abstention_probability(tiny, task, forced, "base")
    unk, eos = tiny.tokenizer.convert_tokens_to_ids(["unk", "<eos>"])
    for at, (example, trace) in enumerate(zip(task.examples, forced, strict=True)):
        chain = " ".join(step.text for step in trace.steps)
        texts = {
            "direct": f"{example.question} A",
            "forced": " ".join(f"{example.question} <think> {chain} </think> A".split()),
        }
        for condition, text in texts.items():
            if condition == "forced" and not trace.answer_ids:  # the chain never ends
                assert math.isnan(found[condition][at])
                continue
            with torch.no_grad():
                ids = tiny.tokenizer(f"{text} unk", return_tensors="pt")["input_ids"]
                rows = tiny.hf(ids).logits[0].softmax(-1)
                p = float(rows[-2, unk] * rows[-1, eos])  # the abstention, and nothing after it
            assert found[condition][at] == pytest.approx(p, rel=1e-4, abs=1e-7)


def test_a_model_against_itself_has_no_contrast(tiny):
    task = make_task("arith/abstain", n=16, seed=0)
    items = Abstention().run({"base": tiny, "post": tiny}, task, {}, seed=0)
    rows = summarise(items, pair="twins", chance={task.name: task.chance}, seed=0, **STATISTICS)
    contrasts = [row for row in rows if row.reader == CONTRAST and row.n > 1]
    assert {"auroc", "recall_strict", "appropriate"} <= {row.metric for row in contrasts}
    measured = [row for row in contrasts if row.n >= 6]  # fewer problems have no interval
    assert measured and all(row.value == 0.0 for row in contrasts)
    assert all(row.low <= 0 <= row.high and row.p == 1 for row in measured)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_base_abstains_on_twins_and_on_nothing_else(seed):
    from probes.model_names import find_model

    model = find_model(f"base:{seed}")
    task = make_task("arith/abstain", n=80, seed=1)
    items = Abstention().run({"base": model}, task, {}, seed=0)
    rows = summarise(items, pair="base", chance={task.name: task.chance}, seed=0, **STATISTICS)
    found = {(row.condition, row.metric): row.value for row in rows}
    assert found["direct", "recall"] >= 0.9
    assert found["direct", "false_abstention"] <= 0.1
    assert found["direct", "auroc"] >= 0.95
    assert found["forced", "accuracy_answerable"] >= 0.95


def test_gold_twins_are_a_question_and_the_same_question_without_a_premise():
    task = make_task("arith/abstain", n=40, seed=3)
    pairs = zip(task.examples[::2], task.examples[1::2], strict=True)
    for original, twin in pairs:
        assert original.problem == twin.problem and original.id != twin.id
        differing = [
            (a, b)
            for a, b in zip(original.question.split(), twin.question.split(), strict=True)
            if a != b
        ]
        assert [b for _, b in differing] == ["_"]
        assert twin.answer == task.abstention != original.answer
        assert original.candidates == twin.candidates  # or the candidates would give it away
    assert len(make_task("arith/abstain", n=7, seed=3).examples) == 7
