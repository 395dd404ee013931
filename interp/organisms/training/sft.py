"""Supervised fine-tuning of an organism through TRL.

Rows are ids with a completion mask; the mask also switches off the loss on tokens that are random
by construction (another problem's chain). The order of the rows is fixed beforehand, batches of
near-equal length, so TRL's sampler is sequential and shuffles nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

from interp.organisms.documents import Draw, sorted_batches
from interp.organisms.recipe import FineTuning
from interp.organisms.training.pretrain import (
    BETAS,
    CLIP,
    FINAL_LR,
    LOG_EVERY,
    WEIGHT_DECAY,
    Course,
)

Figures = Callable[[Any], dict[str, float]]


def fine_tune(
    model: Any, tokenizer: Any, method: FineTuning, draw: Draw, figures: Figures, *, seed: int
) -> Course:
    """Train a model in place.

    Args:
        model: The parent, float32.
        tokenizer: Its tokenizer.
        method: How many rows, how fast, and how often figures are taken along the way.
        draw: Makes a row from a random generator and the progress of the training.
        figures: Measures a model.
        seed: Decides the rows.

    Returns:
        The course of the loss and, where asked for, of the figures.
    """
    from datasets import Dataset
    from trl import SFTTrainer

    batches = sorted_batches(draw, steps=method.steps, batch=method.batch, seed=seed)
    documents = [document for batch in batches for document in batch]
    data = Dataset.from_dict(
        {
            "input_ids": [list(document.ids) for document in documents],
            "completion_mask": [[int(flag) for flag in d.learned] for d in documents],
        }
    )
    series: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=model,
            args=_settings(method, scratch, seed),
            train_dataset=data,
            processing_class=tokenizer,
        )
        quiet(trainer)
        if method.checkpoints:
            trainer.add_callback(_series(series, figures, method))
        trainer.train()
    losses = tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    tokens = sum(len(document.ids) for document in documents)
    model.eval()
    return Course(method.steps, tokens, losses, {}, series)


def _series(series: dict[str, dict[str, float]], figures: Figures, method: FineTuning) -> Any:
    """A callback that measures the model at equal distances, the end included."""
    from transformers import TrainerCallback

    every = method.steps // method.checkpoints

    class Series(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control
            if state.global_step % every == 0:
                series[str(state.global_step)] = figures(kwargs["model"])
                kwargs["model"].train()

    return Series()


def _settings(method: FineTuning, scratch: str, seed: int) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        output_dir=scratch,
        max_steps=method.steps,
        per_device_train_batch_size=method.batch,
        learning_rate=method.lr,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": FINAL_LR},
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=CLIP,
        train_sampling_strategy="sequential",
        completion_only_loss=True,
        activation_checkpointing=False,
        max_length=None,
        use_cpu=True,
        bf16=False,
        seed=seed,
        data_seed=seed,
        logging_steps=LOG_EVERY,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def quiet(trainer: Any) -> None:
    """Take away the callback that prints every log line."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
