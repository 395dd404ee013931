"""The benchmark runs, agrees with what it is compared to, and writes what it measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.benchmarks import SIZES, Ratio, main, measure, tables
from tests.benchmarks.costs import block_gflop, branches_gflop, grid_gflop
from tests.benchmarks.engine import bench_branches, bench_capture, bench_generation
from tests.benchmarks.grids import bench_grid, bench_hooks
from tests.benchmarks.sizes import random_model


def test_small_benchmark_is_exact_and_recorded(tmp_path: Path):
    printed = main(tmp_path, size="small")
    recorded: dict[str, Any] = json.loads((tmp_path / "engine-small-cpu.json").read_text())
    assert recorded["device"] and recorded["threads"] == 1
    ratios = recorded["ratios"]
    assert [ratio["bar"] for ratio in ratios] == [10.0, 1.4, 2.8, 8.0, 1.1, 1.0, 0.95]
    assert all(ratio["difference"] < 1e-4 and ratio["value"] > 0 for ratio in ratios)
    assert all(f"{ratio['claim']} | {ratio['value']:.2f}" in printed for ratio in ratios)
    assert printed.count("| NO |") == sum(not ratio["holds"] for ratio in ratios)
    costs = recorded["costs"]
    assert {cost["series"] for cost in costs} == {
        "cuts", "trace tokens", "grid positions", "rows decoded",
    }  # fmt: skip
    assert all(cost["seconds"] > 0 and cost["of_device"] > 0 for cost in costs)


def test_tables_of_kept_results_by_hand(tmp_path: Path):
    ratio = Ratio("it runs", 3.0, 2.0, True, 1e-7, 1e-4, (1.0, 3.0))
    wrong = replace(ratio, claim="it errs", difference=1e-3)
    costs = [
        {"series": "cuts", "amount": n, "seconds": n / 2, "tokens": 4 * n, "gflop": 10.0 * n,
         "of_device": 0.5, "memory_gb": None}
        for n in (2, 8)
    ]  # fmt: skip
    file = tmp_path / "engine.json"
    kept = {
        "device": "abacus", "clock": "process time", "torch": "2", "costs": costs,
        "ratios": [asdict(ratio) | {"holds": True}, asdict(wrong) | {"holds": False}],
    }  # fmt: skip
    file.write_text(json.dumps(kept))
    lines = tables(file).splitlines()
    assert lines[0] == "Measured on: abacus, one thread, process time, torch 2."
    assert lines[4] == "| it runs | 3.00 | >= 2 | yes | 1.0e-07 | 1 / 3 |"
    assert lines[5] == "| it errs | 3.00 | >= 2 | NO | 1.0e-03 | 1 / 3 |"
    assert lines[-1] == "| cuts | 8 | 80 | 4.00 | 4 | 4.00 | 8 | 0.50 |"
    file.write_text("{}")
    with pytest.raises(ValueError, match="must hold results of 'make bench'"):
        tables(file)


@pytest.mark.parametrize("file", ["engine-135m-cpu.json", "engine-8b-cuda.json"])
def test_readme_shows_the_kept_results(file: str):
    root = Path(__file__).resolve().parent.parent
    readme = (root / "README.md").read_text(encoding="utf-8")
    for table in tables(root / "artifacts/benchmarks" / file).split("\n\n"):
        assert table in readme


def test_all_is_measured_in_half_precision():
    size = replace(SIZES["small"], dtype="bfloat16")
    model = random_model(size.config, "cpu", size.dtype)
    found = [*bench_branches(model, size), *bench_grid(model, size), bench_generation(model, size)]
    found += [bench_capture(model, size), bench_hooks(model, size)]
    assert all(ratio.value > 0 and ratio.tolerance == 0.5 for ratio in found)


def test_unknown_size_names_the_known():
    with pytest.raises(ValueError, match=r"unknown size '2b'\. Known: small, 135m, 1\.5b, 8b"):
        measure("2b", "cpu")


def counted(work: Any) -> float:
    """10^9 operations of matrix products as the framework counts them, attention left out."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    of_products = counter.get_flop_counts()["Global"]
    return sum(n for op, n in of_products.items() if "attention" not in str(op)) / 1e9


def test_needed_operations_are_those_that_a_plain_pass_makes():
    model = random_model(SIZES["small"].config, "cpu", "float32")
    ids = torch.arange(20)[None]
    passed = counted(lambda: model.hf(ids, use_cache=False))
    unembedding = 2 * 20 * model.d_model * model.d_vocab / 1e9
    assert passed == pytest.approx(model.n_layers * block_gflop(model, 20, 0) + unembedding)


def test_needed_operations_by_hand():
    model = random_model(SIZES["small"].config, "cpu", "float32")
    # Four layers; text of 3 tokens; at position p a cell reads 3 - p tokens, which see p + 1 to 3.
    whole, two, one = block_gflop(model, 3, 6), block_gflop(model, 2, 5), block_gflop(model, 1, 3)
    # The four cells there need the last MLP for one token, not for 3 - p.
    spared = 4 * (2 + 1 + 0) * 2 * 3 * model.d_model * model.d_mlp / 1e9
    states = 2 * 64 * 500 * 12 / 1e9
    assert grid_gflop(model, 3) == pytest.approx(10 * (whole + two + one) - spared + states)
    # One cut after 2 of 3 tokens, suffix of 2: one more token, which sees the 2 and itself.
    expected = 4 * block_gflop(model, 4, 6 + 3) + 2 * 64 * 500 * 2 / 1e9
    assert branches_gflop(model, 3, [2], 2) == pytest.approx(expected)


def test_a_bar_is_a_floor_or_a_ceiling():
    for claim, value, at_least in (("faster", 10.0, True), ("cost", 1.1, False)):
        met = Ratio(claim, value, value, at_least, 0.0, 1e-4, (1.0, value))
        assert met.holds
        assert not replace(met, value=value - 0.1 if at_least else value + 0.1).holds
        assert not replace(met, difference=1e-3).holds
        assert not replace(met, difference=float("nan")).holds
