"""Runs over seeds on organisms: what is said of the training, resumed, redrawn, refused."""

from __future__ import annotations

import json
import math
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from interp.organisms.zoo import organism_path
from interp.results.run_folder import load_run
from probes.audit.readings import find_row
from probes.audit.run import AuditSettings, audit, pair_readers
from probes.model_names import find_model
from probes.seeds.names import pair_up
from probes.seeds.run import audit_seeds, redraw

SETTINGS = AuditSettings(tasks=("arith/pool",), n=8, probes=("accuracy",))
BASES = "base:0,base:1,base:2"


@cache
def load(name: str, role: str = "base"):
    del role  # organisms are asked alike
    return find_model(name)


"""Models are only read, so that one copy serves all tests."""


def free(rows, reader):
    found = find_row(rows, "accuracy", "free", "accuracy", task="arith/pool", reader=reader,
                     writer=reader)  # fmt: skip
    assert found is not None
    return found


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Folder and result of three bases and the models that were taught decorative chains."""
    folder = tmp_path_factory.mktemp("runs") / "changed"
    pairs = pair_up(BASES, "decorative:0,decorative:1,decorative:2")
    return folder, audit_seeds(pairs, SETTINGS, folder, load=load)


def text_of(page: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.read_text("utf-8")))


def test_a_change_that_every_training_makes_is_said_of_the_training(changed):
    folder, done = changed
    assert done.verdict.headline.startswith("Over 3 seeds of each side. arith/pool: ")
    assert "accuracy up" in done.verdict.headline
    assert "not only for these checkpoints" in done.verdict.lines[0]
    row = free(done.rows, "post - base")
    assert row.n == 3 and row.low > 0.5 and row.p < 0.01
    page = text_of(folder / "report.html")
    assert "t interval over seeds" in page and "interval over problems" not in page
    assert "over all contrasts of the run. n counts seeds" in page
    assert re.search("base:1 \u2192 decorative:1: arith/pool: [^.]*.*?accuracy up", page)
    assert (folder / "figures" / "accuracy_free_accuracy_by_seed.svg").exists()


def test_each_pair_is_an_ordinary_run_on_problems_of_its_own(changed, tmp_path):
    folder, done = changed
    runs = [load_run(path) for path in sorted((folder / "pairs").iterdir())]
    assert [run.manifest["settings"]["seed"] for run in runs] == [0, 1, 2]
    asked = [{example["question"] for example in run.examples} for run in runs]
    assert asked[0] != asked[1] != asked[2]
    means = [free(run.rows, "post").value for run in runs]
    assert free(done.rows, "post").value == pytest.approx(sum(means) / 3)
    alone = AuditSettings(tasks=("arith/pool",), n=8, probes=("accuracy",), seed=1)
    readers = pair_readers(load("base:1"), load("decorative:1"))
    again = audit(readers, alone, tmp_path / "alone")
    assert repr(again.rows) == repr(runs[1].rows)


def test_a_stopped_run_ends_with_the_same_bytes(changed):
    folder, _ = changed
    names = ("rows.csv", "measurements.parquet", "report.html")
    before = [(folder / name).read_bytes() for name in names]
    second = sorted((folder / "pairs").iterdir())[1]
    shutil.rmtree(second)
    for name in names:
        (folder / name).unlink()
    audit_seeds(
        pair_up(BASES, "decorative:0,decorative:1,decorative:2"), SETTINGS, folder, load=load
    )
    assert [(folder / name).read_bytes() for name in names] == before


def test_the_page_is_drawn_again_without_models(changed):
    folder, _ = changed
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert redraw(folder).read_bytes() == before
    pair = sorted((folder / "pairs").iterdir())[0]
    assert "95 % interval over problems" in text_of(redraw(pair))


def test_one_folder_holds_one_list_of_seeds(changed):
    folder, _ = changed
    with pytest.raises(ValueError, match="made of something else"):
        audit_seeds(pair_up(BASES, "grpo:0,grpo:1,grpo:2"), SETTINGS, folder, load=load)


def test_copies_of_one_training_are_no_seeds(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(organism_path("chain-sft-pool", 0), copy)
    pairs = pair_up("base:0,base:1", f"chain-sft-pool:0,{copy}")
    with pytest.raises(ValueError, match="the same weights as chain-sft-pool:0 of another pair"):
        audit_seeds(pairs, SETTINGS, tmp_path / "run", load=load)


def call(*words):
    from probes.__main__ import app

    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


def test_the_command_takes_lists(tmp_path, monkeypatch):
    import probes.seeds.run as seeds

    asked = []

    def pretend(pairs, settings, out, *, load):  # with settings that take less time
        asked.append(([str(pair) for pair in pairs], settings.n, out, load("base:1", "base").name))
        return audit_seeds(pairs, SETTINGS, out, load=load)

    monkeypatch.setattr(seeds, "audit_seeds", pretend)
    out = tmp_path / "run"
    code, text = call(
        "audit", "base:0,base:1", "decorative:0,decorative:1", "--n", "9", "--out", str(out)
    )
    assert code == 0 and asked == [
        (["base:0 -> decorative:0", "base:1 -> decorative:1"], 9, out, "base-s1")
    ]
    assert "Over 2 seeds of each side: too few to say anything of the training" in text
    assert math.isnan(free(load_run(out).rows, "post - base").low)
    assert "  base:0 -> decorative:0: arith/pool: " in text and f"Report: {out}/report.html" in text
    code, text = call("report", str(out))
    assert code == 0 and text.strip() == f"{out}/report.html"
    pairs = json.loads((out / "manifest.json").read_text())["pairs"]
    assert [pair["folder"] for pair in pairs] == ["pairs/1-base-0-decorative-0",
                                                  "pairs/2-base-1-decorative-1"]  # fmt: skip


def test_the_command_refuses_lists_of_other_lengths(tmp_path):
    out = tmp_path / "run"
    code, text = call("audit", "base:0,base:1", "grpo:0,grpo:1,grpo:2", "--out", str(out))
    assert code == 2 and "received 2 and 3" in text and not out.exists()
