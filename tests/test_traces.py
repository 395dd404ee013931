"""Traces: the four classes by hand, the engine against plain forwards, files that come back."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from interp.chains.chain import encode_layout, encode_steps, step_texts
from interp.chains.texts import decode, encode
from interp.chains.trace import Trace
from interp.chains.trace_files import export_traces, import_traces
from interp.chains.trace_writing import gold_traces, think_probability, write_traces
from interp.engine import Generation
from interp.organisms.worlds.arith.problems import WORDS
from interp.tasks import Task, make_task

Script = Callable[[str], str]


@pytest.fixture
def task() -> Task:
    return make_task("arith/fresh", n=4, seed=0)


@pytest.fixture(scope="module")
def words() -> Any:
    return WORDS.tokenizer()


def scripted(monkeypatch: pytest.MonkeyPatch, script: Script, tokenizer: Any) -> list[str]:
    """Puts a writer in place of the engine that continues each text as the script says."""
    import interp.chains.trace_writing as writing

    seen: list[str] = []

    def generate(
        _model: Any,
        prompts: Sequence[tuple[int, ...]],
        *,
        max_new_tokens: int,
        stop: Sequence[tuple[int, ...]],
        **_: Any,
    ) -> list[Generation]:
        found = []
        for prompt in prompts:
            seen.append(decode(tokenizer, prompt))
            ids: tuple[int, ...] = ()
            stopped = False
            for token in encode(tokenizer, script(seen[-1]))[:max_new_tokens]:
                ids += (token,)
                stopped = any(ids[-len(part) :] == part for part in stop)
                if stopped:
                    break
            found.append(Generation(ids, tuple(-0.1 * k for k in range(len(ids))), stopped))
        return found

    monkeypatch.setattr(writing, "generate", generate)
    return seen


def test_a_free_chain_in_its_four_classes(
    tiny: Any, task: Task, words: Any, monkeypatch: pytest.MonkeyPatch
):
    valid, empty, missing, truncated = task.examples
    writes = {
        valid.question: f"<think> {' '.join(valid.steps)} </think> A 9 <eos>",
        empty.question: "<think> </think> A 9 <eos>",
        missing.question: "A 9 <eos>",
        truncated.question: "<think> 3 + 4 = 7 ; " + "7 * 1 = 7 ; " * 20,
    }

    otherwise = f"{valid.answer} <eos>"
    seen = scripted(monkeypatch, lambda text: writes.get(text, otherwise), words)
    traces = write_traces(tiny, task, mode="free", writer="post", seed=2)
    assert [t.status for t in traces] == ["valid", "empty", "missing", "truncated"]
    assert [step_texts(t.steps) for t in traces[:3]] == [valid.steps, (), ()]
    assert traces[0].steps == encode_steps(words, valid.steps)
    # Each answer is read after the cue; the chain that never ended is not asked.
    assert seen[4:] == [
        f"{valid.question} <think> {' '.join(valid.steps)} </think> A",
        f"{empty.question} <think> </think> A",
        f"{missing.question} A",
    ]
    assert [t.answer for t in traces] == [valid.answer] * 3 + [""]
    assert [t.correct for t in traces] == [valid.answer == e.answer for e in task.examples[:3]] + [
        False
    ]
    n = len(valid.steps) * 6
    assert traces[0].logprobs == tuple(-0.1 * k for k in range(1, n + 1)) + (-0.0,)
    assert traces[3].answer_ids == () and traces[3].logprobs[0] == -0.1
    for t, e in zip(traces, task.examples, strict=True):
        assert (t.writer, t.mode, t.seed, t.task) == ("post", "free", 2, "arith/fresh")
        assert t.prompt_ids == encode(words, e.question)
        assert len(t.logprobs) == sum(len(s.ids) for s in t.steps) + len(t.answer_ids)


def test_a_forced_chain_is_opened_and_a_direct_answer_has_none(
    tiny: Any, task: Task, words: Any, monkeypatch: pytest.MonkeyPatch
):
    first = task.examples[0]
    seen = scripted(monkeypatch, lambda text: "7 </think>" if "A" not in text else "5 <eos>", words)
    forced = write_traces(tiny, task, mode="forced")
    assert seen[0] == f"{first.question} <think>"
    assert step_texts(forced[0].steps) == ("7",) and forced[0].status == "valid"
    assert forced[0].answer == "5" and forced[0].writer == tiny.name
    seen.clear()
    direct = write_traces(tiny, task, mode="direct")
    assert seen == [f"{e.question} A" for e in task.examples]
    assert {t.status for t in direct} == {"missing"} and not any(t.steps for t in direct)
    with pytest.raises(ValueError, match="unknown mode 'loud'; known: free, forced, direct"):
        write_traces(tiny, task, mode="loud")


def test_a_chain_without_an_answer_counts_as_truncated(
    tiny: Any, task: Task, words: Any, monkeypatch: pytest.MonkeyPatch
):
    scripted(monkeypatch, lambda text: "7 </think>" if "A" not in text else "<eos>", words)
    for trace in write_traces(tiny, task, mode="forced"):
        assert trace.status == "truncated" and trace.answer == "" and not trace.correct


def test_an_answer_that_nothing_ends_is_truncated_and_not_correct(
    tiny: Any, task: Task, words: Any, monkeypatch: pytest.MonkeyPatch
):
    for end, status in ((" <eos>", "missing"), (" 3", "truncated"), ("", "truncated")):
        answers = {f"{e.question} A": e.answer + end for e in task.examples}
        scripted(monkeypatch, answers.__getitem__, words)
        for trace, e in zip(write_traces(tiny, task, mode="direct"), task.examples, strict=True):
            assert trace.answer == e.answer and trace.status == status
            assert trace.correct == (status == "missing")


def test_few_shot_text_ends_its_chain_at_the_cue_or_not_at_all(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    built = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=built, eos_token="~")
    model = replace(tiny, tokenizer=tokenizer)
    sums = replace(make_task("sums", n=3, seed=0), max_chain_tokens=200)
    good, lost, silent = sums.examples
    writes = {
        good.question: "".join(good.steps) + f" The answer is {good.answer}.\n\nQuestion: 1 + 1",
        lost.question: " I do not know.\n\nQuestion: 1 + 1\nAnswer: 2. The answer is 2.\n",
        silent.question: " The answer is 3.\n",
    }
    otherwise = f" {good.answer}.\nso"
    scripted(monkeypatch, lambda text: writes.get(text, otherwise), tokenizer)
    # The text of the second breaks off in the end mark, that of the third in the answer itself.
    for mode, end in (("free", ".\nso"), ("forced", ".~"), ("free", ".")):
        otherwise = f" {good.answer}{end}"
        traces = write_traces(model, sums, mode=mode)
        is_ended = end != "."
        classes = ["valid", "truncated", "empty"] if is_ended else ["truncated"] * 3
        assert [t.status for t in traces] == classes
        assert step_texts(traces[0].steps) == good.steps
        assert traces[0].answer == good.answer and traces[0].correct == is_ended
        assert decode(tokenizer, traces[0].answer_ids) == f" {good.answer}"
        assert step_texts(traces[1].steps) == (" I do not know.",)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_equals_the_loop(tiny: Any, temperature: float):
    task = make_task("arith/fresh", n=6, seed=1)
    for mode in ("free", "forced", "direct"):
        ways = [
            write_traces(tiny, task, mode=mode, temperature=temperature, seed=7, batch_size=size)
            for size in (6, 1)
        ]
        for batched, single in zip(*ways, strict=True):
            assert batched.logprobs == pytest.approx(single.logprobs, abs=1e-4)
            assert replace(batched, logprobs=()) == replace(single, logprobs=())


def test_seeds_differ_only_when_sampling(tiny: Any):
    task = make_task("arith/fresh", n=6, seed=1)

    def texts(temperature: float, seed: int) -> list[str]:
        traces = write_traces(
            tiny, task, mode="forced", temperature=temperature, seed=seed, writer="w"
        )
        return [" ".join(step_texts(trace.steps)) for trace in traces]

    assert texts(0.0, 1) == texts(0.0, 2)
    assert texts(1.0, 1) == texts(1.0, 1) != texts(1.0, 2)


def test_logprobs_are_those_of_a_plain_forward(tiny: Any):
    task = make_task("arith/fresh", n=3, seed=1)
    layout = encode_layout(tiny.tokenizer, task.layout)
    for trace in write_traces(tiny, task, mode="forced", temperature=1.0, seed=3):
        chain = tuple(token for step in trace.steps for token in step.ids)
        text = trace.prompt_ids + layout.think_open + chain
        with torch.no_grad():
            rows = tiny.hf(torch.tensor([text])).logits[0].log_softmax(-1)
        start = len(trace.prompt_ids) + len(layout.think_open)
        for k, token in enumerate(chain):
            assert trace.logprobs[k] == pytest.approx(float(rows[start + k - 1, token]), abs=1e-4)


def test_the_probability_of_thinking_is_a_softmax(tiny: Any):
    task = make_task("arith/fresh", n=3, seed=1)
    think = encode(tiny.tokenizer, "<think>")[0]
    for e, p in zip(task.examples, think_probability(tiny, task), strict=True):
        with torch.no_grad():
            ids = torch.tensor([encode(tiny.tokenizer, e.question)])
            assert p == pytest.approx(
                float(tiny.hf(ids).logits[0, -1].softmax(-1)[think]), abs=1e-5
            )
    assert all(math.isnan(p) for p in think_probability(tiny, make_task("sums", n=2, seed=0)))


def test_gold_traces(words: Any, task: Task):
    for trace, e in zip(gold_traces(words, task), task.examples, strict=True):
        assert (trace.mode, trace.status, trace.writer) == ("gold", "valid", "gold")
        assert trace.steps == encode_steps(words, e.steps) and trace.correct
        assert trace.answer_ids == encode(words, e.answer)


def random_traces(words: Any, task: Task) -> list[Trace]:
    """Traces as a model might have written them: all classes, odd tokens, log-probabilities."""
    rng, made = Random(0), []
    for trace in gold_traces(words, task):
        steps = trace.steps if rng.random() < 0.7 else ()
        logprobs = tuple(rng.uniform(-9, 0) for _ in range(3))
        status = "valid" if steps else rng.choice(["empty", "missing"])
        made.append(replace(trace, steps=steps, logprobs=logprobs, status=status, mode="free"))
    last = replace(made[-1], status="truncated", answer="", answer_ids=(), correct=False, seed=3)
    cut_off = replace(made[-2], status="truncated", correct=False)  # right, but nothing ended it
    return [*made[:-2], cut_off, last]


def test_what_is_exported_comes_back_the_same(words: Any, tmp_path: Path):
    task = make_task("arith/fresh", n=20, seed=0)
    traces = random_traces(words, task)
    path = tmp_path / "traces.jsonl"
    export_traces(path, traces)
    assert list(import_traces(path, words, task)) == traces
    first = path.read_bytes()
    export_traces(path, traces)
    assert path.read_bytes() == first and [p.name for p in tmp_path.iterdir()] == [path.name]
    for line in path.read_text().splitlines():
        assert {"example", "steps", "answer", "writer"} <= json.loads(line).keys()


def lines(path: Path, *records: object) -> Path:
    text = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def test_a_file_written_elsewhere(words: Any, task: Task, tmp_path: Path):
    first, second = task.examples[:2]
    path = lines(
        tmp_path / "t.jsonl",
        {"example": first.id, "chain": "3 + 4 = 7 ; 7 * 2 = 3 ;", "answer": first.answer},
        "",
        {"example": second.id, "steps": ["so ;"], "answer": 10, "writer": "me", "note": "x"},
    )
    assert second.answer != "10"
    one, two = import_traces(path, words, task)
    assert one.steps == encode_steps(words, ("3 + 4 = 7 ;", "7 * 2 = 3 ;"))
    assert (one.writer, one.mode, one.status, one.correct) == (
        "imported",
        "imported",
        "valid",
        True,
    )
    assert one.prompt_ids == encode(words, first.question)
    assert one.answer_ids == encode(words, first.answer)
    assert (two.writer, two.answer, two.correct) == ("me", "10", False)
    unknown = {"example": first.id, "chain": "3 + 4 = 7 ;", "answer": 99}
    with pytest.raises(ValueError, match="line 1: the answer .* '99' becomes '<unk>'"):
        import_traces(lines(tmp_path / "t.jsonl", unknown), words, task)


def test_running_text_begins_as_the_chains_of_its_task(words: Any, tmp_path: Path):
    sums = make_task("sums", n=60, seed=0)
    e = next(one for one in sums.examples if int(one.answer) <= 10)  # the words end there
    plain = "".join(e.steps).lstrip()
    for record in (
        {"chain": plain},
        {"chain": " " + plain},
        {"steps": [s.strip() for s in e.steps]},
    ):
        path = lines(tmp_path / "t.jsonl", {"example": e.id, "answer": e.answer, **record})
        (trace,) = import_traces(path, words, sums)
        assert step_texts(trace.steps) == e.steps


def test_messages_of_the_import(words: Any, task: Task, tmp_path: Path):
    good = {"example": task.examples[0].id, "chain": "3 + 4 = 7 ;", "answer": "7"}
    (gold, *_) = gold_traces(words, task)
    export_traces(tmp_path / "gold.jsonl", [gold])
    exported = json.loads((tmp_path / "gold.jsonl").read_text())
    foreign = {**exported, "ids": {**exported["ids"], "steps": [[9] * 6 for _ in gold.steps]}}
    cases: dict[str, object] = {
        r"line 2 is not readable as JSON: Expecting": "{",
        r"line 2 is one JSON object, and a list was received": [1],
        r"line 2: example, chain \(or steps\) and answer are needed; this line has example": {
            "example": good["example"]
        },
        r"line 2: unknown example 'x'; task 'arith/fresh' has 4, such as arith:": {
            **good,
            "example": "x",
        },
        r"line 2: .*the chain is empty.*\"status\": \"empty\"": {**good, "chain": " "},
        r"line 2: .*the answer is read by .*none in ' '. Give it in the form '\d+' has": {
            **good,
            "answer": " ",
        },
        r"line 2: unknown status 'fine'": {**good, "status": "fine"},
        r"line 2: .*the token ids do not spell.*Remove 'ids'": foreign,
    }
    for message, record in cases.items():
        with pytest.raises(ValueError, match=message):
            import_traces(lines(tmp_path / "t.jsonl", good, record), words, task)
    # The remedies work.
    unread = {**exported, "answer": ""}  # what a model wrote is kept, readable or not
    (kept,) = import_traces(lines(tmp_path / "t.jsonl", unread), words, task)
    assert kept.answer == "" and kept.steps == gold.steps and not kept.correct
    del foreign["ids"]
    empty = {**good, "chain": "", "status": "empty"}
    found = import_traces(lines(tmp_path / "t.jsonl", foreign, empty), words, task)
    assert found[0] == replace(gold, logprobs=()) and found[1].steps == ()
