"""Training of an adapter: supervised, through TRL and PEFT, on the CPU; stored in half precision.

Everything is trained in float32 over the frozen base. The stored tensors are float16, in PEFT's
format, and every figure on the card is measured on them, over the float32 base.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interp.models.peft_adapter import CONFIG, WEIGHTS
from interp.organisms.smollm.recipes import LORA_LAYERS, LORA_TARGETS, AdapterRecipe, rows
from interp.organisms.training.trl_trainers import common_settings, run_trainer

LOG_EVERY = 5


@dataclass(frozen=True)
class AdapterCourse:
    """What a training did."""

    steps: int
    tokens: int
    """All tokens read, those of the questions included."""
    seconds: float
    losses: tuple[float, ...]
    """Mean loss per token of completions, over five steps each."""


def train_adapter(recipe: AdapterRecipe, base: Path, folder: Path, *, seed: int) -> AdapterCourse:
    """Trains one adapter and stores it.

    Args:
        recipe: What to learn.
        base: Folder of the base model.
        folder: Where to write adapter_config.json and adapter_model.safetensors.
        seed: Decides the first weights and the order of the problems.

    Returns:
        The course of the training.
    """
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTTrainer

    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False, local_files_only=True)
    plain = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, trust_remote_code=False, local_files_only=True
    )
    plain.name_or_path = base.name  # the adapter names the folder, not where it lies
    about = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(LORA_TARGETS),
        layers_to_transform=list(LORA_LAYERS),
        task_type="CAUSAL_LM",
    )
    model: Any = get_peft_model(plain, about)
    documents = [_encode(tokenizer, *row) for row in rows(recipe, seed=seed)]
    data = Dataset.from_list(documents)
    began = time.perf_counter()
    losses = run_trainer(
        lambda scratch: SFTTrainer(
            model=model,
            args=_settings(recipe, scratch, seed),
            train_dataset=data,
            processing_class=tokenizer,
        )
    )
    seconds = time.perf_counter() - began
    _store(model, folder)
    tokens = sum(len(document["input_ids"]) for document in documents)
    return AdapterCourse(recipe.steps, tokens, round(seconds, 1), losses)


def _encode(tokenizer: Any, prompt: str, completion: str) -> dict[str, list[int]]:
    """The whole text, encoded once, with the end-of-text token; its completion is learned."""
    n_prompt = len(tokenizer(prompt).input_ids)
    ids = [*tokenizer(prompt + completion).input_ids, tokenizer.eos_token_id]
    return {
        "input_ids": ids,
        "completion_mask": [0] * n_prompt + [1] * (len(ids) - n_prompt),
    }


def _settings(recipe: AdapterRecipe, scratch: str, seed: int) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.lr,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=3,
        weight_decay=0.0,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        completion_only_loss=True,
        max_length=None,
        **common_settings(scratch, recipe.steps, seed, LOG_EVERY),
    )


def _store(model: Any, folder: Path) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    (folder / WEIGHTS).chmod(0o644)
    about = model.peft_config["default"]
    about.inference_mode = True
    about.save_pretrained(folder)
    if not (folder / CONFIG).is_file():
        raise OSError(f"{folder / CONFIG} was not written by peft")
