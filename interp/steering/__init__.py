"""Steering: adding directions while a model writes, with controls, coherence and receipts."""

from interp.steering.coherence import (
    Forced,
    compression_ratio,
    distinct_n,
    read_steered,
    surprisal,
)
from interp.steering.doses import DoseRow, SweepSettings, sweep
from interp.steering.frontier import Choice, Comparison, choose_dose, compare, random_band
from interp.steering.readings import Metric, Reading, task_metrics
from interp.steering.steered import Written, steer, write_steered

__all__ = [
    "Choice",
    "Comparison",
    "DoseRow",
    "Forced",
    "Metric",
    "Reading",
    "SweepSettings",
    "Written",
    "choose_dose",
    "compare",
    "compression_ratio",
    "distinct_n",
    "random_band",
    "read_steered",
    "steer",
    "surprisal",
    "sweep",
    "task_metrics",
    "write_steered",
]
