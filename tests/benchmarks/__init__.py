"""What the engine's speed claims are worth: ratios, costs as they grow, and where both are kept.

`main` measures everything for one size on one device and one thread and writes a JSON file that
names the device; `tables` lays such a file out, and the README shows what it gives.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import torch

from tests.benchmarks.costs import Cost, Device, measure_costs
from tests.benchmarks.engine import bench_branches, bench_capture, bench_generation
from tests.benchmarks.grids import bench_grid, bench_hooks
from tests.benchmarks.sizes import SIZES, random_model
from tests.benchmarks.timing import Ratio, device_name

__all__ = ["SIZES", "Cost", "Device", "Ratio", "Results", "main", "measure", "tables"]


@dataclass(frozen=True)
class Results:
    """All that was measured for one size on one device."""

    ratios: list[Ratio]
    device: Device
    costs: list[Cost]


def measure(size_name: str, device: str) -> Results:
    """All ratios and costs of one size on one device, on one thread.

    Args:
        size_name: A key of `SIZES`.
        device: For example 'cpu' or 'cuda'.

    Returns:
        One ratio per claim, and the costs.

    Raises:
        ValueError: If the size is unknown.
    """
    if size_name not in SIZES:
        raise ValueError(f"unknown size {size_name!r}. Known: {', '.join(SIZES)}")
    size = SIZES[size_name]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = random_model(size.config, device, size.dtype)
        alike = size.grid_config == size.config
        patched = model if alike else random_model(size.grid_config, device, size.dtype)
        ratios = [
            *bench_branches(model, size),
            *bench_grid(patched, size),
            bench_capture(model, size),
            bench_hooks(model, size),
            bench_generation(model, size),
        ]
        return Results(ratios, *measure_costs(model, patched, size))
    finally:
        torch.set_num_threads(n_threads)


def write_results(results: Results, size_name: str, device: str, folder: Path) -> Path:
    """Writes the results with all that is needed to read them, and returns the file."""
    import transformers

    file = folder / f"engine-{size_name}-{torch.device(device).type}.json"
    content = {
        "device": device_name(torch.device(device)),
        "clock": "process time" if torch.device(device).type == "cpu" else "wall time",
        "threads": 1,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "size": asdict(SIZES[size_name]),
        "ratios": [{**asdict(ratio), "holds": ratio.holds} for ratio in results.ratios],
        "at_best": asdict(results.device),
        "costs": [asdict(cost) for cost in results.costs],
    }
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return file


def tables(file: Path) -> str:
    """Kept results as two Markdown tables: the claims, and the costs with their growth.

    Args:
        file: As `write_results` leaves it.

    Returns:
        A line that names the device, the claims (seconds are of our way and of the plain one), and
        each series of costs beside the operations that the algorithm needs, both also as growth
        since the first row of the series.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no result of a benchmark.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        ratios = [
            Ratio(
                **{
                    name: value for name, value in ratio.items() if name not in ("holds", "seconds")
                },
                seconds=tuple(ratio["seconds"]),
            )
            for ratio in kept["ratios"]
        ]
        costs = [Cost(**cost) for cost in kept["costs"]]
        where = f"{kept['device']}, one thread, {kept['clock']}, torch {kept['torch']}"
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} must hold results of 'make bench', and does not ({error}). Run it again."
        ) from error
    return "\n\n".join(
        [
            f"Measured on: {where}.",
            _markdown("work|measured|bar|holds|largest difference|seconds", _ratio_rows(ratios)),
            _markdown(
                "made larger|amount|10^9 operations needed|grows|seconds|grows|tokens/s|of device",
                _cost_rows(costs),
            ),
        ]
    )


def _markdown(heads: str, rows: list[tuple[str, ...]]) -> str:
    columns = heads.split("|")
    lines = [tuple(columns), tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ratio_rows(ratios: list[Ratio]) -> list[tuple[str, ...]]:
    return [
        (
            ratio.claim,
            f"{ratio.value:.2f}",
            f"{'>=' if ratio.at_least else '<='} {ratio.bar:g}",
            "yes" if ratio.holds else "NO",
            f"{ratio.difference:.1e}",
            " / ".join(f"{seconds:.3g}" for seconds in ratio.seconds),
        )
        for ratio in ratios
    ]


def _cost_rows(costs: list[Cost]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for series, group in groupby(costs, key=lambda cost: cost.series):
        of_series = list(group)
        for cost in of_series:
            needed, seconds = (
                getattr(cost, name) / getattr(of_series[0], name) for name in ("gflop", "seconds")
            )
            rows.append(
                (
                    series, str(cost.amount), f"{cost.gflop:.3g}", f"{needed:.2f}",
                    f"{cost.seconds:.3g}", f"{seconds:.2f}", f"{cost.tokens / cost.seconds:.3g}",
                    f"{cost.of_device:.2f}",
                )
            )  # fmt: skip
    return rows


def main(folder: Path, *, size: str = "135m", device: str = "cpu") -> str:
    """Measures, writes the file, and returns its tables and its path.

    Args:
        folder: Where the file goes.
        size: A key of `SIZES`; 'small' only shows that everything works.
        device: For example 'cpu' or 'cuda'.
    """
    file = write_results(measure(size, device), size, device, folder)
    return f"{tables(file)}\n\n{file}"
