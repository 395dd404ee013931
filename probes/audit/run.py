"""The audit: every probe, on the same items, for every writer and reader of a pair.

Order of work: make the tasks; let each model write its chains (forced: the think block is opened,
so that both models have a chain to look at) beside the task's own correct ones; run each probe;
save its items as soon as they are there; make rows, the verdict, figures and the page. A run that
is stopped and started again with the same settings takes up after the last finished probe and
ends with the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from interp.chains.trace import Trace
from interp.chains.trace_writing import gold_traces, write_traces
from interp.models import Model, ModelPair
from interp.results.report import Verdict, write_report
from interp.results.rows import Item, Measurement, summarise
from interp.results.run_folder import Run, load_run
from interp.tasks import Task, make_task
from probes import PROBES, find_probe, pooled_of, ratios_of
from probes.audit.page import draw_figures, sections
from probes.audit.verdict import judge
from probes.calibration.table import kept_table
from probes.probe import DIFFERENCES, Readers

WRITERS = ("gold", "base", "post")


@dataclass(frozen=True)
class Settings:
    """What is run. Saved with the result."""

    tasks: tuple[str, ...]
    """Names of tasks (`interp.tasks.make_task`)."""
    n: int = 100
    """Examples of each task."""
    probes: tuple[str, ...] = tuple(PROBES)
    """Names of probes."""
    writers: tuple[str, ...] = WRITERS
    """Whose chains are read; the verdict compares the readers on the first."""
    seed: int = 0
    """Seed of examples, edits and the bootstrap."""
    data: str | None = None
    """Folder of downloaded data sets, for tasks that need one."""
    options: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    """Settings of single probes that differ from their defaults: (probe, ((field, value), ...))."""

    def __post_init__(self) -> None:
        if self.n < 1 or not self.tasks or not self.probes or not self.writers:
            raise ValueError(
                "An audit needs at least one task, probe, writer and example; got "
                f"tasks={self.tasks}, probes={self.probes}, writers={self.writers}, n={self.n}."
            )
        for name in self.probes:
            find_probe(name)
        unknown = sorted(set(self.writers) - set(WRITERS))
        if unknown:
            raise ValueError(f"Unknown writer {unknown[0]!r}. Known: {', '.join(WRITERS)}.")


@dataclass(frozen=True)
class Audit:
    """What an audit found and where it is."""

    report: Path
    verdict: Verdict
    rows: tuple[Measurement, ...]
    items: tuple[Item, ...]


def audit(readers: Readers, settings: Settings, out: Path) -> Audit:
    """Runs the probes and writes the run folder.

    Args:
        readers: `{"base": model, "post": model}`, or one model as `{"base": model}`.
        settings: What to run.
        out: Run folder; made, or taken up again if it was begun with the same settings.

    Returns:
        The verdict, rows and items, and the path of `report.html`.

    Raises:
        ValueError: Unknown names, an unwritable folder, models that do not form a pair.
    """
    absent = sorted(set(settings.writers) - {"gold", *readers})
    if absent:
        raise ValueError(
            f"A writer is 'gold' or one of the models that are read ({', '.join(readers)}), got "
            f"{absent[0]!r}. Give a second model, or writers=('gold', 'base')."
        )
    tasks = [
        make_task(name, n=settings.n, seed=settings.seed, data=settings.data)
        for name in settings.tasks
    ]
    run = Run.create(out, _manifest(readers, settings))
    run.save_examples(tasks)
    traces = {task.name: _traces(readers, task, settings) for task in tasks}
    run.save_traces([t for by_writer in traces.values() for ts in by_writer.values() for t in ts])
    items: list[Item] = []
    options = dict(settings.options)
    for task in tasks:
        for name in settings.probes:
            probe = find_probe(name)(**dict(options.get(name, ())))
            work = partial(probe.run, readers, task, traces[task.name], seed=settings.seed)
            items += run.part(f"{name} {task.name}", work)
    chance = {task.name: task.chance for task in tasks}
    rows = summarise(
        items,
        pair=pair_name(readers),
        chance=chance,
        seed=settings.seed,
        ratios=ratios_of(settings.probes),
        pooled=pooled_of(settings.probes),
        differences=DIFFERENCES,
    )
    run.save_results(items, rows)
    return Audit(redraw(out), told(rows, settings), tuple(rows), tuple(items))


def told(rows: Sequence[Measurement], settings: Settings) -> Verdict:
    """The verdict on the rows of a run."""
    return judge(rows, tasks=settings.tasks, writer=settings.writers[0])


def redraw(folder: Path) -> Path:
    """Draws the figures and the page of a finished run from its rows.

    Raises:
        ValueError: The folder holds no finished run.
    """
    data = load_run(folder)
    kept = data.manifest["settings"]
    tasks, probes = tuple(kept["tasks"]), tuple(kept["probes"])
    settings = Settings(tasks=tasks, probes=probes, writers=tuple(kept["writers"]))
    figures = draw_figures(data.rows, tasks, settings.writers[0])
    parts = sections(probes, figures, kept_table())
    return write_report(folder, parts, told(data.rows, settings), figures)


def pair_name(readers: Readers) -> str:
    """`base -> post`, or the one model's name."""
    return " -> ".join(model.name for model in readers.values())


def pair_readers(base: Model, post: Model | None = None) -> Readers:
    """The readers of a pair, after its checks; of one model when there is no second."""
    if post is None:
        return {"base": base}
    pair = ModelPair(base, post)
    return {"base": pair.base, "post": pair.post}


def _traces(readers: Readers, task: Task, settings: Settings) -> Mapping[str, Sequence[Trace]]:
    """Each writer's chains on the same examples."""
    traces: dict[str, Sequence[Trace]] = {}
    for writer in settings.writers:
        if writer == "gold":
            tokenizer = next(iter(readers.values())).tokenizer
            traces[writer] = gold_traces(tokenizer, task)
        else:
            traces[writer] = write_traces(
                readers[writer], task, mode="forced", writer=writer, seed=settings.seed
            )
    return traces


def _manifest(readers: Readers, settings: Settings) -> dict[str, Any]:
    models = {
        role: {
            "name": model.name,
            "weights_sha256": model.weights_sha256,
            "dtype": str(model.dtype),
            "tokenizer_size": len(model.tokenizer),
        }
        for role, model in readers.items()
    }
    return cast("dict[str, Any]", {"models": models, "settings": asdict(settings)})
