"""Tasks and probes of a run: names, and objects that stand in their place.

A run takes a task as a name (``gsm8k``, a file) or as a `Task`, and a probe as a name or as an
object of a class of one's own. An object is kept in a manifest by what makes it the same object
later: a task by the checksum of its examples, a probe by its class, as ``module:Class``, and the
settings that differ from their defaults. So a stopped run with objects goes on, and the page of a
finished one can be drawn again by `posthoc report`, if the class can be imported there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, cast

from interp.tasks import Task, make_task, name_task
from probes import PROBES, find_probe
from probes.probe import Probe

Options = Sequence[tuple[str, Sequence[tuple[str, Any]]]]
"""Settings of probes: (probe, ((field, value), ...))."""


def make_tasks(
    tasks: Iterable[str | Task], *, n: int, seed: int, data: str | None, grader: str | None
) -> list[Task]:
    """Tasks of names, and objects as they are.

    Args:
        tasks: Names (`interp.tasks.make_task`) and objects.
        n: Examples of each task that is named.
        seed: Which ones.
        data: Folder of data sets.
        grader: Of tasks that are files.
    """
    return [
        make_task(task, n=n, seed=seed, data=data, grader=grader) if isinstance(task, str) else task
        for task in tasks
    ]


def names_of_tasks(tasks: Iterable[str | Task]) -> tuple[str, ...]:
    """The names under which tasks stand in rows.

    Raises:
        ValueError: Two have one name.
    """
    names = tuple(name_task(task) if isinstance(task, str) else task.name for task in tasks)
    _check_different("task", names)
    return names


def make_probes(probes: Iterable[str | Probe], options: Options) -> dict[str, Probe]:
    """The probes of a run by their names, those that are named under their settings.

    Args:
        probes: Names of the table, ``module:Class``, and objects.
        options: Settings of those that are named.

    Raises:
        ValueError: A name is unknown, two are the same, or a setting is of no probe.
    """
    chosen = dict(options)
    made: list[Probe] = []
    for probe in probes:
        if isinstance(probe, str):
            of_class = find_probe(probe)
            made.append(of_class(**dict(chosen.get(of_class.name, ()))))
        elif isinstance(cast("object", probe), Probe):
            made.append(probe)
        else:
            raise ValueError(
                f"a probe is a name or an object of a class of probes, received {probe!r}. Give "
                "an object: MyProbe(), not MyProbe"
            )
    _check_different("probe", [probe.name for probe in made])
    return {probe.name: probe for probe in made}


def describe_probes(probes: Iterable[str | Probe], options: Options) -> dict[str, Any]:
    """What a manifest keeps of the probes of a run: how to find their classes, and settings.

    Returns:
        The fields ``probes`` and ``options`` of the settings, as plain data.
    """
    texts: list[str] = []
    kept = [*options]
    for probe in probes:
        if isinstance(probe, str):
            texts.append(probe)
            continue
        of_class = type(probe)
        is_bundled = probe.name in PROBES and find_probe(probe.name) is of_class
        place = f"{of_class.__module__}:{of_class.__qualname__}"
        texts.append(probe.name if is_bundled else place)
        if changed := tuple(_changed(probe)):
            kept.append((probe.name, changed))
    return {"probes": texts, "options": kept}


def _changed(probe: Probe) -> Iterable[tuple[str, Any]]:
    """The settings of a probe that differ from their defaults."""
    for field in fields(cast("Any", probe)):
        value = getattr(probe, field.name)
        if value != _default(field):
            yield field.name, str(value) if isinstance(value, Path) else value


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def own_classes(probes: Mapping[str, Probe]) -> dict[str, type[Probe]]:
    """Name -> class of the probes that are not in the table."""
    return {name: type(probe) for name, probe in probes.items() if name not in PROBES}


def _check_different(what: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"each {what} of a run has a name of its own, and {twice[0]!r} was received twice. "
            "Rename one, or leave it out"
        )
