"""Published traces of Thought Anchors: read, cut and weighed as their authors did."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random

import pytest

from interp.chains.resampling_importance import resampling_importance
from interp.chains.text_trace import plain
from interp.chains.trace_formats import read_trace_file
from interp.chains.trace_formats.anchor_folders import SOLUTION
from interp.chains.traced_task import make_traced_task
from interp.tasks import split_reasoning


@pytest.fixture
def folders(data_folder: Path) -> list[Path]:
    found = sorted(one.parent for one in (data_folder / "thought_anchors").rglob(SOLUTION))
    if not found:
        pytest.skip(f"no published traces in {data_folder}/thought_anchors")
    return found


def chunks(folder: Path) -> list[dict]:
    return json.loads((folder / "chunks_labeled.json").read_text())


def test_our_steps_are_the_published_sentences(folders: list[Path]):
    n_found = n_all = 0
    for folder in folders:
        (trace,) = read_trace_file(folder).traces
        ours = [plain(step) for step in split_reasoning(trace.chain)]
        published = [plain(chunk["chunk"]) for chunk in chunks(folder)]
        n_all += len(published)
        n_found += sum(sentence in ours for sentence in published)
        assert len(ours) == len(published)
    assert n_found >= 0.98 * n_all and n_all >= 150


def test_resampling_importance_is_the_published_one(folders: list[Path]):
    for folder in folders:
        published = chunks(folder)
        ours = resampling_importance([chunk["accuracy"] for chunk in published])
        theirs = [chunk["resampling_importance_accuracy"] for chunk in published]
        assert math.isnan(ours[-1]) and theirs[-1] == 0.0
        near = [abs(a - b) < 1e-9 for a, b in zip(ours[:-1], theirs[:-1], strict=True)]
        assert sum(near) >= 0.99 * len(near)


def test_resampling_importance_adds_up_and_refuses_percent():
    rng = Random(0)
    for _ in range(20):
        shares = [rng.random() for _ in range(rng.randrange(1, 9))]
        ours = resampling_importance(shares)
        assert len(ours) == len(shares) and math.isnan(ours[-1])
        # What all steps but the last add is the accuracy before the last less that at the start.
        assert sum(ours[:-1]) == pytest.approx(shares[-1] - shares[0])
    assert len(resampling_importance([])) == 0
    gap = resampling_importance([0.1, float("nan"), 0.4, 0.5])
    assert [math.isnan(value) for value in gap] == [True, True, False, True]
    with pytest.raises(ValueError, match="that of step 1 is 84.0. Likely cause: percent"):
        resampling_importance([0.5, 84.0])


def test_folders_become_a_task_with_the_published_answers(folders: list[Path]):
    file = read_trace_file(folders[0].parents[2])
    assert {trace.writer for trace in file.traces} == {
        "deepseek-r1-distill-llama-8b",
        "deepseek-r1-distill-qwen-14b",
    }
    task = make_traced_task("anchors", file.traces)
    for trace, example, folder in zip(file.traces, task.examples, folders, strict=True):
        solution = json.loads((folder / SOLUTION).read_text())
        assert example.id == f"anchors:{folder.name}"
        assert (task.read_answer(trace.answer) == example.answer) == solution["is_correct"]
        # A chain that ends in \boxed{} leads to its own answer.
        steps = task.split_steps(trace.chain)
        assert task.conclusion(example, steps) == task.read_answer(trace.answer)


def test_a_folder_without_its_problem_is_named(folders: list[Path], tmp_path: Path):
    (tmp_path / SOLUTION).write_bytes((folders[0] / SOLUTION).read_bytes())
    with pytest.raises(OSError, match="problem.json"):
        read_trace_file(tmp_path)


def test_sentences_cut_by_hand():
    """The rule applied one character after the other, as an independent reading of it."""
    rng = Random(1)
    words = ["One", "two.", "3.5", "1.", "\n", "\n\n", "What?", "ok", "A longer piece!", 'end."']
    for _ in range(300):
        text = " ".join(rng.choices(words, k=rng.randrange(1, 25)))
        assert "".join(split_reasoning(text)) == text
        cut, piece = [], ""
        for at, letter in enumerate(text):
            piece += letter
            ends = letter in ".?!" and text[at + 1 : at + 2] in (" ", "\n") and at + 1 < len(text)
            if (ends or text[at : at + 2] == "\n\n") and piece.strip():
                cut.append(piece.strip())
                piece = ""
        cut += [piece.strip()] if piece.strip() else []
        merged, waiting = [], ""
        for piece in cut:
            waiting = f"{waiting} {piece}".strip()
            if len(waiting) >= 10:
                merged.append(waiting)
                waiting = ""
        if waiting:
            merged = [*merged[:-1], f"{merged[-1]} {waiting}"] if merged else [waiting]
        ours = [plain(step) for step in split_reasoning(text) if step.strip()]
        assert ours == list(map(plain, merged)), text
