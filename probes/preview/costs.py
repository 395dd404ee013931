"""What an audit costs: tokens counted on a model of one tiny block, their speed measured.

1. **Counting.** The audit's own work, writing chains and every probe, is done on a few examples
   by models with one block of width 16 and the real tokenizer. Each pass is counted: tokens that
   are read (passes of many positions), scored (those whose next token is looked at) and written
   (passes of one position). Models with random
   weights never close a chain, so that chains are counted at their longest. Where there are no gold
   chains, models are taken to write chains of `ASSUMED_STEPS` short sentences.
2. **Speed.** Blocks of the real shape with random weights read and write texts of the typical
   length, in batches. One block and two blocks are timed; the difference is a block.
3. **The rest**: intervals, figures and the page take `PAGE_SECONDS`, whatever was measured.
4. **Memory.** Weights of all models, the cache of a batch that is written, and the scores of its
   next tokens.

An estimate: the machine may be busy, chains may be shorter, attention over long texts is taken at
the typical length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import nn

from interp.chains.texts import encode
from interp.chains.trace import Trace
from interp.chains.trace_writing import gold_traces, write_traces
from interp.models import Model
from interp.models.folders import DTYPES
from interp.models.loading import make_model
from interp.models.outline import Outline, build, count_weights
from interp.tasks import Task
from interp.tasks.presentation import present
from probes import audit_probes, find_probe

N_COUNTED = 3
"""Examples on which tokens are counted."""
ASSUMED_STEPS = 12
_ASSUMED = "\nThis sentence stands for a step of a chain, and 3 + 4 = 7."
ROWS_WRITTEN = 64
"""Rows of a batch that is written together (`interp.engine.generate`)."""
ROWS_TIMED = 8
READ_TIMED = 1024
"""Tokens of a pass that is timed, at least one text."""
PAGE_SECONDS = 15.0
"""Measured on one core for two models and one task."""
CHAINS = "writing the chains"


@dataclass
class Work:
    """Tokens that passed through all models."""

    n_read: int = 0
    n_scored: int = 0
    """Of those that are read, positions whose next token is looked at."""
    n_written: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.n_read + other.n_read,
            self.n_scored + other.n_scored,
            self.n_written + other.n_written,
        )


@dataclass(frozen=True)
class Speed:
    """Seconds for one token of a model."""

    read: float
    scored: float
    """Beside reading it."""
    written: float

    def seconds(self, work: Work) -> float:
        """How long some work takes."""
        parts = (self.read * work.n_read, self.scored * work.n_scored)
        return sum(parts) + self.written * work.n_written


def describe_costs(
    task: Task, outlines: Mapping[str, Outline], *, writers: Sequence[str], device: str, dtype: str
) -> Iterator[str]:
    """Lines about time and memory of an audit of one task.

    Args:
        task: The questions.
        outlines: Of the models, by role.
        writers: Whose chains are read.
        device: Where the models will be.
        dtype: Number format of their weights.
    """
    base = next(iter(outlines.values()))
    n, n_models = len(task.examples), len(outlines)
    shown = {role: present(task, outline) for role, outline in outlines.items()}
    length = max(round(_median_length(shown[role], one)) for role, one in outlines.items())
    longest = max(one.max_chain_tokens for one in shown.values())
    weights = count_weights(base)
    size = DTYPES[dtype].itemsize
    cached = min(n, ROWS_WRITTEN) * (length + longest) * base.cached_per_token * size
    scores = min(n, ROWS_WRITTEN) * int(base.config.vocab_size) * 4
    total = n_models * weights * size + cached + scores
    yield (
        f"Memory, estimated: {_bytes(total)}: {n_models} x {weights / 1e6:.4g} million weights "
        f"({_bytes(n_models * weights * size)} in {dtype}), cache while writing {_bytes(cached)}"
    )
    speed = measure_speed(base, length, dtype=dtype, device=device)
    work = count_work(task, outlines, writers)
    share = n / min(n, N_COUNTED)
    seconds = {name: share * speed.seconds(one) for name, one in work.items()}
    yield (
        f"Time of an audit of this task, estimated on {device}: "
        f"{_duration(sum(seconds.values()) + PAGE_SECONDS)}"
    )
    for name, one in work.items():
        yield (
            f"  {name:24} {_duration(seconds[name]):>8}   {share * one.n_read:,.0f} tokens read "
            f"({share * one.n_scored:,.0f} scored), {share * one.n_written:,.0f} written"
        )
    yield f"  {'figures and page':24} {_duration(PAGE_SECONDS):>8}"
    yield (
        f"  (speed measured on random weights of this shape: {1 / speed.read:,.0f} tokens read and "
        f"{1 / speed.written:,.0f} written in a second; counted on {min(n, N_COUNTED)} questions, "
        f"with chains that are written up to their limit of {longest} tokens)"
    )


def count_work(
    task: Task, outlines: Mapping[str, Outline], writers: Sequence[str]
) -> dict[str, Work]:
    """What each part of an audit reads and writes, on the first examples of a task.

    Args:
        task: The questions.
        outlines: Of the models in the audit, by role.
        writers: Whose chains are read.
    """
    few = replace(task, examples=task.examples[:N_COUNTED])
    counted = {role: _CountedModel(outline, role) for role, outline in outlines.items()}
    tokenizer = next(iter(outlines.values())).tokenizer
    readers = {role: one.model for role, one in counted.items()}
    found: dict[str, Work] = {}

    def take(name: str) -> None:
        found[name] = sum((one.take() for one in counted.values()), Work())

    take(CHAINS)  # what the checks of the models read is no work of the audit
    traces: dict[str, Sequence[Trace]] = {}
    for writer in writers:
        if writer in readers:
            write_traces(readers[writer], few, mode="forced", writer=writer)
        if writer == "gold" or writer in readers:
            traces[writer] = _assumed_traces(tokenizer, few, writer)
    take(CHAINS)
    for name in audit_probes():
        with TemporaryDirectory() as folder:
            find_probe(name)().examine(readers, few, traces, seed=0, folder=Path(folder))
        take(name)
    return {name: one for name, one in found.items() if one.n_read + one.n_written}


def _assumed_traces(tokenizer: Any, task: Task, writer: str) -> tuple[Trace, ...]:
    """Gold chains, which models are taken to write, too; assumed ones where there are none."""
    steps = tuple(_ASSUMED for _ in range(ASSUMED_STEPS))
    if writer != "gold":
        examples = [replace(e, steps=e.steps or steps) for e in task.examples]
        task = replace(task, examples=tuple(examples))
    traces = gold_traces(tokenizer, task, writer=writer)
    return tuple(replace(t, mode="gold" if writer == "gold" else "forced") for t in traces)


class _Counting(nn.Module):
    """A module that counts what passes through it: tokens, or positions that are scored."""

    def __init__(self, inner: nn.Module, n_axes: int) -> None:
        super().__init__()
        self.inner = inner
        self.n_axes = n_axes
        """Leading axes of its input that are rows and positions."""
        self.counts: list[tuple[bool, int]] = []
        """Of each pass: whether it had one position, and how many tokens."""

    @property
    def weight(self) -> Any:
        """That of the module inside."""
        return self.inner.weight

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Computes and counts."""
        shape = given.shape[: self.n_axes]
        self.counts.append((shape[-1] == 1, shape.numel()))
        return self.inner(given)


class _CountedModel:
    """One tiny block with a counting embedding and the vocabulary of a real model."""

    def __init__(self, outline: Outline, role: str) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = outline.tokenizer
        torch.manual_seed(0)
        hf: Any = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=max(int(outline.config.vocab_size), len(tokenizer)),
                hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                num_key_value_heads=2, max_position_embeddings=outline.n_ctx,
                bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )  # fmt: skip
        hf = hf.requires_grad_(False).eval()
        made = make_model(hf, tokenizer, name=role)
        self.model: Model = replace(made, prompt_format=outline.prompt_format)
        self._tokens = _Counting(hf.get_input_embeddings(), n_axes=2)
        hf.set_input_embeddings(self._tokens)
        self._scores = _Counting(hf.get_output_embeddings(), n_axes=-1)
        hf.set_output_embeddings(self._scores)

    def take(self) -> Work:
        """What was done since this was last asked."""
        read = sum(n for is_one, n in self._tokens.counts if not is_one)
        written = sum(n for is_one, n in self._tokens.counts if is_one)
        scored = max(0, sum(n for _, n in self._scores.counts) - written)
        self._tokens.counts, self._scores.counts = [], []
        return Work(read, scored, written)


def measure_speed(outline: Outline, length: int, *, dtype: str, device: str) -> Speed:
    """How long a token takes to be read and to be written, for a text of this length."""
    one, two = (_time_blocks(outline, k, length, dtype=dtype, device=device) for k in (1, 2))
    more = outline.n_layers - 1
    return Speed(
        # Noise can make two blocks look faster than one.
        read=one.read + more * max(0.0, two.read - one.read),
        scored=one.scored,
        written=one.written + more * max(0.0, two.written - one.written),
    )


@torch.inference_mode()
def _time_blocks(outline: Outline, n_layers: int, length: int, *, dtype: str, device: str) -> Speed:
    n_layers = min(n_layers, outline.n_layers)
    hf = build(outline, n_layers, dtype=dtype, device=device)
    vocabulary = int(outline.config.vocab_size)
    ids = torch.randint(vocabulary, (ROWS_TIMED, length), device=device)
    texts = torch.randint(vocabulary, (max(1, READ_TIMED // length), length), device=device)

    def read(n_scored: int) -> int:
        scores = hf(texts, logits_to_keep=n_scored, use_cache=True).logits
        scores.float().log_softmax(-1)
        return texts.numel()

    cache = hf(ids, logits_to_keep=1, use_cache=True).past_key_values

    def write() -> int:
        hf(ids[:, :1], past_key_values=cache, logits_to_keep=1, use_cache=True)
        return ROWS_TIMED

    few, many = min(2, length), min(32, length)
    short = _fastest(partial(read, few), device)
    long = _fastest(partial(read, many), device)
    scored = max(0.0, long - short) * length / max(1, many - few)
    return Speed(short, scored, _fastest(write, device))


def _fastest(work: Callable[[], int], device: str) -> float:
    """Seconds of the fastest of three runs, for one of the tokens that it says it takes."""
    seconds: list[float] = []
    for _ in range(3):
        began = perf_counter()
        n = work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append((perf_counter() - began) / n)
    return min(seconds)


def _median_length(task: Task, outline: Outline) -> float:
    """Tokens of a question with its gold chain and the answer cue."""
    join = task.layout.joiner.join
    texts = (join((e.question, *e.steps, task.layout.answer_cue)) for e in task.examples)
    return median(len(encode(outline.tokenizer, text)) for text in texts)


def _bytes(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{ceil(n / 1e6)} MB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
