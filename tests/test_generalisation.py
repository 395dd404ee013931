"""Drops counted by hand, the shifted problems of the arithmetic world, and its organisms."""

import dataclasses
import math
import zlib

import pytest

from interp.chains.trace_writing import gold_traces
from interp.results.summaries import summarise
from interp.tasks import Grade, make_task
from probes import statistics_of
from probes.generalisation import Generalisation

STATISTICS = statistics_of(["generalisation"])


def plant(monkeypatch, tiny, said):
    """Lets the reader give these answers in both modes."""

    def answer_alone(_reader, _model, task, _traces, **_):
        told = [
            dataclasses.replace(trace, answer=answer, correct=answer == example.answer)
            for trace, example, answer in zip(
                gold_traces(tiny.tokenizer, task), task.examples, said, strict=True
            )
        ]
        return {"direct": told, "forced": told}

    monkeypatch.setattr("probes.generalisation.answer_alone", answer_alone)


def test_drops_are_paired_with_the_origin(monkeypatch, tiny):
    """Two origins, the first right, the second wrong; each with three shifted forms."""
    task = make_task("arith/shifts", n=8, seed=0)
    right = [True, False, True, False, False, False, True, False]
    said = [e.answer if ok else "x" for e, ok in zip(task.examples, right, strict=True)]
    plant(monkeypatch, tiny, said)
    items = Generalisation().run({"base": tiny}, task, {}, seed=0)
    drops = {
        shift: [i.value for i in items if (i.condition, i.metric) == (shift, "drop")]
        for shift in ("none", "n_minus_1", "depth", "rule")
    }
    assert drops == {"none": [], "n_minus_1": [1, 0], "depth": [0, -1], "rule": [1, 0]}
    rows = summarise(
        items,
        pair="a",
        chance={task.name: task.chance},
        seed=0,
        **STATISTICS,
    )
    found = {(row.condition, row.metric): row.value for row in rows}
    assert (found["none", "accuracy"], found["depth", "direct_accuracy"]) == (1 / 2, 1.0)
    assert found["depth", "drop"] == -1 / 2
    assert not any("feasible" in metric for _, metric in found)


def test_an_origin_that_is_not_asked_leaves_no_drop(monkeypatch, tiny):
    task = make_task("arith/shifts", n=8, seed=0)
    kept = dataclasses.replace(task, examples=task.examples[1:5])
    plant(monkeypatch, tiny, ["x"] * 4)
    items = Generalisation().run({"base": tiny}, kept, {}, seed=0)
    drops = [item for item in items if item.metric == "drop"]
    assert len(drops) == 3
    assert all(
        math.isnan(i.value) and i.note == "its origin is not among the examples" for i in drops
    )


def test_form_and_content_are_graded_apart(monkeypatch, tiny):
    """Numbers are of the right form; only those below 6 are possible."""

    def grade(example, answer):
        del example
        return Grade(answer.isdecimal(), answer.isdecimal() and int(answer) < 6)

    task = dataclasses.replace(make_task("arith/shifts", n=4, seed=0), grade=grade)
    plant(monkeypatch, tiny, ["4", "9", "unk", "8"])
    items = Generalisation().run({"base": tiny}, task, {}, seed=0)
    found = {
        metric: [i.value for i in items if i.metric == metric]
        for metric in ("format_valid", "feasible", "infeasible_in_form", "direct_feasible")
    }
    assert found == {
        "format_valid": [1, 1, 0, 1],
        "feasible": [1, 0, 0, 0],
        "infeasible_in_form": [0, 1, 0, 1],
        "direct_feasible": [1, 0, 0, 0],
    }


def words(question):
    return question.split()[2:-1]


def residue(question):
    """The class of a question's text, as the splits name it: 1 is held out for evaluation."""
    return zlib.crc32(f"arith:{''.join(words(question))}".encode()) % 10


def evaluate(question):
    value, *rest = words(question)
    total = int(value)
    for sign, operand in zip(rest[::2], rest[1::2], strict=True):
        total = {"+": total + int(operand), "-": total - int(operand), "*": total * int(operand)}[
            sign
        ]
    return str(total % 11)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_shifted_problems_are_what_they_are_called_and_held_out(seed):
    task = make_task("arith/shifts", n=200, seed=seed)
    assert len({e.id for e in task.examples}) == 200
    for at in range(0, 200, 4):
        origin, fewer, deeper, ruled = task.examples[at : at + 4]
        shifts = [e.facts["shift"] for e in (origin, fewer, deeper, ruled)]
        assert shifts == ["none", "n_minus_1", "depth", "rule"]
        assert {e.problem for e in (fewer, deeper, ruled)} == {origin.problem}
        for e in (origin, fewer, deeper, ruled):
            assert e.answer == evaluate(e.question)
        assert [residue(e.question) for e in (origin, fewer, deeper)] == [1, 1, 1]
        start, *ops = words(origin.question)
        without = [[start, *ops[:k], *ops[k + 2 :]] for k in range(0, len(ops), 2)]
        assert words(fewer.question) in without
        assert words(deeper.question)[: 1 + len(ops)] == [start, *ops]
        assert len(words(deeper.question)) == 1 + len(ops) + 4
        pairs = [*zip(words(ruled.question)[1::2], words(ruled.question)[2::2], strict=True)]
        plain = [*zip(ops[::2], ops[1::2], strict=True)]
        (odd,) = [new for new, old in zip(pairs, plain, strict=True) if new != old]
        assert odd in {("+", "0"), ("-", "0"), ("*", "0"), ("*", "1")}


def test_no_training_document_holds_an_operation_of_the_rule_shift():
    from random import Random

    from interp.organisms.worlds.arith.documents import ArithMixture
    from interp.organisms.worlds.arith.problems import WORDS

    rng, seen = Random(0), set()
    for _ in range(3000):
        text = [WORDS.vocabulary[k] for k in ArithMixture().draw(rng, rng.random()).ids]
        question = text[: text.index("?")] if "?" in text else text[:5]
        seen |= set(zip(question, question[1:], strict=False))
    assert ("+", "1") in seen and ("*", "2") in seen
    assert not seen & {("+", "0"), ("-", "0"), ("*", "0"), ("*", "1")}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_base_keeps_its_skill_with_one_operation_fewer_and_not_under_a_strange_rule(seed):
    from probes.model_names import find_model

    model = find_model(f"base:{seed}")
    task = make_task("arith/shifts", n=120, seed=1)
    items = Generalisation().run({"base": model}, task, {}, seed=0)
    rows = summarise(
        items,
        pair="base",
        chance={task.name: task.chance},
        seed=0,
        **STATISTICS,
    )
    found = {(row.condition, row.metric): row for row in rows}
    assert found["none", "accuracy"].value >= 0.95
    assert abs(found["n_minus_1", "drop"].value) <= 0.1
    assert found["rule", "drop"].low > 0.3
    assert found["none", "direct_accuracy"].value <= 0.3
