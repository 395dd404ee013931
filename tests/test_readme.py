"""What the README shows runs, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted(
    {tuple(re.findall(r"^posthoc ([\w-]+)(?: ([a-z]+))?", line)[0])
     for block in SHELL for line in block.splitlines() if line.startswith("posthoc ")}
)  # fmt: skip


def run_block(word: str) -> dict[str, Any]:
    """Runs the one block that holds this word; returns its names."""
    (block,) = (block for block in PYTHON if word in block)
    names: dict[str, Any] = {}
    exec(block, names)
    return names


def test_every_python_block_is_run_by_a_test_below():
    assert len(PYTHON) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command):
    from probes.__main__ import app

    name, second = command
    commands = typer.main.get_command(app).commands
    assert name in commands
    if second in getattr(commands[name], "commands", {}) or name == "organisms":
        assert not second or second in commands[name].commands


def test_the_example_of_an_audit_prints_its_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_block("pair_readers")
    assert names["done"].report == Path("runs/mine/report.html") and names["done"].report.exists()
    assert "the answer no longer follows the chain" in capsys.readouterr().out
    pairs = set(zip(names["aoc"].task, names["aoc"].reader, strict=True))
    assert pairs >= {("arith/pool", "post"), ("arith/fresh", "post - base")}


def test_the_example_of_patching_finds_the_running_value():
    names = run_block("denoise")
    words = names["model"].tokenizer.convert_ids_to_tokens(names["clean"])
    fractions = names["grid"].recovered_fraction()[0]
    value = max(place for place, word in enumerate(words) if word == "7")
    assert abs(fractions[0, value] - 1) < 0.05 and abs(fractions[-1, -1] - 1) < 0.05
    operand = words.index("3")
    assert abs(fractions[0, operand]) < 0.05
