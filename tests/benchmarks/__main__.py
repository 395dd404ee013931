"""`python -m tests.benchmarks`: measures the speed of the engine, beside its exactness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks import main, tables


def bench(
    out: Annotated[Path, typer.Option(help="Folder of results.")] = Path("artifacts/benchmarks"),
    size: Annotated[
        str, typer.Option(help="Shape of the model: small, 135m, 1.5b or 8b.")
    ] = "135m",
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    show: Annotated[
        Path | None, typer.Option(help="Measure nothing: print the tables of this file.")
    ] = None,
) -> None:
    """Measures ratios and costs for one size on one device, or prints a kept file."""
    typer.echo(tables(show) if show else main(out, size=size, device=device))


if __name__ == "__main__":
    typer.run(bench)
