"""Commands that measure models and write a run folder: `audit`, `probe`, and short names of probes.

Every one of them ends in the same function: a probe has the same defaults, the same folder and the
same report whether it is asked for as `posthoc preexist BASE POST` or as
`posthoc probe pre_existence BASE POST`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from interp.errors import NotMeasurableError
from probes.cli.console import (
    BaseFormat,
    Count,
    Data,
    Device,
    Dtype,
    Grader,
    MaxChainTokens,
    Model,
    N,
    Out,
    PostFormat,
    Posts,
    Samples,
    Seed,
    Set,
    Tasks,
    Temperature,
    TopP,
    Traces,
    Writers,
    echo,
    name_folder,
)
from probes.cli.loading import ROLE_FORMATS, Loading
from probes.cli.seeds import run_seeds

SHORT = {
    "preexist": ("pre_existence", "Test whether the base model could already reason (2 x 2)."),
    "hybrid": ("hybrid", "Hybrid decoding with its controls: how much of the gap is recovered?"),
    "routes": ("elicitation_methods", "Compare ways to elicit an ability, with what each costs."),
    "crosscode": (
        "crosscoding",
        "Train a crosscoder on both models and on null pairs; count exclusive latents.",
    ),
    "features": ("sae_features", "Find SAE features of the reasoning mode and steer with each."),
    "interact": (
        "direction_by_corruption",
        "Corrupt the chain and add a direction at once: does the direction change reliance?",
    ),
}
"""Command -> the probe that it runs, and its help."""
AUDIT_TASKS = ("arith/pool", "arith/fresh")
"""What an audit asks organisms where no task is named and no traces are given."""


def audit(
    base: Annotated[
        str, typer.Argument(help="Bundled organism, folder or hub id; seeds joined by commas.")
    ],
    post: Annotated[
        str, typer.Argument(help="The same after post-training; seeds in the order of their bases.")
    ],
    task: Tasks = None,
    traces: Traces = None,
    writer: Writers = None,
    n: N = 100,
    seed: Seed = 0,
    out: Out = None,
    data: Data = None,
    grader: Grader = None,
    base_format: BaseFormat = ROLE_FORMATS["base"],
    post_format: PostFormat = ROLE_FORMATS["post"],
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    samples: Samples = 1,
    max_chain_tokens: MaxChainTokens = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Run all audit probes on a pair, or on several seeds of it, and write the report."""
    from probes.audit.plan import WRITERS, AuditSettings
    from probes.seeds.names import pair_up

    _check_writers(writer, traces)
    pairs = pair_up(base, post)
    names = [name for pair in pairs for name in pair]
    settings = AuditSettings(
        tasks=_choose_tasks(task, traces, names, AUDIT_TASKS),
        n=n,
        writers=tuple(writer or WRITERS),
        seed=seed,
        data=data,
        traces=tuple(traces or ()),
        grader=grader,
        samples=samples,
    )
    load = Loading(device, dtype, base_format, post_format, temperature, top_p, max_chain_tokens)
    if len(pairs) == 1:
        _run([base, post], settings, out, load)
    else:
        run_seeds(pairs, settings, out, load)


def probe(
    name: Annotated[str, typer.Argument(help="Probe; see 'posthoc list'. Your own: module:Class.")],
    model: Model,
    posts: Posts = None,
    task: Tasks = None,
    traces: Traces = None,
    writer: Writers = None,
    option: Set = None,
    n: Count = None,
    seed: Seed = 0,
    out: Out = None,
    data: Data = None,
    grader: Grader = None,
    base_format: BaseFormat = ROLE_FORMATS["base"],
    post_format: PostFormat = ROLE_FORMATS["post"],
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    samples: Samples = 1,
    max_chain_tokens: MaxChainTokens = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Run one probe on one model or a pair."""
    from probes import find_probe
    from probes.audit.plan import AuditSettings
    from probes.settings import parse_settings

    made = find_probe(name)
    _check_writers(writer, traces)
    options = parse_settings(name, option or ())
    settings = AuditSettings(
        tasks=_choose_tasks(task, traces, [model, *(posts or ())], made.tasks),
        n=made.n if n is None else n,
        probes=(name,),
        writers=tuple(writer) if writer else _default_writers(made.writers, posts),
        seed=seed,
        data=data,
        traces=tuple(traces or ()),
        options=((made.name, options),) if options else (),
        grader=grader,
        samples=samples,
    )
    load = Loading(device, dtype, base_format, post_format, temperature, top_p, max_chain_tokens)
    _run([model, *(posts or ())], settings, out, load)


def _choose_tasks(
    tasks: Sequence[str] | None,
    traces: Sequence[str] | None,
    models: Sequence[str],
    otherwise: Sequence[str],
) -> tuple[str, ...]:
    """Those that are named; none where traces bring theirs, and else those of organisms."""
    from probes.model_names import default_tasks

    return tuple(tasks or ()) if tasks or traces else default_tasks(models, otherwise)


def _check_writers(writers: Sequence[str] | None, traces: Sequence[str] | None) -> None:
    """Refuses a misspelt writer before models are loaded; files may hold any."""
    from probes.audit.plan import WRITERS

    unknown = sorted(set(writers or ()) - set(WRITERS))
    if unknown and not traces:
        raise ValueError(
            f"unknown writer {unknown[0]!r}; known: {', '.join(WRITERS)}. Another writer's chains "
            f"come from a file: --traces {unknown[0]}=FILE"
        )


def _default_writers(writers: Sequence[str], posts: Sequence[str] | None) -> tuple[str, ...]:
    """The probe's writers, as far as there are models of that role."""
    return tuple(writer for writer in writers if writer != "post" or posts)


def short_command(name: str) -> Callable[..., None]:
    """The command that runs one probe under a short name."""
    target, text = SHORT[name]

    def command(
        model: Model,
        posts: Posts = None,
        task: Tasks = None,
        writer: Writers = None,
        option: Set = None,
        n: Count = None,
        seed: Seed = 0,
        out: Out = None,
        data: Data = None,
        grader: Grader = None,
        base_format: BaseFormat = ROLE_FORMATS["base"],
        post_format: PostFormat = ROLE_FORMATS["post"],
        device: Device = "cpu",
        dtype: Dtype = "float32",
    ) -> None:
        probe(
            target, model, posts, task, None, writer, option, n, seed, out, data, grader,
            base_format, post_format, device=device, dtype=dtype,
        )  # fmt: skip

    command.__doc__ = f"{text} The same as 'posthoc probe {target}'."
    return command


def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Draw figures and page of a run again, from its rows."""
    from probes.seeds.run import redraw

    typer.echo(redraw(run))


def list_names(
    name: Annotated[str | None, typer.Argument(help="One probe: show its settings.")] = None,
) -> None:
    """List probes, tasks, bundled organisms and adapters, or the settings of one probe."""
    from interp.organisms.smollm.cards import adapter_names
    from interp.organisms.zoo import read_cards
    from interp.tasks import task_names
    from probes import PROBES, find_probe
    from probes.settings import describe_type, setting_types

    if name is not None:
        made: Any = find_probe(name)
        typer.echo(made.question)
        for field, kind in setting_types(name).items():
            typer.echo(f"  --set {field}={getattr(made, field)}   ({describe_type(kind)})")
        return
    typer.echo("Probes (* in every audit)")
    for probe_name in PROBES:
        made = find_probe(probe_name)
        typer.echo(f"  {'*' if made.is_in_audit else ' '} {probe_name:24} {made.question}")
    typer.echo("Tasks (or a file: .jsonl, .csv, .parquet)\n  " + "  ".join(task_names()))
    typer.echo("Bundled organisms (name:seed)")
    echo(f"  {entry.name}:{entry.seed}" for entry in read_cards())
    typer.echo("Adapters of smollm2 (name:seed)")
    echo(f"  {adapter}:{seed}" for adapter, seed in adapter_names())


def check_probe(name: Annotated[str, typer.Argument(help="A probe of the table PROBES.")]) -> None:
    """Check that a probe is complete, on bundled organisms; say what it lacks."""
    from probes.contract import check_probe as find_faults

    faults = find_faults(name)
    echo(f"- {fault}" for fault in faults)
    typer.echo(f"{name}: {len(faults)} faults" if faults else f"{name}: complete")
    if faults:
        raise typer.Exit(1)


def _run(names: Sequence[str], settings: Any, out: Path | None, load: Loading) -> None:
    from probes import find_probe
    from probes.audit.run import audit as run_audit
    from probes.audit.run import describe_run, pair_readers, reader_notes

    is_one = len(settings.probes) == 1
    takes_many = is_one and find_probe(settings.probes[0]).takes_many
    if len(names) > 2 and not takes_many:
        raise ValueError(
            f"this command compares a base model and one post-trained model, received "
            f"{len(names)} models: {', '.join(names)}"
        )
    base = load(names[0], "base")
    posts = [load(name, "post", base) for name in names[1:]]
    readers = pair_readers(base, *posts, names=names[1:] if takes_many else ("post",))
    named = [*names, *(settings.probes if is_one else ())]
    echo(f"Note: {note}" for note in reader_notes(readers))
    folder = out or name_folder(named, describe_run(readers, settings))
    done = run_audit(readers, settings, folder)
    if all(isnan(item.value) for item in done.items):
        reasons = dict.fromkeys(item.note for item in done.items if item.note)
        raise NotMeasurableError(
            f"nothing could be measured: {'; '.join(reasons)}. The run is kept in {folder}"
        )
    typer.echo(done.verdict.headline)
    echo(f"  {line}" for line in done.verdict.lines)
    typer.echo(f"Report: {done.report}")
