"""Dose-response: what a direction does at each dose, and what any direction of that length does.

`sweep` asks a model the questions of a task under every dose of a direction, of N random directions
of the same norm, and of any other named directions (of another behaviour, of tokens alone). For
each it measures the behaviours that are asked for and what is left of coherence, all per example::

    rows = sweep(model, task, direction, SweepSettings(doses=(-0.5, 0.0, 0.5), positions=(-1,)))
    compare(rows, "p_think", kl_budget=0.1)

Every arm is treated alike: the same questions, the same doses in the same unit, the same metrics.
Dose 0 is always among them and is measured once; it is the unsteered model. KL is measured on the
unsteered model's own texts, so all arms are compared on one text. Edits are counted per row: the
engine raises where one is missing, and `n_edits` counts them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interp.chains.completion_format import CompletionFormat, Opening, find_format
from interp.interventions import Positions
from interp.methods.directions import Direction, check_fits, random_directions
from interp.methods.steering.coherence import compression_ratio, distinct_n, read_steered, surprisal
from interp.methods.steering.readings import Metric, SteeredReading, read_written, task_metrics
from interp.methods.steering.steered import write_steered
from interp.models import Model
from interp.progress import track
from interp.stats.estimates import Sample, collect, estimate_all
from interp.stats.kinds import Kind
from interp.tasks import Task

STEERED, RANDOM, OTHER = "steered", "random", "other"
COHERENCE = ("kl", "kl_rest", "perplexity", "distinct_2", "compression", "valid")
"""Metrics that every sweep measures in addition to those of the task."""
KINDS: dict[str, Kind] = {"accuracy": "binary", "valid": "binary", "p_think": "share"}
"""Of the metrics that sweeps measure; all others are 'real'."""


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep is made.

    Raises:
        ValueError: If doses are missing or listed twice, or a number is out of range.
    """

    doses: tuple[float, ...] = (-0.5, -0.25, -0.1, 0.1, 0.25, 0.5)
    """In mean residual norms; 0 is added if it is not there."""
    positions: Positions = "all"
    """Where; listed ones count within the prompt (the question and what opens the text)."""
    opening: Opening = "free"
    n_random: int = 8
    """Random directions; the smallest p that they can give is 1 / (n_random + 1)."""
    seed: int = 0
    """Of random directions."""
    batch_size: int = 64

    def __post_init__(self) -> None:
        if not any(self.doses) or len(set(self.doses)) < len(self.doses):
            raise ValueError(f"a sweep needs doses other than 0, none twice; received {self.doses}")
        if not all(math.isfinite(dose) for dose in self.doses):
            raise ValueError(f"doses are finite numbers, received {self.doses}")
        if self.n_random < 0 or self.batch_size < 1:
            raise ValueError(
                f"n_random must be 0 or more and batch_size 1 or more, received {self.n_random} "
                f"and {self.batch_size}"
            )

    @property
    def all_doses(self) -> tuple[float, ...]:
        """The doses in order, 0 among them."""
        return tuple(sorted({0.0, *self.doses}))


@dataclass(frozen=True)
class DoseRow:
    """One metric of one direction at one dose."""

    model: str
    task: str
    site: str
    direction: str
    """'steered', 'random 0' and so on, or the name of another."""
    kind: str
    """'steered', 'random' or 'other'."""
    metric: str
    dose: float
    """In mean residual norms."""
    value: float
    """Mean over examples; of perplexity exp of the mean surprisal in nats."""
    low: float
    high: float
    """95 % interval, problems resampled."""
    n: int
    """Problems that the value is a mean over."""
    n_missing: int
    """Examples that could not be measured."""
    edit_norm: float
    """Mean norm of the edits as they were made."""
    dose_in_norms: float
    """Mean of edit norm over the norm of the stream at the same position."""
    n_edits: int
    """Positions edited while writing, over all examples."""
    seed: int


@dataclass(frozen=True)
class _Arm:
    name: str
    kind: str
    direction: Direction
    dose: float


@dataclass(frozen=True)
class _Bench:
    """A model and the questions that it is asked under every arm."""

    model: Model
    format: CompletionFormat
    settings: SweepSettings
    metrics: Mapping[str, Metric]
    prompts: tuple[tuple[int, ...], ...]

    def read(
        self, arm: _Arm, texts: Sequence[tuple[int, ...]] | None
    ) -> tuple[list[DoseRow], list[tuple[int, ...]]]:
        """Rows of one arm, and what it wrote; KL is on `texts`, or on what it wrote itself."""
        settings, examples = self.settings, self.format.task.examples
        written = write_steered(
            self.model,
            self.prompts,
            arm.direction,
            arm.dose,
            max_new_tokens=self.format.max_new_tokens,
            positions=settings.positions,
            stop=self.format.stop,
            batch_size=settings.batch_size,
        )
        own = [one.ids for one in written]
        forced = read_steered(
            self.model,
            list(zip(self.prompts, texts or own, strict=True)),
            arm.direction,
            arm.dose,
            positions=settings.positions,
        )
        readings = [
            read_written(self.format, example, seen.first, one, settings.opening)
            for example, seen, one in zip(examples, forced, written, strict=True)
        ]
        values = {name: [metric(one) for one in readings] for name, metric in self.metrics.items()}
        values["kl"] = [one.kl for one in forced]
        values["kl_rest"] = [one.kl_rest for one in forced]
        values["perplexity"] = list(
            surprisal(self.model, list(zip(self.prompts, own, strict=True)))
        )
        values["distinct_2"] = [distinct_n(ids) for ids in own]
        values["compression"] = [compression_ratio(one.text) for one in written]
        values["valid"] = [float(one.is_valid) for one in readings]
        return self._rows(arm, values, readings), own

    def _rows(
        self, arm: _Arm, values: Mapping[str, Sequence[float]], readings: Sequence[SteeredReading]
    ) -> list[DoseRow]:
        receipts = [one.written.receipt for one in readings if one.written.receipt.positions]
        n_edits = sum(receipt.n_positions for receipt in receipts)

        def mean_over_edits(name: str) -> float:
            total = sum(getattr(receipt, name) * receipt.n_positions for receipt in receipts)
            return total / n_edits if n_edits else float("nan")

        problems = [example.problem for example in self.format.task.examples]
        samples: list[Sample] = []
        for metric, per_example in values.items():
            known = [at for at, value in enumerate(per_example) if not math.isnan(value)]
            kind = KINDS.get(metric, "real")
            each = np.array([per_example[at] for at in known], dtype=np.float64)
            samples.append(collect(each, [problems[at] for at in known], kind))
        estimates = estimate_all(samples)
        rows: list[DoseRow] = []
        for (metric, per_example), one in zip(values.items(), estimates, strict=True):
            # exp is monotone, so the limits of mean surprisal become those of perplexity.
            scale = math.exp if metric == "perplexity" else float
            rows.append(
                DoseRow(
                    self.model.name,
                    self.format.task.name,
                    str(arm.direction.site),
                    arm.name,
                    arm.kind,
                    metric,
                    arm.dose,
                    scale(one.value),
                    scale(one.low),
                    scale(one.high),
                    n=one.n,
                    n_missing=sum(math.isnan(value) for value in per_example),
                    edit_norm=mean_over_edits("edit_norm"),
                    dose_in_norms=mean_over_edits("dose_in_norms"),
                    n_edits=n_edits,
                    seed=self.settings.seed,
                )
            )
        return rows


def sweep(
    model: Model,
    task: Task,
    direction: Direction,
    settings: SweepSettings,
    *,
    metrics: Mapping[str, Metric] | None = None,
    others: Mapping[str, Direction] | None = None,
) -> tuple[DoseRow, ...]:
    """Dose-response of a direction, with its controls.

    Args:
        model: The model that is steered.
        task: The questions.
        direction: What is added; its reference norm is the unit of every arm's doses.
        settings: Doses, positions and controls.
        metrics: Behaviours to measure, in addition to those of `task_metrics`.
        others: Directions to compare with, by name, at the same site.

    Returns:
        One row per direction, dose and metric. Dose 0 is measured once and listed for each.

    Raises:
        ValueError: If a direction does not fit the model or another site, or a name is taken.
        RuntimeError: If an edit did not take place where it was asked for.
    """
    check_fits(model, direction)
    arms = _arms(direction, settings, others or {})
    own = task_metrics(model, task, settings.opening)
    taken = sorted((set(own) | set(COHERENCE)) & set(metrics or {}))
    if taken:
        raise ValueError(f"the metrics {taken} are measured by every sweep; use other names")
    layout = find_format(task, model, needs_chain=False)
    prompts = tuple(layout.prompts(settings.opening))
    bench = _Bench(model, layout, settings, {**own, **(metrics or {})}, prompts)
    baseline, texts = bench.read(_Arm(STEERED, STEERED, direction, 0.0), None)
    rows: list[DoseRow] = []
    for arm in track(arms, f"{model.name} under {len(arms)} doses"):
        if arm.dose == 0.0:
            rows += [replace(row, direction=arm.name, kind=arm.kind) for row in baseline]
        else:
            rows += bench.read(arm, texts)[0]
    return tuple(rows)


def _arms(
    direction: Direction, settings: SweepSettings, others: Mapping[str, Direction]
) -> list[_Arm]:
    controls = random_directions(direction, settings.n_random, seed=settings.seed)
    named = [(STEERED, STEERED, direction)]
    named += [(f"random {n}", RANDOM, one) for n, one in enumerate(controls)]
    for name, other in others.items():
        if other.site != direction.site or name in {known for known, _, _ in named}:
            raise ValueError(
                f"a direction to compare with has a name of its own and the site "
                f"{direction.site}; received {name!r} at {other.site}"
            )
        # One unit for all arms: at equal doses all edits are equally long.
        unit = replace(other, reference_norm=direction.reference_norm)
        named.append((name, OTHER, unit))
    return [_Arm(*arm, dose) for arm in named for dose in settings.all_doses]
