"""Data of the viewer of chains: the text of each chain, and numbers of each reader at each step.

The series below are read from items by their names and their step; the viewer leaves out a series
that no probe measured. Every number about the whole chain is listed with its probe, condition and
metric.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any

from interp.results.rows import Item, rank
from interp.results.run_folder import RunData

MAX_EXAMPLES = 40
"""Examples of each task that the page carries; all are in items.parquet."""
SERIES = {
    "same": ("early_answering", "cut", "same_answer"),
    "p": ("early_answering", "cut", "probability"),
    "logprob": ("information_gain", "chain", "logprob"),
    "gain": ("information_gain", "chain", "gain"),
    "mistake_same": ("corruption", "mistake", "same_answer"),
    "mistake_follows": ("corruption", "mistake", "follows_mistake"),
}
"""Name in the page -> probe, condition and metric. The first three are indexed by the number of
steps kept (0 to t), the others by the step (0 to t - 1)."""

Key = tuple[str, str, str]


def viewer_data(data: RunData) -> Mapping[str, Any]:
    """What the viewer shows, as plain lists and dictionaries.

    Returns:
        `tasks` (name, number of examples shown and in all), `readers`, and `chains`, each with
        its text and, for each reader, the `SERIES` and the numbers about the whole chain.
    """
    questions = {(e["task"], e["id"]): e for e in data.examples}
    ids: dict[str, dict[str, None]] = {}
    for trace in data.traces:
        ids.setdefault(trace["task"], {})[trace["example"]] = None
    carried = {task: list(examples)[:MAX_EXAMPLES] for task, examples in ids.items()}
    kept = {(task, example) for task, examples in carried.items() for example in examples}
    values = _values(item for item in data.items if (item.task, item.example) in kept)
    chains = [
        _chain(trace, questions.get((trace["task"], trace["example"]), {}), values)
        for trace in data.traces
        if (trace["task"], trace["example"]) in kept
    ]
    return {
        "tasks": [
            {"name": task, "shown": len(carried[task]), "all": len(examples)}
            for task, examples in ids.items()
        ],
        "readers": sorted({item.reader for item in data.items if item.reader}, key=rank),
        "chains": chains,
    }


def embed_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: nothing in it can end or open an element."""
    # Models may write "</script>"; as escapes these characters mean the same to JSON alone.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _values(items: Iterable[Item]) -> Mapping[Key, Mapping[str, list[Item]]]:
    """Items by chain (task, example, writer), then by reader."""
    values: dict[Key, dict[str, list[Item]]] = {}
    for item in items:
        by_reader = values.setdefault((item.task, item.example, item.writer), {})
        by_reader.setdefault(item.reader, []).append(item)
    return values


def _chain(
    trace: Mapping[str, Any],
    example: Mapping[str, Any],
    values: Mapping[Key, Mapping[str, list[Item]]],
) -> Mapping[str, Any]:
    by_reader = values.get((trace["task"], trace["example"], trace["writer"]), {})
    n_steps = len(trace["steps"])
    return {
        "task": trace["task"],
        "writer": trace["writer"],
        "example": trace["example"],
        "question": example.get("question", ""),
        "right": example.get("answer", ""),
        "answer": trace["answer"],
        "correct": trace["correct"],
        "status": trace["status"],
        "steps": trace["steps"],
        "readers": {reader: _series(items, n_steps) for reader, items in by_reader.items()},
        "whole": _whole(by_reader),
    }


def _series(items: Sequence[Item], n_steps: int) -> Mapping[str, list[float | None]]:
    names = {where: name for name, where in SERIES.items()}
    series: dict[str, list[float | None]] = {}
    for item in items:
        name = names.get((item.probe, item.condition, item.metric))
        if name and item.step is not None and 0 <= item.step <= n_steps:
            series.setdefault(name, [None] * (n_steps + 1))[item.step] = _short(item.value)
    return series


def _whole(by_reader: Mapping[str, Sequence[Item]]) -> list[Mapping[str, Any]]:
    """Numbers about the whole chain: probe, condition, metric, and a value for each reader."""
    lines: dict[Key, dict[str, Any]] = {}
    for reader, items in by_reader.items():
        for item in items:
            if item.is_whole and reader:
                names = (item.condition, item.source, item.variant, item.position)
                condition = ", ".join(name for name in names if name)
                line = lines.setdefault((item.probe, condition, item.metric), {})
                line[reader] = item.note if isnan(item.value) else _short(item.value)
    return [
        {"probe": probe, "condition": condition, "metric": metric, "values": line}
        for (probe, condition, metric), line in lines.items()
    ]


def _short(value: float) -> float | None:
    """Four significant digits; None where there is no value."""
    return None if isnan(value) else float(f"{value:.4g}")
