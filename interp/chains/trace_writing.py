"""How traces come about: a model writes them, or the task's own chains are taken.

`write_traces` asks a model in one of three ways, in two stages. First the chain:

- *free*: after the question the model itself opens a chain, or does not;
- *forced*: the chain is opened for it (`Layout.think_open`);
- *direct*: no chain at all.

Then the answer, always after the answer cue and never from what the model went on to write by
itself, so that it is read as it will be after every edit of the chain. A chain that never ends has
no answer. In layouts without `think_close` (few-shot text) the chain ends where the model writes
the answer cue, and a blank line, which begins the next question, leaves it unfinished.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interp.chains.chain import (
    LayoutIds,
    cut_ids,
    decode,
    encode,
    encode_answer,
    encode_layout,
    encode_steps,
)
from interp.chains.trace import Trace, TraceMode, TraceStatus
from interp.engine import Branch, Generation, generate, score_branches
from interp.models import Model
from interp.tasks import Example, Task

Ids = tuple[int, ...]

MODES: dict[str, TraceMode] = {"free": "free", "forced": "forced", "direct": "direct"}
"""The ways in which a model can be asked."""


@dataclass(frozen=True)
class _Draft:
    """A chain before its answer is known."""

    status: TraceStatus
    block: Ids
    """Everything between the question and the answer cue."""
    chain: Ids
    logprobs: tuple[float, ...]


def write_traces(
    model: Model,
    task: Task,
    *,
    mode: str = "free",
    writer: str | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int = 64,
) -> tuple[Trace, ...]:
    """Lets a model answer every example of a task.

    Args:
        model: The writer.
        task: The questions.
        mode: How it is asked: free, forced or direct (see above). Free is forced where the layout
            has no `think_open`.
        writer: Name of the writer in the traces; the model's name by default.
        temperature: 0 is greedy; else chain and answer are sampled, each example with random
            numbers of its own, so the traces do not depend on the batch.
        seed: Of the samples.
        batch_size: Examples generated together.

    Returns:
        One trace per example, in order.

    Raises:
        ValueError: If the mode is unknown, or a prompt and its answer exceed the context.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
    tokenizer = model.tokenizer
    desk = _Desk(
        model,
        task,
        encode_layout(tokenizer, task.layout),
        MODES[mode],
        writer or model.name,
        temperature,
        seed,
        batch_size,
    )
    questions = [encode(tokenizer, example.question) for example in task.examples]
    drafts = desk.chains(questions)
    which = [at for at, draft in enumerate(drafts) if draft.status != "truncated"]
    prompts = [questions[at] + drafts[at].block + desk.layout.answer_cue for at in which]
    answers = dict(zip(which, desk.answers(which, prompts), strict=True))
    return tuple(
        desk.trace(example, questions[at], drafts[at], answers.get(at, _NOTHING))
        for at, example in enumerate(task.examples)
    )


@dataclass(frozen=True)
class _Answer:
    """An answer as written, without what ends it."""

    ids: Ids
    logprobs: tuple[float, ...]


_NOTHING = _Answer((), ())


@dataclass(frozen=True)
class _Desk:
    """One writer at work on one task: all that chains and answers are written with."""

    model: Model
    task: Task
    layout: LayoutIds
    mode: TraceMode
    writer: str
    temperature: float
    seed: int
    batch_size: int

    def chains(self, questions: Sequence[Ids]) -> list[_Draft]:
        """The chain that follows each question, in its class."""
        if self.mode == "direct":
            return [_Draft("missing", (), (), ()) for _ in questions]
        opened = self.layout.think_open if self.mode == "forced" else ()
        stop = self._chain_stops()
        every = range(len(questions))
        prompts = [question + opened for question in questions]
        written = self._written("chain", every, prompts, self.task.max_chain_tokens, stop)
        return [self._draft(one, stop, is_open=self.mode == "forced") for one in written]

    def answers(self, which: Sequence[int], prompts: Sequence[Ids]) -> list[_Answer]:
        """The answer to each prompt; `which` are the examples that the prompts belong to."""
        stop = (self.layout.answer_end, *self._eos())
        written = self._written("answer", which, prompts, self.task.max_answer_tokens, stop)
        ends = [_without_end(one.ids[: _before(one.ids, stop)], stop[0]) for one in written]
        return [
            _Answer(one.ids[:end], one.logprobs[:end])
            for one, end in zip(written, ends, strict=True)
        ]

    def trace(self, example: Example, question: Ids, draft: _Draft, answer: _Answer) -> Trace:
        """The finished trace of one example."""
        tokenizer = self.model.tokenizer
        text = self.task.read_answer(decode(tokenizer, answer.ids))
        return Trace(
            example=example.id,
            problem=example.problem,
            task=self.task.name,
            writer=self.writer,
            mode=self.mode,
            status=draft.status if answer.ids else "truncated",
            prompt_ids=question,
            steps=cut_ids(tokenizer, draft.chain, self.task.split_steps, self.task.layout.joiner),
            answer=text,
            answer_ids=answer.ids,
            correct=text == example.answer,
            logprobs=draft.logprobs + answer.logprobs,
            seed=self.seed,
        )

    def _written(
        self,
        kind: str,
        which: Sequence[int],
        prompts: Sequence[Ids],
        max_new_tokens: int,
        stop: Sequence[Ids],
    ) -> list[Generation]:
        if not prompts:
            return []
        names = [f"{kind} {self.seed} {self.task.examples[at].id}" for at in which]
        sampled = self.temperature > 0
        return generate(
            self.model,
            prompts,
            max_new_tokens=max_new_tokens,
            stop=stop,
            temperature=self.temperature,
            seeds=[zlib.crc32(name.encode()) for name in names] if sampled else None,
            batch_size=self.batch_size,
            progress=f"{self.writer} writes {kind}s",
        )

    def _draft(self, written: Generation, stop: Sequence[Ids], *, is_open: bool) -> _Draft:
        """Sorts what was generated after a question into the four classes."""
        opening = () if is_open else self.layout.think_open
        if written.ids[: len(opening)] != opening:
            return _Draft("missing", (), (), ())
        start = len(opening)
        end = start + _before(written.ids[start:], stop)
        chain = written.ids[start:end]
        status: TraceStatus = "valid" if decode(self.model.tokenizer, chain).strip() else "empty"
        close = stop[0]
        if written.ids[end : end + len(close)] != close:
            status = "truncated"
        block = self.layout.think_open + chain + self.layout.think_close
        return _Draft(status, block, chain, written.logprobs[start:end])

    def _chain_stops(self) -> tuple[Ids, ...]:
        """What ends the writing of a chain; the first closes it, the others leave it unfinished."""
        if self.layout.think_close:
            return (self.layout.think_close, *self._eos())
        tokenizer = self.model.tokenizer
        blank_lines = {encode(tokenizer, "\n\n"), encode(tokenizer, "\n") * 2} - {()}
        return (self.layout.answer_cue, *sorted(blank_lines), *self._eos())

    def _eos(self) -> tuple[Ids, ...]:
        eos = self.model.tokenizer.eos_token_id
        return () if eos is None else ((int(eos),),)


def _before(ids: Ids, stop: Sequence[Ids]) -> int:
    """How many tokens come before the first of these sequences."""
    n = len(ids)
    found = [at for part in stop for at in range(n) if ids[at : at + len(part)] == part]
    return min(found, default=n)


def _without_end(ids: Ids, end: Ids) -> int:
    """How many tokens are left when the beginning of `end` is taken off (a lone full stop)."""
    begun = [k for k in range(1, len(end)) if ids[-k:] == end[:k]]
    return len(ids) - max(begun, default=0)


def gold_traces(tokenizer: Any, task: Task, *, writer: str = "gold") -> tuple[Trace, ...]:
    """The task's own chains and answers, as if somebody had written them.

    Args:
        tokenizer: Of the models that will read them.
        task: The examples.
        writer: Name of the writer in the traces.

    Returns:
        One trace per example, in order.
    """
    return tuple(
        Trace(
            example=example.id,
            problem=example.problem,
            task=task.name,
            writer=writer,
            mode="gold",
            status="valid" if example.steps else "empty",
            prompt_ids=encode(tokenizer, example.question),
            steps=encode_steps(tokenizer, example.steps),
            answer=example.answer,
            answer_ids=encode_answer(tokenizer, task.layout, example.answer),
            correct=True,
        )
        for example in task.examples
    )


def think_probability(model: Model, task: Task) -> list[float]:
    """Probability that the model's first token after the question opens a chain.

    Args:
        model: The model that is asked.
        task: The questions.

    Returns:
        One number in [0, 1] per example; NaN where the layout has nothing that opens a chain.
    """
    opened = encode(model.tokenizer, task.layout.think_open)[:1]
    if not opened:
        return [float("nan")] * len(task.examples)
    questions = [encode(model.tokenizer, example.question) for example in task.examples]
    branches = [[Branch(len(question), opened)] for question in questions]
    scores = score_branches(model, questions, branches)
    return [float(row[0].logprobs[0].exp()) for row in scores]
