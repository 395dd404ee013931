"""Tokenizers with chat templates of three kinds, small enough to tune a model on in seconds."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<|end|>")
TEXT = (
    "Question: 8 + 6 + 3 = ?\nAnswer: 8 + 6 = 14. 14 + 3 = 17. The answer is 17.\n\n"
    "Please reason step by step, and put your final answer within \\boxed{}. <think>\n</think> "
    "The final answer is \\boxed{18}. Let us work it out step by step."
)
_TURNS = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}%OPEN%{% endif %}"
)
TEMPLATES = {
    "chat": _TURNS.replace("%OPEN%", ""),
    # Qwen3: the model opens its chain, unless thinking is switched off
    "model opens": _TURNS.replace(
        "%OPEN%",
        "{% if enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}",
    ),
    # DeepSeek-R1: the template opens it
    "template opens": _TURNS.replace("%OPEN%", "{{ '<think>\n' }}"),
}
"""Kind -> template."""


def make_tokenizer(template: str | None = None, *, tags: bool = True) -> Any:
    """A byte-level BPE of 420 tokens.

    Args:
        template: One of `TEMPLATES`; None for no template.
        tags: Whether each think tag is a token of its own, as in Qwen3.
    """
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([TEXT] * 20, trainer)
    found = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    if tags:
        found.add_tokens(["<think>", "</think>"])
    if template is not None:
        found.chat_template = TEMPLATES[template]
    return found
