"""Coverage and level on a few of the simulated shapes; `tests.simulations.intervals` has all."""

from __future__ import annotations

import re

import pytest

from tests.simulations.intervals import (
    OUT,
    TOO_OFTEN,
    TOO_RARELY,
    simulate,
    simulate_ratio,
    write,
)
from tests.simulations.shapes import RATIOS, SHAPES, Shape

N_SAMPLES = 1000
ERROR = 0.0069
"""Standard error of a share of .95 of so many."""
NOMINAL = (0.93 - ERROR, 0.97 + 2 * ERROR)
BY_NAME = {(shape.kind, shape.name): shape for shape in SHAPES}


def of_kind(kind: str) -> list[Shape]:
    return [shape for shape in SHAPES if shape.kind == kind]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s.kind}, {s.name}")
def test_with_sixty_problems_no_interval_covers_too_rarely(shape: Shape) -> None:
    found = simulate(shape, 60, n_samples=N_SAMPLES)
    assert found.ours.coverage >= NOMINAL[0]


@pytest.mark.parametrize(
    ("kind", "name", "n"),
    [
        ("real", "normal", 6),
        ("real", "normal", 10),
        ("real", "Student, 3 degrees", 10),
        ("real", "exponential - 1", 20),
        ("real", "1 to 6 items, alike", 20),
        ("share", "near 1 (beta 20, 1)", 20),
        ("share", "near 0.0001, lognormal .5", 20),
        ("share", "1 but for 20 % anywhere", 60),
        ("share", "uniform", 10),
        ("binary", "rate 0.9, 5 a problem, r 0.3", 20),
        ("difference", "normal 0, 0.1", 20),
        ("difference", "rises .3, falls .05", 60),
        ("skewed", "lognormal 1", 10),
        ("skewed", "lognormal 2", 20),
        ("skewed", "lognormal 2", 6),
    ],
)
def test_coverage_is_nominal_from_six_problems_on(kind: str, name: str, n: int) -> None:
    found = simulate(BY_NAME[kind, name], n, n_samples=N_SAMPLES)
    assert NOMINAL[0] <= found.ours.coverage <= NOMINAL[1]


def test_the_plain_bootstrap_would_not_pass() -> None:
    """So the bounds above can fail."""
    for kind, name, n in (
        ("real", "normal", 6),
        ("skewed", "lognormal 2", 20),
        ("share", "1 but for 2 % anywhere", 60),
    ):
        assert simulate(BY_NAME[kind, name], n, n_samples=N_SAMPLES).plain.coverage < 0.88


@pytest.mark.parametrize("n", [10, 60])
@pytest.mark.parametrize("shape", of_kind("skewed")[3:], ids=lambda s: s.name)
def test_contrasts_of_skewed_metrics_reject_in_one_of_twenty(shape: Shape, n: int) -> None:
    found = simulate(shape, n, n_samples=N_SAMPLES)
    assert found.ours.rejected <= 0.05 + 3 * ERROR


@pytest.mark.parametrize("name", ["of skewed shares", "rises .02, falls .02", "rises .1, falls .1"])
@pytest.mark.parametrize("n", [10, 60])
def test_differences_of_shares_reject_in_one_of_twenty(name: str, n: int) -> None:
    found = simulate(BY_NAME["difference", name], n, n_samples=N_SAMPLES)
    assert found.ours.rejected <= 0.05 + 2 * ERROR


def test_numbers_near_a_bound_are_not_as_wide_as_if_they_could_be_anything() -> None:
    for name in ("near 0.0001, lognormal .5", "near 0.0001, lognormal 1"):
        found = simulate(BY_NAME["share", name], 20, n_samples=300)
        assert found.ours.width < 1.5 * found.plain.width


@pytest.mark.parametrize("is_contrast", [False, True])
@pytest.mark.parametrize("shape", RATIOS, ids=lambda s: s.name)
def test_ratios_and_their_contrasts_cover(shape, is_contrast: bool) -> None:
    found = simulate_ratio(shape, 60, n_samples=400, is_contrast=is_contrast)
    assert found.ours.coverage >= 0.93 - 0.01 and found.missing < 0.1
    if is_contrast:
        assert found.ours.rejected <= 0.07


def test_the_table_is_written(tmp_path) -> None:
    out = tmp_path / "kept" / "table.md"
    write(out, n_samples=5)
    text = out.read_text()
    assert all(f"| {shape.name} |" in text for shape in (*SHAPES, *RATIOS))


def test_the_kept_table_lists_what_covers_too_rarely_and_what_has_no_value() -> None:
    """Against the cells of the table, read back."""
    text = OUT.read_text()
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    cells = [cell for line in table for cell in line[2:] if re.match(r"\d+\.\d \(", cell)]
    covered = [float(cell.split(" ")[0]) for cell in cells]
    rare = [value for value in covered if value < TOO_RARELY]
    often = sum(value > TOO_OFTEN for value in covered)
    assert f"{often} of {len(cells)} cells cover in more than {TOO_OFTEN} %" in text
    assert f"and {len(rare)} in less than {TOO_RARELY} %" in text
    listed = [line for line in text.splitlines() if line.startswith("- ")]
    assert [float(line.split(": ")[-1]) for line in listed] == rare
    found = simulate_ratio(RATIOS[-2], 20, n_samples=400)
    assert 0.2 < found.missing < 0.5 and "no value in" in text
