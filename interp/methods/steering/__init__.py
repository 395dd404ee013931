"""Steering: adding directions while a model writes, with controls, coherence and receipts."""

from interp.methods.steering.coherence import (
    Forced,
    compression_ratio,
    distinct_n,
    read_steered,
    surprisal,
)
from interp.methods.steering.doses import DoseRow, SweepSettings, sweep
from interp.methods.steering.frontier import Choice, Comparison, choose_dose, compare, random_band
from interp.methods.steering.readings import Metric, Reading, task_metrics
from interp.methods.steering.steered import Written, steer, write_steered

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
