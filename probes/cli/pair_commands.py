"""Commands about pre-existence: was it in the base, where does the change lie, what else brings it?

Each prints what it found and keeps its items, and its figure where it has one, in a folder.
`posthoc probe NAME BASE POST` runs the same probes with rows, intervals and a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probes.cli.console import Data, Device, Dtype, N, Seed, explained

if TYPE_CHECKING:
    from interp.models import Model
    from interp.results.rows import Item
    from interp.tasks import Task

Base = Annotated[str, typer.Argument(help="Bundled organism, folder or hub id.")]
Post = Annotated[str, typer.Argument(help="The same model after post-training.")]
OneTask = Annotated[str, typer.Option("--task", help="Task name.")]
Folder = Annotated[Path, typer.Option(help="Folder of the results.")]
SaeFolder = Annotated[
    Path | None, typer.Option("--sae", help="SAE of sae-lens of the base; the bundled one.")
]


def preexist(
    base: Base,
    post: Post,
    task: OneTask = "arith/fresh",
    n: N = 100,
    seed: Seed = 0,
    out: Folder = Path("runs/preexist"),
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """The 2 x 2 test: was the reasoning in the base? A verdict from four answers."""
    with explained():
        from interp.models import ModelPair
        from probes.pre_existence import examined

        models, asked = _loaded([base, post], task, n, seed, data, device, dtype)
        _say(examined(ModelPair(*models), asked, out, seed=seed))


def hybrid(
    base: Base,
    post: Post,
    task: OneTask = "arith/fresh",
    n: N = 200,
    seed: Seed = 0,
    layer: Annotated[
        int | None, typer.Option(help="Behind which layer is steered; the middle one.")
    ] = None,
    out: Folder = Path("runs/hybrid"),
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Hybrid decoding and its seven controls: how much of the gap, and is it the steering?"""
    with explained():
        from probes.hybrid import HybridDecoding, hybrid_lines

        models, asked = _loaded([base, post], task, n, seed, data, device, dtype)
        readers = _named(models)
        items = HybridDecoding(layer=layer).run(readers, asked, {}, seed=seed)
        _kept(out, items)
        _say([*hybrid_lines(items, seed=seed), f"Written: {out}"])


def routes(
    base: Base,
    posts: Annotated[list[str], typer.Argument(help="Models made from it; repeatable.")],
    task: OneTask = "arith/fresh",
    n: N = 100,
    seed: Seed = 0,
    sae: SaeFolder = None,
    out: Folder = Path("runs/routes"),
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """The routes to one ability side by side: accuracy, cost, pass@k."""
    with explained():
        from interp.results.plots import routes as routes_figure
        from interp.results.plots import save
        from probes.elicitation_methods import Routes, route_rows, routes_lines

        models, asked = _loaded([base, *posts], task, n, seed, data, device, dtype)
        readers = dict(zip(("base", *posts), models, strict=True))
        items = Routes(sae=sae or _bundled_sae(models[0])).run(readers, asked, {}, seed=seed)
        _kept(out, items)
        save(routes_figure(route_rows(items, seed=seed)), out, "routes")
        _say([*routes_lines(items, seed=seed), f"Written: {out}"])


def crosscode(
    base: Base,
    post: Post,
    task: OneTask = "arith/fresh",
    n: N = 1000,
    seed: Seed = 0,
    site: Annotated[str, typer.Option(help="A stream with one vector per position.")] = (
        "blocks.1.hook_resid_post"
    ),
    out: Folder = Path("runs/crosscode"),
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """A crosscoder of both models beside its nulls: whose are the latents?"""
    with explained():
        from interp.methods.crosscoder import save_crosscoder
        from interp.models import ModelPair
        from interp.results.plots import decoder_norms, save
        from interp.sites import parse_site
        from probes.crosscoding import crosscode as crosscode_pair
        from probes.crosscoding import told, whole_texts

        models, asked = _loaded([base, post], task, n, seed, data, device, dtype)
        texts = whole_texts(models[0].tokenizer, asked)
        folder = out / "activations"
        found = crosscode_pair(ModelPair(*models), texts, parse_site(site), folder=folder)
        save(decoder_norms(found.reports), out, "crosscoder")
        for name, one in found.crosscoders.items():
            save_crosscoder(out / f"{name}.safetensors", one)
        _say([*told(found), f"Written: {out}"])


def features(
    base: Base,
    post: Annotated[str | None, typer.Argument(help="A second model to switch.")] = None,
    sae: SaeFolder = None,
    task: OneTask = "arith/fresh",
    n: N = 60,
    seed: Seed = 0,
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """SAE features of the mode: their falsification class, and each as a switch."""
    with explained():
        from probes.sae_features import SaeFeatures, features_report

        names = [name for name in (base, post) if name]
        models, asked = _loaded(names, task, n, seed, data, device, dtype)
        readers = _named(models)
        probe = SaeFeatures(sae=str(sae or ""))
        _say(features_report(readers, asked, probe, seed=seed))


def interact(
    base: Base,
    post: Post,
    task: OneTask = "arith/fresh",
    n: N = 60,
    seed: Seed = 0,
    dose: Annotated[float, typer.Option(help="Mean residual norms, or share ablated.")] = 0.5,
    ablate: Annotated[bool, typer.Option("--ablate", help="Project the direction out.")] = False,
    layer: Annotated[int | None, typer.Option(help="Behind which layer; the middle one.")] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="At every token, not the last of the question.")
    ] = False,
    data: Data = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
) -> None:
    """Edit the chain and the mechanism at once: does a direction change reliance on the chain?"""
    with explained():
        from interp.chains.trace_writing import gold_traces
        from probes.direction_by_corruption import Mechanism, interactions, lines

        models, asked = _loaded([base, post], task, n, seed, data, device, dtype)
        readers = _named(models)
        traces = {"gold": gold_traces(models[0].tokenizer, asked)}
        probe = Mechanism(
            layer,
            operator="ablate" if ablate else "add",
            dose=dose,
            positions="all" if everywhere else "question",
        )
        items = probe.run(readers, asked, traces, seed=seed)
        _say(lines(interactions(items, seed=seed)) or sorted({i.note for i in items}))


def sae(
    name: Annotated[str, typer.Argument(help="A base organism.")],
    seed: Annotated[int, typer.Option(help="Which of its trained copies.")] = 0,
    site: Annotated[
        str, typer.Option(help="blocks.1.hook_resid_post; results are found at blocks.2.")
    ] = "blocks.1.hook_resid_post",
    out: Folder = Path("runs/saes"),
) -> None:
    """Train an SAE on a base organism and set its latents against the known variables."""
    with explained():
        from interp.organisms.saes.bundled import make_sae
        from interp.sites import parse_site

        _say(make_sae(name, out, seed=seed, site=parse_site(site)).lines())


def _loaded(
    names: Sequence[str], task: str, n: int, seed: int, data: str | None, device: str, dtype: str
) -> tuple[list[Model], Task]:
    from interp.tasks import make_task
    from probes.model_names import find_model

    asked = make_task(task, n=n, seed=seed, data=data)
    return [find_model(name, device=device, dtype=dtype) for name in names], asked


def _named(models: Sequence[Model]) -> dict[str, Model]:
    names: tuple[str, ...] = ("base", "post")
    return dict(zip(names, models, strict=False))


def _bundled_sae(model: Model) -> Path | None:
    from interp.organisms.saes.bundled import find_sae

    try:
        return find_sae(model)
    except ValueError:
        return None


def _kept(out: Path, items: Sequence[Item]) -> None:
    from interp.results.rows import Item as Kept
    from interp.results.run_folder import write_rows

    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / "items.parquet", Kept, items)


def _say(lines: Sequence[Any]) -> None:
    for line in lines:
        typer.echo(line)
