"""A run: probes on a pair or one model, on the same items, in a folder of its own.

Order of work: make the tasks; let each model write its chains (forced: the chain is opened for it,
so that both models have one) beside the task's own correct ones and those that were written
elsewhere (`probes.audit.given_traces`); run each probe; keep what it found
as soon as it is there; make rows, the verdict, figures and the page. A run that is stopped and
started again with the same settings goes on after the last finished probe and ends with the same
rows. `posthoc audit` runs all probes of an audit, every other command that measures runs one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
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
from probes import statistics_of
from probes.audit.named import make_probes, names_of_tasks, own_classes
from probes.audit.page import draw_figures, make_sections
from probes.audit.plan import (
    AuditSettings,
    Plan,
    describe_settings,
    plan_run,
    read_settings,
)
from probes.audit.verdict import judge, say_checkpoints
from probes.calibration.table import kept_table
from probes.probe import Readers, Results


@dataclass(frozen=True)
class Audit:
    """What a run measured and where it is."""

    report: Path
    verdict: Verdict
    rows: tuple[Measurement, ...]
    items: tuple[Item, ...]


def audit(
    readers: Readers,
    settings: AuditSettings,
    out: Path,
    *,
    traces: Mapping[str, Sequence[Trace]] = MappingProxyType({}),
) -> Audit:
    """Runs the probes and writes the run folder.

    Args:
        readers: From `pair_readers`: `{"base": model, "post": model}`, or `{"base": model}`.
        settings: What to run.
        out: Run folder; made, or taken up again if it was begun with the same settings.
        traces: Writer -> traces that are read instead of being written, beside those in the files
            of the settings. They name their tasks and examples.

    Returns:
        The verdict, rows and items, and the path of `report.html`.

    Raises:
        ValueError: Unknown names, an unwritable folder, models that do not form a pair.
    """
    planned = plan_run(settings, traces)
    _check_writers(readers, planned)
    _check_samples(readers, settings)
    tasks, settings = planned.tasks, planned.settings
    probes = make_probes(settings.probes, settings.options)
    # Before the slow part, since it refuses a folder that cannot be written or holds another run.
    run = Run.create(out, _describe(readers, planned))
    run.save_examples(tasks)
    items: list[Item] = []
    # Not kept as parts: decoding is greedy, so a run that goes on writes the same chains again.
    chains = {task.name: _write_chains(readers, task, planned) for task in tasks}
    run.save_traces([t for by_writer in chains.values() for ts in by_writer.values() for t in ts])
    for task in tasks:
        for name, probe in probes.items():
            work = partial(
                probe.examine, readers, task, chains[task.name], seed=settings.seed,
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
    account = (*data.manifest.get("asked", ()), *data.manifest.get("traces", {}).get("account", ()))
    return replace(verdict, lines=(*verdict.lines, *account, say_checkpoints(n_models)))


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


def reader_notes(readers: Readers) -> tuple[str, ...]:
    """How models are asked and were loaded, and how those of a pair differ where they may."""
    base = readers.get("base")
    notes = format_notes(readers)
    notes += [f"{role}: {note}" for role, model in readers.items() for note in model.notes]
    for role, model in readers.items():
        if base is not None and model is not base:
            notes += [f"{role} against base: {note}" for note in ModelPair(base, model).notes]
    return tuple(notes)


def format_notes(readers: Readers) -> list[str]:
    """How each model is asked, where one is asked otherwise than by the text of the task."""
    formats = {role: model.prompt_format for role, model in readers.items()}
    if not any(one.changes for one in formats.values()):
        return []
    return [f"{role} is asked {one.words}" for role, one in formats.items()]


def _check_writers(readers: Readers, plan: Plan) -> None:
    elsewhere = () if plan.given is None else plan.given.writers
    absent = sorted(set(plan.settings.writers) - {"gold", *readers, *elsewhere})
    if absent:
        raise ValueError(
            f"a writer is 'gold', one of the models that are read ({', '.join(readers)}) or one "
            f"whose traces are given ({', '.join(elsewhere) or 'none are'}), received "
            f"{absent[0]!r}. Give a second model, or writers=('gold', 'base')"
        )


def _check_samples(readers: Readers, settings: AuditSettings) -> None:
    greedy = [role for role, one in readers.items() if one.prompt_format.temperature == 0]
    if settings.samples > 1 and greedy:
        raise ValueError(
            f"several samples of a problem are drawn, and {greedy[0]} writes greedily, so that all "
            f"{settings.samples} would be equal. Give a temperature: --temperature 0.6 (in Python "
            "PromptFormat(temperature=0.6)), or take samples=1"
        )


def _write_chains(readers: Readers, task: Task, plan: Plan) -> Mapping[str, Sequence[Trace]]:
    """Each writer's chains on the same examples."""
    tokenizer = next(iter(readers.values())).tokenizer
    given = {} if plan.given is None else plan.given.encode(task, tokenizer)
    traces: dict[str, Sequence[Trace]] = {}
    for writer in plan.settings.writers:
        if writer in given:
            traces[writer] = given[writer]
        elif writer == "gold":
            traces[writer] = gold_traces(tokenizer, task)
        elif writer in readers:  # another one has given no trace on this task
            traces[writer] = write_traces(
                readers[writer], task, mode="forced", writer=writer, seed=plan.settings.seed
            )
    return traces


def describe_run(readers: Readers, settings: AuditSettings) -> dict[str, Any]:
    """What determines the results of a run: models, questions, settings, and files of probes."""
    return _describe(readers, plan_run(settings, {}))


def _describe(readers: Readers, plan: Plan) -> dict[str, Any]:
    probes = make_probes(plan.settings.probes, plan.settings.options)
    notes, given = reader_notes(readers), plan.given
    about = {} if given is None else {"sha256": given.sha256, "account": list(given.account)}
    return {
        **({"notes": list(notes)} if notes else {}),
        **({"asked": asked} if (asked := format_notes(readers)) else {}),
        "models": {role: describe_model(model) for role, model in readers.items()},
        "examples": {task.name: hash_examples(task) for task in plan.tasks},
        "settings": describe_settings(plan.settings),
        **({"traces": about} if about else {}),
        # With all defaults: `settings` has only what differs from them, and a default may change.
        "probes": {name: repr(probe) for name, probe in probes.items()},
        "files": {name: dict(probe.hash_inputs(readers)) for name, probe in probes.items()},
    }


def hash_examples(task: Task) -> str:
    """Checksum of the questions, answers and steps of a task, and of the text around them."""
    return hashlib.sha256(repr((task.layout, task.examples)).encode()).hexdigest()
