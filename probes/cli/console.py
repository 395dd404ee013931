"""What the commands share: options with their help, and errors said in one message."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Tasks = Annotated[list[str], typer.Option("--task", help="Task name; repeatable.")]
N = Annotated[int, typer.Option("--n", help="Examples of each task.")]
Seed = Annotated[int, typer.Option(help="Seed of examples, edits and bootstrap.")]
Out = Annotated[Path | None, typer.Option(help="Run folder; by default runs/ and the names.")]
Data = Annotated[str | None, typer.Option(help="Folder of downloaded data sets.")]
Device = Annotated[str, typer.Option(help="Torch device.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]


class explained:
    """Turns the errors that a user can act on into one message and exit status 2."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError | OSError):
            typer.echo(f"posthoc: {error}", err=True)
            raise typer.Exit(2) from None
