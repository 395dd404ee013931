"""What an organism says: its next words and its greedy continuations, as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.organisms.words import ANSWER, BOS, END_THINK, EOS, PAD, THINK, Words

BATCH = 100


@dataclass(frozen=True)
class Reader:
    """A model in Hugging Face form and the words of its world."""

    model: Any
    words: Words

    def next_logprobs(self, prompts: Sequence[list[int]]) -> Float[Tensor, "batch d_vocab"]:
        """Log-probabilities (nats) of the next word after each prompt.

        Rows are padded on the right, which a causal model cannot see from the prompt's last word.
        """
        rows: list[Tensor] = []
        for first in range(0, len(prompts), BATCH):
            part = prompts[first : first + BATCH]
            width = max(map(len, part))
            ids = torch.tensor([p + [self.words.ids[PAD]] * (width - len(p)) for p in part])
            last = torch.tensor([len(p) - 1 for p in part])
            with torch.no_grad():
                logits = self.model(input_ids=ids, use_cache=False).logits
            rows.append(logits[torch.arange(len(part)), last].float().log_softmax(-1))
        return torch.cat(rows)

    def next_words(self, prompts: Sequence[str]) -> list[str]:
        """The likeliest next word after each prompt."""
        encoded = [self.words.encode(prompt) for prompt in prompts]
        return [self.words.vocabulary[int(i)] for i in self.next_logprobs(encoded).argmax(-1)]

    def continuations(self, prompts: Sequence[str], max_new_tokens: int = 56) -> list[list[str]]:
        """Greedy continuations as words, ``<eos>`` and what follows removed."""
        end, pad = self.words.ids[EOS], self.words.ids[PAD]
        texts: list[list[str]] = []
        for first in range(0, len(prompts), BATCH):
            part = [self.words.encode(prompt) for prompt in prompts[first : first + BATCH]]
            width = max(map(len, part))
            ids = torch.tensor([[pad] * (width - len(p)) + p for p in part])
            mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in part])
            written = self.model.generate(
                input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=max_new_tokens
            )
            for row in written[:, width:].tolist():
                row = row[: row.index(end)] if end in row else row
                texts.append([self.words.vocabulary[i] for i in row])
        return texts

    def think_share(self, questions: Sequence[str]) -> float:
        """Mean probability of ``<think>`` as the first word after a question."""
        prompts = [self.words.encode(f"{BOS} {question}") for question in questions]
        return float(self.next_logprobs(prompts)[:, self.words.ids[THINK]].exp().mean())


def chained(question: str, steps: Sequence[str]) -> str:
    """``<bos> Q ... ? <think> steps </think> A``."""
    return " ".join([BOS, question, THINK, *steps, END_THINK, ANSWER])


def read_answer(words: Sequence[str], length: int = 1) -> str:
    """The words after the first ``A``, at most ``length``; empty when there is none."""
    words = list(words)
    place = words.index(ANSWER) + 1 if ANSWER in words else len(words)
    return " ".join(words[place : place + length])


def agreement(left: Sequence[str], right: Sequence[str]) -> float:
    """Share of places at which two rows of words agree."""
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)
