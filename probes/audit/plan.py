"""Plans: what a run is to do, checked before its models are asked.

`AuditSettings` is what the user wants, as it is saved with the result. `plan_run` makes the tasks
of it and matches traces that are given to their examples; after that all tasks and writers are
known. Settings go into a manifest as plain data and come back from it, so that a finished run can
be drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from interp.chains.trace import Trace
from interp.results.run_folder import RunData
from interp.tasks import Task
from interp.tasks.task import repeat_examples
from probes import audit_probes
from probes.audit.given_traces import GivenTraces, gather_traces
from probes.audit.named import describe_probes, make_probes, make_tasks, names_of_tasks
from probes.audit.verdict import SMALLEST
from probes.probe import Probe

WRITERS = ("gold", "base", "post")


@dataclass(frozen=True)
class AuditSettings:
    """What is run. Saved with the result."""

    tasks: tuple[str | Task, ...]
    """Names of tasks (`interp.tasks.make_task`), files of questions, or tasks themselves. May be
    empty where traces are given that name theirs, or that come with questions and right answers."""
    n: int = 100
    """Examples of each task that is named; a task itself is asked whole. Where traces are given, at
    most so many of those that they answer."""
    probes: tuple[str | Probe, ...] = ()
    """Names of probes, or probes themselves; all of an audit when empty."""
    writers: tuple[str, ...] = WRITERS
    """Whose chains are read; writers of given traces are added. The verdict rests on those that
    each model wrote itself; on the first writer's where a model's own are not among them."""
    seed: int = 0
    """Of examples, edits and the bootstrap."""
    data: str | None = None
    """Folder of downloaded data sets, for tasks that need one."""
    smallest: float = SMALLEST
    """Size of a difference of accuracy or reliance that matters, 0 to 1."""
    traces: tuple[str, ...] = ()
    """Files of traces that are read instead of being written, each as FILE or WRITER=FILE."""
    options: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    """Settings of single probes that differ from their defaults: (probe, ((field, value), ...))."""
    grader: str | None = None
    """How answers to the questions of a file are compared; chosen from them when None."""

    samples: int = 1
    """Texts that are drawn for each problem, where models sample. Each is an example of its own, of
    the same problem, and problems are the units of the statistics."""

    def __post_init__(self) -> None:
        if not self.probes:
            object.__setattr__(self, "probes", audit_probes())
        if self.n < 1:
            raise ValueError(f"a run needs at least one example of each task, received n={self.n}")
        if self.samples < 1 or (self.samples > 1 and self.traces):
            raise ValueError(
                f"samples are texts drawn for each problem, at least 1, and only 1 beside traces "
                f"that were written already; received samples={self.samples}"
                f"{' and traces' if self.traces else ''}"
            )
        # For their checks of names and settings, before models are loaded.
        names_of_tasks(self.tasks)
        make_probes(self.probes, self.options)


@dataclass(frozen=True)
class Plan:
    """A run before models are asked: its tasks, and settings that hold them and all writers."""

    tasks: tuple[Task, ...]
    settings: AuditSettings
    given: GivenTraces | None


def plan_run(settings: AuditSettings, traces: Mapping[str, Sequence[Trace]]) -> Plan:
    """Makes the tasks of a run and reads the traces that are given to it.

    Args:
        settings: What to run.
        traces: As `audit` takes them.

    Raises:
        ValueError: No task, or a trace that answers no example of the tasks.
    """
    given = None
    made_of: dict[str, Any] = {
        "n": settings.n, "seed": settings.seed, "data": settings.data, "grader": settings.grader,
    }  # fmt: skip
    if settings.traces or traces:
        given = gather_traces(settings.traces, traces, tasks=settings.tasks, **made_of)
        tasks = given.tasks
    else:
        made = make_tasks(settings.tasks, **made_of)
        tasks = tuple(repeat_examples(task, settings.samples) for task in made)
    if not tasks:
        raise ValueError("a run needs at least one task, received none. Name one: --task gsm8k")
    elsewhere = () if given is None else given.writers
    writers = tuple(dict.fromkeys((*settings.writers, *elsewhere)))
    if "gold" not in elsewhere and not any(e.steps for task in tasks for e in task.examples):
        writers = tuple(name for name in writers if name != "gold")  # nobody knows a chain
    return Plan(tasks, replace(settings, tasks=tasks, writers=writers), given)


def describe_settings(settings: AuditSettings) -> dict[str, Any]:
    """Settings as plain data: tasks by their names, probes by name or place, and their settings."""
    plain = {field.name: getattr(settings, field.name) for field in fields(settings)}
    plain["tasks"] = names_of_tasks(settings.tasks)
    return plain | describe_probes(settings.probes, settings.options)


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
    names = ("tasks", "probes", "writers", "traces")
    read: dict[str, Any] = {
        **kept,
        **{name: tuple(kept[name]) for name in names},
        "options": options,
    }
    return AuditSettings(**read)
