"""Commands about organisms and instruments: train, certify, verify, calibrate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from probes.cli.console import N, Names, Root, Show, Workers, echo

zoo = typer.Typer(help="The bundled organisms: what they do, and whether they are intact.")


@zoo.callback(invoke_without_command=True)
def organisms(context: typer.Context) -> None:
    """Print what the bundled organisms do, from their cards."""
    from interp.organisms.recipes import format_withheld
    from interp.organisms.zoo import format_table, read_cards

    if context.invoked_subcommand is None:
        typer.echo(format_table(read_cards()))
        typer.echo(f"\nTrained and not bundled:\n\n{format_withheld()}")


@zoo.command()
def verify(names: Names = None, root: Root = None) -> None:
    """Measure organisms again: checksums, acceptance figures, certificates."""
    from interp.organisms.certification.verification import verify as verify_organism
    from interp.organisms.zoo import find_folders

    failed = False
    for folder in find_folders(names or (), root):
        result = verify_organism(folder)
        failed |= bool(result.faults)
        typer.echo(result)
    if failed:
        raise typer.Exit(1)


@zoo.command()
def retrain(
    names: Annotated[list[str], typer.Argument(help="Recipes, parents before children.")],
    seed: Annotated[int, typer.Option(min=0, help="Training seed.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the new ones.")] = Path("runs/retrained"),
    workers: Workers = 2,
) -> None:
    """Train organisms again from their recipes and compare their figures with the cards."""
    from interp.organisms.certification.retraining import retrain as train_again

    failed = False
    for result in train_again(names, seed=seed, out=out, workers=workers):
        failed |= not result.agrees
        typer.echo(result)
    if failed:
        raise typer.Exit(1)


def certify(names: Names = None, root: Root = None) -> None:
    """Interchange activations in organisms; write certificates into their cards."""
    from interp.organisms.certification.certificate import certify as certify_organism
    from interp.organisms.zoo import find_folders

    failed = False
    for folder in find_folders(names or (), root):
        certificate = certify_organism(folder)
        failed |= not certificate.is_passed
        typer.echo(f"{folder.name}: {'; '.join(certificate.failed) or 'passed'}")
    if failed:
        raise typer.Exit(1)


def train(
    recipe: Annotated[list[str] | None, typer.Argument(help="Recipes (default: all).")] = None,
    seeds: Annotated[
        list[int] | None,
        typer.Option("--seed", min=0, help="Training seed; repeatable (0, 1, 2)."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of organisms.")] = Path("artifacts/organisms"),
    workers: Workers = 2,
    keep: Annotated[bool, typer.Option("--keep", help="Keep finished organisms.")] = False,
) -> None:
    """Train organisms from their recipes, parents first."""
    from interp.organisms.training.making import train_all

    echo(train_all(out, recipes=recipe or None, seeds=seeds or None, workers=workers, keep=keep))


def sae(
    name: Annotated[str, typer.Argument(help="A base organism.")],
    seed: Annotated[int, typer.Option(min=0, help="Its training seed.")] = 0,
    site: Annotated[
        str, typer.Option(help="Site to train at; results are found at blocks.2.")
    ] = "blocks.1.hook_resid_post",
    out: Annotated[Path, typer.Option(help="Folder of SAEs.")] = Path("runs/saes"),
) -> None:
    """Train an SAE on a base organism and compare its latents with the known variables."""
    from interp.organisms.saes.bundled_saes import format_card, make_sae
    from interp.sites import parse_site

    echo(format_card(make_sae(name, out, seed=seed, site=parse_site(site))))


def calibrate(
    out: Annotated[Path, typer.Option(help="Folder of table and figure.")] = Path(
        "artifacts/calibration"
    ),
    keep: Annotated[
        Path, typer.Option(help="Folder of items; finished ones are not measured again.")
    ] = Path("runs/calibration"),
    root: Root = None,
    workers: Workers = 1,
    show: Show = None,
) -> None:
    """Measure how often each probe is right, on organisms whose truth is known."""
    from probes.calibration import calibrate as run_calibration
    from probes.calibration import read_markdown

    typer.echo(
        read_markdown(show) if show else run_calibration(out, keep=keep, root=root, workers=workers)
    )


def predict(
    out: Annotated[Path, typer.Option(help="Folder of the table.")] = Path("artifacts/predictions"),
    seed: Annotated[list[int], typer.Option(min=0, help="Training seed; repeatable.")] = [1, 2],  # noqa: B006
    n: N = 60,
    keep: Annotated[
        Path, typer.Option(help="Folder of findings; finished ones are not measured again.")
    ] = Path("runs/predictions"),
    workers: Workers = 1,
    show: Show = None,
) -> None:
    """Measure the eight predictions that were written down before anything was measured."""
    from probes.predictions import predict as run_predictions
    from probes.predictions import read_markdown

    echo(
        [read_markdown(show)] if show else run_predictions(out, seed, n, keep=keep, workers=workers)
    )
