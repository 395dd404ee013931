"""`posthoc steer`: text with a direction added, and a sweep over its doses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probes.cli.console import Data, Device, Dtype, N, Seed, SweepTask, echo, name_folder


def steer(
    model: Annotated[str, typer.Argument(help="Bundled organism, folder or hub id.")],
    vector: Annotated[
        Path | None, typer.Option(help="Vector card, bare .safetensors or .gguf.")
    ] = None,
    sae: Annotated[Path | None, typer.Option(help="Folder of an SAE of sae-lens.")] = None,
    latent: Annotated[int | None, typer.Option(min=0, help="Which latent of the SAE.")] = None,
    site: Annotated[str | None, typer.Option(help="Site of a bare vector.")] = None,
    layer: Annotated[int | None, typer.Option(min=0, help="Layer of a .gguf with several.")] = None,
    dose: Annotated[
        list[float] | None,
        typer.Option(help="In mean residual norms; repeatable (0.5; a range for a sweep)."),
    ] = None,
    positions: Annotated[str, typer.Option(help="all, prompt, generated or last.")] = "all",
    prompt: Annotated[list[str] | None, typer.Option(help="Text to continue; repeatable.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest continuation.")] = 64,
    is_sweep: Annotated[bool, typer.Option("--sweep", help="Measure all doses on a task.")] = False,
    task: SweepTask = None,
    n: N = 50,
    n_random: Annotated[
        int, typer.Option(min=0, help="Random control directions of the sweep.")
    ] = 8,
    kl_budget: Annotated[
        float, typer.Option(min=0, help="Nats per token, to choose a dose.")
    ] = 0.1,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sweep (default: runs/steer- and the names).")
    ] = None,
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Generate text with a steering vector and report its effect on coherence."""
    from interp.methods.steering import SweepSettings
    from interp.models.identity import describe_model
    from interp.tasks import make_task
    from probes.audit.run import hash_examples
    from probes.cli.steered_text import compare_texts, find_positions, measure_doses, read_direction
    from probes.model_names import default_tasks, find_model

    direction = read_direction(vector=vector, sae=sae, latent=latent, site=site, layer=layer)
    if not (prompt or is_sweep):
        raise ValueError("nothing to write: give a text by --prompt TEXT, or --sweep")
    if is_sweep:
        task = task or default_tasks([model], ["arith/fresh"])[0]
    where, steered = find_positions(positions), find_model(model, device=device, dtype=dtype)
    for one in (dose or [0.5]) if prompt else ():
        echo(compare_texts(steered, direction, one, prompt or [], where, max_new_tokens))
    if is_sweep and task:
        doses = tuple(dose or SweepSettings().doses)
        settings = SweepSettings(doses, where, n_random=n_random, seed=seed)
        questions = make_task(task, n=n, seed=seed, data=data)
        about = describe_model(steered), hash_examples(questions), direction.vector.tolist()
        names = "steer", model, str(vector or sae)
        out = out or name_folder(names, about, str(direction.site), settings)
        echo(measure_doses(steered, direction, questions, settings, out, kl_budget=kl_budget))
