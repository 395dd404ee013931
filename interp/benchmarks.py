"""What the engine's speed claims are worth, measured against plain Hugging Face calls.

Every claim is a ratio of two ways to the same result, measured in one run, on one thread, in
alternating order, as the median of a few rounds; on a CPU in process time, which other programs
cannot disturb much, on a GPU in wall time after synchronising. Beside each ratio stands how far the
two results lie apart, because a fast wrong answer is worth nothing.

- *branches*: an early-answering curve over a long text, against one forward pass per prefix (each
  forming logits only where they are needed), and against a single plain pass of the text.
- *capture*: `run` with `resid_post` of every layer, against a plain forward pass.
- *generation*: `generate` with a steering vector on every token, against unsteered `hf.generate`.

The model is random with the shape of a 135-million-parameter Llama; the small size is a quick check
that everything works, and its ratios mean little. `main` prints a table and writes a JSON file that
names the device.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.engine import Branch, Generation, generate, run, score_branches
from interp.interventions import Intervention, add
from interp.models import Model, hooked, make_model
from interp.sites import Site


@dataclass(frozen=True)
class Size:
    """How much work a benchmark does."""

    config: dict[str, int]
    """Shape of the random model."""
    n_text: int
    n_cuts: int
    n_suffix: int
    capture_shape: tuple[int, int]
    generation_shape: tuple[int, int, int]
    """Rows, prompt tokens, new tokens."""
    n_rounds: int


SIZES = {
    "135m": Size(
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 2048,
        },
        n_text=512,
        n_cuts=32,
        n_suffix=4,
        capture_shape=(2, 128),
        generation_shape=(4, 32, 24),
        n_rounds=3,
    ),
    "small": Size(
        {
            "vocab_size": 500,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
        },
        n_text=128,
        n_cuts=8,
        n_suffix=4,
        capture_shape=(2, 32),
        generation_shape=(4, 8, 8),
        n_rounds=2,
    ),
}


@dataclass(frozen=True)
class Ratio:
    """One claim and what was measured."""

    claim: str
    value: float
    bar: float
    at_least: bool
    """Whether the value must reach the bar, or stay below it."""
    difference: float
    """Largest difference of the two results: log-probabilities in nats, activations as a share of
    the largest, or for writing the number of tokens that differ."""
    seconds: tuple[float, float]
    """Median time of our way and of the plain way."""

    @property
    def holds(self) -> bool:
        """Whether the claim holds."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


class _NoTokenizer:
    """Stands in for a tokenizer: benchmarks use token ids only."""

    def get_vocab(self) -> dict[str, int]:
        return {}


def random_model(size: Size, device: str) -> Model:
    """A random Llama of a given shape, always the same."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**size.config, attn_implementation="sdpa", tie_word_embeddings=True)  # type: ignore[arg-type]
    hf: Any = LlamaForCausalLM(config)
    return make_model(hf.to(device).requires_grad_(False), _NoTokenizer(), name="random")


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cpu":
        started = time.process_time()
        work()
        return time.process_time() - started
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


def median_seconds(
    works: list[Callable[[], Any]], n_rounds: int, device: torch.device
) -> list[float]:
    """Median time of each piece of work, in rounds that run forwards and backwards in turn.

    Args:
        works: Functions to time, which should have run once before.
        n_rounds: Measured rounds.
        device: Where the model is, which decides what clock is right.

    Returns:
        Seconds, one per function.
    """
    times: list[list[float]] = [[] for _ in works]
    for round_ in range(n_rounds):
        order = range(len(works)) if round_ % 2 == 0 else range(len(works) - 1, -1, -1)
        for number in order:
            times[number].append(_seconds(works[number], device))
    return [statistics.median(of_work) for of_work in times]


def _random_ids(size: Size, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, size.config["vocab_size"], shape, generator=generator)


@torch.no_grad()
def bench_branches(model: Model, size: Size) -> list[Ratio]:
    """An early-answering curve, against separate passes and against one pass of the text."""
    text = _random_ids(size, size.n_text).tolist()
    cuts = [(place + 1) * size.n_text // size.n_cuts for place in range(size.n_cuts)]
    # Other tokens after every cut, so that no two branches are the same work.
    suffixes = _random_ids(size, size.n_cuts, size.n_suffix).tolist()
    branches = [Branch(cut, tuple(suffix)) for cut, suffix in zip(cuts, suffixes, strict=True)]

    def together() -> Tensor:
        scores = score_branches(model, [text], [branches])[0]
        return torch.stack([score.logprobs for score in scores])

    def one_by_one() -> Tensor:
        found: list[Tensor] = []
        for cut, suffix in zip(cuts, suffixes, strict=True):
            ids = torch.tensor([text[:cut] + suffix], device=model.device)
            logits = model.hf(ids, use_cache=False, logits_to_keep=size.n_suffix + 1).logits[0, :-1]
            logprobs = logits.float().log_softmax(-1)
            found.append(logprobs.gather(1, ids[0, cut:, None])[:, 0].cpu())
        return torch.stack(found)

    def plain() -> Tensor:
        return model.hf(torch.tensor([text], device=model.device), use_cache=False).logits

    difference = float((together() - one_by_one()).abs().max())
    ours, separate, single = median_seconds(
        [together, one_by_one, plain], size.n_rounds, model.device
    )
    shape = f"{size.n_text} tokens, {size.n_cuts} cuts"
    return [
        Ratio(
            f"branches ({shape}): times faster than one pass per prefix",
            separate / ours, 10.0, True, difference, (ours, separate),
        ),
        Ratio(
            f"branches ({shape}): times the cost of one plain pass",
            ours / single, 1.4, False, difference, (ours, single),
        ),
    ]  # fmt: skip


@torch.no_grad()
def bench_capture(model: Model, size: Size) -> Ratio:
    """Reading the residual stream after every block, against a plain pass."""
    ids = _random_ids(size, *size.capture_shape)
    sites = [Site(layer, "resid_post") for layer in range(model.n_layers)]
    rows, on_device = ids.tolist(), ids.to(model.device)

    def ours() -> Any:
        return run(model, rows, capture=sites)

    def plain() -> Any:
        return model.hf(on_device, use_cache=False)

    states = model.hf(on_device, output_hidden_states=True, use_cache=False).hidden_states
    found = ours().captures
    # The last hidden state of Hugging Face is already normed, so it has no counterpart here.
    pairs = [(torch.stack(found[site]), state) for site, state in zip(sites, states[1:-1])]  # noqa: B905
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    seconds = median_seconds([ours, plain], 4 * size.n_rounds, model.device)
    return Ratio(
        "capture of resid_post at all layers: times the cost of a plain pass",
        seconds[0] / seconds[1], 1.1, False, difference, (seconds[0], seconds[1]),
    )  # fmt: skip


@torch.no_grad()
def bench_generation(model: Model, size: Size) -> Ratio:
    """Steered writing, against plain `hf.generate`; checked against it with a hand-placed edit."""
    n_rows, n_prompt, n_new = size.generation_shape
    ids = _random_ids(size, n_rows, n_prompt)
    rows, on_device = ids.tolist(), ids.to(model.device)
    site = Site(model.n_layers // 2, "resid_post")
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(2)) * 0.1
    steer = Intervention(site, add, vector)

    def ours() -> list[Generation]:
        return generate(model, rows, max_new_tokens=n_new, interventions=[steer])

    def plain() -> Tensor:
        return model.hf.generate(
            on_device,
            attention_mask=torch.ones_like(on_device),
            max_new_tokens=n_new,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )[:, n_prompt:]

    push = vector.to(model.device)
    with hooked(model, [(site, lambda activation: activation + push)]):
        expected = plain().cpu()
    found = torch.tensor([generation.ids for generation in ours()])
    seconds = median_seconds([ours, plain], size.n_rounds, model.device)
    return Ratio(
        "steered generation: tokens per second over plain hf.generate",
        seconds[1] / seconds[0], 0.95, True, float((found != expected).sum()),
        (seconds[0], seconds[1]),
    )  # fmt: skip


def device_name(device: torch.device) -> str:
    """What the figures were measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def measure(size_name: str, device: str) -> list[Ratio]:
    """All ratios of one size on one device, on one thread.

    Args:
        size_name: A key of `SIZES`.
        device: For example 'cpu' or 'cuda'.

    Returns:
        One entry per claim.
    """
    size = SIZES[size_name]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = random_model(size, device)
        return [
            *bench_branches(model, size),
            bench_capture(model, size),
            bench_generation(model, size),
        ]
    finally:
        torch.set_num_threads(n_threads)


def write_results(ratios: list[Ratio], size_name: str, device: str, folder: Path) -> Path:
    """Writes the ratios with all that is needed to read them, and returns the file."""
    import transformers

    file = folder / f"engine-{size_name}-{torch.device(device).type}.json"
    content = {
        "device": device_name(torch.device(device)),
        "clock": "process time" if torch.device(device).type == "cpu" else "wall time",
        "threads": 1,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "size": asdict(SIZES[size_name]),
        "ratios": [{**asdict(ratio), "holds": ratio.holds} for ratio in ratios],
    }
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return file


def main(folder: Path, *, small: bool = False, device: str = "cpu") -> bool:
    """Measures, prints a table and writes the file.

    Args:
        folder: Where the file goes.
        small: Small sizes, only to see that everything works.
        device: For example 'cpu' or 'cuda'.

    Returns:
        Whether every claim holds.
    """
    from rich.console import Console
    from rich.table import Table

    size_name = "small" if small else "135m"
    ratios = measure(size_name, device)
    table = Table(title=f"{size_name} on {device_name(torch.device(device))}, one thread")
    for column in ("claim", "measured", "bar", "holds", "largest difference", "seconds"):
        table.add_column(column)
    for ratio in ratios:
        table.add_row(
            ratio.claim,
            f"{ratio.value:.2f}",
            f"{'>=' if ratio.at_least else '<='} {ratio.bar:g}",
            "yes" if ratio.holds else "NO",
            f"{ratio.difference:.1e}",
            " / ".join(f"{seconds:.3g}" for seconds in ratio.seconds),
        )
    console = Console()
    console.print(table)
    console.print(str(write_results(ratios, size_name, device, folder)))
    return all(ratio.holds for ratio in ratios)
