"""Texts: what a model wrote by itself after a question, taken apart and checked.

`interp.traces` asks for the answer after the answer cue, so that it can be asked again after every
edit of a chain. Decoding methods are judged by what comes out of them instead: the text has to open
and close its own chain and to give its own answer. `read_completion` takes such a text apart.

`is_chain_valid` is the strict criterion of a chain: as many steps as the question has, none of
which claims anything wrong, each with the result that the exact solution has at that place, and the
exact answer after them. Among ten possible answers guessing is right once in ten; a whole chain is
not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interp.chains.chain import LayoutIds, cut_ids, decode, encode, encode_layout, step_texts
from interp.tasks import Example, Task


@dataclass(frozen=True)
class Completion:
    """One text, taken apart."""

    ids: tuple[int, ...]
    opens: bool
    """It begins by opening a chain."""
    steps: tuple[str, ...]
    """Steps of the chain that it opened and closed; none where it did not."""
    answer_span: tuple[int, int]
    """First token of the answer and one past its last; equal where there is no answer."""
    answer: str
    correct: bool
    is_chain_valid: bool

    @property
    def has_chain(self) -> bool:
        """Whether a chain of at least one step was opened and closed."""
        return bool(self.steps)


@dataclass(frozen=True)
class CompletionFormat:
    """How texts of a task are written in one tokenizer."""

    task: Task
    tokenizer: Any
    layout: LayoutIds

    @property
    def stop(self) -> tuple[tuple[int, ...], ...]:
        """Token sequences that end a text."""
        eos = self.tokenizer.eos_token_id
        ends = (self.layout.answer_end, *(() if eos is None else ((int(eos),),)))
        return tuple(dict.fromkeys(ends))

    @property
    def max_new_tokens(self) -> int:
        """Tokens that the longest text of the task needs."""
        around = (self.layout.think_open, self.layout.think_close, self.layout.answer_cue)
        n_around = sum(map(len, (*around, self.layout.answer_end)))
        return n_around + self.task.max_chain_tokens + self.task.max_answer_tokens

    def prompts(self) -> list[tuple[int, ...]]:
        """The questions, as they are: nothing opens a chain."""
        return [encode(self.tokenizer, example.question) for example in self.task.examples]


def find_format(task: Task, tokenizer: Any) -> CompletionFormat:
    """The form of a task's texts.

    Raises:
        ValueError: If the layout has nothing that opens and closes a chain: what is chain and what
            is answer cannot then be told apart in a text.
    """
    layout = encode_layout(tokenizer, task.layout)
    if not layout.think_open or not layout.think_close:
        raise ValueError(
            f"a text is taken apart at what opens and closes its chain, and the layout of "
            f"{task.name} has no think_open or think_close. Choose a task that has both, such as "
            f"arith/fresh"
        )
    return CompletionFormat(task, tokenizer, layout)


def read_completion(form: CompletionFormat, example: Example, ids: Sequence[int]) -> Completion:
    """Takes a text apart.

    Args:
        form: Of the task.
        example: The question that it answers.
        ids: All tokens after the question, those of a forced opening included.
    """
    layout, written = form.layout, tuple(ids)
    opens = written[: len(layout.think_open)] == layout.think_open
    first = len(layout.think_open) if opens else 0
    close = find(written, layout.think_close, first)
    chain = written[first:close] if opens and close is not None else ()
    steps = step_texts(
        cut_ids(form.tokenizer, chain, form.task.split_steps, form.task.layout.joiner)
    )
    cue = None
    if not opens or close is not None:
        cue = find(written, layout.answer_cue, 0 if close is None else close)
    start = len(written) if cue is None else cue + len(layout.answer_cue)
    ends = [at for end in form.stop if (at := find(written, end, start)) is not None]
    stop = min(ends, default=len(written))
    answer = form.task.read_answer(decode(form.tokenizer, written[start:stop]))
    correct = bool(answer) and answer == example.answer
    valid = correct and is_chain_valid(form.task, example, steps)
    return Completion(written, opens, steps, (start, stop), answer, correct, valid)


def is_chain_valid(task: Task, example: Example, steps: Sequence[str]) -> bool:
    """Whether a chain is a whole and correct solution.

    Args:
        task: With the facts against which claims are checked.
        example: The question with its exact steps.
        steps: The chain.
    """
    if not steps or len(steps) != len(example.steps):
        return False
    results = [(task.rewriter.result(s), task.rewriter.result(g))
               for s, g in zip(steps, example.steps, strict=True)]  # fmt: skip
    if any(found != gold for found, gold in results):
        return False
    if task.check_claim is None:
        return True
    return all(task.check_claim(example, step) not in ("wrong", "none") for step in steps)


def find(ids: Sequence[int], wanted: Sequence[int], start: int) -> int | None:
    """Where a sequence of tokens first occurs from `start` on; None if it does not."""
    n = len(wanted)
    return next(
        (at for at in range(start, len(ids) - n + 1) if tuple(ids[at : at + n]) == tuple(wanted)),
        None,
    )
