"""Steering: adding directions while a model writes, with controls, coherence and receipts."""

from interp.methods.steering.coherence import (
    Forced,
    compression_ratio,
    distinct_n,
    read_steered,
    surprisal,
)
from interp.methods.steering.doses import DoseRow, SweepSettings, sweep
from interp.methods.steering.frontier import (
    Comparison,
    DoseChoice,
    choose_dose,
    compare,
    random_band,
)
from interp.methods.steering.kl_budget import BudgetedDose, find_dose
from interp.methods.steering.readings import Metric, SteeredReading, task_metrics
from interp.methods.steering.steered import Written, steer, write_steered

__all__ = [
    "BudgetedDose",
    "DoseChoice",
    "Comparison",
    "DoseRow",
    "Forced",
    "Metric",
    "SteeredReading",
    "SweepSettings",
    "Written",
    "choose_dose",
    "compare",
    "compression_ratio",
    "distinct_n",
    "find_dose",
    "random_band",
    "read_steered",
    "steer",
    "surprisal",
    "sweep",
    "task_metrics",
    "write_steered",
]
