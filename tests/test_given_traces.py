"""Traces that are given to a run: whose they count as, which examples stay, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from interp.chains.chain import Step, step_texts
from interp.chains.trace_files import export_traces
from interp.chains.trace_writing import gold_traces
from interp.models import Model, load_model
from interp.organisms.worlds.arith.problems import WORDS
from interp.results.run_folder import load_run
from interp.tasks import make_task
from probes.audit.given_traces import gather_traces
from probes.audit.run import AuditSettings, audit, redraw

SETTINGS = AuditSettings(
    tasks=("arith/fresh",), n=6, probes=("information_gain",), writers=("gold", "base")
)
TASK = make_task("arith/fresh", n=6, seed=0)
EXAMPLES = TASK.examples
CHAIN = " ".join(EXAMPLES[0].steps)
PROBLEMS = [
    (f"Ann has {k} pens and buys {2 * k} more pens. How many?", 3 * k) for k in range(2, 42)
]


def given(path: Path, *records: dict[str, Any]) -> str:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return str(path)


def line(example: Any, /, **fields: Any) -> dict[str, Any]:
    return {"example": example.id, "steps": example.steps, "answer": example.answer, **fields}


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    """A folder with forty problems in the form of GSM8K."""
    given(
        tmp_path / "test.jsonl",
        *(
            {"question": asked, "answer": f"She has <<{r // 3}*3={r}>>{r} pens.\n#### {r}"}
            for asked, r in PROBLEMS
        ),
    )
    return tmp_path


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random model that reads any text, one byte a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<end>"]
    built = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(words)}, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("reader")
    PreTrainedTokenizerFast(tokenizer_object=built, eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=4096, eos_token_id=256, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    return load_model(folder)


def test_only_examples_that_traces_answer_stay_in_the_run(tiny: Any, tmp_path: Path):
    answered = [EXAMPLES[4], EXAMPLES[1]]
    file = given(tmp_path / "t.jsonl", *(line(example) for example in answered))
    done = audit({"base": tiny}, replace(SETTINGS, traces=(f"w={file}",)), tmp_path / "run")
    data = load_run(tmp_path / "run")
    assert [example["id"] for example in data.examples] == [EXAMPLES[1].id, EXAMPLES[4].id]
    assert {(t["writer"], t["example"]) for t in data.traces} == {
        (writer, example.id) for writer in ("gold", "base", "w") for example in answered
    }
    # The same steps as gold, so the same numbers.
    value = {
        writer: [i.value for i in done.items if (i.writer, i.metric) == (writer, "total")]
        for writer in ("gold", "w")
    }
    assert value["w"] == value["gold"] and len(value["w"]) > 0
    told = " ".join(done.verdict.lines)
    assert "t.jsonl: 2 traces of 2 questions by w, read as traces of posthoc" in told
    assert redraw(tmp_path / "run") == done.report  # without the file, from the rows
    rows = (tmp_path / "run" / "measurements.parquet").read_bytes()
    audit({"base": tiny}, replace(SETTINGS, traces=(f"w={file}",)), tmp_path / "run")
    assert (tmp_path / "run" / "measurements.parquet").read_bytes() == rows
    given(tmp_path / "t.jsonl", line(answered[0], answer="10"), line(answered[1]))
    with pytest.raises(ValueError, match="made of something else .*traces.sha256"):
        audit({"base": tiny}, replace(SETTINGS, traces=(f"w={file}",)), tmp_path / "run")


def test_traces_of_a_role_take_the_place_of_its_own(tiny: Any, tmp_path: Path):
    gold = gold_traces(tiny.tokenizer, TASK)
    done = audit({"base": tiny}, SETTINGS, tmp_path / "run", traces={"base": gold[:4]})
    kept = {t["example"]: t for t in load_run(tmp_path / "run").traces if t["writer"] == "base"}
    assert [*kept] == [example.id for example in EXAMPLES[:4]]
    assert all(kept[e.id]["steps"] == list(e.steps) for e in EXAMPLES[:4])
    assert {item.writer for item in done.items} == {"gold", "base"}
    assert "4 traces of base were handed over." in done.verdict.lines
    export_traces(tmp_path / "t.jsonl", gold)
    # Without a task named, it is the one that the lines name.
    read = gather_traces([str(tmp_path / "t.jsonl")], {}, tasks=(), n=6, seed=0, data=None)
    assert [task.name for task in read.tasks] == ["arith/fresh"]
    assert read.encode(read.tasks[0], tiny.tokenizer) == {"gold": gold}


def test_what_is_refused(tiny: Any, tmp_path: Path):
    (gold, *_) = gold_traces(tiny.tokenizer, TASK)
    foreign = replace(gold, steps=tuple(Step(step.text, step.ids[::-1]) for step in gold.steps))
    file = tmp_path / "t.jsonl"
    wanted = {"tasks": ("arith/fresh",), "n": 6, "seed": 0, "data": None}
    unknown = {"w": [replace(gold, example="x")]}
    for files, objects, told in (
        ((), {}, "no traces were given"),
        ((f"w={tmp_path / 'none'}",), {}, r"no file .*none of traces.*--traces post="),
        (
            (given(file, line(EXAMPLES[0], example="x")),),
            {},
            "t.jsonl, line 1: unknown example 'x'",
        ),
        ((), unknown, "trace of 'w' on 'x': unknown example 'x'"),
        ((), {"w": [replace(gold, task="sums")]}, "answer other tasks .sums"),
    ):
        with pytest.raises((ValueError, OSError), match=told):
            gather_traces(files, objects, **wanted)
    read = gather_traces((), {"w": [foreign]}, **wanted)
    with pytest.raises(ValueError, match="trace of 'w' on .* do not spell its steps"):
        read.encode(read.tasks[0], tiny.tokenizer)
    with pytest.raises(ValueError, match=r"traces are given \(w\), received 'v'"):
        audit(
            {"base": tiny},
            replace(SETTINGS, writers=("v",)),
            tmp_path / "run",
            traces={"w": [gold]},
        )
    with pytest.raises(ValueError, match="at least one task"):
        audit({"base": tiny}, replace(SETTINGS, tasks=()), tmp_path / "run")


def test_a_second_trace_on_an_example_is_counted_and_left_out(tmp_path: Path):
    records = [line(EXAMPLES[0], seed=seed) for seed in (0, 1, 2)]
    other = line(EXAMPLES[1], task="sums", seed=0)
    file = given(tmp_path / "t.jsonl", *records, other)
    read = gather_traces([file], {}, tasks=("arith/fresh",), n=6, seed=0, data=None)
    (trace,) = read.traces["arith/fresh"]["imported"]
    assert trace.seed == 0
    assert "2 further traces of the same writer on the same example were left out." in read.account
    assert "1 traces of other tasks were left out." in read.account


def test_a_large_task_keeps_what_a_few_chats_answer(reader: Model, gsm8k: Path, tmp_path: Path):
    asked = [PROBLEMS[k] for k in (30, 3, 17)]
    text = "She has {0} pens.\nThe answer is {0}."
    cut = {"finish_reason": "length", "message": {"role": "assistant", "content": "She has"}}
    chats: list[dict[str, Any]] = [
        {
            "model": "org/Chat-1B",
            "messages": [
                {"role": "user", "content": f"Think step by step.\n\nProblem: {question}"},
                {"role": "assistant", "content": text.format(answer)},
            ],
        }
        for question, answer in asked
    ]
    chats[2] = {**chats[2], "choices": [cut]}
    file = given(tmp_path / "chat.jsonl", *chats)
    settings = AuditSettings(
        tasks=("gsm8k",), n=10, probes=("early_answering",), writers=(), data=str(gsm8k),
        traces=(file,),
    )  # fmt: skip
    done = audit({"base": reader}, settings, tmp_path / "run")
    data = load_run(tmp_path / "run")
    assert [e["id"] for e in data.examples] != [] and len(data.examples) == 3
    by_id = {trace["example"]: trace for trace in data.traces}
    assert {t["writer"] for t in data.traces} == {"Chat-1B"}
    assert by_id["gsm8k:3"]["answer"] == str(PROBLEMS[3][1]) and by_id["gsm8k:3"]["correct"]
    # The sentence that announces the answer is no part of the chain.
    assert by_id["gsm8k:3"]["steps"] == [f"\nShe has {PROBLEMS[3][1]} pens."]
    assert (by_id["gsm8k:17"]["status"], by_id["gsm8k:17"]["correct"]) == ("truncated", False)
    assert done.items
    few = gather_traces([file], {}, tasks=("gsm8k",), n=2, seed=0, data=str(gsm8k))
    assert len(few.tasks[0].examples) == 2
    assert "gsm8k: 2 examples with given traces, of 3 that they answer." in few.account


def test_a_log_brings_its_own_task_and_the_command_says_so(
    reader: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from probes.__main__ import app

    file = given(
        tmp_path / "samples_pens.jsonl",
        *(
            {
                "doc_id": at,
                "doc": {"question": question},
                "target": str(answer),
                "resps": [[f"First {answer} pens. So the answer is {answer}."]],
                "filtered_resps": [str(answer)],
            }
            for at, (question, answer) in enumerate(PROBLEMS[:4])
        ),
    )
    monkeypatch.setattr("probes.model_names.find_model", lambda *_, **__: reader)
    words = ["probe", "early_answering", "m", "--traces", f"vllm={file}", "--out"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert (
        "4 traces of 4 questions by vllm, read as samples of lm-evaluation-harness" in done.output
    )
    data = load_run(tmp_path / "run")
    # Nobody knows a reference chain of these questions, so gold writes nothing.
    assert {t["writer"] for t in data.traces} >= {"vllm"}
    assert "gold" not in {t["writer"] for t in data.traces}
    assert [e["id"] for e in data.examples] == [f"samples_pens:{k}" for k in range(4)]
    assert all(t["correct"] for t in data.traces if t["writer"] == "vllm")
    no_target = given(tmp_path / "t.jsonl", {"question": "q", "chain": "3", "answer": "3"})
    done = CliRunner().invoke(app, ["probe", "early_answering", "m", "--traces", no_target])
    assert done.exit_code == 2
    assert "t.jsonl, line 1: a task is made of the questions" in done.output + done.stderr
    done = CliRunner().invoke(app, ["audit", "base:0,base:1", "grpo:0,grpo:1", "--traces", file])
    assert done.exit_code == 2
    assert "Audit the pairs one by one" in done.output + done.stderr


def test_steps_keep_the_words_of_the_world(tmp_path: Path):
    file = given(tmp_path / "t.jsonl", line(EXAMPLES[0], steps=None, chain=CHAIN))
    read = gather_traces([file], {}, tasks=("arith/fresh",), n=6, seed=0, data=None)
    (trace,) = read.encode(read.tasks[0], WORDS.tokenizer())["imported"]
    assert step_texts(trace.steps) == EXAMPLES[0].steps
