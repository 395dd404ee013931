"""Supervised fine-tuning of an organism through TRL.

Rows are ids with a completion mask; the mask also switches off the loss on tokens that are random
by construction (another problem's chain). The rows come in batches of near-equal length, so the
order is fixed beforehand and TRL's sampler is sequential.
"""

from __future__ import annotations

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
from interp.organisms.training.trl_trainers import common_settings, run_trainer

Measure = Callable[[Any], dict[str, float]]
"""Measures the acceptance figures of a model."""


def fine_tune(
    model: Any, tokenizer: Any, method: FineTuning, draw: Draw, measure: Measure, *, seed: int
) -> Course:
    """Trains a model in place.

    Args:
        model: The parent, float32.
        tokenizer: Its tokenizer.
        method: Steps, batch size, learning rate, and how often figures are measured.
        draw: Makes a row from a random generator and the progress of the training.
        measure: Measures the figures of the model.
        seed: Decides the rows.

    Returns:
        The course of the loss and, if the method asks for it, of the figures.
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

    def make(scratch: str) -> Any:
        trainer = SFTTrainer(
            model=model,
            args=_settings(method, scratch, seed),
            train_dataset=data,
            processing_class=tokenizer,
        )
        if method.checkpoints:
            trainer.add_callback(_series(series, measure, method))
        return trainer

    losses = run_trainer(make)
    tokens = sum(len(document.ids) for document in documents)
    model.eval()
    return Course(method.steps, tokens, losses, {}, series)


def _series(series: dict[str, dict[str, float]], measure: Measure, method: FineTuning) -> Any:
    """A callback that measures the model at equal distances, the end included."""
    from transformers import TrainerCallback

    every = method.steps // method.checkpoints

    class Series(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control
            if state.global_step % every == 0:
                series[str(state.global_step)] = measure(kwargs["model"])
                kwargs["model"].train()  # measuring has put it into evaluation mode

    return Series()


def _settings(method: FineTuning, scratch: str, seed: int) -> Any:
    from trl import SFTConfig

    return SFTConfig(
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
        max_length=None,
        **common_settings(scratch, method.steps, seed, LOG_EVERY),
    )
