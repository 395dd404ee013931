"""A run: probes on a pair or one model, on the same items, in a folder of its own.

Order of work: make the tasks; let each model write its chains (forced: the chain is opened for it,
so that both models have one) beside the task's own correct ones; run each probe; keep what it found
as soon as it is there; make rows, the verdict, figures and the page. A run that is stopped and
started again with the same settings goes on after the last finished probe and ends with the same
rows. `posthoc audit` runs all probes of an audit, every other command that measures runs one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from interp.chains.trace import Trace
from interp.chains.trace_writing import gold_traces, write_traces
from interp.models import Model, ModelPair
from interp.models.identity import describe_model
from interp.results.report import Verdict, write_report
from interp.results.rows import CONTRAST, Item, Measurement
from interp.results.run_folder import WORK, Run, RunData, load_run
from interp.results.summaries import summarise
from interp.tasks import Task
from probes import audit_probes, statistics_of
from probes.audit.named import (
    describe_probes,
    make_probes,
    make_tasks,
    names_of_tasks,
    own_classes,
)
from probes.audit.page import draw_figures, make_sections
from probes.audit.verdict import SMALLEST, judge, say_checkpoints
from probes.calibration.table import kept_table
from probes.probe import Probe, Readers, Results

WRITERS = ("gold", "base", "post")


@dataclass(frozen=True)
class AuditSettings:
    """What is run. Saved with the result."""

    tasks: tuple[str | Task, ...]
    """Names of tasks (`interp.tasks.make_task`), files of questions, or tasks themselves."""
    n: int = 100
    """Examples of each task that is named; a task itself is asked whole."""
    probes: tuple[str | Probe, ...] = ()
    """Names of probes, or probes themselves; all of an audit when empty."""
    writers: tuple[str, ...] = WRITERS
    """Whose chains are read. The verdict rests on those that each model wrote itself; on the first
    writer's where a model's own are not among them."""
    seed: int = 0
    """Of examples, edits and the bootstrap."""
    data: str | None = None
    """Folder of downloaded data sets, for tasks that need one."""
    smallest: float = SMALLEST
    """Size of a difference of accuracy or reliance that matters, 0 to 1."""
    options: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    """Settings of single probes that differ from their defaults: (probe, ((field, value), ...))."""
    grader: str | None = None
    """How answers to the questions of a file are compared; chosen from them when None."""

    def __post_init__(self) -> None:
        if not self.probes:
            object.__setattr__(self, "probes", audit_probes())
        if self.n < 1 or not self.tasks:
            raise ValueError(
                "a run needs at least one task and one example, received "
                f"tasks={self.tasks}, n={self.n}"
            )
        # For their checks of names and settings, before models are loaded.
        names_of_tasks(self.tasks)
        make_probes(self.probes, self.options)
        unknown = sorted(set(self.writers) - set(WRITERS))
        if unknown:
            raise ValueError(f"unknown writer {unknown[0]!r}; known: {', '.join(WRITERS)}")


@dataclass(frozen=True)
class Audit:
    """What a run measured and where it is."""

    report: Path
    verdict: Verdict
    rows: tuple[Measurement, ...]
    items: tuple[Item, ...]


def audit(readers: Readers, settings: AuditSettings, out: Path) -> Audit:
    """Runs the probes and writes the run folder.

    Args:
        readers: From `pair_readers`: `{"base": model, "post": model}`, or `{"base": model}`.
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
            f"a writer is 'gold' or one of the models that are read ({', '.join(readers)}), "
            f"received {absent[0]!r}. Give a second model, or writers=('gold', 'base')"
        )
    tasks = _make_tasks(settings)
    probes = make_probes(settings.probes, settings.options)
    # Before the slow part, since it refuses a folder that cannot be written or holds another run.
    run = Run.create(out, describe_run(readers, settings, tasks))
    run.save_examples(tasks)
    items: list[Item] = []
    # Not kept as parts: decoding is greedy, so a run that goes on writes the same chains again.
    traces = {task.name: _write_chains(readers, task, settings) for task in tasks}
    run.save_traces([t for by_writer in traces.values() for ts in by_writer.values() for t in ts])
    for task in tasks:
        for name, probe in probes.items():
            work = partial(
                probe.examine, readers, task, traces[task.name], seed=settings.seed,
                folder=out / WORK / name,
            )  # fmt: skip
            items += run.part(part_name(name, task.name), work).items
    rows = summarise(
        items,
        pair=" -> ".join(model.name for model in readers.values()),
        chance={task.name: task.chance for task in tasks},
        seed=settings.seed,
        **statistics_of(map(type, probes.values())),
    )
    run.save_results(items, rows)
    report = redraw(out, settings)
    # Read back, so that the caller gets what a later reader of the folder will get.
    data = load_run(out)
    return Audit(report, verdict_of(data, settings), data.rows, data.items)


def redraw(folder: Path, settings: AuditSettings | None = None) -> Path:
    """Draws the figures and the page of a finished run from its rows.

    Args:
        folder: Of the run.
        settings: Those of the run; read from its manifest where they are not given.

    Raises:
        ValueError: The folder holds no finished run.
    """
    data = load_run(folder)
    settings = settings or read_settings(data)
    probes = make_probes(settings.probes, settings.options)
    figures = draw_figures(data.rows, probes, results_of(data, settings), settings.writers)
    parts = make_sections(probes, figures, kept_table())
    return write_report(folder, parts, verdict_of(data, settings), figures)


def verdict_of(data: RunData, settings: AuditSettings | None = None) -> Verdict:
    """The verdict on the rows of a run, with what each probe that was run alone describes."""
    settings = settings or read_settings(data)
    probes = make_probes(settings.probes, settings.options)
    described: list[str] = []
    if len(probes) == 1:
        ((name, probe),) = probes.items()
        described = probe.describe(results_of(data, settings)[name])
    facts = {example["id"]: example["facts"] for example in data.examples}
    verdict = judge(
        data.rows, tasks=names_of_tasks(settings.tasks), writers=settings.writers,
        described=described, smallest=settings.smallest, items=data.items, facts=facts,
        own=own_classes(probes),
    )  # fmt: skip
    n_models = len({row.reader for row in data.rows} - {CONTRAST})
    return replace(verdict, lines=(*verdict.lines, say_checkpoints(n_models)))


def results_of(data: RunData, settings: AuditSettings) -> dict[str, Results]:
    """What a run has of each of its probes."""
    tasks = names_of_tasks(settings.tasks)
    return {
        name: Results(
            rows=tuple(row for row in data.rows if row.probe == name),
            items=tuple(item for item in data.items if item.probe == name),
            records={
                task: data.records[part_name(name, task)]
                for task in tasks
                if part_name(name, task) in data.records
            },
            tasks=tasks,
            writer=settings.writers[0] if settings.writers else "",
            seed=settings.seed,
        )
        for name in make_probes(settings.probes, settings.options)
    }


def read_settings(data: RunData) -> AuditSettings:
    """The settings of a run, from its manifest."""
    kept: Mapping[str, Any] = data.manifest.get("settings", {})
    wanted = {field.name for field in fields(AuditSettings)}
    if set(kept) != wanted:
        raise ValueError(
            f"{data.folder} holds a run with the settings {sorted(kept)}, not {sorted(wanted)}. It "
            f"comes from another version: make it again"
        )
    # JSON has no tuples: what was saved as tuples comes back as lists.
    options = tuple((name, tuple((k, v) for k, v in pairs)) for name, pairs in kept["options"])
    names = ("tasks", "probes", "writers")
    read: dict[str, Any] = {
        **kept,
        **{name: tuple(kept[name]) for name in names},
        "options": options,
    }
    return AuditSettings(**read)


def part_name(probe: str, task: str) -> str:
    """Name of one piece of work in a run folder."""
    return f"{probe} {task}"


def pair_readers(base: Model, *posts: Model, names: Sequence[str] = ("post",)) -> Readers:
    """The readers of a run, after the checks of each pair.

    Args:
        base: Before post-training, or the only model.
        posts: Models made from it; none for a run on one model.
        names: What each of these is called.
    """
    readers = {"base": base}
    for name, post in zip(names, posts, strict=False):  # one model alone has no post
        readers[name] = ModelPair(base, post).post
    return readers


def _write_chains(
    readers: Readers, task: Task, settings: AuditSettings
) -> Mapping[str, Sequence[Trace]]:
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


def _make_tasks(settings: AuditSettings) -> list[Task]:
    return make_tasks(
        settings.tasks, n=settings.n, seed=settings.seed, data=settings.data, grader=settings.grader
    )


def describe_run(
    readers: Readers, settings: AuditSettings, tasks: Sequence[Task] | None = None
) -> dict[str, Any]:
    """What determines the results of a run: models, questions, settings, and files of probes.

    Args:
        readers: The models.
        settings: Of the run.
        tasks: Made by these settings; made here where they are not given.
    """
    probes = make_probes(settings.probes, settings.options)
    tasks = _make_tasks(settings) if tasks is None else tasks
    return {
        "models": {role: describe_model(model) for role, model in readers.items()},
        "examples": {task.name: hash_examples(task) for task in tasks},
        "settings": describe_settings(settings),
        # With all defaults: `settings` has only what differs from them, and a default may change.
        "probes": {name: repr(probe) for name, probe in probes.items()},
        "files": {name: dict(probe.hash_inputs(readers)) for name, probe in probes.items()},
    }


def describe_settings(settings: AuditSettings) -> dict[str, Any]:
    """Settings as plain data: tasks by their names, probes by name or place, and their settings."""
    plain = {field.name: getattr(settings, field.name) for field in fields(settings)}
    plain["tasks"] = names_of_tasks(settings.tasks)
    return plain | describe_probes(settings.probes, settings.options)


def hash_examples(task: Task) -> str:
    """Checksum of the questions, answers and steps of a task, and of the text around them."""
    return hashlib.sha256(repr((task.layout, task.examples)).encode()).hexdigest()
