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

from interp.chains.chain import Chain, cut_ids
from interp.chains.completion_format import (
    CompletionFormat,
    find_chain_end,
    find_format,
    find_parts,
)
from interp.chains.rendering import render_opening
from interp.chains.texts import Ids
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
        cuts: Where it begins; traces in the prompt format of the model.
        n: Continuations from each cut.
        temperature: Of the draws, above 0.
        seed: Of the draws.
        batch_size: Texts written together.
        progress: Label of a progress bar.

    Returns:
        For each cut its `n` continuations.
    """
    form = find_format(task, model, needs_chain=False)
    begun = [
        render_opening(cut.trace.prompt_ids, form.layout, cut.trace.steps[: cut.step])
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
        max_new_tokens=form.task.max_chain_tokens,
        stop=form.stop if form.is_natural else form.chain_stop,
        temperature=temperature,
        seeds=seeds,
        batch_size=batch_size,
        progress=progress,
    )
    drawn: list[Continuation] = []
    for at, one in enumerate(written):
        cut = cuts[at // n]
        end, is_closed = _find_end(form, begun[at // n][len(cut.trace.prompt_ids) :], one.ids)
        split, joiner = form.task.split_steps, form.task.layout.joiner
        steps = cut_ids(form.tokenizer, one.ids[:end], split, joiner)
        drawn.append(Continuation(steps, is_closed))
    return [drawn[at * n : (at + 1) * n] for at in range(len(cuts))]


def _find_end(form: CompletionFormat, before: Ids, written: Ids) -> tuple[int, bool]:
    """Where the chain ends in what was written after its beginning, and whether it was closed."""
    if not form.is_natural:
        return find_chain_end(form, written, 0)
    parts = find_parts(form, before + written)
    is_closed = parts.is_closed and bool(parts.answer or parts.is_whole)
    return max(0, parts.chain[1] - len(before)), is_closed
