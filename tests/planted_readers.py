"""Readers whose answers are planted: a function of question and chain in place of a model."""

from __future__ import annotations

import math
from dataclasses import replace

from interp.chains.answer_scoring import AnswerScore
from interp.chains.trace_writing import gold_traces
from interp.tasks import make_task
from probes import cases, find_probe, statistics_of


def plant(monkeypatch, answer_of):
    """Replaces the reader by a function: question, candidates, chain -> an answer's index."""

    def read(model, layout, prompts, chains, edits, *, candidates, progress=None):
        del model, layout, chains, progress
        found = []
        for prompt, edited, choices in zip(prompts, edits, candidates, strict=True):
            readings = []
            for chain, target in edited:
                choice = answer_of(prompt, choices, chain)
                logprobs = tuple(0.0 if at == choice else -9.0 for at in range(len(choices)))
                right = choices[choice] == target
                readings.append(AnswerScore(0.0 if right else -9.0, 1, right, logprobs))
            found.append(readings)
        return found

    monkeypatch.setattr(cases, "read_answers", read)


def plant_open(monkeypatch, answer_of):
    """As `plant` for open answers: question, chain -> the token ids of an answer."""

    def read(model, layout, prompts, chains, edits, *, candidates, progress=None):
        del model, layout, chains, candidates, progress
        return [
            [
                AnswerScore(0.0, 1, answer_of(prompt, chain) == target, ())
                for chain, target in edited
            ]
            for prompt, edited in zip(prompts, edits, strict=True)
        ]

    monkeypatch.setattr(cases, "read_answers", read)


def last_result(prompt, candidates, chain):
    """A reader that copies the last number of the chain that it is shown (0 without any)."""
    del prompt
    numbers = {ids[0]: at for at, ids in enumerate(candidates)}
    tokens = [t for step in chain or () for t in step.ids if t in numbers]
    return numbers[tokens[-1]] if tokens else 0


def memorised(prompt, candidates, chain):
    """A reader that answers by the question alone."""
    del chain
    return sum(prompt) % len(candidates)


def choose_between(tokenizer, options, *, n, steps, answers=None):
    """A task of `n` questions with these options (none: open answers), and its chains.

    Returns:
        The task, and the traces of a writer for each entry of `steps` (writer -> steps a chain).
    """
    task = make_task("arith/fresh", n=n, seed=0)
    examples = [
        replace(e, id=f"e{at}", problem=f"p{at}", candidates=options,
                answer=answers[at] if answers else e.answer)
        for at, e in enumerate(task.examples)
    ]  # fmt: skip
    task = replace(task, examples=tuple(examples))
    traces = {}
    for writer, t in steps.items():
        written = replace(
            task, examples=tuple(replace(e, steps=("3 + 4 = 7 ;",) * t) for e in examples)
        )
        traces[writer] = gold_traces(tokenizer, written, writer=writer)
    return task, traces


def measure(probe, model, task, traces, *, reader="base", seed=0):
    """The rows of one probe and reader, and its items."""
    from interp.results.summaries import summarise

    items = find_probe(probe)().run({reader: model}, task, traces, seed=seed)
    rows = summarise(
        items, pair="x", chance={task.name: task.chance}, seed=0, **statistics_of([probe])
    )
    return rows, items


def means(items):
    """The mean of each condition and metric over the items that could be measured."""
    found = {}
    for item in items:
        found.setdefault((item.condition, item.metric), []).append(item.value)
    known = {key: [v for v in values if not math.isnan(v)] for key, values in found.items()}
    return {key: sum(values) / len(values) for key, values in known.items() if values}
