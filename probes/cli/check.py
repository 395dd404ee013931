"""`posthoc check`: what an audit would read, how it would grade, and what it would cost."""

from __future__ import annotations

from typing import Annotated

import typer

from probes.cli.console import BaseFormat, Data, Device, Dtype, Grader, N, PostFormat, Seed
from probes.cli.loading import ROLE_FORMATS


def check(
    task: Annotated[str, typer.Argument(help="Task name, or a file: .jsonl, .csv or .parquet.")],
    base: Annotated[str, typer.Argument(help="Bundled organism, folder or hub id.")],
    post: Annotated[
        str | None, typer.Argument(help="The same model after post-training, if there is one.")
    ] = None,
    n: N = 100,
    seed: Seed = 0,
    data: Data = None,
    grader: Grader = None,
    base_format: BaseFormat = ROLE_FORMATS["base"],
    post_format: PostFormat = ROLE_FORMATS["post"],
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Show what an audit would read, how it grades, and its time and memory; run nothing."""
    from interp.models.folders import DTYPES
    from interp.models.loading import check_device
    from interp.models.outline import load_outline
    from interp.tasks import make_task
    from probes.audit.plan import WRITERS
    from probes.model_names import find_path, in_format, own_format
    from probes.preview import preview

    check_device(device)
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}. Known: {', '.join(DTYPES)}")
    questions = make_task(task, n=n, seed=seed, data=data, grader=grader)
    names = {"base": base} | ({"post": post} if post is not None else {})
    formats = {"base": base_format, "post": post_format}
    outlines = {
        role: in_format(load_outline(path), own_format(path, formats[role]))
        for role, path in ((role, find_path(name)) for role, name in names.items())
    }
    writers = [writer for writer in WRITERS if writer == "gold" or writer in outlines]
    for line in preview(questions, outlines, writers=writers, device=device, dtype=dtype):
        typer.echo(line)
