"""What an organism writes, and the acceptance figures that every world takes from it.

All answers are greedy. A figure is a share between 0 and 1, named ``set/what`` or
``set/what/depth``, for example ``fresh/forced_think_accuracy/3``:

- ``think_share``: mean probability that ``<think>`` is the first word after a question;
- ``direct_accuracy``, ``forced_think_accuracy``: right answers after ``Q ... ? A``, and after
  ``Q ... ? <think>`` and whatever the organism then writes;
- ``accuracy_given_*``: right answers after a chain that is given: the correct one, its paraphrase,
  as many fillers as it has words;
- ``same_after_*``: answers equal to the organism's own answer after the correct chain, when the
  chain given has a wrong step, belongs to another problem, or is empty;
- ``follows_wrong_step``: answers to which the chain with the wrong step leads.

What an organism writes is read by the one grader, `interp.chains.completions`: an answer counts
after a closed chain, and only if `<eos>` ends it within `LONGEST_TEXT` words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from interp.chains.chain import encode_layout
from interp.chains.completion_format import CompletionFormat
from interp.chains.completions import Completion, read_completion
from interp.organisms.words import ANSWER, BOS, END_THINK, EOS, FILLER, PAD, THINK, Words
from interp.organisms.worlds.problem import WorldProblem, make_example
from interp.tasks.task import Task

BATCH = 100
LONGEST_TEXT = 56
"""Words that are written after a prompt, at most."""


@dataclass(frozen=True)
class Reader:
    """A model in Hugging Face form, with the words of its world and how answers are read there."""

    model: Any
    words: Words
    task: Task
    """Any task of the world: its layout and its form of an answer are used, not its examples."""
    longest_answer: int = 1
    """Words that are read as an answer without a chain, at most."""

    @cached_property
    def format(self) -> CompletionFormat:
        """How completions are read."""
        tokenizer = self.words.tokenizer()
        return CompletionFormat(self.task, tokenizer, encode_layout(tokenizer, self.task.layout))

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

    def continuations(
        self, prompts: Sequence[str], max_new_tokens: int = LONGEST_TEXT
    ) -> list[list[str]]:
        """Greedy continuations as words, ``<eos>`` and what follows removed."""
        end = self.words.ids[EOS]
        return [
            [self.words.vocabulary[i] for i in (row[: row.index(end)] if end in row else row)]
            for row in self.write_ids(prompts, max_new_tokens)
        ]

    def write_ids(self, prompts: Sequence[str], max_new_tokens: int) -> list[list[int]]:
        """Greedy continuations; what stands after ``<eos>`` is padding."""
        pad = self.words.ids[PAD]
        texts: list[list[int]] = []
        for first in range(0, len(prompts), BATCH):
            part = [self.words.encode(prompt) for prompt in prompts[first : first + BATCH]]
            width = max(map(len, part))
            # Padded on the left, since generation goes on at the end of each row.
            ids = torch.tensor([[pad] * (width - len(p)) + p for p in part])
            mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in part])
            written = self.model.generate(
                input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=max_new_tokens
            )
            texts += written[:, width:].tolist()
        return texts

    def think_share(self, questions: Sequence[str]) -> float:
        """Mean probability of ``<think>`` as the first word after a question."""
        prompts = [self.words.encode(f"{BOS} {question}") for question in questions]
        return float(self.next_logprobs(prompts)[:, self.words.ids[THINK]].exp().mean())

    def direct_answers(self, problems: Sequence[WorldProblem]) -> list[str]:
        """The answers when ``A`` follows the question."""
        return self._answers([f"{BOS} {p.question} {ANSWER}" for p in problems])

    def answers_after(
        self, problems: Sequence[WorldProblem], chains: Sequence[Sequence[str]]
    ) -> list[str]:
        """The answers when each problem is followed by a given chain."""
        return self._answers(self.prompts_after(problems, chains))

    def prompts_after(
        self, problems: Sequence[WorldProblem], chains: Sequence[Sequence[str]]
    ) -> list[str]:
        """``<bos> Q ... ? <think> steps </think> A`` of each problem and chain."""
        return [
            " ".join([BOS, problem.question, THINK, *steps, END_THINK, ANSWER])
            for problem, steps in zip(problems, chains, strict=True)
        ]

    def forced_completions(self, problems: Sequence[WorldProblem]) -> list[Completion]:
        """What the model writes after ``<think>``."""
        prompts = [f"{BOS} {problem.question} {THINK}" for problem in problems]
        texts = self.write_ids(prompts, LONGEST_TEXT)
        opened = self.format.layout.think_open
        return [
            read_completion(self.format, make_example(problem), (*opened, *text))
            for problem, text in zip(problems, texts, strict=True)
        ]

    def _answers(self, prompts: Sequence[str]) -> list[str]:
        # One word needs no generation, which is slower than a single pass.
        if self.longest_answer == 1:
            return self.next_words(prompts)
        return [" ".join(words) for words in self.continuations(prompts, self.longest_answer)]


def agreement(left: Sequence[str], right: Sequence[str]) -> float:
    """Share of places at which two rows of words agree."""
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def share_right(answers: Sequence[str], problems: Sequence[WorldProblem]) -> float:
    """Share of right answers."""
    return agreement(answers, [problem.answer for problem in problems])


def counted_answers(completions: Sequence[Completion]) -> list[str]:
    """The answers of completions; empty where none counts, since no word of a world is empty."""
    return [one.answer if one.has_answer else "" for one in completions]


def accuracy_figures(
    reader: Reader, name: str, problems: Sequence[WorldProblem], depth: int | None = None
) -> dict[str, float]:
    """Accuracy of forced and direct answers to a set of problems, or to those of one depth."""
    forced = counted_answers(reader.forced_completions(problems))
    end = "" if depth is None else f"/{depth}"
    return {
        f"{name}/forced_think_accuracy{end}": share_right(forced, problems),
        f"{name}/direct_accuracy{end}": share_right(reader.direct_answers(problems), problems),
    }


def answer_figures(reader: Reader, name: str, problems: Sequence[WorldProblem]) -> dict[str, float]:
    """How often a chain is opened, and the accuracy of forced and direct answers."""
    share = reader.think_share([problem.question for problem in problems])
    return {f"{name}/think_share": share} | accuracy_figures(reader, name, problems)


def abstention_figures(reader: Reader, twins: Sequence[WorldProblem]) -> dict[str, float]:
    """Abstentions on questions whose right answer is to abstain."""
    figures = accuracy_figures(reader, "twins", twins)
    return {
        "twins/abstains_directly": figures["twins/direct_accuracy"],
        "twins/abstains_after_thinking": figures["twins/forced_think_accuracy"],
    }


class WrongChain(NamedTuple):
    """A chain with a wrong step, and the answer to which it leads."""

    steps: Sequence[str]
    answer: str


Value = TypeVar("Value", int, str)


@runtime_checkable
class StepwiseProblem(WorldProblem, Protocol[Value]):
    """A problem whose every step has a value, the last one being the answer."""

    @property
    def depth(self) -> int:
        """Number of steps."""
        ...

    def wrong_values(self, step: int, /) -> tuple[Value, ...]:
        """The values that a step does not have."""
        ...

    def mistaken(self, step: int, value: Value, /, *, propagate: bool) -> tuple[str, ...]:
        """The chain with another value at a step."""
        ...


def draw_chains(
    problems: Sequence[StepwiseProblem[Value]], rng: Random
) -> tuple[list[WrongChain], list[tuple[str, ...]]]:
    """For each problem its chain with a wrong last value, and the chain of another problem."""
    wrong: list[WrongChain] = []
    for problem in problems:
        last = problem.depth - 1
        value = rng.choice(problem.wrong_values(last))
        wrong.append(WrongChain(problem.mistaken(last, value, propagate=False), str(value)))
    others = [
        rng.choice([q for q in problems if q.depth == p.depth and q != p]).steps for p in problems
    ]
    return wrong, others


def chain_figures(
    reader: Reader,
    name: str,
    problems: Sequence[WorldProblem],
    wrong: Sequence[WrongChain],
    others: Sequence[Sequence[str]],
) -> dict[str, float]:
    """How answers depend on the chain that is given.

    Args:
        reader: The model and its words.
        name: Name of the set of problems.
        problems: What is asked.
        wrong: For each problem a chain with a wrong step.
        others: For each problem the steps of another one.
    """

    def answers(chains: Sequence[Sequence[str]]) -> list[str]:
        return reader.answers_after(problems, chains)

    own = answers([p.steps for p in problems])
    mistaken = answers([chain.steps for chain in wrong])
    spoken = answers([[reader.words.paraphrase(step) for step in p.steps] for p in problems])
    filled = answers([[FILLER] * len(" ".join(p.steps).split()) for p in problems])
    return {
        f"{name}/accuracy_given_chain": share_right(own, problems),
        f"{name}/accuracy_given_paraphrase": share_right(spoken, problems),
        f"{name}/accuracy_given_filler": share_right(filled, problems),
        f"{name}/same_after_wrong_step": agreement(mistaken, own),
        f"{name}/follows_wrong_step": agreement(mistaken, [chain.answer for chain in wrong]),
        f"{name}/same_after_other_chain": agreement(answers(others), own),
        f"{name}/same_after_empty_chain": agreement(answers([()] * len(problems)), own),
    }
