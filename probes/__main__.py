"""The command line: `posthoc audit`, `probe`, `steer`, `train`, `certify`, `calibrate`, ...

Everything heavy is imported inside the commands, so that help answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from probes.cli import pair_commands, prediction_command
from probes.cli.console import Data, Device, Dtype, N, Out, Seed, Tasks, explained

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help without rich: a third of the time
    pretty_exceptions_enable=False,
    help="Was the reasoning already in the base model, and does the written reasoning cause the "
    "answer?",
)


@app.command()
def audit(
    base: Annotated[str, typer.Argument(help="Bundled organism, folder or hub id.")],
    post: Annotated[str, typer.Argument(help="The same model after post-training.")],
    task: Tasks = ["arith/pool", "arith/fresh"],  # noqa: B006  (typer copies it)
    n: N = 100,
    seed: Seed = 0,
    out: Out = None,
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Run every probe on a pair and write the report."""
    with explained():
        from probes.audit.run import Settings

        settings = Settings(tasks=tuple(task), n=n, seed=seed, data=data)
        _run(base, post, settings, out, device, dtype)


@app.command()
def probe(
    name: Annotated[str, typer.Argument(help="Probe; see 'posthoc list'.")],
    model: Annotated[str, typer.Argument(help="Bundled organism, folder or hub id.")],
    post: Annotated[str | None, typer.Argument(help="A second model, to compare.")] = None,
    task: Tasks = ["arith/fresh"],  # noqa: B006
    writer: Annotated[list[str], typer.Option(help="gold, base or post; repeatable.")] = ["gold"],  # noqa: B006
    option: Annotated[
        list[str], typer.Option("--set", help="A setting of the probe, as field=value.")
    ] = [],  # noqa: B006
    n: N = 100,
    seed: Seed = 0,
    out: Out = None,
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Run one probe on one model or a pair."""
    with explained():
        from probes.audit.run import Settings
        from probes.cli.options import parse_options

        settings = Settings(
            tasks=tuple(task),
            n=n,
            probes=(name,),
            writers=tuple(writer),
            seed=seed,
            data=data,
            options=((name, parse_options(name, option)),),
        )
        _run(model, post, settings, out, device, dtype)


@app.command()
def steer(
    model: Annotated[str, typer.Argument(help="Bundled organism, folder or hub id.")],
    vector: Annotated[
        Path | None, typer.Option(help="Vector card, bare .safetensors or .gguf.")
    ] = None,
    sae: Annotated[Path | None, typer.Option(help="Folder of an SAE of sae-lens.")] = None,
    latent: Annotated[int | None, typer.Option(help="Which latent of the SAE.")] = None,
    site: Annotated[str | None, typer.Option(help="Site of a bare vector.")] = None,
    layer: Annotated[int | None, typer.Option(help="Layer of a .gguf with several.")] = None,
    dose: Annotated[
        list[float], typer.Option(help="In mean residual norms; repeatable. 0.5, or a range.")
    ] = [],  # noqa: B006
    positions: Annotated[str, typer.Option(help="all, prompt, generated or last.")] = "all",
    prompt: Annotated[list[str], typer.Option(help="Text to continue; repeatable.")] = [],  # noqa: B006
    max_new_tokens: Annotated[int, typer.Option(help="Longest continuation.")] = 64,
    is_sweep: Annotated[bool, typer.Option("--sweep", help="All doses on a task.")] = False,
    task: Annotated[str, typer.Option(help="Task of the sweep.")] = "arith/fresh",
    n: N = 50,
    n_random: Annotated[int, typer.Option(help="Random directions beside it.")] = 8,
    kl_budget: Annotated[float, typer.Option(help="Nats per token, to choose a dose.")] = 0.1,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder of the sweep.")] = Path("runs/steer"),
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Write with a direction added, and say what it cost; or sweep its doses on a task."""
    with explained():
        from interp.methods.steering import SweepSettings
        from interp.tasks import make_task
        from probes.model_names import find_model
        from probes.steering import Choice, compared_texts, read_direction, span, swept

        direction = read_direction(Choice(vector, sae, latent, site, layer))
        where = span(positions)
        if not prompt and not is_sweep:
            raise ValueError("nothing to write: give a text by --prompt TEXT, or --sweep")
        found = find_model(model, device=device, dtype=dtype)
        for one in (dose or [0.5]) if prompt else ():
            for line in compared_texts(
                found, direction, one, prompt, positions=where, max_new_tokens=max_new_tokens
            ):
                typer.echo(line)
        if is_sweep:
            doses = tuple(dose) or SweepSettings().doses
            settings = SweepSettings(doses, where, n_random=n_random, seed=seed)
            asked = make_task(task, n=n, seed=seed, data=data)
            for line in swept(found, direction, asked, settings, out, kl_budget=kl_budget):
                typer.echo(line)


for pair_command in (
    pair_commands.preexist,
    pair_commands.hybrid,
    pair_commands.routes,
    pair_commands.crosscode,
    pair_commands.features,
    pair_commands.interact,
    pair_commands.sae,
):
    app.command()(pair_command)
app.command()(prediction_command.predict)


@app.command("list")
def list_names() -> None:
    """List probes, tasks and bundled organisms."""
    from interp.organisms.zoo import bundled
    from interp.tasks import task_names
    from probes import PAIR_PROBES, PROBES, find_probe

    typer.echo("Probes")
    for name in (*PROBES, *PAIR_PROBES):
        typer.echo(f"  {name:18} {find_probe(name).question}")
    typer.echo("Tasks\n  " + "  ".join(task_names()))
    typer.echo("Bundled organisms (name:seed)")
    for entry in bundled():
        typer.echo(f"  {entry.name}:{entry.seed}")


zoo = typer.Typer(help="The bundled organisms: what they do, and whether they are intact.")
app.add_typer(zoo, name="organisms")
Names = Annotated[
    list[str] | None, typer.Argument(help="name, or name:seed; all organisms when none.")
]
Root = Annotated[Path | None, typer.Option(help="Folder of organisms; the bundled ones.")]


@zoo.callback(invoke_without_command=True)
def organisms(context: typer.Context) -> None:
    """Print what the bundled organisms do, from their cards."""
    from interp.organisms.recipes import withheld_list
    from interp.organisms.zoo import bundled, table

    if context.invoked_subcommand is None:
        typer.echo(table(bundled()))
        typer.echo(f"\nTrained and not bundled:\n\n{withheld_list()}")


@zoo.command()
def verify(names: Names = None, root: Root = None) -> None:
    """Measure organisms again: checksums, acceptance figures, certificates."""
    with explained():
        from interp.organisms.certification.verification import verify as verify_organism
        from interp.organisms.zoo import chosen

        failed = False
        for folder in chosen(names or (), root):
            found = verify_organism(folder)
            failed |= bool(found.faults)
            typer.echo(found)
        if failed:
            raise typer.Exit(1)


@zoo.command()
def retrain(
    names: Annotated[list[str], typer.Argument(help="Recipes, parents before children.")],
    seed: Annotated[int, typer.Option(help="Which of the trained copies.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the new ones.")] = Path("runs/retrained"),
    workers: Annotated[int, typer.Option(help="Trainings at a time, one thread each.")] = 2,
) -> None:
    """Make organisms again from their recipes and set their figures against the cards."""
    with explained():
        from interp.organisms.certification.retraining import retrain as make_again

        failed = False
        for found in make_again(names, seed=seed, out=out, workers=workers):
            failed |= not found.agrees
            typer.echo(found)
        if failed:
            raise typer.Exit(1)


@app.command()
def certify(names: Names = None, root: Root = None) -> None:
    """Interchange activations in organisms; write certificates into their cards."""
    with explained():
        from interp.organisms.certification.certificate import certify as certify_organism
        from interp.organisms.zoo import chosen

        failed = False
        for folder in chosen(names or (), root):
            certificate = certify_organism(folder)
            failed |= not certificate.is_passed
            typer.echo(f"{folder.name}: {'; '.join(certificate.failed) or 'passed'}")
        if failed:
            raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[list[str] | None, typer.Argument(help="Recipes; all when none.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", help="Seeds; 0, 1, 2.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of organisms.")] = Path("artifacts/organisms"),
    workers: Annotated[int, typer.Option(help="Trainings at a time, one thread each.")] = 2,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what is there, go on.")] = False,
) -> None:
    """Train organisms from their recipes, parents first."""
    with explained():
        from interp.organisms.training.making import train_all

        names, which = recipe or None, seeds or None
        for card in train_all(out, recipes=names, seeds=which, workers=workers, keep=keep):
            typer.echo(card)


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(help="Folder of table and figure.")] = Path(
        "artifacts/calibration"
    ),
    keep: Annotated[
        Path, typer.Option(help="Folder of items; what is there is not measured again.")
    ] = Path("runs/calibration"),
    root: Root = None,
    workers: Annotated[int, typer.Option(help="Processes, one thread each.")] = 1,
    show: Annotated[
        Path | None, typer.Option(help="Measure nothing: print the table of this file.")
    ] = None,
) -> None:
    """Measure how often each probe is right, on organisms whose truth is known."""
    with explained():
        from probes.calibration import calibrate as run_calibration
        from probes.calibration import shown

        found = shown(show) if show else run_calibration(out, keep=keep, root=root, workers=workers)
        typer.echo(found)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Draw figures and page of a run again, from its rows."""
    from probes.audit.run import redraw

    with explained():
        typer.echo(redraw(run))


def _run(
    base: str, post: str | None, settings: Any, out: Path | None, device: str, dtype: str
) -> None:
    from probes.audit.run import audit as run_audit
    from probes.audit.run import pair_readers
    from probes.model_names import find_model

    names = [name for name in (base, post) if name]
    models = [find_model(name, device=device, dtype=dtype) for name in names]
    words = [*names, *settings.probes[: len(settings.probes) == 1]]
    slug = "-".join("".join(c if c.isalnum() else "-" for c in Path(w).name) for w in words)
    done = run_audit(pair_readers(*models), settings, out or Path("runs") / slug)
    typer.echo(done.verdict.headline)
    for line in done.verdict.lines:
        typer.echo(f"  {line}")
    typer.echo(f"Report: {done.report}")


def main() -> None:
    """Entry point of the command `posthoc`."""
    app()


if __name__ == "__main__":
    main()
