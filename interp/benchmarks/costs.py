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

from interp.benchmarks.sizes import Size, random_ids
from interp.benchmarks.timing import rounds_of_seconds
from interp.engine import Branch, generate, score_branches
from interp.models import Model
from interp.patching import Donor, LogitDiff, patch_grid


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


def _measured(model: Model, work: Callable[[], Any], n_rounds: int) -> tuple[float, float | None]:
    """Median seconds, and the most memory held (GB)."""
    on_gpu = model.device.type == "cuda"
    work()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(model.device)
    seconds = statistics.median(rounds_of_seconds([work], n_rounds, model.device)[0])
    held = torch.cuda.max_memory_allocated(model.device) / 1e9 if on_gpu else None
    return seconds, held


def _branches_cost(
    model: Model, size: Size, device: Device, series: str, n_text: int, n_cuts: int
) -> Cost:
    text = random_ids(size, n_text).tolist()
    cuts = [(place + 1) * n_text // n_cuts for place in range(n_cuts)]
    suffixes = random_ids(size, n_cuts, size.n_suffix).tolist()
    branches = [Branch(cut, tuple(suffix)) for cut, suffix in zip(cuts, suffixes, strict=True)]
    seconds, held = _measured(
        model, lambda: score_branches(model, [text], [branches]), size.n_rounds
    )
    gflop = branches_gflop(model, n_text, cuts, size.n_suffix)
    amount = n_cuts if series == "cuts" else n_text
    n_tokens = n_text + n_cuts * (size.n_suffix - 1)
    rate = gflop / seconds / device.gflop_per_second
    return Cost(series, amount, seconds, n_tokens, gflop, rate, held)


def _grid_cost(model: Model, size: Size, device: Device, n_text: int) -> Cost:
    clean, corrupted = random_ids(size, 2, n_text).tolist()
    donor, metric = Donor(model, clean), LogitDiff(right=3, wrong=5)
    seconds, held = _measured(
        model, lambda: patch_grid(model, corrupted, donor, metric), max(1, size.n_rounds - 1)
    )
    gflop = grid_gflop(model, n_text)
    n_tokens = model.n_layers * n_text * (n_text + 1) // 2
    rate = gflop / seconds / device.gflop_per_second
    return Cost("grid positions", n_text, seconds, n_tokens, gflop, rate, held)


def _generation_cost(model: Model, size: Size, device: Device) -> Cost:
    n_rows, n_prompt, n_new = size.generation_shape
    rows = random_ids(size, n_rows, n_prompt).tolist()
    seconds, held = _measured(
        model, lambda: generate(model, rows, max_new_tokens=n_new), size.n_rounds
    )
    n_tokens = n_rows * n_new
    weights = model.n_layers * _block_weights(model) + model.d_model * model.d_vocab
    # The prompts are read in the first of the passes, which costs more than reading the weights.
    read = weights * torch.finfo(model.dtype).bits / 8 * n_new / 1e9
    rate = read / seconds / device.gb_per_second
    return Cost("rows decoded", n_rows, seconds, n_tokens, 2 * weights * n_tokens / 1e9, rate, held)


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
    costs: list[Cost] = []
    for part in (8, 4, 2, 1):
        costs.append(
            _branches_cost(model, size, device, "cuts", size.n_text, size.n_cuts * 2 // part)
        )
    for part in (4, 2, 1):
        n_text = size.n_text // part
        costs.append(_branches_cost(model, size, device, "trace tokens", n_text, size.n_cuts))
    for part in (4, 2, 1):
        costs.append(_grid_cost(patched, size, device, size.n_grid // part))
    return device, [*costs, _generation_cost(model, size, device)]
