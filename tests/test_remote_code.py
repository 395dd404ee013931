"""Code that comes with a model never runs, not even if a terminal answers yes."""

from __future__ import annotations

import ast
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from conftest import ROOT, save_tiny
from safetensors.torch import save_file

MODULE = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class Mine(LlamaConfig):
    model_type = "mine"
class MineModel(LlamaForCausalLM):
    config_class = Mine
class MineTokenizer(PreTrainedTokenizerFast):
    pass
"""
SCRIPT = """
import sys
from probes.__main__ import app
vector, *folders = sys.argv[1:]
for folder in folders:
    words = ["steer", folder, "--vector", vector, "--site", "resid_post.1", "--prompt", "3"]
    try:
        app([*words, "--max-new-tokens", "1"])
    except SystemExit as end:
        print("ENDED", end.code, flush=True)
"""
MAPS = {
    "config": {"AutoConfig": "code.Mine", "AutoModelForCausalLM": "code.MineModel"},
    "tokenizer": {"AutoTokenizer": ["code.MineTokenizer", "code.MineTokenizer"]},
}


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def make_folders(place: Path) -> list[Path]:
    """Config, tokenizer, both and generation with code of their own, which leaves a marker."""
    folders = [save_tiny(place / name) for name in ("config", "tokenizer", "known", "generate")]
    for folder in folders:
        text = MODULE.format(marker=str(place / "marker"))
        (folder / "code.py").write_text(text)
        (folder / "custom_generate").mkdir()
        (folder / "custom_generate" / "generate.py").write_text(text)
    config, tokenizer, known, _ = folders
    change(config / "config.json", model_type="mine", auto_map=MAPS["config"])
    change(tokenizer / "tokenizer_config.json", tokenizer_class="Mine", auto_map=MAPS["tokenizer"])
    change(known / "config.json", auto_map=MAPS["config"])  # of a type that transformers knows
    change(known / "tokenizer_config.json", auto_map=MAPS["tokenizer"])
    return folders


def run_at_a_terminal(command: list[str], typed: str) -> str:
    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=env, close_fds=True
    ) as process:
        os.close(slave)
        os.write(master, typed.encode())
        shown = b""
        try:
            while block := os.read(master, 4096):
                shown += block
        except OSError:  # Linux reports the end of a terminal as an error
            pass
        process.wait(timeout=300)
    os.close(master)
    return shown.decode(errors="replace").replace("\r\n", "\n")


def test_no_code_of_a_model_runs_though_the_terminal_says_yes(tmp_path: Path):
    folders = make_folders(tmp_path)
    save_file({"v": torch.ones(32)}, tmp_path / "v.safetensors")
    words = [str(tmp_path / "v.safetensors"), *map(str, folders)]
    shown = run_at_a_terminal([sys.executable, "-c", SCRIPT, *words], "y\n" * 12)
    assert not (tmp_path / "marker").exists(), shown
    lines = shown.splitlines()
    ends = [at for at, line in enumerate(lines) if line.startswith("ENDED")]
    assert len(ends) == 4, shown
    assert lines[ends[0]] == "ENDED 2" and "code that comes with the model" in lines[ends[0] - 1]
    assert lines[ends[0] - 1].startswith(f"posthoc: {folders[0] / 'config.json'}")
    for at, folder in zip(ends, folders, strict=True):
        assert lines[at] == "ENDED 0" or lines[at - 1].startswith("posthoc: "), (folder, shown)
    assert "Traceback" not in shown and "[y/N]" not in shown


def test_every_loader_of_transformers_is_told_to_run_no_code():
    missing: list[str] = []
    for top in ("interp", "probes"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                # PEFT reads the settings of an adapter as JSON, and has no such option.
                if called.endswith("from_pretrained") and called != "PeftConfig.from_pretrained":
                    assert isinstance(node, ast.Call)
                    given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                    if given.get("trust_remote_code") != "False":
                        missing.append(f"{path}:{node.lineno}")
    assert not missing
