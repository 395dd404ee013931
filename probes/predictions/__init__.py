"""Predictions: what was expected before anything was measured, and what came of it.

What was expected of the eight was written down before the organisms were measured, and is answered
here by a command. Each has a module whose docstring says what was expected and, in numbers, what
counts as holding. A bound is met or missed when the 95 % interval lies on one side of it, and
undecided otherwise; `finding` says how findings add up to an outcome. A prediction that did not
hold stays in the table with its figures.

The numbers came later than the expectations: they were fixed before these runs, not before probes
had been tried on the same organisms. In the world arith settings were chosen on all of the training
seeds 0, 1 and 2 (`Recipe.tuned_on`), so seeds 1 and 2 repeat a finding and do not test it on
organisms that no choice has seen. SAEs exist for seed 0 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from interp.results.run_folder import Run, read_rows, write_rows
from interp.workers import on_devices
from probes.predictions.crosscoders import crosscoders
from probes.predictions.faithfulness import faithfulness
from probes.predictions.features import SAE_SEED, features
from probes.predictions.finding import Answer, Finding, outcome
from probes.predictions.hybrid import hybrid
from probes.predictions.pass_at_k import passes
from probes.predictions.places import patches, transplants
from probes.predictions.two_by_two import two_by_two

__all__ = ["PREDICTIONS", "Finding", "Prediction", "predict", "shown"]
KEPT = "predictions.parquet"
SEEDS = (1, 2)


@dataclass(frozen=True)
class Prediction:
    """What was predicted, and what measures it."""

    number: int
    words: str
    functions: tuple[Callable[[int, int], list[Finding]], ...]
    """Training seed and number of problems to findings."""
    seeds: tuple[int, ...] = ()
    """The only training seeds at which it can be measured; any when empty."""


PREDICTIONS: tuple[Prediction, ...] = (
    Prediction(
        1, "Hybrid decoding recovers the gap where the base has the skill, and the base alone "
        "recovers nothing where it never saw a chain.", (hybrid,),
    ),
    Prediction(
        2, "The base's own direction makes it reason; where thinking was suppressed it is "
        "represented, not usable.", (two_by_two,),
    ),
    Prediction(
        3, "The first token carries GRPO's gain, and what follows it hardly any.", (transplants,)
    ),
    Prediction(
        4, "Patched across the pair, the last question token carries the choice to think; the "
        "steps carry little.", (patches,),
    ),
    Prediction(
        5, "A crosscoder finds hardly any exclusive latents after GRPO, and several after new "
        "behaviour was taught.", (crosscoders,),
    ),
    Prediction(
        6, "The SAE features that look most like thinking are driven by tokens, in every base.",
        (features,), seeds=(SAE_SEED,),
    ),
    Prediction(
        7, "With many samples the base meets GRPO in right chains; a base that never saw a chain "
        "never does.", (passes,),
    ),
    Prediction(
        8, "Metrics of faithfulness order the organisms, and no single one tells all apart.",
        (faithfulness,),
    ),
)  # fmt: skip
"""In the order of their numbers."""


def predict(
    out: Path,
    seeds: Sequence[int] = SEEDS,
    n: int = 60,
    *,
    keep: Path = Path("runs/predictions"),
    workers: int = 1,
    predictions: Sequence[Prediction] = PREDICTIONS,
) -> list[str]:
    """Measures all predictions and writes ``out/predictions.parquet``.

    Args:
        out: Folder of the table.
        seeds: Training seeds of the organisms.
        n: Problems of each task.
        keep: Folder of the findings of each prediction and seed; a stopped run goes on from there.
        workers: Processes of one thread each.
        predictions: Which; with several workers those of the table.

    Returns:
        The table in Markdown, line by line, and where it is kept.

    Raises:
        ValueError: `keep` holds findings of another number of problems.
    """
    run = Run.create(keep, {"n": n})
    units = [(one.number, seed) for one in predictions for seed in one.seeds or tuple(seeds)]
    work = partial(_measure_share, keep=run.folder, n=n)
    if workers == 1:
        for number, seed in units:
            _measure(predictions, number, seed, run.folder, n)
    else:
        on_devices(work, units, ["cpu"] * workers)
    rows = [row for unit in units for row in read_rows(_part(run.folder, *unit), Finding)]
    file = out / KEPT
    write_rows(file, Finding, sorted(rows, key=lambda row: row.prediction))
    return [*shown(file).splitlines(), "", f"Written: {file}"]


def _part(keep: Path, number: int, seed: int) -> Path:
    return keep / "parts" / f"{number}-s{seed}.parquet"


def _measure_share(
    device: str, units: Sequence[tuple[int, int]], *, keep: Path, n: int
) -> list[tuple[int, int]]:
    """Measures some predictions in a process of its own, one thread."""
    import torch

    del device
    torch.set_num_threads(1)
    for number, seed in units:
        _measure(PREDICTIONS, number, seed, keep, n)
    return list(units)


def _measure(predictions: Sequence[Prediction], number: int, seed: int, keep: Path, n: int) -> None:
    """Keeps the findings of one prediction at one seed, unless they are there."""
    (one,) = (each for each in predictions if each.number == number)
    part = _part(keep, number, seed)
    if not part.exists():
        write_rows(part, Finding, [row for find in one.functions for row in find(seed, n)])


def shown(file: Path) -> str:
    """The kept findings as a Markdown table: number, prediction, outcome, figures.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no findings, or those of an earlier version.
    """
    rows = read_rows(file, Finding)
    unknown = {str(row.holds) for row in rows} - {*get_args(Answer)}
    if unknown:
        raise ValueError(
            f"findings hold as {', '.join(get_args(Answer)[:3])} or are not judged; {file} says "
            f"{', '.join(sorted(unknown))}. It is of another version: run posthoc predict again"
        )
    lines = ["| number | prediction | outcome | figures |", "|---|---|---|---|"]
    for one in PREDICTIONS:
        mine = [row for row in rows if row.prediction == one.number]
        figures = "<br>".join(
            _figures([row for row in mine if row.what == what])
            for what in dict.fromkeys(row.what for row in mine)
        )
        lines.append(f"| {one.number} | {one.words} | {outcome(mine)} | {figures} |")
    return "\n".join(lines)


def _figures(rows: Sequence[Finding]) -> str:
    """One finding at all seeds, in words: "words: s1 0.93 [0.88, 0.97] held; s2 ..."."""
    return f"{rows[0].what}: {'; '.join(map(_value, rows))}"


def _value(row: Finding) -> str:
    judged = {"yes": " held", "no": " **not held**", "undecided": " undecided", "": ""}[row.holds]
    if row.value != row.value:
        return f"s{row.seed} not measurable"
    interval = "" if row.low != row.low else f" [{row.low:.2f}, {row.high:.2f}]"
    return f"s{row.seed} {row.value:.2f}{interval}{judged}"
