"""Tasks on the command line: files of questions, and no organism's task for another model."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from probes.cli import app


def call(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, " ".join((result.output + result.stderr).split())


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "MODEL", "base"),
        ("audit", "base", "MODEL"),
        ("audit", "base:0,base:1", "MODEL,grpo:1"),
        ("probe", "information_gain", "MODEL"),
        ("preexist", "MODEL", "MODEL"),
        ("steer", "MODEL", "--vector", "VECTOR", "--sweep"),
    ],
)
def test_without_a_task_only_organisms_are_asked(words, tiny_folder, tiny, tmp_path):
    from safetensors.torch import save_file

    vector = tmp_path / "vector.safetensors"
    save_file({"vector": tiny.hf.lm_head.weight[0].detach().clone()}, vector)
    names = {"MODEL": str(tiny_folder), "VECTOR": str(vector)}
    line = [names.get(word, word.replace("MODEL", str(tiny_folder))) for word in words]
    if words[0] == "steer":
        line += ["--site", "blocks.0.hook_resid_post"]
    code, text = call(*line, "--out", str(tmp_path / "run"))
    assert code == 2, text
    assert "name a task by --task" in text and "arith/fresh" in text and "gsm8k" in text
    assert not (tmp_path / "run").exists()
    # The remedy that the message names.
    if words[0] == "probe":
        code, text = call(*line, "--task", "arith/fresh", "--n", "3", "--out", str(tmp_path / "x"))
        assert code == 0, text


def test_a_file_of_questions_is_a_task_of_every_command(tmp_path: Path):
    rows = [
        {"question": f"{a} + {a} ?", "answer": str(2 * a), "steps": [f"{a} + {a} = {2 * a} ;"]}
        for a in range(1, 5)
    ]
    file = tmp_path / "sums.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    words = ("probe", "information_gain", "base", "--task", str(file), "--n", "4")
    code, text = call(*words, "--out", str(tmp_path / "run"))
    assert code == 2 and "must be made of words that the tokenizer knows" in text
    code, text = call(*words, "--grader", "letters")
    assert code == 2 and "unknown grader 'letters'; known: math, text, labels, choices" in text
    code, text = call("probe", "information_gain", "base", "--task", "gsm8k", "--grader", "math")
    assert code == 2 and "the task 'gsm8k' has its own" in text
    code, text = call("probe", "information_gain", "base", "--task", str(tmp_path / "sum.jsonl"))
    assert code == 2 and "there is no file" in text
