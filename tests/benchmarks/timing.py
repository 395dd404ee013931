"""How work is timed: several ways to one result, in turn, by the clock that suits the device.

On a CPU that is process time on one thread, which other programs cannot disturb much; on a GPU wall
time, after everything queued has run. Every claim is a ratio of two times taken in one run, with
the distance of the two results beside it, because a fast wrong answer is worth nothing.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Ratio:
    """One claim and what was measured."""

    claim: str
    value: float
    bar: float
    at_least: bool
    """Whether the value must reach the bar, or stay below it."""
    difference: float
    """Largest difference of the two results: log-probabilities in nats, metrics of a grid in their
    units, activations as a share of the largest, or for writing the share of tokens that differ."""
    tolerance: float
    """Largest difference with which the claim may hold."""
    seconds: tuple[float, float]
    """Median time of our way and of the plain way."""

    @property
    def holds(self) -> bool:
        """Whether the bar is met by results that agree."""
        is_met = self.value >= self.bar if self.at_least else self.value <= self.bar
        return is_met and self.difference <= self.tolerance


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Time of one call."""
    if device.type == "cpu":
        started = time.process_time()
        work()
        return time.process_time() - started
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


def rounds_of_seconds(
    works: list[Callable[[], Any]], n_rounds: int, device: torch.device
) -> list[list[float]]:
    """Time of each piece of work, in rounds that run forwards and backwards in turn.

    Args:
        works: Functions to time, which should have run once before.
        n_rounds: Measured rounds.
        device: Where the model is, which decides what clock is right.

    Returns:
        Seconds: per function, one per round.
    """
    times: list[list[float]] = [[] for _ in works]
    for round_ in range(n_rounds):
        order = range(len(works)) if round_ % 2 == 0 else range(len(works) - 1, -1, -1)
        for number in order:
            times[number].append(seconds_of(works[number], device))
    return times


def compare(
    claim: str,
    ours: list[float],
    plain: list[float],
    bar: float,
    difference: float,
    tolerance: float,
    *,
    is_cost: bool = False,
) -> Ratio:
    """One claim from the times of two ways in the same rounds.

    The ratio is the median over the rounds, because a machine whose rate drifts from one round to
    the next changes both times of a round alike.

    Args:
        claim: What the ratio says.
        ours: Seconds of our way, per round.
        plain: Seconds of the plain way, per round.
        bar: What the ratio must reach, or stay below.
        difference: Largest difference of the two results.
        tolerance: Largest difference with which the claim may hold.
        is_cost: Whether the ratio is our cost over the plain one, or how much faster ours is.

    Returns:
        The claim with what was measured.
    """
    over, under = (ours, plain) if is_cost else (plain, ours)
    value = statistics.median(a / b for a, b in zip(over, under, strict=True))
    seconds = statistics.median(ours), statistics.median(plain)
    return Ratio(claim, value, bar, not is_cost, difference, tolerance, seconds)


def device_name(device: torch.device) -> str:
    """What the figures were measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
