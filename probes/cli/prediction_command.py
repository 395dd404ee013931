"""The command about predictions: what was expected beforehand, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probes.cli.console import N, explained


def predict(
    out: Annotated[Path, typer.Option(help="Folder of the table.")] = Path("artifacts/predictions"),
    seed: Annotated[list[int], typer.Option(help="Training seed; repeatable.")] = [1, 2],  # noqa: B006
    n: N = 60,
    keep: Annotated[
        Path, typer.Option(help="Folder of findings; what is there is not measured again.")
    ] = Path("runs/predictions"),
    workers: Annotated[int, typer.Option(help="Processes, one thread each.")] = 1,
    show: Annotated[
        Path | None, typer.Option(help="Measure nothing: print the table of this file.")
    ] = None,
) -> None:
    """Measure the eight predictions that were written down before anything was measured."""
    with explained():
        from probes.predictions import predict as run_predictions
        from probes.predictions import shown

        lines = [shown(show)] if show else run_predictions(out, seed, n, keep=keep, workers=workers)
        for line in lines:
            typer.echo(line)
