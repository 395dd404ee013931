"""Scores: the number of each claim on each organism and task of known truth.

An organism alone is the only reader; it reads the task's correct chains, or its own where a claim
asks for them. For a probe of pairs it is the post-trained model of its parent. All organisms get
the same problems. Beside that, on a few problems, each probe compares an organism (of a pair, the
parent) with itself: every difference must be 0.

Only the items of claimed numbers are kept, in two files for each organism and probe (`measured` and
`itself`). A file is named after what it was made of (`interp.results.kept`): weights, problems,
settings, code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from interp.chains.trace import Trace
from interp.chains.trace_writing import gold_traces, write_traces
from interp.models import Model, load_model
from interp.models.identity import hash_folder
from interp.organisms.recipe import Recipe
from interp.organisms.recipes import find_recipe
from interp.organisms.zoo import (
    Card,
    folder_name,
    hash_weights,
    organism_path,
    organisms_folder,
    read_card,
    read_cards,
)
from interp.results.kept import code_sha256, kept_file
from interp.results.rows import POINTS, Item
from interp.results.run_folder import keep_rows
from interp.stats.kinds import Kind as MetricKind
from interp.tasks import Task, make_task
from probes import PROBES, find_probe
from probes.calibration.constructs import ProbeClaim, all_claims, labels_of
from probes.probe import OWN, Claim

GOLD = "gold"
NO_CHANGE = "do not differ"
"""Part of the note of a probe of pairs on a model and itself, where nothing can be measured."""
Kind = Literal["measured", "itself"]
KINDS: tuple[Kind, ...] = ("measured", "itself")


@dataclass(frozen=True)
class CalibrationSettings:
    """How much is measured."""

    n: int = 200
    """Problems of each task."""
    seed: int = 7
    """Of problems and edits."""
    n_self: int = 12
    """Problems on which an organism is compared with itself."""
    n_pair: int = 60
    """Problems of the probes that ask about a pair."""


@dataclass(frozen=True)
class Unit:
    """The number of one claim on one organism and task."""

    recipe: str
    seed: int
    line: str
    """The independent unit: the recipe. For a pair it is the recipe of the base, because the number
    is about the base: models made from one base are a single case of it."""
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
    a pair: of the base from itself, 0 where the probe reports that the two models do not differ."""

    @property
    def score(self) -> float:
        """The mean, or the ratio of means; NaN if nothing could be measured."""
        below = float(self.under.sum())
        return float(self.values.sum()) / below if below > 0 else float("nan")


def find_certified(root: Path | None) -> tuple[tuple[Card, ...], dict[str, str]]:
    """Organisms of known truth with a passed certificate, and why the others are left out."""
    certified: list[Card] = []
    left_out: dict[str, str] = {}
    for card in read_cards(root):
        name = f"{card.name}:{card.seed}"
        if not tasks_of(find_recipe(card.name)):
            left_out[name] = "no claim of a probe can be judged by what is known about it"
        elif not card.is_accepted:
            left_out[name] = f"it was not accepted: {'; '.join(card.failed)}"
        elif hash_weights(folder_of(card, root)) != card.weights_sha256:
            left_out[name] = "its weights are not those of its card (posthoc organisms verify)"
        elif not card.certificate:
            left_out[name] = "it has no certificate (posthoc certify)"
        elif card.certificate["failed"]:
            left_out[name] = f"its certificate failed: {'; '.join(card.certificate['failed'])}"
        elif card.certificate["weights_sha256"] != card.weights_sha256:
            left_out[name] = "its certificate is about other weights (posthoc certify)"
        else:
            certified.append(card)
    return tuple(certified), left_out


def tasks_of(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Probe -> the tasks on which one of its claims can be judged by this recipe."""
    tasks: dict[str, dict[str, None]] = {}
    for probe, claim in all_claims():
        for task in labels_of(claim, recipe):
            tasks.setdefault(probe, {})[task] = None
    return {probe: tuple(tasks[probe]) for probe in PROBES if probe in tasks}


def measure(device: str, folder: Path, *, keep: Path, settings: CalibrationSettings) -> int:
    """Measures one organism, as far as its items are not kept yet.

    Args:
        device: Where models run.
        folder: Of the organism.
        keep: Folder of the items.
        settings: How much is measured.

    Returns:
        How many probes were run.
    """
    card, root = read_card(folder), folder.parent
    n_run = 0
    for probe in tasks_of(find_recipe(card.name)):
        # Asked before `keep_items`, which writes the files.
        n_run += not all(_items_file(card, probe, k, keep, settings, root).exists() for k in KINDS)
        for kind in KINDS:
            keep_items(card, probe, kind, keep, settings, root, device=device)
    return n_run


def keep_items(
    card: Card,
    probe: str,
    kind: Kind,
    keep: Path,
    settings: CalibrationSettings,
    root: Path | None = None,
    *,
    device: str = "cpu",
) -> tuple[Item, ...]:
    """The claimed items of one organism and probe: read if they are kept, else measured."""
    file = _items_file(card, probe, kind, keep, settings, root)
    compute = partial(_measure_items, card, probe, kind, settings, root, device)
    return keep_rows(file, Item, compute)


def _items_file(
    card: Card, probe: str, kind: Kind, keep: Path, settings: CalibrationSettings, root: Path | None
) -> Path:
    tasks = tasks_of(find_recipe(card.name))[probe]
    is_pair = _is_about_pair(probe)
    made_of: dict[str, Any] = {
        "organism": hash_folder(folder_of(card, root)),
        "parent": hash_folder(_parent(card, root)) if is_pair else None,
        "settings": asdict(settings),
        "problems": [_problems_sha256(task, settings.n, settings.seed) for task in tasks],
        "claimed": sorted(_claimed_metrics(probe)),  # a set has no order; a checksum needs one
        "code": code_sha256(f"probes.{probe}"),
    }
    return kept_file(keep, f"{card.name}-s{card.seed}-{probe}-{kind}", made_of)


def _measure_items(
    card: Card, name: str, kind: Kind, settings: CalibrationSettings, root: Path | None, device: str
) -> list[Item]:
    organism = _load(folder_of(card, root), device)
    if _is_about_pair(name):
        base = _load(_parent(card, root), device)
        readers = {"base": base, "post": organism if kind == "measured" else base}
        n = settings.n_pair
    else:
        readers = {OWN: organism} if kind == "measured" else {"base": organism, "post": organism}
        n = settings.n
    tasks = tasks_of(find_recipe(card.name))[name]
    if kind == "itself":
        tasks, n = tasks[:1], settings.n_self
    probe, items = find_probe(name)(), list[Item]()
    for task_name in tasks:
        task = _task(task_name, n, settings.seed)
        traces = _traces(name, readers, task, settings.seed)
        items += probe.run(readers, task, traces, seed=settings.seed)
    claimed = _claimed_metrics(name)
    return [item for item in items if (item.condition, item.metric) in claimed and _is_whole(item)]


def _traces(
    probe: str, readers: Mapping[str, Model], task: Task, seed: int
) -> dict[str, Sequence[Trace]]:
    """Each reader's own chains where a claim is about them, else the task's correct chains."""
    is_own = any(claim.writer == OWN for claim in find_probe(probe).claims)
    if is_own and not _is_about_pair(probe):
        return {
            name: write_traces(model, task, mode="forced", writer=name, seed=seed)
            for name, model in readers.items()
        }
    return {GOLD: gold_traces(next(iter(readers.values())).tokenizer, task)}


def _is_about_pair(probe: str) -> bool:
    """Whether the probe judges an organism together with its parent."""
    return any(claim.reader != OWN for claim in find_probe(probe).claims)


def _is_whole(item: Item) -> bool:
    return all(getattr(item, point) is None for point in POINTS)


def _claimed_metrics(probe: str) -> set[tuple[str, str]]:
    """Condition and metric of every item that a claim of the probe needs."""
    return {
        (claim.condition, metric)
        for claim in find_probe(probe).claims
        for metric in _metrics_of(probe, claim)
    }


def _metrics_of(probe: str, claim: Claim) -> tuple[str, ...]:
    """The metric of a mean; of a ratio, the metrics of its numerator and its denominator."""
    for ratio in find_probe(probe).ratios:
        if ratio.metric == claim.metric:
            return ratio.over, ratio.under
    return (claim.metric,)


def kinds_of(probe: str, claim: Claim) -> tuple[MetricKind, ...]:
    """Kinds of the metrics that a claim's number is made of: one, or those of a ratio."""
    return tuple(find_probe(probe).kinds[metric] for metric in _metrics_of(probe, claim))


def read_units(
    cards: Sequence[Card], keep: Path, settings: CalibrationSettings, root: Path | None = None
) -> Mapping[ProbeClaim, tuple[Unit, ...]]:
    """The units of every claim. Items that are not kept yet are measured."""
    units: dict[ProbeClaim, list[Unit]] = {claim: [] for claim in all_claims()}
    for card in cards:
        recipe = find_recipe(card.name)
        for name in tasks_of(recipe):
            measured, itself = (keep_items(card, name, k, keep, settings, root) for k in KINDS)
            for claim in find_probe(name).claims:
                for task, label in labels_of(claim, recipe).items():
                    mine, null = (_of_task(items, task) for items in (measured, itself))
                    difference = _compare_with_itself(name, claim, null)
                    units[name, claim].append(
                        _unit(card, name, claim, task, label, mine, difference)
                    )
    return {claim: tuple(of_claim) for claim, of_claim in units.items()}


def _of_task(items: Sequence[Item], task: str) -> list[Item]:
    return [item for item in items if item.task == task]


def _unit(
    card: Card,
    probe: str,
    claim: Claim,
    task: str,
    label: float,
    items: Sequence[Item],
    self_difference: float,
) -> Unit:
    recipe = find_recipe(card.name)
    line, tuned_on = card.name, {*recipe.tuned_on}
    if claim.reader != OWN:
        line = str(recipe.parent)
        tuned_on |= {*find_recipe(line).tuned_on}
    over, *under = (_by_example(items, claim, metric) for metric in _metrics_of(probe, claim))
    pairs = [
        (item, under[0][example].value if under else 1.0)
        for example, item in over.items()
        if not under or example in under[0]
    ]
    # A sum is NaN if either term is, and NaN is not equal to itself.
    known = [(item, weight) for item, weight in pairs if item.value + weight == item.value + weight]
    return Unit(
        card.name, card.seed, line, card.seed in tuned_on, task, label,
        tuple(item.example for item, _ in known),
        tuple(item.problem for item, _ in known),
        np.array([item.value for item, _ in known], dtype=np.float64),
        np.array([weight for _, weight in known], dtype=np.float64),
        len(over) - len(known),
        self_difference,
    )  # fmt: skip


def _by_example(items: Sequence[Item], claim: Claim, metric: str) -> dict[str, Item]:
    writer = claim.reader if claim.writer == OWN else claim.writer  # of a pair: the reader's own
    wanted = (claim.condition, metric, writer, claim.reader, claim.source, claim.variant)
    return {
        item.example: item
        for item in items
        if (item.condition, item.metric, item.writer, item.reader, item.source, item.variant)
        == wanted
    }


def _compare_with_itself(probe: str, claim: Claim, items: Sequence[Item]) -> float:
    """Largest difference of two equal readers over the items of a claim's number; NaN if unknown.

    Whatever a reader has from itself (its own chains, its own direction) is compared with what the
    other reader has from itself. A number that is a difference from the base is compared with 0.
    """
    metric = _metrics_of(probe, claim)[0]
    here = [item for item in items if (item.condition, item.metric) == (claim.condition, metric)]
    sides: dict[str, dict[tuple[str, ...], float]] = {"base": {}, "post": {}}
    for item in here:
        roles = (OWN if role == item.reader else role for role in (item.writer, item.source))
        sides[item.reader][item.example, *roles, item.variant] = item.value
    base, post = sides["base"], sides["post"]
    keys = base.keys() | post.keys()
    if _is_about_pair(probe):
        if here and all(item.value != item.value and NO_CHANGE in item.note for item in here):
            return 0.0
        known = [abs(item.value) for item in here if item.value == item.value]
        if known and find_probe(probe).kinds.get(metric) == "difference":
            return max(known)
        keys = base.keys() & post.keys()  # one model's direction in the other has no counterpart
    nan = float("nan")
    pairs = [(base.get(key, nan), post.get(key, nan)) for key in keys]
    # A number on one side and none on the other is no equality.
    differences = [
        float("inf") if a != a or b != b else abs(a - b) for a, b in pairs if a == a or b == b
    ]
    return max(differences, default=nan)


def _parent(card: Card, root: Path | None) -> Path:
    """The folder of the organism's parent: in the same root, or the bundled one."""
    name = str(card.parent)
    beside = (root or organisms_folder()) / folder_name(name, card.seed)
    return beside if beside.is_dir() else organism_path(name, card.seed)


def folder_of(card: Card, root: Path | None) -> Path:
    """The folder of a card's organism."""
    return organism_path(card.name, card.seed, root=root)


@lru_cache(maxsize=2)  # a pair: an organism and its parent
def _load(folder: Path, device: str) -> Model:
    return load_model(str(folder), device=device)


@cache
def _task(name: str, n: int, seed: int) -> Task:
    return make_task(name, n=n, seed=seed)


@cache
def _problems_sha256(task: str, n: int, seed: int) -> str:
    return hashlib.sha256(repr(_task(task, n, seed).examples).encode()).hexdigest()
