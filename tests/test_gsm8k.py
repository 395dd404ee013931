"""GSM8K: a record read by hand, and the whole test set where it is at hand."""

import json
from pathlib import Path
from random import Random

import pytest

from interp.tasks import make_task, read_number
from interp.tasks.gsm8k import FEW_SHOT, read_solution

SOLUTION = (
    "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\n"
    "So far, so good.\n"
    "She makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 1,018"
)


def save(folder: Path, *records: object) -> Path:
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    (folder / "test.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_solution_taken_apart():
    steps, equations, answer = read_solution(SOLUTION)
    assert steps == (
        "\nJanet sells 16 - 3 - 4 = 9 duck eggs a day.",
        "\nSo far, so good.",
        "\nShe makes 9 * 2 = $18 every day.",
    )
    assert equations == {"equation_0": "16-3-4=9", "equation_2": "9*2=18"}
    assert answer == "1018"


def test_the_task_of_a_small_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = save(tmp_path, {"question": "How much? ", "answer": SOLUTION})
    task = make_task("gsm8k", n=1, seed=0, data=folder)
    monkeypatch.setenv("POSTHOC_DATA", str(folder))
    assert make_task("gsm8k", n=1, seed=0).examples == task.examples
    (only,) = task.examples
    assert only.facts["asked"] == "How much?" and only.facts["depth"] == 3
    asked = "Question: How much?\nAnswer: Let us work it out step by step."
    assert only.question.endswith("The answer is 50.\n\n" + asked)
    assert task.chance == 1.0, "of one question the best constant answer is always right"
    assert task.read_answer(" 1,018\n") == "1018" == only.answer
    made = task.rewriter.mistake(only, only.steps, 0, propagate=True, rng=Random(0))
    assert made is not None
    eggs = int(task.rewriter.result(made[0]) or "")
    assert made[2] == f"\nShe makes {eggs} * 2 = ${2 * eggs} every day."
    assert task.rewriter.mistake(only, only.steps, 1, propagate=True, rng=Random(0)) is None


def test_the_worked_examples_are_right():
    for _, steps, answer in FEW_SHOT:
        for step in steps:
            left, right = step.rstrip(".").split("=")
            numbers = left.split()
            a, op, b = numbers[-3:]
            value = {"+": 1, "-": 1, "*": 1, "/": 1}[op] and eval(f"{a} {op} {b}")  # noqa: S307
            assert value == float(read_number(right))
        assert read_number(steps[-1].split("=")[1]) == answer


def test_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("POSTHOC_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="no folder was named.*openai/grade-school-math"):
        make_task("gsm8k", n=1, seed=0)
    with pytest.raises(FileNotFoundError, match="not in .*nothing"):
        make_task("gsm8k", n=1, seed=0, data=tmp_path / "nothing")
    good = {"question": "q", "answer": SOLUTION}
    folder = save(tmp_path, good, {"question": "q", "answer": "no mark"})
    with pytest.raises(ValueError, match=r"test\.jsonl, line 2: .* ends in '#### '"):
        make_task("gsm8k", n=2, seed=0, data=folder)
    with pytest.raises(ValueError, match="holds 2 problems, but n=3"):
        make_task("gsm8k", n=3, seed=0, data=folder)
    with pytest.raises(ValueError, match="line 1"):
        make_task("gsm8k", n=1, seed=0, data=save(tmp_path, "{"))
    with pytest.raises(ValueError, match="line 1"):
        make_task("gsm8k", n=1, seed=0, data=save(tmp_path, {"question": "q"}))


def test_the_whole_test_set(data_folder: Path):
    task = make_task("gsm8k", n=1319, seed=0, data=data_folder)
    raw = [
        json.loads(line)["answer"]
        for line in (data_folder / "gsm8k" / "test.jsonl").read_text().splitlines()
    ]
    results = carried = annotated = mistaken = 0
    for e in task.examples:
        solution = raw[int(e.id.removeprefix("gsm8k:"))]
        assert e.answer == solution.split("#### ")[1].replace(",", "")
        assert not any("<<" in step for step in e.steps)
        assert task.split_steps("".join(e.steps)) == e.steps
        for at, step in enumerate(e.steps):
            if f"equation_{at}" in e.facts:
                value = read_number(str(e.facts[f"equation_{at}"]).split("=")[-1])
                annotated += 1
                results += task.rewriter.result(step) == value
        made = task.rewriter.mistake(e, e.steps, 0, propagate=True, rng=Random(0))
        if made is not None:
            mistaken += 1
            carried += task.rewriter.result(made[-1]) != task.rewriter.result(e.steps[-1])
    assert annotated == 4282 and results / annotated > 0.99
    assert mistaken / len(raw) > 0.9 and carried / mistaken > 0.85
