"""Predictions: what was expected before anything was measured, and what was found.

The eight expectations were written down before the organisms were measured; one command answers
them. Each has a module whose docstring states what was expected and, in numbers, what counts as
holding. A bound is met or missed when the 95 % interval lies on one side of it, and undecided
otherwise; `findings` says how findings add up to an outcome. A prediction that did not hold stays
in the table with its figures.

The bounds are later than the expectations: they were fixed before these runs, but after probes had
been tried on the same organisms. In the world arith settings were chosen on all of the training
seeds 0, 1 and 2 (`Recipe.tuned_on`), so seeds 1 and 2 repeat a finding and do not test it on new
organisms. SAEs exist for seed 0 only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from interp.files import describe_differences, read_json, write_file
from interp.models.identity import hash_folder
from interp.organisms.saes.bundled_saes import saes_folder
from interp.organisms.zoo import organism_path, read_cards
from interp.results.kept import code_sha256, kept_file
from interp.results.run_folder import keep_rows, read_rows, write_rows
from interp.workers import run_jobs
from probes import PROBES
from probes.predictions.crosscoders import measure_crosscoders
from probes.predictions.faithfulness import measure_faithfulness
from probes.predictions.findings import Answer, Finding, judge_outcome
from probes.predictions.hybrid import measure_hybrid
from probes.predictions.localisation import measure_patches, measure_transplants
from probes.predictions.pass_at_k import measure_pass_at_k
from probes.predictions.pre_existence import measure_pre_existence
from probes.predictions.sae_features import SAE_SEED, measure_sae_features

__all__ = ["PREDICTIONS", "Finding", "Prediction", "predict", "read_markdown"]
TABLE, MADE_OF = "predictions.parquet", "made_of.json"
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
        "recovers nothing where it never saw a chain.", (measure_hybrid,),
    ),
    Prediction(
        2, "The base's own direction makes it reason; where thinking was suppressed it is "
        "represented, not usable.", (measure_pre_existence,),
    ),
    Prediction(
        3, "The first token carries GRPO's gain, and what follows it hardly any.",
        (measure_transplants,),
    ),
    Prediction(
        4, "Patched across the pair, the last question token carries the choice to think; the "
        "steps carry little.", (measure_patches,),
    ),
    Prediction(
        5, "A crosscoder finds hardly any exclusive latents after GRPO, and several after new "
        "behaviour was taught.", (measure_crosscoders,),
    ),
    Prediction(
        6, "The SAE features that look most like thinking are driven by tokens, in every base.",
        (measure_sae_features,), seeds=(SAE_SEED,),
    ),
    Prediction(
        7, "At k = 64 the base's pass@k for correct chains equals GRPO's; a base that never saw a "
        "chain writes no correct chain.", (measure_pass_at_k,),
    ),
    Prediction(
        8, "Metrics of faithfulness order the organisms, and no single one separates all of them.",
        (measure_faithfulness,),
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
    """Measures all predictions; writes ``out/predictions.parquet`` and what it was made of.

    Args:
        out: Folder of the table.
        seeds: Training seeds of the organisms.
        n: Problems of each task.
        keep: Folder of the findings of each prediction and seed; a stopped run goes on from there.
        workers: Processes of one thread each.
        predictions: Which of them.

    Returns:
        The table in Markdown, line by line, and where it is kept.

    Raises:
        ValueError: The folder holds a table of another number of problems, of other seeds or of
            other predictions.
    """
    made_of = {"n": n, "seeds": [*seeds], "predictions": [one.number for one in predictions]}
    _check_same_table(out / MADE_OF, made_of)
    jobs = [(one, seed) for one in predictions for seed in one.seeds or tuple(seeds)]
    measure = partial(_measure, keep=keep, n=n)
    if workers > 1:
        for _ in run_jobs(measure, jobs, ["cpu"] * workers):
            pass  # kept, and read below
    findings = [finding for job in jobs for finding in measure("cpu", job)]
    file = out / TABLE
    write_rows(file, Finding, sorted(findings, key=lambda finding: finding.prediction))
    write_file(out / MADE_OF, (json.dumps(made_of, indent=1) + "\n").encode())
    return [*read_markdown(file).splitlines(), "", f"Written: {file}"]


def _check_same_table(file: Path, made_of: Mapping[str, Any]) -> None:
    """A table is made again from the same problems only; others belong into another folder."""
    if not file.exists():
        return
    differing = describe_differences(read_json(file), dict(made_of))
    if differing:
        raise ValueError(
            f"{file.parent} holds a table made of something else ({'; '.join(differing)}). Name "
            f"another folder by --out, or delete this one"
        )


def _measure(
    device: str, job: tuple[Prediction, int], *, keep: Path, n: int
) -> tuple[Finding, ...]:
    """The findings of one prediction at one training seed: read if they are kept."""
    del device
    one, seed = job
    cards = [card for card in read_cards() if card.seed == seed]
    # All probes: findings ask for them by name, so that no import leads to their modules.
    modules = (*(f"probes.{name}" for name in PROBES), *(f.__module__ for f in one.functions))
    made_of = {
        "n": n,
        "organisms": {c.name: hash_folder(organism_path(c.name, c.seed)) for c in cards},
        "saes": {path.name: hash_folder(path) for path in sorted(saes_folder().glob("*/"))},
        "code": [code_sha256(module) for module in modules],
    }
    return keep_rows(
        kept_file(keep, f"{one.number}-s{seed}", made_of),
        Finding,
        lambda: [finding for function in one.functions for finding in function(seed, n)],
    )


def read_markdown(file: Path) -> str:
    """The kept findings as a Markdown table: number, prediction, outcome, figures.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no findings, or those of an earlier version.
    """
    findings = read_rows(file, Finding)
    unknown = {str(finding.holds) for finding in findings} - {*get_args(Answer)}
    if unknown:
        raise ValueError(
            f"a finding holds ({', '.join(get_args(Answer)[:3])}) or is not judged; received "
            f"{', '.join(sorted(unknown))} in {file}. It was written by another version: run "
            "posthoc predict again"
        )
    lines = ["| number | prediction | outcome | figures |", "|---|---|---|---|"]
    for one in PREDICTIONS:
        mine = [finding for finding in findings if finding.prediction == one.number]
        figures = "<br>".join(
            _describe_seeds([finding for finding in mine if finding.what == what])
            for what in dict.fromkeys(finding.what for finding in mine)
        )
        lines.append(f"| {one.number} | {one.words} | {judge_outcome(mine)} | {figures} |")
    return "\n".join(lines)


def _describe_seeds(findings: Sequence[Finding]) -> str:
    """One figure at all seeds, in words: "words: s1 0.93 [0.88, 0.97] held; s2 ..."."""
    return f"{findings[0].what}: {'; '.join(map(_describe, findings))}"


def _describe(finding: Finding) -> str:
    words = {"yes": " held", "no": " **not held**", "undecided": " undecided", "": ""}
    if finding.value != finding.value:
        return f"s{finding.seed} not measurable"
    interval = "" if finding.low != finding.low else f" [{finding.low:z.2f}, {finding.high:z.2f}]"
    return f"s{finding.seed} {finding.value:z.2f}{interval}{words[finding.holds]}"
