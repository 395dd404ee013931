"""Sampled texts: nucleus sampling, several samples of a problem, limits, and loops."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch

from interp.chains.chain import count_tokens
from interp.chains.loops import find_loop
from interp.chains.trace_writing import write_traces
from interp.engine import generate
from interp.engine.decoder import pick_tokens
from interp.models import PromptFormat
from interp.tasks import make_task
from interp.tasks.presentation import present
from interp.tasks.task import repeat_examples
from probes.audit.plan import AuditSettings, plan_run
from probes.audit.run import audit


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.999])
def test_nucleus_sampling_against_transformers(top_p: float):
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    torch.manual_seed(0)
    logits = 3 * torch.randn(6, 50)
    ids = torch.zeros(6, 1, dtype=torch.long)
    warped = TopPLogitsWarper(top_p)(ids, TemperatureLogitsWarper(0.7)(ids, logits.clone()))
    expected = warped.softmax(-1)
    draws = (torch.arange(4000) + 0.5) / 4000
    for row in range(6):
        picked = pick_tokens(logits[row].expand(4000, -1), draws, 0.7, top_p)
        shares = torch.bincount(picked, minlength=50) / 4000
        assert torch.allclose(shares, expected[row], atol=2e-3)
        assert not shares[expected[row] == 0].any()


@pytest.mark.parametrize(("top_p", "temperature"), [(0.0, 1.0), (1.5, 1.0), (0.9, 0.0)])
def test_a_share_that_cannot_be_drawn_from_is_refused(tiny: Any, top_p: float, temperature: float):
    seeds = [0] if temperature else None
    with pytest.raises(ValueError, match="top_p is a share above 0 and at most 1"):
        generate(
            tiny, [[1, 5]], max_new_tokens=2, temperature=temperature, top_p=top_p, seeds=seeds
        )


def test_a_model_writes_as_its_prompt_format_says(tiny: Any):
    task = make_task("arith/fresh", n=6, seed=0)
    form = PromptFormat(temperature=1.0, top_p=0.8, max_chain_tokens=5)
    sampled = replace(tiny, prompt_format=form)
    by_format = write_traces(sampled, task, mode="forced", seed=3)
    limited = replace(task, max_chain_tokens=5)
    by_hand = write_traces(tiny, limited, mode="forced", seed=3, temperature=1.0, top_p=0.8)
    assert by_format == by_hand
    assert max(count_tokens(t.steps) for t in by_format) == 5
    assert write_traces(sampled, task, mode="forced", seed=4) != by_format
    assert present(present(task, sampled), tiny) is task


def test_samples_are_examples_of_one_problem(tiny: Any, tmp_path: Any):
    task = make_task("arith/fresh", n=3, seed=0)
    three = repeat_examples(task, 3)
    assert len({e.id for e in three.examples}) == 9
    assert Counter(e.problem for e in three.examples) == {e.problem: 3 for e in task.examples}
    settings = AuditSettings(
        tasks=("arith/fresh",), n=3, probes=("accuracy",), samples=3, writers=("base",)
    )
    assert plan_run(settings, {}).tasks[0].examples == three.examples
    with pytest.raises(ValueError, match="base writes greedily, so that all 3 would be equal"):
        audit({"base": tiny}, settings, tmp_path / "a")
    form = PromptFormat(temperature=1.5, max_chain_tokens=8)
    done = audit({"base": replace(tiny, prompt_format=form)}, settings, tmp_path / "b")
    row = next(r for r in done.rows if (r.condition, r.metric) == ("forced", "accuracy"))
    asked = [i for i in done.items if (i.condition, i.metric) == ("forced", "accuracy")]
    assert row.n == 3, "problems are the units"
    assert Counter(item.problem for item in asked) == {e.problem: 3 for e in task.examples}
    assert row.value == pytest.approx(sum(item.value for item in asked) / 9)
    assert any("temperature 1.5" in line for line in done.verdict.lines)
    with pytest.raises(ValueError, match="only 1 beside traces"):
        AuditSettings(tasks=("arith/fresh",), samples=2, traces=("a.jsonl",))


@pytest.mark.parametrize(
    ("passage", "times", "tail", "period"),
    [
        ((7,), 24, 0, 1),
        ((7,), 23, 0, None),  # too short to be told from a row of zeros
        ((1, 2, 3), 8, 0, 3),
        ((1, 2, 3), 8, 2, 3),  # the last repetition is cut off
        ((1, 2, 1, 3), 6, 1, 4),
        (tuple(range(40)), 3, 0, 40),
        (tuple(range(40)), 2, 39, None),
    ],
)
def test_loops_by_hand(passage: tuple[int, ...], times: int, tail: int, period: int | None):
    text = (90, 91, 92, *passage * times, *passage[:tail])
    assert find_loop(text) == period


def test_random_texts_are_no_loops():
    rng = Random(0)
    for _ in range(200):
        text = rng.choices(range(4), k=60)
        slow = [
            p
            for p in range(1, 21)
            if all(text[-i] == text[-i - p] for i in range(1, max(3 * p, 24) - p + 1))
        ]
        assert find_loop(text) == (min(slow) if slow else None)
