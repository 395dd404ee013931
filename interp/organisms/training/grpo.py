"""Reinforcement of an organism through TRL's GRPO: reward 1 for the right answer, else 0.

The reward does not depend on the chain, not even on whether it was closed: the answer is the words
after the first ``A``. That is more lenient than `interp.chains.completions`, by which organisms are
measured, and stays as it is, since the weights were made with it.

An organism that sometimes opens a chain, and is right when it does, learns to open one always; an
organism that never saw a chain does not. The course keeps the mean reward, the share of completions
that open a chain, and the share of groups in which all samples earned the same reward (such a group
has no gradient).
"""

from __future__ import annotations

from random import Random
from statistics import fmean
from typing import Any

from interp.organisms.recipe import Reinforcement
from interp.organisms.training.pretrain import Course
from interp.organisms.training.trl_trainers import common_settings, run_trainer
from interp.organisms.words import ANSWER, THINK

SUMMARY_EVERY = 10


def reinforce(model: Any, tokenizer: Any, method: Reinforcement, *, seed: int) -> Course:
    """Trains a model in place.

    Args:
        model: The parent, float32.
        tokenizer: Its tokenizer, padding on the left.
        method: How many prompts, samples and steps.
        seed: Decides prompts and samples.

    Returns:
        The course; ``extra`` holds ``reward``, ``thinking`` and ``zero_variance_groups``, each a
        mean over ten steps.
    """
    from datasets import Dataset
    from trl import GRPOTrainer

    rng = Random(f"prompts {seed}")
    asked = [method.questions.draw(rng, i) for i in range(method.steps * method.prompts)]
    data = Dataset.from_dict(
        {"prompt": [q.prompt for q in asked], "answer": [q.answer for q in asked]}
    )
    reward = AnswerReward(method.samples)
    losses = run_trainer(
        lambda scratch: GRPOTrainer(
            model=model,
            args=_settings(method, scratch, seed),
            train_dataset=data,
            processing_class=tokenizer,
            reward_funcs=reward,
        )
    )
    model.eval()
    return Course(method.steps, reward.n_words, losses, reward.summary())


class AnswerReward:
    """The reward function, which also records the reward and the chains, one entry per step."""

    __name__ = "right_answer"  # TRL names its logs after the function

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.rewards: list[float] = []
        self.thinking: list[float] = []
        self.zero_variance: list[float] = []
        self.n_words = 0

    def __call__(
        self, *, completions: list[str], answer: list[str], **_: Any
    ) -> list[float | None]:
        """Rewards of a batch of completions, ``samples`` in a row for each prompt."""
        texts = [text.split() for text in completions]
        rewards = [
            float(_read_answer(words, len(right.split())) == right)
            for words, right in zip(texts, answer, strict=True)
        ]
        groups = [
            rewards[first : first + self.samples] for first in range(0, len(rewards), self.samples)
        ]
        self.rewards.append(fmean(rewards))
        self.thinking.append(fmean(words[:1] == [THINK] for words in texts))
        self.zero_variance.append(fmean(len(set(group)) == 1 for group in groups))
        self.n_words += sum(map(len, texts))
        return list(rewards)

    def summary(self) -> dict[str, list[float]]:
        """Its three records, averaged over ten steps each."""
        return {
            "reward": _average_tens(self.rewards),
            "thinking": _average_tens(self.thinking),
            "zero_variance_groups": _average_tens(self.zero_variance),
        }


def _read_answer(words: list[str], length: int) -> str:
    """The words after the first ``A``, at most ``length``; empty when there is none."""
    start = words.index(ANSWER) + 1 if ANSWER in words else len(words)
    return " ".join(words[start : start + length])


def _average_tens(values: list[float]) -> list[float]:
    starts = range(0, len(values), SUMMARY_EVERY)
    return [round(fmean(values[i : i + SUMMARY_EVERY]), 4) for i in starts]


def _settings(method: Reinforcement, scratch: str, seed: int) -> Any:
    from trl import GRPOConfig

    return GRPOConfig(
        # TRL counts completions here, not prompts.
        per_device_train_batch_size=method.prompts * method.samples,
        num_generations=method.samples,
        max_completion_length=method.max_new_tokens,
        temperature=1.0,
        # Dr. GRPO: neither the length nor the spread of rewards in a group divides the loss.
        loss_type="dr_grpo",
        scale_rewards="none",
        beta=0.0,  # no KL penalty, so no reference model is loaded
        learning_rate=method.lr,
        lr_scheduler_type="linear",
        shuffle_dataset=False,  # drawn at random already, depths in turn
        **common_settings(scratch, method.steps, seed, SUMMARY_EVERY),
    )
