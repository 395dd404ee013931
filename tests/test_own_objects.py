"""Tasks and probes of one's own in a run: measured, taken up again, drawn again, refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from interp.results.rows import Item
from interp.tasks import make_task
from probes.audit.run import AuditSettings, audit, pair_readers, redraw
from probes.corruption import Corruption
from probes.model_names import find_model
from probes.probe import Headline, Probe
from probes.seeds.names import pair_up
from probes.seeds.run import audit_seeds


@dataclass(frozen=True)
class QuestionLength(Probe):
    """How long the questions are."""

    name: ClassVar[str] = "question_length"
    title: ClassVar[str] = "Length"
    question: ClassVar[str] = "How long are the questions?"
    reading: ClassVar[tuple[str, ...]] = ("Words.",)
    kinds: ClassVar = {"words": "real"}
    headline: ClassVar[tuple[Headline, ...]] = (Headline("all", "words", "words:", "base", "base"),)

    times: int = 1
    """What lengths are multiplied with."""

    def run(self, readers, task, traces, *, seed):
        del traces, seed
        return tuple(
            Item(
                probe=self.name, task=task.name, example=e.id, problem=e.problem, condition="all",
                metric="words", value=float(self.times * len(e.question.split())), writer=reader,
                reader=reader,
            )
            for reader in readers for e in task.examples
        )  # fmt: skip


@pytest.fixture
def task():
    return replace(make_task("arith/fresh", n=5, seed=0), name="mine")


def test_a_task_and_a_probe_of_ones_own_are_measured_and_taken_up_again(
    tiny_pair, task, tmp_path, monkeypatch
):
    readers = pair_readers(tiny_pair.base, tiny_pair.post)
    settings = AuditSettings(tasks=(task,), probes=(QuestionLength(times=2),), writers=())
    done = audit(readers, settings, tmp_path / "run")
    lengths = [2 * len(example.question.split()) for example in task.examples]
    (row,) = (r for r in done.rows if r.reader == "base" and not r.contrast and r.is_whole)
    assert row.value == pytest.approx(sum(lengths) / 5) and row.task == "mine"
    assert done.verdict.headline.startswith("mine: words: ")
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]
    assert kept["probes"] == [f"{__name__}:QuestionLength"] and kept["tasks"] == ["mine"]
    page = done.report.read_text("utf-8")
    assert "How long are the questions?" in page
    # Finished parts are not measured again, and the page can be drawn without the objects.
    monkeypatch.setattr(QuestionLength, "run", lambda *_, **__: pytest.fail("measured again"))
    assert audit(readers, settings, tmp_path / "run").items == done.items
    assert redraw(tmp_path / "run").read_text("utf-8") == page
    other = replace(task, examples=task.examples[1:])
    with pytest.raises(ValueError, match=r"made of something else \(examples\.mine"):
        audit(readers, replace(settings, tasks=(other,)), tmp_path / "run")


def test_a_bundled_probe_as_an_object_is_kept_by_its_name(tiny_pair, task, tmp_path):
    readers = pair_readers(tiny_pair.base)
    settings = AuditSettings(
        tasks=(task,), probes=(Corruption(every_step=False),), writers=("gold",)
    )
    done = audit(readers, settings, tmp_path / "run")
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]
    assert kept["probes"] == ["corruption"]
    assert kept["options"] == [["corruption", [["every_step", False]]]]
    assert redraw(tmp_path / "run") == done.report
    named = AuditSettings(tasks=("arith/fresh",), n=5, probes=("corruption",), writers=("gold",),
                          options=(("corruption", (("every_step", False),)),))  # fmt: skip
    same = audit(readers, named, tmp_path / "named")
    assert [i.value for i in same.items if i.value == i.value] == [
        i.value for i in done.items if i.value == i.value
    ]


def test_what_is_refused(task, tmp_path: Path):
    with pytest.raises(ValueError, match="'mine' was received twice"):
        AuditSettings(tasks=(task, task))
    with pytest.raises(ValueError, match="'corruption' was received twice"):
        AuditSettings(tasks=(task,), probes=("corruption", Corruption()))
    with pytest.raises(ValueError, match="cannot be imported"):
        AuditSettings(tasks=(task,), probes=("no_such_module:Mine",))
    with pytest.raises(ValueError, match="is no class of probes"):
        AuditSettings(tasks=(task,), probes=("probes.probe:Headline",))
    pairs = pair_up("base:0,base:1,base:2", "grpo:0,grpo:1,grpo:2")
    with pytest.raises(ValueError, match="asks each pair other questions"):
        audit_seeds(
            pairs,
            AuditSettings(tasks=(task,), probes=("accuracy",)),
            tmp_path / "x",
            load=lambda name, _: find_model(name),
        )
