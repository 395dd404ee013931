"""Scores: each probe on each organism and task of known truth, kept as items.

Every organism is the only reader; it reads the task's correct chains, and its own where a claim
asks for them. All organisms get the same problems. Beside that, on a few problems, each probe is
run on a pair of the organism with itself: what a contrast says of nothing at all.

Only the numbers that are claimed to tell something are kept, one file for each organism and probe.
Its name holds a checksum of what it was made of (weights, problems, settings, the code that
measures), so that a stopped calibration goes on, and nothing old is taken for new.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from interp.chains.trace import Trace
from interp.chains.trace_writing import gold_traces, write_traces
from interp.models import Model, load_model
from interp.organisms.recipe import Recipe
from interp.organisms.recipes import find_recipe
from interp.organisms.zoo import (
    Card,
    bundled,
    folder_name,
    organism_path,
    organisms_folder,
    read_card,
    weights_sha256,
)
from interp.results.rows import Item
from interp.results.run_folder import read_rows, write_rows
from interp.tasks import Task, make_task
from probes import PAIR_PROBES, PROBES, find_probe, ratios_of
from probes.calibration.claims import CLAIMS, GOLD, OWN, Claim
from probes.probe import DIFFERENCES

CODE = Path(__file__).resolve().parents[2]
NULL = "null "
"""Stands before the reader in a pair of a model with itself."""
NO_CHANGE = "do not differ"
"""What a probe of pairs says of a model and itself where that leaves nothing to measure."""
ONE = "1"
"""Stands for the denominator of what is no ratio."""


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    n: int = 200
    """Problems of each task."""
    seed: int = 7
    """Of problems and edits."""
    n_self: int = 12
    """Problems on which an organism is set against itself."""
    n_pair: int = 60
    """Problems of the probes that ask about a pair."""


@dataclass(frozen=True)
class Unit:
    """What one number says about one organism on one task."""

    recipe: str
    seed: int
    line: str
    """The independent unit: the recipe; of a pair that of the base, which its number is about, for
    the models made from one base are one case of it."""
    is_tuned_on: bool
    """Whether settings were chosen on this seed (`Recipe.tuned_on`), of a pair on either model."""
    task: str
    label: float
    """The truth: 0 or 1, or a dose."""
    examples: tuple[str, ...]
    problems: tuple[str, ...]
    values: np.ndarray
    """One number per example that could be measured, [example]."""
    under: np.ndarray
    """Denominators of a ratio, ones for a mean, [example]."""
    n_missing: int
    self_difference: float
    """Largest difference, over examples, of the organism from itself; NaN if not measured here. Of
    a pair: of the base from itself, 0 where the probe says that there is nothing to measure."""

    @property
    def score(self) -> float:
        """The mean, or the ratio of means; NaN if nothing could be measured."""
        below = float(self.under.sum())
        return float(self.values.sum()) / below if below > 0 else float("nan")


def certified(root: Path | None) -> tuple[tuple[Card, ...], dict[str, str]]:
    """Organisms of known truth with a passed certificate, and why the others are left out."""
    kept: list[Card] = []
    left: dict[str, str] = {}
    for card in bundled(root):
        name = f"{card.name}:{card.seed}"
        if not tasks_of(find_recipe(card.name)):
            left[name] = "nothing is known about it that a probe claims to see"
        elif not card.is_accepted:
            left[name] = f"it was not accepted: {'; '.join(card.failed)}"
        elif weights_sha256(folder_of(card, root)) != card.weights_sha256:
            left[name] = "its weights are not those of its card (posthoc organisms verify)"
        elif not card.certificate:
            left[name] = "it has no certificate (posthoc certify)"
        elif card.certificate["failed"]:
            left[name] = f"its certificate failed: {'; '.join(card.certificate['failed'])}"
        elif card.certificate["weights_sha256"] != card.weights_sha256:
            left[name] = "its certificate is about other weights (posthoc certify)"
        else:
            kept.append(card)
    return tuple(kept), left


def tasks_of(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Probe -> the tasks on which one of its claims can be judged by this recipe."""
    found: dict[str, dict[str, None]] = {}
    for claim in CLAIMS:
        for task in claim.labels(recipe):
            found.setdefault(claim.probe, {})[task] = None
    return {name: tuple(found[name]) for name in (*PROBES, *PAIR_PROBES) if name in found}


def measure_share(
    device: str, folders: Sequence[Path], *, keep: Path, settings: Settings
) -> list[int]:
    """Measures some organisms in a process of its own, one thread; how many probes were run."""
    torch.set_num_threads(1)
    return [measure(folder, keep, settings, device=device) for folder in folders]


def measure(folder: Path, keep: Path, settings: Settings, *, device: str = "cpu") -> int:
    """Runs the probes on one organism that are not yet in `keep`; returns how many those were."""
    card = read_card(folder)
    root = folder.parent
    files = {
        name: kept_file(card, name, keep, settings, root)
        for name in tasks_of(find_recipe(card.name))
    }
    wanted = {name: file for name, file in files.items() if not file.exists()}
    if wanted:
        model = load_model(str(folder), device=device)
        for name, file in wanted.items():
            if name in PAIR_PROBES:
                base = load_model(str(_parent(card, root)), device=device)
                items = _pair_items(base, model, card, name, settings)
            else:
                items = _items(model, card, name, settings)
            write_rows(file, Item, items)
    return len(wanted)


def _parent(card: Card, root: Path | None) -> Path:
    """The folder of the organism's parent: in the same root, or the bundled one."""
    name = str(card.parent)
    beside = (root or organisms_folder()) / folder_name(name, card.seed)
    return beside if beside.is_dir() else organism_path(name, card.seed)


def _items(model: Model, card: Card, name: str, settings: Settings) -> list[Item]:
    probe = find_probe(name)()
    claims = [claim for claim in CLAIMS if claim.probe == name]
    is_own = any(claim.writer == OWN for claim in claims)
    items: list[Item] = []
    for at, task_name in enumerate(tasks_of(find_recipe(card.name))[name]):
        task = _task(task_name, settings.n, settings.seed)
        traces = _traces(model, task, [OWN] if is_own else [], settings)
        items += probe.run({OWN: model}, task, traces, seed=settings.seed)
        if at == 0:
            few = _task(task_name, settings.n_self, settings.seed)
            traces = _traces(model, few, ["base", "post"] if is_own else [], settings)
            items += probe.run({"base": model, "post": model}, few, traces, seed=settings.seed)
    return _claimed(claims, items)


def _pair_items(base: Model, post: Model, card: Card, name: str, settings: Settings) -> list[Item]:
    """The organism as the post-trained model of its parent; and the parent as both models."""
    probe, items = find_probe(name)(), list[Item]()
    for is_null, n, readers in (
        (False, settings.n_pair, {"base": base, "post": post}),
        (True, settings.n_self, {"base": base, "post": base}),
    ):
        for task_name in tasks_of(find_recipe(card.name))[name]:
            task = _task(task_name, n, settings.seed)
            traces = {GOLD: gold_traces(base.tokenizer, task)}
            found = probe.run(readers, task, traces, seed=settings.seed)
            kept = _claimed([claim for claim in CLAIMS if claim.probe == name], found)
            items += [_as_null(item) for item in kept] if is_null else kept
    return items


def _as_null(item: Item) -> Item:
    """An item of a model paired with itself, named apart from those of the pair."""
    return replace(item, reader=f"{NULL}{item.reader}")


def _claimed(claims: Sequence[Claim], items: Sequence[Item]) -> list[Item]:
    """Those items that a claim is about."""
    named = {key for claim in claims for key in _parts(claim) if key[1] != ONE}
    return [item for item in items if (item.condition, item.metric) in named and item.step == -1]


def _traces(
    model: Model, task: Task, writers: Sequence[str], settings: Settings
) -> dict[str, Sequence[Trace]]:
    """The model's own chains under each of these names; the task's chains when there is none."""
    if not writers:
        return {GOLD: gold_traces(model.tokenizer, task)}
    return {
        name: write_traces(model, task, mode="forced", writer=name, seed=settings.seed)
        for name in writers
    }


def _parts(claim: Claim) -> tuple[tuple[str, str], tuple[str, str]]:
    """Condition and metric of the numerator and the denominator of a claim's number."""
    for ratio in ratios_of([claim.probe]):
        if (ratio.probe, ratio.condition, ratio.metric) == (
            claim.probe, claim.condition, claim.metric
        ):  # fmt: skip
            return (claim.condition, ratio.over), (claim.condition, ratio.under)
    return (claim.condition, claim.metric), (claim.condition, ONE)


def read_units(
    cards: Sequence[Card], keep: Path, settings: Settings, root: Path | None = None
) -> Mapping[Claim, tuple[Unit, ...]]:
    """The units of every claim, from the kept items of all organisms."""
    units: dict[Claim, list[Unit]] = {claim: [] for claim in CLAIMS}
    for card in cards:
        recipe = find_recipe(card.name)
        for name in tasks_of(recipe):
            items = read_rows(kept_file(card, name, keep, settings, root), Item)
            for claim in CLAIMS:
                if claim.probe == name:
                    for task, label in claim.labels(recipe).items():
                        units[claim].append(_unit(card, claim, task, label, items))
    return {claim: tuple(found) for claim, found in units.items()}


def _unit(card: Card, claim: Claim, task: str, label: float, items: Sequence[Item]) -> Unit:
    over, under = _parts(claim)
    here = [item for item in items if item.task == task]

    def by_example(part: tuple[str, str], reader: str, writer: str) -> dict[str, Item]:
        return {
            item.example: item
            for item in here
            if (item.condition, item.metric) == part
            and (item.reader, item.writer) == (reader, writer)
        }

    recipe = find_recipe(card.name)
    line, tuned_on = card.name, {*recipe.tuned_on}
    if claim.reader != OWN:
        line = str(recipe.parent)
        tuned_on |= {*find_recipe(line).tuned_on}
    mine = by_example(over, claim.reader, claim.writer)
    below = by_example(under, claim.reader, claim.writer)
    pairs = [
        (item, 1.0 if under[1] == ONE else below[example].value)
        for example, item in mine.items()
        if under[1] == ONE or example in below
    ]
    known = [(item, weight) for item, weight in pairs if item.value + weight == item.value + weight]
    return Unit(
        card.name, card.seed, line, card.seed in tuned_on, task, label,
        tuple(item.example for item, _ in known),
        tuple(item.problem for item, _ in known),
        np.array([item.value for item, _ in known], dtype=np.float64),
        np.array([weight for _, weight in known], dtype=np.float64),
        len(mine) - len(known),
        _against_itself([item for item in here if (item.condition, item.metric) == over]),
    )  # fmt: skip


def _against_itself(items: Sequence[Item]) -> float:
    """Largest difference of two equal readers; writers of their own are compared likewise.

    What is itself a difference from the base is set against 0. A probe that says of a base and
    itself that they do not differ has found no difference.
    """
    null = [item for item in items if item.reader.startswith(NULL)]
    sides: dict[str, dict[tuple[str, str], float]] = {"base": {}, "post": {}}
    for item in null or items:
        reader = item.reader.removeprefix(NULL)
        if reader in sides:
            writer = OWN if item.writer == reader else item.writer
            sides[reader][item.example, writer] = item.value
    both = {**sides["base"], **sides["post"]}
    if null:  # the direction of one model in the other has no counterpart
        if all(item.value != item.value and NO_CHANGE in item.note for item in null):
            return 0.0
        known = [abs(item.value) for item in null if item.value == item.value]
        if known and null[0].metric in DIFFERENCES:
            return max(known)
        both = {key: both[key] for key in both if all(key in side for side in sides.values())}
    differences: list[float] = []
    for key in both:
        base, post = (sides[side].get(key, float("nan")) for side in ("base", "post"))
        if base == base or post == post:
            differences.append(abs(base - post) if base - post == base - post else float("inf"))
    return max(differences, default=float("nan"))


def kept_file(
    card: Card, probe: str, keep: Path, settings: Settings, root: Path | None = None
) -> Path:
    """Where the items of one organism and probe are kept; named after what they are made of."""
    tasks = tasks_of(find_recipe(card.name))[probe]
    claimed = sorted(str(_parts(claim)) for claim in CLAIMS if claim.probe == probe)
    made_of: dict[str, Any] = {
        "weights": card.weights_sha256,
        "settings": asdict(settings),
        "problems": [_problems_sha256(task, settings.n, settings.seed) for task in tasks],
        "claimed": claimed,
        "code": _code_sha256(probe),
    }
    if probe in PAIR_PROBES:
        made_of["parent"] = read_card(_parent(card, root)).weights_sha256
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]
    return keep / f"{card.name}-s{card.seed}-{probe}-{key}.parquet"


@cache
def _task(name: str, n: int, seed: int) -> Task:
    return make_task(name, n=n, seed=seed)


@cache
def _problems_sha256(task: str, n: int, seed: int) -> str:
    return hashlib.sha256(repr(_task(task, n, seed).examples).encode()).hexdigest()


@cache
def _code_sha256(probe: str) -> str:
    """Checksum of the probe's module and of all that it imports from here, directly or not."""
    total = hashlib.sha256()
    seen: set[Path] = set()
    waiting = [*_files(f"probes.{probe}")]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += _imported(file)
    for file in sorted(seen):
        total.update(file.read_bytes())
    return total.hexdigest()


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for name in ("", *(f".{alias.name}" for alias in node.names)):
                yield from _files(f"{node.module}{name}")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name)


def _files(module: str) -> list[Path]:
    """The file of a module of this repository, or the opening file of a package; else none."""
    path = CODE.joinpath(*module.split("."))
    found = [path.with_suffix(".py"), path / "__init__.py"]
    return [file for file in found if module.startswith(("interp.", "probes.")) and file.is_file()]


def folder_of(card: Card, root: Path | None) -> Path:
    """The folder of a card's organism."""
    return organism_path(card.name, card.seed, root=root)
