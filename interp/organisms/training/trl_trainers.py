"""What the trainings through TRL (`sft`, `grpo`) have in common: settings, and a quiet run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any


def run_trainer(make: Callable[[str], Any]) -> tuple[float, ...]:
    """Runs a trainer in a scratch folder, without printed log lines.

    Args:
        make: Builds the trainer, given the folder for its output.

    Returns:
        The losses that it logged.
    """
    from transformers import PrinterCallback

    with tempfile.TemporaryDirectory() as scratch:
        trainer = make(scratch)
        # The trainer adds it where progress bars are off, and it prints every log entry.
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)


def common_settings(scratch: str, steps: int, seed: int, logging_steps: int) -> dict[str, Any]:
    """Settings of every training: on the CPU, seeded, in the given order, with no file saved."""
    return {
        "output_dir": scratch,
        "max_steps": steps,
        # TRL's defaults (checkpointing, bfloat16) save memory that so small a model does not need.
        "activation_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "seed": seed,
        "data_seed": seed,
        "logging_steps": logging_steps,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
