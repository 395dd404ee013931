"""Lines of traces that were written elsewhere: read rightly, or refused with line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interp.chains.trace_files import import_traces
from interp.organisms.worlds.arith.problems import WORDS
from interp.tasks import make_task

TASK = make_task("arith/fresh", n=2, seed=0)
FIRST = TASK.examples[0]
GOOD: dict[str, Any] = {"example": FIRST.id, "steps": list(FIRST.steps), "answer": FIRST.answer}
TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "steps are one text": ({"steps": " ".join(FIRST.steps)}, "'steps' is a list of texts"),
    "steps are objects": ({"steps": [{"text": "3 + 4"}]}, "'steps' .* entry 1 is {'text'"),
    "a step is null": ({"steps": [FIRST.steps[0], None]}, "'steps' .* entry 2 is None"),
    "a step is blank": ({"steps": [FIRST.steps[0], " "]}, "step 2 of 2 is blank"),
    "chain is a list": ({"steps": None, "chain": ["3"]}, "'chain' is a text"),
    "chain and steps are null": ({"steps": None, "chain": None}, "chain .or steps. and answer"),
    "answer is null": ({"answer": None}, "answer are needed"),
    "answer is no number": ({"answer": float("nan")}, "'answer' is a text or a number"),
    "answer is true": ({"answer": True}, "'answer' is a text or a number"),
    "seed is a text": ({"seed": "0"}, "'seed' is a whole number"),
    "logprobs hold a text": ({"logprobs": ["a"]}, "'logprobs' .* entry 1 is 'a'"),
    "ids are torn": ({"ids": {"prompt": [1]}}, "'ids' is an object with the token ids"),
    "tags around the chain": ({"steps": None, "chain": "<think> 3 </think>"}, "holds '<think>'"),
}


def read(file: Path, data: bytes) -> Any:
    file.write_bytes(data)
    return import_traces(file, WORDS.tokenizer(), TASK)


def line(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode() + b"\n"


@pytest.mark.parametrize("name", TOLD)
def test_a_line_that_cannot_be_read_is_named_with_its_field(name: str, tmp_path: Path):
    fields, told = TOLD[name]
    with pytest.raises(ValueError, match=f"t.jsonl, line 2: .*{told}"):
        read(tmp_path / "t.jsonl", line() + line(**fields))


def test_what_pandas_and_editors_add_changes_nothing(tmp_path: Path):
    file = tmp_path / "t.jsonl"
    (plain,) = read(file, line())
    nulls = line(chain=None, logprobs=None, seed=None, ids=None, writer=None)
    for data in (nulls, b"\xef\xbb\xbf" + line(), b"\n" + line() + b"\n\n", line(seed=0)):
        assert read(file, data) == (plain,)
    assert read(file, line(answer=float(FIRST.answer))) == (plain,)
    assert plain.correct


def test_a_file_without_lines_or_of_another_kind_is_refused(tmp_path: Path):
    for data, told in (
        (b"", "holds no traces"),
        (b"\n \n", "holds no traces"),
        (b"\xff\xfe{}", "UTF-8"),
        (b"[1]", "line 1 is one JSON object"),
    ):
        with pytest.raises(ValueError, match=told):
            read(tmp_path / "t.jsonl", data)
    with pytest.raises(OSError, match="directory"):
        import_traces(tmp_path, WORDS.tokenizer(), TASK)
