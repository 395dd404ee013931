"""The benchmark runs, agrees with what it is compared to, and writes what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interp.benchmarks import Ratio, main


def test_small_benchmark_is_exact_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    all_hold = main(tmp_path, small=True)
    recorded: dict[str, Any] = json.loads((tmp_path / "engine-small-cpu.json").read_text())
    assert recorded["device"] and recorded["threads"] == 1
    ratios = recorded["ratios"]
    assert [ratio["bar"] for ratio in ratios] == [10.0, 1.4, 1.1, 0.95]
    assert all(ratio["difference"] < 1e-4 and ratio["value"] > 0 for ratio in ratios)
    assert all_hold == all(ratio["holds"] for ratio in ratios)
    assert "branches" in capsys.readouterr().out


def test_a_bar_is_a_floor_or_a_ceiling():
    assert Ratio("faster", 10.0, 10.0, True, 0.0, (1.0, 10.0)).holds
    assert not Ratio("faster", 9.9, 10.0, True, 0.0, (1.0, 9.9)).holds
    assert Ratio("cost", 1.1, 1.1, False, 0.0, (1.1, 1.0)).holds
    assert not Ratio("cost", 1.2, 1.1, False, 0.0, (1.2, 1.0)).holds
