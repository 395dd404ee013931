"""Cost as it grows, next to the floating-point operations that the algorithm needs.

Counted are multiplications and additions of matrix products: two per weight of a block and token
read, four per head channel and pair of a query with a key that it sees, two per weight of the
unembedding and state that is asked. Nothing is counted for what an implementation does beyond that
(masked pairs, padding, blocks of positions), so time per operation tells what the detours cost. The
rate is also given as a fraction of what one large matrix product reaches on the same device. A text
generated token by token is bound by reading the weights, once per new token, and is set beside the
rate of a plain copy of memory instead.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from interp.engine import Branch, generate, score_branches
from interp.methods.patching import Donor, LogitDiff, patch_grid
from interp.models import Model
from tests.benchmarks.sizes import Size, random_ids
from tests.benchmarks.timing import rounds_of_seconds


@dataclass(frozen=True)
class Cost:
    """One amount of work."""

    series: str
    """What is made larger."""
    amount: int
    seconds: float
    tokens: int
    """Tokens read or written."""
    gflop: float
    """10^9 operations that the algorithm needs."""
    of_device: float
    """Rate as a fraction of the device's matrix products (copies for generation)."""
    memory_gb: float | None
    """Most memory held on a GPU; None on a CPU, where it is not known for one piece of work."""


@dataclass(frozen=True)
class Device:
    """What the device does at its best, measured."""

    gflop_per_second: float
    """Of a product of two large square matrices."""
    gb_per_second: float
    """Of a copy: bytes read and bytes written."""


def measure_device(model: Model) -> Device:
    """Measures matrix products and copies in the model's number format."""
    n, n_copied = (1024, 1 << 24) if model.device.type == "cpu" else (8192, 1 << 28)
    a = torch.ones(n, n, device=model.device, dtype=model.dtype)
    source = torch.ones(n_copied, device=model.device, dtype=model.dtype)
    target = torch.zeros_like(source)
    works: list[Callable[[], Any]] = [lambda: a @ a, lambda: target.copy_(source)]
    for work in works:
        work()
    product, copy = map(statistics.median, rounds_of_seconds(works, 5, model.device))
    return Device(2 * n**3 / product / 1e9, 2 * source.nbytes / copy / 1e9)


def _block_weights(model: Model) -> int:
    """Weights of the matrices of one block."""
    attention = 2 * model.n_heads + 2 * model.n_kv_heads
    return model.d_model * (attention * model.d_head + 3 * model.d_mlp)


def block_gflop(model: Model, n_tokens: int, n_pairs: int) -> float:
    """Operations (10^9) of one block on so many tokens that see so many keys in all."""
    seen = 4 * model.n_heads * model.d_head * n_pairs
    return (2 * _block_weights(model) * n_tokens + seen) / 1e9


def branches_gflop(model: Model, n_text: int, cuts: Sequence[int], n_suffix: int) -> float:
    """Operations (10^9) of scoring a suffix at every cut, the last token of each not being read."""
    n_tokens = n_text + len(cuts) * (n_suffix - 1)
    n_pairs = n_text * (n_text + 1) // 2
    n_pairs += sum(cut + at for cut in cuts for at in range(1, n_suffix))
    states = 2 * model.d_model * model.d_vocab * len(cuts) * n_suffix / 1e9
    return model.n_layers * block_gflop(model, n_tokens, n_pairs) + states


def grid_gflop(model: Model, n_text: int) -> float:
    """Operations (10^9) of a layer x position grid in which each cell is read from its place on.

    The last block's MLP is needed for the last token alone.
    """
    total, n_cells = 0.0, model.n_layers  # at each position
    mlp = 2 * 3 * model.d_model * model.d_mlp / 1e9
    for position in range(n_text):
        n_pairs = sum(range(position + 1, n_text + 1))
        # A cell at layer l needs the blocks from l on.
        n_blocks = model.n_layers * (model.n_layers + 1) // 2
        total += n_blocks * block_gflop(model, n_text - position, n_pairs)
        total -= n_cells * mlp * (n_text - position - 1)
    return total + 2 * model.d_model * model.d_vocab * n_cells * n_text / 1e9


@dataclass(frozen=True)
class _Work:
    """One amount of work, ready to be timed."""

    series: str
    amount: int
    run: Callable[[], Any]
    tokens: int
    gflop: float


def _branches(model: Model, size: Size, series: str, n_text: int, n_cuts: int) -> _Work:
    text = random_ids(size, n_text).tolist()
    cuts = [(place + 1) * n_text // n_cuts for place in range(n_cuts)]
    suffixes = random_ids(size, n_cuts, size.n_suffix).tolist()
    branches = [Branch(cut, tuple(suffix)) for cut, suffix in zip(cuts, suffixes, strict=True)]
    return _Work(
        series,
        n_cuts if series == "cuts" else n_text,
        lambda: score_branches(model, [text], [branches]),
        n_text + n_cuts * (size.n_suffix - 1),
        branches_gflop(model, n_text, cuts, size.n_suffix),
    )


def _grid(model: Model, size: Size, n_text: int) -> _Work:
    clean, corrupted = random_ids(size, 2, n_text).tolist()
    donor, metric = Donor(model, clean), LogitDiff(right=3, wrong=5)
    return _Work(
        "grid positions",
        n_text,
        lambda: patch_grid(model, corrupted, donor, metric),
        model.n_layers * n_text * (n_text + 1) // 2,
        grid_gflop(model, n_text),
    )


def _costs(
    device: torch.device, works: list[_Work], n_rounds: int, shares: Callable[[_Work, float], float]
) -> list[Cost]:
    """Costs of one series, timed in turn, so that a machine's drift does not look like growth."""
    for work in works:
        work.run()
    times = rounds_of_seconds([work.run for work in works], n_rounds, device)
    costs: list[Cost] = []
    for work, rounds in zip(works, times, strict=True):
        held = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            work.run()
            held = torch.cuda.max_memory_allocated(device) / 1e9
        seconds = statistics.median(rounds)
        share = shares(work, seconds)
        costs.append(Cost(work.series, work.amount, seconds, work.tokens, work.gflop, share, held))
    return costs


@torch.no_grad()
def measure_costs(model: Model, patched: Model, size: Size) -> tuple[Device, list[Cost]]:
    """Costs against the number of cuts, the length of the text and the size of a grid.

    Args:
        model: The model whose branches are scored and that writes.
        patched: The model of the grid.
        size: The largest amounts; smaller ones are fractions of them.

    Returns:
        What the device does at its best, and the costs.
    """
    device = measure_device(model)
    n_rows, n_prompt, n_new = size.generation_shape
    prompts = random_ids(size, n_rows, n_prompt).tolist()
    weights = model.n_layers * _block_weights(model) + model.d_model * model.d_vocab
    n_bytes = weights * torch.finfo(model.dtype).bits / 8
    written = _Work(
        "rows decoded",
        n_rows,
        lambda: generate(model, prompts, max_new_tokens=n_new),
        n_rows * n_new,
        2 * weights * n_rows * n_new / 1e9,
    )

    def of_products(work: _Work, seconds: float) -> float:
        return work.gflop / seconds / device.gflop_per_second

    def of_copies(_work: _Work, seconds: float) -> float:
        # The prompts are read in the first pass, which costs more than reading the weights.
        return n_bytes * n_new / 1e9 / seconds / device.gb_per_second

    cuts = [_branches(model, size, "cuts", size.n_text, size.n_cuts * 2 // k) for k in (8, 4, 2, 1)]
    texts = [
        _branches(model, size, "trace tokens", size.n_text // k, size.n_cuts) for k in (4, 2, 1)
    ]
    grids = [_grid(patched, size, size.n_grid // k) for k in (4, 2, 1)]
    costs = [
        cost
        for works, shares in (
            (cuts, of_products), (texts, of_products), (grids, of_products), ([written], of_copies)
        )
        for cost in _costs(model.device, works, size.n_rounds, shares)
    ]  # fmt: skip
    return device, costs
