"""Limits: long contexts within bounded memory, memory shortage at any point, number formats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import interp.engine.branches as branches_module
import interp.engine.decoder as decoder_module
import interp.engine.single_pass as running_module
from interp.engine import Branch, generate, route, run, score_branches
from interp.interventions import Intervention, add
from interp.models import load_model
from interp.sites import Site
from probes.audit.run import AuditSettings, describe_run

LONG = Path(__file__).parent / "long_context.py"

N_TOKENS = 8192
MEGABYTES = N_TOKENS * N_TOKENS / 2**20
"""One byte per pair of tokens: the smallest table of all tokens against all."""


def test_eight_thousand_tokens_need_less_memory_than_one_table_of_them():
    """Peak memory over what the model takes, in a process of its own.

    The last job forms such a table on purpose, and shows that the measurement would notice one.
    """
    done = subprocess.run(
        [sys.executable, str(LONG), str(N_TOKENS)],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": str(LONG.parent.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    grown: dict[str, float] = json.loads(done.stdout)
    for work in ("branches", "generate", "route", "run"):
        assert grown[work] < MEGABYTES, f"{work} grew by {grown[work]:.0f} MB"
    assert grown["table"] > MEGABYTES


SITE = Site(1, "resid_post")
PROMPTS = [[1, 6, 17], [18, 10, 4, 4], [9, 9], [5], [2, 3, 4]]


def do(name: str, model: Any, pair: Any) -> tuple[list[Any], list[float]]:
    """One piece of work as what must be equal (tokens, receipts) and what nearly (numbers)."""
    steer = Intervention(SITE, add, torch.ones(32), rows=(0, 3))
    if name == "run":
        result = run(model, PROMPTS, interventions=[steer], capture=[SITE])
        tensors = [*result.logits, *result.captures[SITE]]
        return [(r.row, r.positions) for r in result.receipts], [float(t.sum()) for t in tensors]
    if name == "generate":
        written = generate(model, PROMPTS, max_new_tokens=4, interventions=[steer])
        exact = [(g.ids, [r.positions for r in g.receipts]) for g in written]
        return exact, [value for g in written for value in g.logprobs]
    if name == "route":
        routed = route(
            pair, PROMPTS, choose=lambda _: "base", max_new_tokens=4,
            candidates={"steered": [steer]}, offer=lambda _: True,
        )  # fmt: skip
        names = [(r, n) for r in routed for n in r.logprobs]
        exact = [(r.ids, n, [one.positions for one in r.receipts[n]]) for r, n in names]
        return exact, [value for r, n in names for value in r.logprobs[n] if value is not None]
    branches = [[Branch(1, (7, 8)), Branch(len(prompt), (9, 5))] for prompt in PROMPTS]
    scores = [score for of_row in score_branches(model, PROMPTS, branches) for score in of_row]
    return [s.greedy.tolist() for s in scores], [float(s.logprobs.sum()) for s in scores]


@pytest.mark.parametrize(
    ("name", "n_good"),
    [
        *((name, 0) for name in ("run", "generate", "route", "score_branches")),
        ("generate", 3),
        ("route", 5),
    ],
)
def test_memory_shortage_anywhere_changes_no_result(
    tiny: Any, tiny_pair: Any, monkeypatch: pytest.MonkeyPatch, name: str, n_good: int
):
    """After some good passes, any pass over more than two rows fails as on a full device."""
    plain_body, calls, failed = running_module.body, list[int](), list[int]()
    exact, numbers = do(name, tiny, tiny_pair)

    def body_or_fail(model: Any, ids: Any, **settings: Any) -> Any:
        calls.append(len(ids))
        if len(ids) > 2 and len(calls) > n_good:
            failed.append(len(ids))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain_body(model, ids, **settings)

    for module in (running_module, decoder_module, branches_module):
        monkeypatch.setattr(module, "body", body_or_fail)
    found = do(name, tiny, tiny_pair)
    assert found[0] == exact and found[1] == pytest.approx(numbers, abs=1e-3)
    assert failed and len(calls) > len(failed) + n_good


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_precision_is_kept_and_recorded(tiny_folder: Path, dtype: str):
    """Activations stay in the model's number format, logits are float32, the manifest says which.

    Bfloat16 keeps about three digits, so its log-probabilities differ from those of float32, by
    more than rounding of float32 and by less than half a nat here.
    """
    models = {name: load_model(tiny_folder, dtype=name) for name in ("float32", dtype)}
    results = {name: run(model, PROMPTS, capture=[SITE]) for name, model in models.items()}
    found, exact = results[dtype], results["float32"]
    assert found.captures[SITE][0].dtype == getattr(torch, dtype)
    assert found.logits[0].dtype == torch.float32
    off = max(
        float((a.log_softmax(-1) - b.log_softmax(-1)).abs().max())
        for a, b in zip(found.logits, exact.logits, strict=True)
    )
    assert off == 0 if dtype == "float32" else 1e-4 < off < 0.5
    written = generate(models[dtype], PROMPTS, max_new_tokens=3)
    alone = [generate(models[dtype], [prompt], max_new_tokens=3)[0] for prompt in PROMPTS]
    agree = [one.ids == two.ids for one, two in zip(written, alone, strict=True)]
    assert sum(agree) >= (5 if dtype == "float32" else 4)
    settings = AuditSettings(tasks=("arith/pool",))
    manifest = describe_run({"base": models[dtype]}, settings)
    assert manifest["models"]["base"]["dtype"] == f"torch.{dtype}"
