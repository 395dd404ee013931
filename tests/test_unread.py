"""Texts that could not be read: no headline says up or down of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interp.results.rows import CONTRAST
from probes.audit.plan import AuditSettings
from probes.audit.run import audit
from probes.audit.verdict import judge
from tests.test_headline import TASK, moved, row
from tests.test_prompt_formats import KINDS, tuned
from tests.test_prompt_formats import TASK as SUMS


def finished(base: float, post: float, way: str = "free") -> list[Any]:
    return [
        row("accuracy", way, "finished", share, reader=name, writer=name)
        for name, share in (("base", base), ("post", post))
    ]


def verdict(rows: Any) -> Any:
    return judge(rows, tasks=[TASK], writers=("gold", "base", "post"))


def accuracies(base: float, post: float) -> list[Any]:
    return [
        row("accuracy", "free", "accuracy", value, reader=name, writer=name)
        for name, value in (("base", base), ("post", post))
    ]


@pytest.mark.parametrize(
    ("base", "post", "unread"),
    [(0.95, 0.0, ["post"]), (0.05, 1.0, ["base"]), (0.0, 0.09, ["base", "post"])],
)
def test_what_could_not_be_read_moved_neither_up_nor_down(base: float, post: float, unread: Any):
    for change in (-0.9, 0.9):
        rows = [*accuracies(base, post), *finished(base, post), moved("free", change)]
        found = verdict(rows)
        said = found.headline
        assert " up " not in said and " down " not in said
        for name in ("base", "post"):
            assert (f"{name} could not be read" in said) == (name in unread)
            advice = [line for line in found.lines if f"--{name}-format" in line]
            assert len(advice) == (name in unread)
            assert all("posthoc check" in line for line in advice)


@pytest.mark.parametrize(
    ("base", "post", "change", "doubt"),
    [
        (1.0, 0.5, -0.4, "between -0.40 and +0.10"),  # if post's missing half were right
        (1.0, 0.5, -0.6, ""),
        (0.5, 1.0, 0.3, "between -0.20 and +0.30"),
        (1.0, 0.9, -0.05, ""),  # few are missing: the interval says enough
        (1.0, 1.0, -0.4, ""),
    ],
)
def test_a_change_that_unfinished_texts_could_turn_is_in_doubt(
    base: float, post: float, change: float, doubt: str
):
    rows = [*accuracies(0.9, 0.9 + change), *finished(base, post), moved("free", change, half=0.01)]
    said = verdict(rows)
    assert f"accuracy {'up' if change > 0 else 'down'}" in said.headline
    assert ("texts that do not end may explain it" in said.headline) == bool(doubt)
    assert doubt in said.headline
    lines = [line for line in said.lines if "texts that end in an answer" in line]
    assert bool(lines) == (min(base, post) < 0.8)


def test_a_model_asked_in_a_format_that_it_does_not_know(tmp_path: Path, monkeypatch: Any):
    """Right in its own format, and unreadable in the task's: no word of a loss."""
    monkeypatch.setitem(KINDS, "few-shot", ("model opens", "task"))
    tuned.cache_clear()
    base, post = tuned("few-shot"), tuned("model opens")
    tuned.cache_clear()
    from dataclasses import replace

    settings = AuditSettings(tasks=(SUMS,), probes=("accuracy", "corruption"))
    as_task = replace(post, prompt_format=base.prompt_format)
    wrong = audit({"base": base, "post": as_task}, settings, tmp_path / "task")
    assert "down" not in wrong.verdict.headline
    assert "post could not be read" in wrong.verdict.headline
    right = audit({"base": base, "post": post}, settings, tmp_path / "own")
    assert "could not be read" not in right.verdict.headline
    free = {
        row.reader: row.value
        for row in right.rows
        if (row.probe, row.condition, row.metric) == ("accuracy", "free", "accuracy")
        and row.reader != CONTRAST
    }
    assert free == {"base": 1.0, "post": 1.0}
    assert any("post is asked in the format 'think'" in line for line in right.verdict.lines)
