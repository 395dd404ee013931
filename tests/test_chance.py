"""Chance: no answer that is given without a look at the question is ever above it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from interp.results.rows import Item
from interp.results.summaries import summarise
from interp.tasks import Example, Task, make_task, task_names
from probes import statistics_of
from probes.audit.readings import read_chain, read_reliance

ABSTAIN = ("arith/abstain", "clinic/abstain", "dispatch/abstain")
FILE = [name for name in task_names() if name == "gsm8k"]
BUNDLED = [name for name in task_names() if name not in FILE]


def accuracy(task: Task, answers: Sequence[str]) -> float:
    """Share of right answers, one answer for each example."""
    return float(np.mean([a == e.answer for a, e in zip(answers, task.examples, strict=True)]))


def with_answers(answers: Sequence[str], candidates: Sequence[Sequence[str]] = ()) -> Task:
    """A task with these right answers."""
    choices = candidates or [()] * len(answers)
    examples = tuple(
        Example(f"e{k}", f"e{k}", "q", answer, (), tuple(among))
        for k, (answer, among) in enumerate(zip(answers, choices, strict=True))
    )
    return replace(make_task("sums", n=1, seed=0), examples=examples)


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("n", [5, 40])
def test_chance_is_that_of_the_best_constant_or_of_a_guess(name: str, n: int):
    for seed in (0, 1):
        task = make_task(name, n=n, seed=seed)
        said = {e.answer for e in task.examples} | {c for e in task.examples for c in e.candidates}
        constants = {answer: accuracy(task, [answer] * n) for answer in said}
        drawn = np.mean([1 / len(e.candidates) if e.candidates else 0 for e in task.examples])
        assert all(share <= task.chance for share in constants.values())
        assert task.chance == pytest.approx(max(*constants.values(), drawn, task.guess))


@pytest.mark.parametrize("name", ABSTAIN)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_of_an_abstention_task_is_no_skill(name: str, seed: int):
    task = make_task(name, n=100, seed=seed)
    assert accuracy(task, [task.abstention] * 100) == task.chance == 0.5


def test_a_task_from_a_file_cannot_forget_it(tmp_path):
    lines = [
        json.dumps({"question": f"{k}?", "answer": f"It is <<{k}={k}>>{k}.\n#### {min(k, 2)}"})
        for k in range(8)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(lines), encoding="utf-8")
    task = make_task("gsm8k", n=8, seed=0, data=tmp_path)
    assert task.chance == 6 / 8 == accuracy(task, ["2"] * 8)


def test_few_answers_that_all_differ():
    assert with_answers(["1", "2", "3", "4", "5"]).chance == 1 / 5
    assert with_answers(["1"]).chance == 1.0, "one question says nothing"


def test_candidates_of_different_numbers_are_averaged():
    task = with_answers(["a", "b", "c", "d"], ["ab", "bx", "cdef", "defg"])
    assert task.chance == pytest.approx((1 / 2 + 1 / 2 + 1 / 4 + 1 / 4) / 4)
    rng = np.random.default_rng(0)
    runs = [
        accuracy(task, [str(rng.choice(e.candidates)) for e in task.examples]) for _ in range(4000)
    ]
    assert np.mean(runs) == pytest.approx(task.chance, abs=0.02)


def test_a_declared_guess_counts_where_it_is_larger():
    answers = [str(k) for k in range(10)]
    assert replace(with_answers(answers), guess=0.25).chance == 0.25
    assert replace(with_answers(answers), guess=0.05).chance == 0.1


def test_a_part_of_a_task_has_a_chance_of_its_own():
    task = make_task("arith/abstain", n=20, seed=0)
    answerable = replace(task, examples=task.examples[::2])
    assert task.chance == 0.5 > answerable.chance
    assert replace(task, examples=task.examples[1::2]).chance == 1.0


def gate_rows(task: Task, answers: Sequence[str]):
    """Rows of a reader that gives these answers when it is shown the chain, and relies on it."""

    def item(probe: str, condition: str, metric: str, example: Example, value: float) -> Item:
        return Item(
            probe=probe, task=task.name, example=example.id, problem=example.problem,
            condition=condition, metric=metric, value=value, writer="gold", reader="base",
        )  # fmt: skip

    items = [
        item("accuracy", "given_chain", "accuracy", e, float(a == e.answer))
        for a, e in zip(answers, task.examples, strict=True)
    ]
    items += [item("corruption", "joint", "follows", e, 1.0) for e in task.examples]
    items += [item("corruption", "joint", "decorative", e, 0.0) for e in task.examples]
    return summarise(
        items, pair="base", chance={task.name: task.chance}, seed=0,
        **statistics_of(("accuracy", "corruption")),
    )  # fmt: skip


@pytest.mark.parametrize("name", [*ABSTAIN, "arith/fresh", "clinic/shifts", "dispatch/plain"])
def test_no_constant_passes_the_gate_and_a_right_reader_does(name: str):
    task = make_task(name, n=60, seed=0)
    for constant in {e.answer for e in task.examples}:
        rows = gate_rows(task, [constant] * len(task.examples))
        assert read_reliance(rows, "corruption", task.name, "base", "gold") == "load-bearing"
        assert read_chain(rows, task.name, "base", "gold").said == "not measurable"
    rows = gate_rows(task, [e.answer for e in task.examples])
    assert read_chain(rows, task.name, "base", "gold").said == "load-bearing"


def test_abstention_says_that_always_abstaining_is_no_skill():
    from probes.abstention import Abstention
    from probes.probe import Results

    task = make_task("arith/abstain", n=60, seed=0)

    def lines_of(answers: Sequence[str]) -> str:
        items = [
            Item(
                probe="abstention", task=task.name, example=e.id, problem=e.problem,
                condition="forced", metric="appropriate", value=float(a == e.answer),
                writer="base", reader="base",
            )
            for a, e in zip(answers, task.examples, strict=True)
        ]  # fmt: skip
        rows = summarise(items, pair="base", chance={task.name: task.chance}, seed=0, n_boot=500)
        results = Results(tuple(rows), tuple(items), {}, (task.name,), "gold", 0)
        return "\n".join(Abstention().describe(results))

    assert "(not above chance); chance 0.50." in lines_of(["unk"] * 60)
    assert "(above chance); chance 0.50." in lines_of([e.answer for e in task.examples])
