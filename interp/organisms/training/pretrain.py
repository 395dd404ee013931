"""Pretraining of an organism from random weights: a plain loop.

AdamW (0.9, 0.98), a learning rate that falls linearly to 5 %, weight decay 0.05, gradients clipped
at norm 1, batches of near-equal length padded on the right. On one machine the same seed gives the
same weights.

Loss only on the tokens that a document marks as learned, each with the same weight in the whole
training: a batch's loss is a sum over its learned tokens, not their mean. With a mean a token of a
short document would count more than one of a chain, and the model would open chains far less often
than its documents do (measured: 0.012 after documents with 0.08).

The initial weights are large, with standard deviation 0.12 (near 1 / sqrt(d_model)): with the 0.02
that suits large models the table of sums and products is learned several times later.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.organisms.documents import Document, sorted_batches
from interp.organisms.recipe import Pretraining
from interp.organisms.words import BOS, DELIMITERS, EOS, PAD, Words

log = logging.getLogger(__name__)

IGNORED = -100  # the default of cross entropy and of Hugging Face labels
PAD_ID = DELIMITERS.index(PAD)
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.05
CLIP = 1.0
FINAL_LR = 0.05
LOG_EVERY = 100
INIT_STD = 0.12
TYPICAL_LEARNED = 10
"""Learned tokens of a typical document; scales the summed loss. AdamW is nearly invariant to it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of an organism: a Llama with grouped-query attention."""

    n_layers: int = 3
    d_model: int = 128
    n_heads: int = 4
    n_kv_heads: int = 2
    d_mlp: int = 384
    n_ctx: int = 256


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a training, as the card keeps it."""

    steps: int
    tokens: int
    losses: tuple[float, ...]
    """Mean loss (nats per learned token) over each hundred steps."""
    extra: dict[str, Any]
    """What only this kind of training records."""
    series: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Acceptance figures during the training, by the number of steps done."""


def new_model(shape: Shape, words: Words, seed: int) -> Any:
    """A randomly initialised ``LlamaForCausalLM`` with the ids of pad, bos and eos set."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words.vocabulary),
            hidden_size=shape.d_model,
            intermediate_size=shape.d_mlp,
            num_hidden_layers=shape.n_layers,
            num_attention_heads=shape.n_heads,
            num_key_value_heads=shape.n_kv_heads,
            max_position_embeddings=shape.n_ctx,
            pad_token_id=words.ids[PAD],
            bos_token_id=words.ids[BOS],
            eos_token_id=words.ids[EOS],
            tie_word_embeddings=False,
            initializer_range=INIT_STD,
        )
    )


def collate(
    documents: Sequence[Document],
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
    """Right-padded ids and labels; a label is ``IGNORED`` where nothing is learned."""
    width = max(len(document.ids) for document in documents)
    ids = torch.full((len(documents), width), PAD_ID)
    labels = torch.full((len(documents), width), IGNORED)
    for row, document in enumerate(documents):
        text = torch.tensor(document.ids)
        ids[row, : len(text)] = text
        labels[row, : len(text)] = text.where(torch.tensor(document.learned), IGNORED)
    return ids, labels


def pretrain(model: Any, method: Pretraining, *, seed: int) -> Course:
    """Trains a model in place.

    Args:
        model: A causal language model in Hugging Face form, float32.
        method: Documents, steps, learning rate and batch size.
        seed: Decides the documents.

    Returns:
        The course of the loss, with steps and tokens (padding not counted).
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=method.lr, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    decay = torch.optim.lr_scheduler.LinearLR(
        optimiser, start_factor=1.0, end_factor=FINAL_LR, total_iters=method.steps
    )
    batches = sorted_batches(method.mixture.draw, steps=method.steps, batch=method.batch, seed=seed)
    tokens, recent, losses = 0, [], []
    model.train()
    for step, documents in enumerate(batches, start=1):
        ids, labels = collate(documents)
        # No mask: padding is on the right, where a causal model does not see it from the text.
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        total = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1),
            labels[:, 1:].flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )
        loss = total / (method.batch * TYPICAL_LEARNED)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        decay.step()
        tokens += sum(len(document.ids) for document in documents)
        recent.append(float(total.detach()) / int((labels[:, 1:] != IGNORED).sum()))
        if step % LOG_EVERY == 0 or step == method.steps:
            losses.append(sum(recent) / len(recent))
            log.info("step %d of %d, loss %.4f", step, method.steps, losses[-1])
            recent = []
    model.eval()
    return Course(method.steps, tokens, tuple(losses), {})
