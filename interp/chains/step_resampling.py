"""Continuations of a chain from one of its steps on, drawn by a model.

A chain is cut before a step, and the model writes on from there, several times: what it writes up
to the end of its first step is another draw of that step, and all of it is the rest written anew.
Each continuation has random numbers of its own, made from the seed, the example, the cut and its
number, so that it depends neither on the batch nor on which other steps are drawn.

A continuation is cut into steps as any chain that a model writes. One that the model does not close
within the task's token budget has no end, and so no answer.

Example: the chain ``3 + 4 = 7 ;`` ``7 * 2 = 3 ;`` cut before its second step is ``3 + 4 = 7 ;``; a
continuation is ``7 * 2 = 5 ;``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from interp.chains.chain import Chain, chain_ids, cut_ids
from interp.chains.completions import find_chain_end, find_format
from interp.chains.trace import Trace
from interp.engine import generate
from interp.models import Model
from interp.tasks import Task


class Cut(NamedTuple):
    """A place in a chain from which it is written anew."""

    trace: Trace
    step: int
    """How many of its steps are kept."""


class Continuation(NamedTuple):
    """What a model wrote after a cut chain."""

    steps: Chain
    is_closed: bool


def draw_continuations(
    model: Model,
    task: Task,
    cuts: Sequence[Cut],
    *,
    n: int,
    temperature: float,
    seed: int,
    batch_size: int = 64,
    progress: str | None = None,
) -> list[list[Continuation]]:
    """Lets a model write on from cut chains.

    Args:
        model: The writer; its tokenizer is that of the traces.
        task: That the traces answer.
        cuts: Where it begins.
        n: Continuations from each cut.
        temperature: Of the draws, above 0.
        seed: Of the draws.
        batch_size: Texts written together.
        progress: Label of a progress bar.

    Returns:
        For each cut its `n` continuations.
    """
    form = find_format(task, model.tokenizer, needs_chain=False)
    begun = [
        cut.trace.prompt_ids + form.layout.think_open + chain_ids(cut.trace.steps[: cut.step])
        for cut in cuts
    ]
    # A checksum, since hash() of a text differs from process to process.
    seeds = [
        zlib.crc32(f"resample {seed} {cut.trace.example} {cut.step} {number}".encode())
        for cut in cuts
        for number in range(n)
    ]
    written = generate(
        model,
        [prompt for prompt in begun for _ in range(n)],
        max_new_tokens=task.max_chain_tokens,
        stop=form.chain_stop,
        temperature=temperature,
        seeds=seeds,
        batch_size=batch_size,
        progress=progress,
    )
    drawn: list[Continuation] = []
    for one in written:
        end, is_closed = find_chain_end(form, one.ids, 0)
        steps = cut_ids(model.tokenizer, one.ids[:end], task.split_steps, task.layout.joiner)
        drawn.append(Continuation(steps, is_closed))
    return [drawn[at * n : (at + 1) * n] for at in range(len(cuts))]
