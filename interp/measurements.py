"""Measurements: per-example items, the rows made of them, and the run folder that keeps both.

Probes produce `Item`s, one number per example and condition. `summarise` turns items into
`Measurement` rows: means with intervals from a bootstrap that resamples problems, and paired
contrasts between readers and between writers. Nothing else is saved as a result.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One number about one example. NaN means not measurable, and `note` says why."""

    probe: str
    writer: str
    """Who wrote the chain: 'base', 'post' or 'gold'."""
    reader: str
    """Whose answer was read: 'base' or 'post'."""
    task: str
    example: str
    problem: str
    condition: str
    metric: str
    value: float
    step: int = -1
    """Step or grid point that the number belongs to; -1 for the whole chain."""
    note: str = ""


@dataclass(frozen=True)
class Measurement:
    """One row of results: a mean, or a paired contrast (writer or reader 'post - base')."""

    probe: str
    pair: str
    writer: str
    reader: str
    task: str
    condition: str
    metric: str
    step: int
    value: float
    low: float
    high: float
    n: int
    """Number of problems (clusters) behind the value; items without a value do not count."""
    n_missing: int
    """Items that were not measurable."""
    chance: float
    seed: int
    p: float = float("nan")
    """Two-sided p of a contrast against 0, from the same bootstrap; NaN for plain means."""
    q: float = float("nan")
    """p after Benjamini-Hochberg over the contrasts of one probe and metric."""
    note: str = ""
