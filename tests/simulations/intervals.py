"""`python -m tests.simulations.intervals`: coverage, level and width on all shapes, as a table.

Each shape is drawn many times with n problems; counted is the share of 95 % intervals that contain
the truth, and of contrasts with p < .05 where the truth is 0. Beside it stands the plain percentile
bootstrap of the mean (or ratio), with the ratio of the median widths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from interp.stats.estimates import Estimate, Sample, estimate_all, is_too_rare
from tests.simulations.shapes import RATIOS, SHAPES, Drawn, RatioShape, Shape

SIZES = (6, 10, 20, 60, 100)
RATIO_SIZES = (20, 60, 100)
N_BOOT = 1000
TOO_RARELY, TOO_OFTEN = 93, 97
"""Coverage in per cent; cells beyond are listed, or counted."""
OUT = Path("artifacts/statistics/coverage.md")


class Found(NamedTuple):
    """What the intervals of many samples did."""

    coverage: float
    rejected: float
    """Share with p < .05."""
    width: float
    """Median."""


class Both(NamedTuple):
    """Ours, and the plain bootstrap."""

    ours: Found
    plain: Found
    missing: float = 0.0
    """Share of samples without an interval."""


def judge(estimates: Sequence[Estimate], truth: float) -> Found:
    """Coverage, rejections and width of those that have an interval."""
    known = [e for e in estimates if e.low == e.low]
    rounding = 1e-9 * max(1.0, abs(truth))
    return Found(
        float(np.mean([e.low - rounding <= truth <= e.high + rounding for e in known])),
        float(np.mean([e.p < 0.05 for e in known])),
        float(np.median([e.high - e.low for e in known])),
    )


def plain_bootstrap(rng: np.random.Generator, sides: Sequence[Drawn], truth: float) -> Found:
    """The percentile bootstrap of a mean or ratio, or of the difference of two."""
    n = len(sides[0].sums)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=N_BOOT).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):  # resamples of zeros alone
        drawn = [weights @ side.sums / (weights @ side.counts) for side in sides]
        statistic = drawn[-1] - drawn[0] if len(drawn) == 2 else drawn[0]
    low, high = np.quantile(statistic, [0.025, 0.975], axis=0)
    tails = np.minimum((statistic <= 0).mean(axis=0), (statistic >= 0).mean(axis=0))
    rounding = 1e-9 * max(1.0, abs(truth))
    inside = (low - rounding <= truth) & (truth <= high + rounding)
    return Found(
        float(inside.mean()), float((2 * tails < 0.05).mean()), float(np.median(high - low))
    )


def simulate(shape: Shape, n: int, *, n_samples: int, seed: int = 0) -> Both:
    """Intervals of samples of n problems."""
    rng = np.random.default_rng((seed, n))
    drawn = shape.sample(rng, n, n_samples)
    samples = [
        Sample(drawn.sums[:, at], drawn.counts[:, at], shape.kind) for at in range(n_samples)
    ]
    mean = shape.truth if shape.mean is None else shape.mean
    return Both(judge(estimate_all(samples), shape.truth), plain_bootstrap(rng, [drawn], mean))


def simulate_ratio(
    shape: RatioShape, n: int, *, n_samples: int, is_contrast: bool = False, seed: int = 0
) -> Both:
    """Intervals of ratios, or of the difference of two that share half of their noise."""
    rng = np.random.default_rng((seed, n))
    sides = [Drawn(*shape.draw(rng, (n, n_samples)))]
    if is_contrast:
        other = Drawn(*shape.draw(rng, (n, n_samples)))
        shared = rng.random((n, n_samples)) < 0.5  # problems on which both models do the same
        sides.append(Drawn(*(np.where(shared, a, b) for a, b in zip(*sides, other, strict=True))))
    is_bounded = not {"real", "skewed"} & set(shape.kinds)
    samples: list[Sample] = []
    for at in range(n_samples):
        made = [Sample(s.sums[:, at], s.counts[:, at], "ratio", is_bounded) for s in sides]
        if not any(is_too_rare(one.counts) for one in made):
            samples.append(replace(made[-1], against=made[0]) if is_contrast else made[0])
    truth = 0.0 if is_contrast else shape.truth
    return Both(
        judge(estimate_all(samples), truth), plain_bootstrap(rng, sides, truth),
        1 - len(samples) / n_samples,
    )  # fmt: skip


def _cell(both: Both, *, is_null: bool) -> str:
    wider = both.ours.width / both.plain.width if both.plain.width > 0 else float("inf")
    level = f"; {100 * both.ours.rejected:.1f} ({100 * both.plain.rejected:.1f})"
    missing = f"; no value in {100 * both.missing:.1f}" if both.missing else ""
    return (
        f"{100 * both.ours.coverage:.1f} ({100 * both.plain.coverage:.1f}), "
        f"x{wider:.2g}{level if is_null else ''}{missing}"
    )


def _list_beyond(cells: Mapping[str, Both]) -> str:
    """Which cells cover too rarely, and how many cover too often."""
    covered = {name: round(100 * both.ours.coverage, 1) for name, both in cells.items()}
    rare = [f"- {name}: {value:.1f}" for name, value in covered.items() if value < TOO_RARELY]
    often = sum(value > TOO_OFTEN for value in covered.values())
    return "\n".join(
        [
            f"{often} of {len(cells)} cells cover in more than {TOO_OFTEN} %, and {len(rare)} in "
            f"less than {TOO_RARELY} %:",
            "", *rare,
        ]
    )  # fmt: skip


def _lines(n_samples: int, found: dict[str, Both]) -> Iterator[str]:
    yield "| kind | shape | " + " | ".join(f"n = {n}" for n in SIZES) + " |"
    yield "| --- | --- |" + " --- |" * len(SIZES)
    for at, shape in enumerate(SHAPES):
        is_null = shape.truth == 0 and shape.kind != "share"
        cells = [simulate(shape, n, n_samples=n_samples, seed=at) for n in SIZES]
        named = f"{shape.kind}, {shape.name}, n = "
        found |= {f"{named}{n}": cell for n, cell in zip(SIZES, cells, strict=True)}
        text = " | ".join(_cell(cell, is_null=is_null) for cell in cells)
        yield f"| {shape.kind} | {shape.name} | {text} |"


def _ratio_lines(n_samples: int, found: dict[str, Both]) -> Iterator[str]:
    yield "| | ratio | " + " | ".join(f"n = {n}" for n in RATIO_SIZES) + " |"
    yield "| --- | --- |" + " --- |" * len(RATIO_SIZES)
    for is_contrast in (False, True):
        for at, shape in enumerate(RATIOS):
            cells = [
                simulate_ratio(shape, n, n_samples=n_samples, is_contrast=is_contrast, seed=at)
                for n in RATIO_SIZES
            ]
            what = "contrast" if is_contrast else "value"
            named = f"{what} of a ratio, {shape.name}, n = "
            found |= {f"{named}{n}": cell for n, cell in zip(RATIO_SIZES, cells, strict=True)}
            text = " | ".join(_cell(cell, is_null=is_contrast) for cell in cells)
            yield f"| {what} | {shape.name} | {text} |"


INTRODUCTION = """# How often intervals cover

Written by `python -m tests.simulations.intervals`: {n} samples of n problems of each shape. A cell
reads: coverage of the 95 % interval in per cent (in brackets that of the plain percentile bootstrap
over problems), and the median width as a multiple of the plain bootstrap's. Where the truth is 0,
the share of p < .05 in per cent follows (in brackets the plain bootstrap's). The standard error of
a coverage near 95 % is {error:.1f} points.

The kinds are those of `interp.stats.kinds`, and each has one method (`interp.stats.mean_limits`).
Of the kind 'skewed' the median is estimated; its bootstrap column is about the mean, which is what
stood in its place before. A multiple without bound (inf) means that the bootstrap's median width is
0, or not known: it is blind there.

A ratio has no value where its denominator is too near 0 (`interp.stats.estimates.is_too_rare`). The
share of such samples in per cent follows as 'no value in'; coverage and level are those of the
others.

Coverage is too high mostly where items are 0 or 1 or few problems differ, since the interval can
then only be one of a few; where many problems have one value, since others might not; where the
outer of two limits is taken: Student's and Hall's (heavy tails of both sides), Student's and
Newcombe's (differences of few problems), the joined limits of two ratios; and where an interval is
moved out to 0 because p is not below .05. It is too low mostly where few problems are drawn from a
very skewed shape: the rare large values are not in the sample.

{beyond}
"""


def write(
    out: Annotated[Path, typer.Option(help="The table.")] = OUT,
    n_samples: Annotated[int, typer.Option(help="Samples of each shape and size.")] = 2000,
) -> None:
    """Simulates all shapes and writes the table."""
    found: dict[str, Both] = {}
    parts = [*_lines(n_samples, found), "", "Ratios of sums, and contrasts of two ratios:", ""]
    parts += _ratio_lines(n_samples, found)
    error = 100 * (0.95 * 0.05 / n_samples) ** 0.5
    head = INTRODUCTION.format(n=n_samples, error=error, beyond=_list_beyond(found))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join([head, *parts]) + "\n")


if __name__ == "__main__":
    typer.run(write)
