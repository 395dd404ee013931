"""Tasks from files: the same questions in three formats, data sets as they come, and errors."""

import csv
import json
from pathlib import Path

import pytest

from interp.tasks import make_task, name_task

ROWS = [
    {"question": "What is 2 + 1?", "answer": "3", "steps": ["2 + 1 = 3."], "id": "a",
     "problem": "p"},
    {"question": "What is\n\u20282 * 5?", "answer": "10", "steps": ["5 + 5 = 10.", "So 10."],
     "id": "b", "problem": "p"},
    {"question": "What is 4, halved?", "answer": "1,002", "steps": ["Hard = 1002."], "id": "c",
     "problem": "q"},
]  # fmt: skip


def save(folder: Path, name: str, rows: list[dict], *, bom: str = "") -> Path:
    path = folder / name
    if path.suffix == ".jsonl":
        path.write_text(bom + "\n\n".join(map(json.dumps, rows)) + "\n\n", "utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(bom)
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            for row in rows:
                cells = {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()}
                writer.writerow(cells)
                file.write("\n")
    else:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def make(folder: Path, rows: list[dict], n: int | None = None, **options):
    return make_task(str(save(folder, "t.jsonl", rows)), n=n or len(rows), seed=0, **options)


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_three_formats_give_the_same_examples(tmp_path, name, bom):
    task = make_task(str(save(tmp_path, name, ROWS, bom=bom)), n=3, seed=0)
    assert task.name == name == name_task(str(tmp_path / name))
    examples = {example.id: example for example in task.examples}
    assert examples.keys() == {"t:a", "t:b", "t:c"}
    assert examples["t:a"].problem == examples["t:b"].problem != examples["t:c"].problem
    assert examples["t:b"].steps == ("\n5 + 5 = 10.", "\nSo 10.")
    assert examples["t:c"].answer == "1002" and task.chance == pytest.approx(1 / 3)
    assert examples["t:b"].question.startswith("Question: What is\n\u20282 * 5?\nAnswer: ")
    assert task.split_steps("".join(examples["t:b"].steps)) == examples["t:b"].steps
    assert all(task.read_answer(e.answer) == e.answer for e in task.examples)


def test_equal_arguments_draw_equal_questions(tmp_path):
    rows = [{"question": f"{k}?", "answer": str(k)} for k in range(50)]
    path = save(tmp_path, "t.jsonl", rows)
    first, again, other = (make_task(str(path), n=20, seed=seed) for seed in (0, 0, 1))
    assert first.examples == again.examples != other.examples
    assert len({example.id for example in first.examples}) == 20


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"question": "a?", "answer": "1"}, {"question": "b?"}], r"line 3: .*'answer'.*question"),
        ([{"prompt": "a?", "answer": "1"}], r"line 1: .*'question'.*prompt, answer"),
        ([{"question": "a?", "answer": "  "}], r"line 1: .*'answer'"),
        ([{"question": "a?", "answer": ["1"]}], r"line 1, field 'answer'.*list"),
        ([{**ROWS[0]}, {**ROWS[1], "id": "a"}], r"line 3, field 'id'.*'a' also.*line 1"),
        ([{"question": "a?", "answer": "D", "choices": ["x", "y"]}],
         r"line 1, field 'answer'.*'D'.*'x', 'y'"),
        ([{"question": "a?", "answer": "x", "choices": ["x", "x"]}], r"field 'choices'"),
        ([{"question": "a?", "answer": "1", "steps": ["b", " "]}], r"field 'steps'"),
        ([{"question": "a?", "answer": "b\n#### c"}], r"line 1, field 'answer'.*####"),
        ([{"question": "a?", "answer": "so \\boxed{}"}], r"field 'answer': the box"),
        ([], "holds no rows"),
    ],
)  # fmt: skip
def test_errors_name_line_and_field(tmp_path, rows, told):
    with pytest.raises(ValueError, match=rf"(?s){told}"):
        make(tmp_path, rows, n=max(1, len(rows)))


def test_errors_of_whole_files(tmp_path):
    with pytest.raises(ValueError, match=r"holds 3 questions, but n=4 .*--n 3"):
        make(tmp_path, ROWS, n=4)
    (tmp_path / "t.txt").write_text("question,answer\n")
    with pytest.raises(ValueError, match=r"\.jsonl, \.csv, \.parquet"):
        make_task(str(tmp_path / "t.txt"), n=1, seed=0)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        make_task(str(tmp_path / "none.csv"), n=1, seed=0)
    with pytest.raises(ValueError, match=r"or a file of questions that ends in"):
        make_task("none", n=1, seed=0)
    for content, told in (("question,answer\na,b,c\n", "line 2 has 3 cells"),
                          ('question,answer\n"a"x,b\n', "line 2 is not readable")):  # fmt: skip
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(ValueError, match=told):
            make_task(str(tmp_path / "t.csv"), n=1, seed=0)
    (tmp_path / "t.parquet").write_text("no table")
    with pytest.raises(ValueError, match="is no table in Parquet"):
        make_task(str(tmp_path / "t.parquet"), n=1, seed=0)
    (tmp_path / "t.jsonl").write_text('{"question": "a", "answer": "1"}\n{')
    with pytest.raises(ValueError, match="line 2 is not readable as JSON"):
        make_task(str(tmp_path / "t.jsonl"), n=1, seed=0)


def test_choices_are_listed_and_answered_by_letter(tmp_path):
    rows = [
        {"question": "Capital of Italy?", "answer": "Rome", "choices": ["Paris", "Rome", "Oslo"]},
        {"question": "Largest?", "answer": "(C)", "choices": {"A": "1", "B": "2", "C": "3"}},
        {
            "question": "Wet?",
            "answer": "A",
            "choices": {"text": ["yes", "no"], "label": ["A", "B"]},
        },
    ]
    task = make(tmp_path, rows)
    by_id = {example.id: example for example in task.examples}
    assert [by_id[f"t:{k}"].answer for k in range(3)] == ["B", "C", "A"]
    assert by_id["t:0"].question.splitlines()[1:4] == ["(A) Paris", "(B) Rome", "(C) Oslo"]
    assert by_id["t:2"].candidates == ("A", "B")
    assert task.chance == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)
    assert task.read_answer(" (b) Rome.") == task.read_answer("Rome") == "B"


def test_a_math_like_file_with_boxed_solutions(tmp_path):
    solution = r"We add. So $\frac{1}{4}+\frac{1}{4}=\frac{2}{4}$. The result is $\boxed{\frac12}$."
    rows = [
        {"problem": "Add them.", "solution": solution, "level": "Level 1", "type": "Algebra"},
        {"problem": "And this?", "solution": r"It is $\boxed{2\sqrt{3}}$.", "answer": r"\sqrt{12}"},
        {"question": "Who?", "answer": r"It is \boxed{\text{Evelyn}}."},
    ]
    task = make(tmp_path, rows)
    by_id = {example.id: example for example in task.examples}
    assert [by_id[f"t:{k}"].answer for k in range(3)] == ["0.5", r"2 \sqrt{3}", "Evelyn"]
    assert "".join(by_id["t:0"].steps) == f"\n{solution}" and len(by_id["t:0"].steps) > 1
    assert by_id["t:0"].problem == "t:0", "MATH's column 'problem' is the question"
    assert task.split_steps("".join(by_id["t:0"].steps)) == by_id["t:0"].steps
    assert task.read_answer("so it is 1/2") == "0.5"


def test_reasoning_gym_records(tmp_path):
    rows = [
        {"question": "Count the legs of 3 cats and 1 bird.", "answer": "14",
         "metadata": {"source_dataset": "leg_counting", "animals": {"cat": 3, "bird": 1}}},
        {"question": "2 times 20?", "answer": 40, "metadata": {}},
        {"question": "Half of 1?", "answer": 0.5, "metadata": None},
    ]  # fmt: skip
    task = make(tmp_path, rows)
    assert sorted(example.answer for example in task.examples) == ["0.5", "14", "40"]
    words = [{"question": f"Sort {k}", "answer": f"a, b, c{k}", "metadata": {}} for k in range(3)]
    task = make(tmp_path, words)
    assert task.read_answer("A, b, c1.") == "a, b, c1"
    assert not any(example.steps for example in task.examples)


def test_gsm8k_as_a_file_is_gsm8k(data_folder):
    path = str(data_folder / "gsm8k" / "test.jsonl")
    file = make_task(path, n=1319, seed=0)
    named = {
        e.facts["asked"]: e for e in make_task("gsm8k", n=1319, seed=0, data=data_folder).examples
    }
    for example in file.examples:
        other = named[example.facts["asked"]]
        assert (example.answer, example.steps) == (other.answer, other.steps)
        assert {k: v for k, v in example.facts.items() if k.startswith("equation")} == {
            k: v for k, v in other.facts.items() if k.startswith("equation")
        }


def test_pubmedqa_as_a_file(data_folder, tmp_path):
    records = json.loads((data_folder / "pubmedqa" / "ori_pqal.json").read_text("utf-8"))
    rows = [
        {"id": key, "question": " ".join(one["CONTEXTS"]) + " " + one["QUESTION"],
         "answer": one["final_decision"]}
        for key, one in records.items()
    ]  # fmt: skip
    task = make(tmp_path, rows)
    golds = [one["final_decision"] for one in records.values()]
    assert task.chance == max(map(golds.count, golds)) / len(golds)
    assert set(task.examples[0].candidates) == {"yes", "no", "maybe"}
    assert sorted(example.answer for example in task.examples) == sorted(golds)
    assert task.read_answer(" Yes, mitochondria do.") == "yes"
