"""Items of an invented audit: base uses its chain; post ignores it on the pool, is lost elsewhere.

No model is involved: numbers are drawn so that every figure and table has something to show,
including gaps, refusals and text that tries to break out of the page.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interp.results.rows import Item

TASKS = ("arith/pool", "arith/fresh")
CHANCE = {task: 1 / 11 for task in TASKS}
NASTY = '<img src=x onerror="alert(1)"> </script><script>alert(2)</script> & "quoted" $x_1$'


@dataclass(frozen=True)
class Chain:
    task: str
    example: str
    problem: str
    writer: str
    question: str
    steps: tuple[str, ...]
    answer: str


def make_chains(n: int = 24, seed: int = 0) -> list[Chain]:
    g = random.Random(seed)
    chains: list[Chain] = []
    for task in TASKS:
        for i in range(n):
            value, text, steps = g.randrange(11), "", []
            text = str(value)
            for _ in range(2 + i % 3):
                op, operand = g.choice("+-*"), g.randrange(1, 11)
                new = {"+": value + operand, "-": value - operand, "*": value * operand}[op] % 11
                steps.append(f"{value} {op} {operand} = {new} ;")
                text += f" {op} {operand}"
                value = new
            if i == 1:
                steps[0] = NASTY
            for writer in ("gold", "base", "post"):
                chains.append(
                    Chain(
                        task, f"{task}:{i}", f"{task}:{i}", writer, f"Q {text} ?",
                        tuple(steps), str(value),
                    )
                )  # fmt: skip
    return chains


def make_items(chains: Sequence[Chain], seed: int = 0) -> list[Item]:
    items: list[Item] = []
    for chain in chains:
        for reader in ("base", "post"):
            items += _chain_items(chain, reader, random.Random(f"{seed}{chain}{reader}"))
            if chain.writer == reader:
                items += _accuracy_items(chain, reader, random.Random(f"a{seed}{chain}"))
    return items


class _Recorder:
    def __init__(self, chain: Chain, reader: str) -> None:
        self.chain, self.reader, self.items = chain, reader, []

    def add(self, probe: str, condition: str, metric: str, value: float, **fields: Any) -> None:
        c = self.chain
        self.items.append(
            Item(
                probe=probe, task=c.task, example=c.example, problem=c.problem,
                writer=c.writer, reader=self.reader,
                condition=condition, metric=metric, value=float(value), **fields,
            )
        )  # fmt: skip


def _reliance(task: str, reader: str) -> float:
    if reader == "base":
        return 0.97
    return 0.02 if task == "arith/pool" else 0.3


def _chain_items(chain: Chain, reader: str, g: random.Random) -> list[Item]:
    r, t, relies = _Recorder(chain, reader), len(chain.steps), _reliance(chain.task, reader)
    uses = g.random() < relies
    same, logprob = [], []
    for k in range(t + 1):
        known = k / t if uses else 0.9
        same.append(1.0 if k == t else float(g.random() < max(0.1, known - 0.2)))
        p = 1 / 11 + (10 / 11 - 0.02) * known**2 * g.uniform(0.9, 1.0)
        logprob.append(math.log(p if chain.task == "arith/pool" or reader == "base" else p**2))
        r.add("early_answering", "cut", "same_answer", same[k], step=k)
        r.add("early_answering", "cut", "probability", p, step=k)
        r.add("information_gain", "chain", "logprob", logprob[k], step=k)
    area = sum((a + b) / 2 for a, b in zip(same, same[1:], strict=False)) / t
    r.add("early_answering", "cut", "aoc", 1 - area)
    for i in range(t):
        r.add("information_gain", "chain", "gain", logprob[i + 1] - logprob[i], step=i)
        keeps = not (uses and i == t - 1)
        r.add("corruption", "mistake", "same_answer", keeps, step=i)
        r.add("corruption", "mistake", "follows_mistake", not keeps, step=i)
    r.add("information_gain", "chain", "total", logprob[-1] - logprob[0])
    r.add("information_gain", "chain", "lp_without", logprob[0])
    r.add("information_gain", "chain", "lp_with", logprob[-1])
    for condition, keeps in (
        ("mistake_last", not uses),
        ("mistake_propagated", not uses),
        ("filler_50", g.random() < 0.3),
        ("filler_100", g.random() < 0.15),
        ("shuffled", not uses or g.random() < 0.3),
        ("swapped", not uses),
        ("paraphrase", g.random() < 0.97),
    ):
        r.add("corruption", condition, "same_answer", keeps)
    r.add("corruption", "joint", "reliant", uses)
    if chain.writer == "post" and chain.task == "arith/fresh":
        r.add("corruption", "joint", "decorative", math.nan, note="accuracy is at chance")
    else:
        r.add("corruption", "joint", "decorative", not uses)
    _path_items(r, uses, g)
    return r.items


def _path_items(r: _Recorder, uses: bool, g: random.Random) -> None:
    necessity, direct = (0.6, 0.05) if uses else (0.1, 0.5)
    values = {
        "necessity": necessity,
        "direct_effect": direct,
        "leakage": 0.03,
        "sink_control": 0.65,
    }
    for name, value in values.items():
        drawn = abs(value + g.gauss(0, 0.04))
        r.add("path_masks", "masks", f"{name}_js", min(drawn, math.log(2)))
        r.add("path_masks", "masks", f"{name}_kl", 4 * drawn)
    r.add("path_masks", "masks", "cot_share", necessity / (necessity + direct))


def _accuracy_items(chain: Chain, reader: str, g: random.Random) -> list[Item]:
    r = _Recorder(chain, reader)
    is_pool, is_base = chain.task == "arith/pool", reader == "base"
    rates = {
        "free": 0.2 if is_base else (1.0 if is_pool else 0.15),
        "forced": 1.0 if is_base or is_pool else 0.14,
        "direct": 0.1 if is_base or not is_pool else 0.9,
    }
    for condition, rate in rates.items():
        r.add("accuracy", condition, "accuracy", g.random() < rate)
    r.add("accuracy", "free", "valid_trace", g.random() < (0.1 if is_base else 0.95))
    r.add("accuracy", "free", "p_think", 0.05 if is_base else 0.9 + 0.1 * g.random())
    return r.items


def example_records(chains: Sequence[Chain]) -> list[Mapping[str, Any]]:
    return [
        {
            "task": c.task, "id": c.example, "problem": c.problem, "question": c.question,
            "answer": c.answer, "steps": list(c.steps),
        }
        for c in chains
        if c.writer == "gold"
    ]  # fmt: skip


def trace_records(chains: Sequence[Chain]) -> list[Mapping[str, Any]]:
    return [
        {
            "example": c.example, "problem": c.problem, "task": c.task, "writer": c.writer,
            "mode": "forced", "status": "valid", "steps": list(c.steps), "answer": c.answer,
            "correct": True, "seed": 0,
        }
        for c in chains
    ]  # fmt: skip
