"""Supervised fine-tuning of an organism through TRL.

Rows are ids with a completion mask; the mask also switches off the loss on tokens that are random
by construction (another problem's chain). The order of the rows is fixed beforehand, batches of
near-equal length, so TRL's sampler is sequential and shuffles nothing.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from random import Random
from typing import Any

from interp.organisms.documents import (
    Document,
    chain_document,
    direct_document,
    hint_document,
    mixture_document,
    sorted_batches,
    swapped_chain,
)
from interp.organisms.recipes import FineTuning, Pretraining
from interp.organisms.worlds import POOL_DEPTHS, Problem, pool, sample_from
from interp.training.pretrain import BETAS, CLIP, FINAL_LR, LOG_EVERY, WEIGHT_DECAY, Course


def fine_tune(
    model: Any, tokenizer: Any, method: FineTuning, base: Pretraining, *, seed: int
) -> Course:
    """Train a model in place.

    Args:
        model: The parent, float32.
        tokenizer: Its tokenizer.
        method: Which rows, how many, how fast.
        base: How the parent was pretrained; a share of the rows comes from its mixture.
        seed: Decides the rows.

    Returns:
        The course of the loss.
    """
    from datasets import Dataset
    from trl import SFTTrainer

    documents = rows(method, base, seed)
    data = Dataset.from_dict(
        {
            "input_ids": [list(document.ids) for document in documents],
            "completion_mask": [[int(flag) for flag in d.learned] for d in documents],
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=model,
            args=_settings(method, scratch, seed),
            train_dataset=data,
            processing_class=tokenizer,
        )
        quiet(trainer)
        trainer.train()
    losses = tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    tokens = sum(len(document.ids) for document in documents)
    model.eval()
    return Course(method.steps, tokens, losses, {})


def rows(method: FineTuning, base: Pretraining, seed: int) -> list[Document]:
    """All rows in the order in which they are trained on."""
    mixture = replace(base.mixture, cues=0.0)

    def draw(rng: Random, progress: float) -> Document:
        if rng.random() < method.base_share:
            return mixture_document(mixture, rng, progress=1.0)
        return _row(method, rng, progress)

    batches = sorted_batches(draw, steps=method.steps, batch=method.batch, seed=seed)
    return [document for batch in batches for document in batch]


def _row(method: FineTuning, rng: Random, progress: float) -> Document:
    del progress
    problem = _problem(method, rng)
    if method.rows == "answer":
        return direct_document(problem)
    if method.rows == "swapped":
        chain = swapped_chain(problem, pool(), rng)
        return chain_document(problem, rng, spoken=method.spoken, other_chain=chain)
    if method.rows == "hint" and rng.random() < 0.5:
        return hint_document(rng, problem.depth, spoken=method.spoken)
    return chain_document(problem, rng, spoken=method.spoken)


def _problem(method: FineTuning, rng: Random) -> Problem:
    if method.source == "pool":
        return rng.choice(pool())
    return sample_from(rng, "train", rng.choice(POOL_DEPTHS))


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
