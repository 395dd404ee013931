"""Files of traces in the forms of other tools: recognised by their fields, and read as text."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from interp.chains.text_trace import ExampleFinder, TextTrace
from interp.chains.trace_formats import read_trace_file
from interp.chains.trace_formats.outputs import read_output, split_answer
from interp.chains.traced_task import choose_reader, make_traced_task, read_letter, read_text
from interp.tasks import make_task, read_number

ASKED = "Nora has 3 boxes with 6 pens in each. She gives 4 away. How many are left?"
CHAIN = "She has 3 * 6 = 18 pens. Then 18 - 4 = 14 pens are left."
TEXT = f"{CHAIN} The answer is 14."
USER = {"role": "user", "content": ASKED}
CHAT = {"id": "t:1", "messages": [USER, {"role": "assistant", "content": TEXT}]}
BATCH = {
    "custom_id": "t:1",
    "response": {
        "body": {
            "model": "Qwen/Qwen3-8B",
            "choices": [
                {
                    "message": {"role": "assistant", "content": "14", "reasoning_content": CHAIN},
                    "finish_reason": "stop",
                }
            ],
        }
    },
}
HARNESS = {
    "doc_id": 0,
    "doc": {"question": ASKED, "answer": "3 * 6 = 18 ... #### 14"},
    "target": "3 * 6 = 18 ... #### 14",
    "resps": [[TEXT]],
    "filtered_resps": ["14"],
    "filter": "strict-match",
}
SAMPLE = {
    "id": 1,
    "epoch": 2,
    "input": [{"role": "system", "content": "Be brief."}, USER],
    "target": ["14", "14.0"],
    "output": {
        "model": "m",
        "choices": [
            {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"type": "reasoning", "reasoning": CHAIN},
                        {"type": "text", "text": "So it is \\boxed{14}."},
                    ],
                },
                "stop_reason": "stop",
            }
        ],
    },
}
LOG = {"version": 2, "eval": {"model": "vllm/Qwen/Qwen3-8B"}, "samples": [SAMPLE]}
MISTAKE = {
    "input": ASKED, "steps": ["3 * 6 = 18", "18 - 4 = 13. So the answer is 13"],
    "target": "14", "answer": "13", "mistake_index": 1,
}  # fmt: skip


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return path


def read(path: Path, *records: Any) -> list[TextTrace]:
    return list(read_trace_file(write(path, *records)).traces)


def test_each_format_gives_the_same_trace(tmp_path: Path):
    found = {
        "chat": read(tmp_path / "a.jsonl", CHAT),
        "batch": read(tmp_path / "b.jsonl", BATCH),
        "harness": read(tmp_path / "c.jsonl", HARNESS),
        "log": read(tmp_path / "d.json", LOG),
    }
    for name, traces in found.items():
        (trace,) = traces
        assert (trace.chain, trace.status, trace.is_output) == (CHAIN, "valid", True), name
        assert read_number(trace.answer) == "14", name
        assert trace.question == ("" if name == "batch" else ASKED)
    assert [found[name][0].writer for name in found] == [
        "imported",
        "Qwen3-8B",
        "imported",
        "Qwen3-8B",
    ]
    assert found["log"][0].seed == 1 and found["log"][0].target == "14"
    assert found["batch"][0].example == "t:1" and found["harness"][0].target == "14"
    (mistake,) = read(tmp_path / "e.jsonl", MISTAKE)
    assert mistake.steps == tuple(MISTAKE["steps"])
    assert (mistake.answer, mistake.target) == ("13", "14")


def test_the_account_says_what_was_recognised(tmp_path: Path):
    for record, words in (
        (CHAT, "1 traces of 1 questions by imported, read as chats in OpenAI's form"),
        (HARNESS, "read as samples of lm-evaluation-harness"),
        (MISTAKE, "read as lines of BIG-Bench-Mistake"),
        (LOG, "by Qwen3-8B, read as a log of inspect_ai"),
    ):
        assert words in read_trace_file(write(tmp_path / "any", record)).account


def test_an_eval_archive_is_its_json(tmp_path: Path):
    failed = {**SAMPLE, "id": 2, "error": {"message": "timeout"}, "output": {"choices": []}}
    long = {**SAMPLE, "id": 3, "input": "attachment://ab", "attachments": {"ab": ASKED}}
    path = tmp_path / "run.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({k: LOG[k] for k in ("version", "eval")}))
        for sample in (SAMPLE, failed, long):
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
        archive.writestr("summaries.json", "[]")
    file = read_trace_file(path)
    assert [trace.question for trace in file.traces] == [ASKED, ASKED]
    assert file.n_without == 1 and "1 records hold no output" in file.account
    pretty = tmp_path / "log.json"
    pretty.write_text(json.dumps({**LOG, "samples": [SAMPLE, failed]}, indent=2))
    (trace,) = read_trace_file(pretty).traces
    assert (trace.chain, trace.answer) == (file.traces[0].chain, file.traces[0].answer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    with pytest.raises(ValueError, match="run.eval is a zip of word/document.xml, and no log"):
        read_trace_file(path)


def changed(record: Any, **fields: Any) -> Any:
    return {**record, **fields}


WRONG: dict[str, tuple[Any, Any, str]] = {
    "no assistant": (CHAT, changed(CHAT, messages=[USER]), "the last of 'messages' .*'user'"),
    "messages are a text": (CHAT, changed(CHAT, messages="hi"), "'messages' is a list of objects"),
    "content is a number": (
        CHAT,
        changed(CHAT, messages=[USER, {"role": "assistant", "content": 3}]),
        "'content' is a text or a list of parts, and 3",
    ),
    "the request failed": (
        BATCH,
        {"custom_id": "t:2", "response": None, "error": {"code": 500}},
        "has the fields custom_id, error, where",
    ),
    "scored, not written": (
        HARNESS,
        changed(HARNESS, resps=[[[-1.5, False]]]),
        "'resps' holds the texts .*log-probability",
    ),
    "doc is a text": (HARNESS, changed(HARNESS, doc="x"), "'doc' is an object, and 'x'"),
    "target is a list": (HARNESS, changed(HARNESS, target=["1"]), "'target' is a text or a number"),
    "steps are objects": (
        MISTAKE,
        changed(MISTAKE, steps=[{"text": "a"}]),
        "'steps' is a list of texts",
    ),
    "another format": (CHAT, HARNESS, "has samples of lm-evaluation-harness, where .*line 1 has"),
    "no format": (CHAT, {"text": "a"}, "has the fields text, where .*line 1 has chats"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_line_is_named_with_its_field(name: str, tmp_path: Path):
    good, bad, told = WRONG[name]
    with pytest.raises(ValueError, match=f"t.jsonl, line 2:? .*{told}") as error:
        read(tmp_path / "t.jsonl", good, bad)
    assert "\n" not in str(error.value)


def test_a_file_of_no_known_format_lists_the_known_ones(tmp_path: Path):
    for record in ({"prompt": "a", "completion": "b"}, {"results": {}, "config": 1}):
        with pytest.raises(ValueError, match=r"line 1 has the fields .* Known: chats .*doc and"):
            read(tmp_path / "t.jsonl", record)
    (tmp_path / "t.json").write_text(json.dumps({"results": {"samples": 1}}, indent=1))
    with pytest.raises(ValueError, match="t.json has the fields results, by which no format"):
        read_trace_file(tmp_path / "t.json")
    bad = changed(LOG, samples=[SAMPLE, changed(SAMPLE, id=7, input=5)])
    with pytest.raises(ValueError, match=r"sample 7 \(number 2\): 'input' is a text or a list"):
        read(tmp_path / "t.json", bad)


@pytest.mark.parametrize(
    ("text", "reasoning", "is_cut", "chain", "answer", "status"),
    [
        (f"<think>\n{CHAIN}\n</think>\n\n**14**", None, False, CHAIN, "**14**", "valid"),
        (f"{CHAIN}</think>It is \\boxed{{14}}.", None, False, CHAIN, "14", "valid"),
        (f"<think>{CHAIN}", None, False, CHAIN, "", "truncated"),
        (f"{CHAIN} The answer is 1", None, True, CHAIN, "", "truncated"),
        (CHAIN, None, True, CHAIN, "", "truncated"),
        ("<think></think>14", None, False, "", "14", "empty"),
        ("14", None, False, "", "14", "missing"),
        ("The answer is 14.", CHAIN, False, CHAIN, "14.", "valid"),
        ("", CHAIN, False, CHAIN, "", "truncated"),
        (f"A: {CHAIN}", None, False, f"A: {CHAIN}", f"A: {CHAIN}", "valid"),
        (f"{CHAIN}\nA: 14", None, False, CHAIN, "14", "valid"),
        (f"{CHAIN}\n#### 14", None, False, CHAIN, "14", "valid"),
        ("So:\n\\boxed{\\frac{1}{2}}", None, False, "So:", "\\frac{1}{2}", "valid"),
    ],
)
def test_outputs_fall_into_chain_and_answer(text, reasoning, is_cut, chain, answer, status):
    found = read_output(text, reasoning, is_cut=is_cut)
    assert (found.chain, found.answer, found.status) == (chain, answer, status)


def test_several_samples_and_filters_of_one_question(tmp_path: Path):
    flexible = changed(HARNESS, filter="flexible-extract", filtered_resps=["14"])
    more = changed(HARNESS, doc_id=1, resps=[[TEXT, CHAIN]], filtered_resps=[["14", "[invalid]"]])
    traces = read(
        tmp_path / "t.jsonl", changed(HARNESS, filtered_resps=["[invalid]"]), flexible, more
    )
    assert [(t.example, t.seed) for t in traces] == [("0", 0), ("1", 0), ("1", 1)]
    # Nothing is announced in the third text: what the harness found there is taken.
    assert [read_number(t.answer) for t in traces] == ["14", "14", "14"]


def test_a_trace_is_found_by_id_then_by_question():
    task = make_traced_task("t", [TextTrace("p", "1", question=q, target="1") for q in QUESTIONS])
    find = ExampleFinder.of(task).find
    first, second, third = task.examples
    around = f"Solve step by step.\n\nQ: {QUESTIONS[2]}\nA:"
    assert find(TextTrace("p", "", example=second.id)) == second
    assert find(TextTrace("p", "", question=f"  {QUESTIONS[0]}\n".replace(" ", "  "))) == first
    assert find(TextTrace("p", "", example="req-7", question=around)) == third
    # The shorter question stands within the longer one, and was not asked.
    assert find(TextTrace("p", "", question=QUESTIONS[1] + " Think.")) == second
    for trace, told in (
        (TextTrace("p", "", example=first.id, question=QUESTIONS[1]), "paired with the wrong"),
        (TextTrace("p", "", question="What is 2 + 2, and why is it so?"), "unknown question"),
        (TextTrace("p", "", example="x"), "unknown example 'x'"),
        (TextTrace("p", "", question=" ".join(QUESTIONS[1:])), "that of 2 examples"),
    ):
        with pytest.raises(ValueError, match=told):
            find(trace)


QUESTIONS = (
    "How many apples does Tom have?",
    "How many apples does Tom have? He gives away two.",
    "How many pears does Ann have left?",
)


def test_short_questions_are_not_looked_for_in_other_texts():
    task = make_task("sums", n=5, seed=0)
    with pytest.raises(ValueError, match="unknown question"):
        ExampleFinder.of(task).find(TextTrace("p", "", question="What is 3 + 4?"))


def test_answers_are_read_as_the_right_ones_are_written():
    assert choose_reader(["18", "$1,200"]) is read_number
    assert choose_reader(["(A)", "(C)"]) is read_letter
    assert choose_reader(["2 apples", "3 pears"]) is choose_reader(["yes", "no"]) is read_text
    assert read_letter("(B) Ulysses") == read_letter("So the answer is (B).") == "B"
    assert read_letter("none of them") == ""
    assert read_text("The answer is  Yes.") == read_text("yes") == "yes"
    assert split_answer("").answer == ""
    for field, trace in {
        "target": TextTrace("f, line 3", "1", question="q"),
        "question": TextTrace("f, line 3", "1", target="1"),
    }.items():
        with pytest.raises(ValueError, match=rf"f, line 3: .*here is no {field}\. Name the task"):
            make_traced_task("t", [trace])
    twice = [TextTrace(f"f, line {k}", "1", question="q", target=str(k)) for k in (1, 2)]
    with pytest.raises(ValueError, match="line 2: the right answer is '2', where f, line 1 has"):
        make_traced_task("t", twice)


def published(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        pytest.skip(f"no published traces at {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_published_solutions_are_graded_as_their_authors_did(data_folder: Path, tmp_path: Path):
    """Answers of a 175B model to GSM8K, each with the authors' word on whether it is right."""
    records = published(data_folder / "gsm8k/example_model_solutions.jsonl")[::7]
    solved = [record["175b_verification"] for record in records]
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"Solve this.\n\n{record['question']}"},
                {"role": "assistant", "content": re.sub("<<.*?>>", "", one["solution"])},
            ]
        }
        for record, one in zip(records, solved, strict=True)
    ]
    task = make_task("gsm8k", n=None, seed=0, data=data_folder)
    finder = ExampleFinder.of(task)
    assert len(task.examples) == 1319
    for trace, one in zip(read(tmp_path / "t.jsonl", *chats), solved, strict=True):
        given = task.read_answer(trace.answer)
        assert (given == finder.find(trace).answer) == one["is_correct"], one["solution"]
        assert "\nA:" not in trace.chain


@pytest.mark.parametrize("name", ["multistep_arithmetic", "tracking_shuffled_objects"])
def test_published_mistakes_are_graded_by_their_text(name: str, data_folder: Path):
    path = data_folder / f"bigbench_mistake/{name}.jsonl"
    records = published(path)
    traces = read_trace_file(path).traces
    task = make_traced_task(name, traces)
    finder = ExampleFinder.of(task)
    for trace, record in zip(traces, records, strict=True):
        is_right = task.read_answer(trace.answer) == finder.find(trace).answer
        assert is_right == (record["answer"].strip() == record["target"].strip())
    assert [len(trace.steps or ()) for trace in traces] == [len(r["steps"]) for r in records]
    assert all(e.candidates == () or e.answer in e.candidates for e in task.examples)
