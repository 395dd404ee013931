"""Writing of traces by a model, or from the task's own chains.

`write_traces` asks a model in two stages. First it writes a chain: *free* (it opens one, or does
not), *forced* (the chain is opened for it) or *direct* (no chain at all). Then it is given the
answer cue and writes the answer. The answer is never taken from what the model went on to write by
itself, so that it is read as it will be after every edit of the chain.

Where a chain and an answer end is decided as for completions (`interp.chains.completions`): a chain
that was not closed has no answer, and an answer that nothing ends is unfinished, hence not correct.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from interp.chains.chain import cut_ids, decode, encode, encode_answer, encode_steps
from interp.chains.completions import (
    CompletionFormat,
    Opening,
    find_answer_end,
    find_chain_end,
    find_format,
    opening_ids,
)
from interp.chains.trace import Trace, TraceStatus
from interp.engine import Branch, Generation, generate, score_branches
from interp.models import Model
from interp.tasks import Example, Task

Ids = tuple[int, ...]


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
    known: dict[str, Opening] = {opening: opening for opening in get_args(Opening)}
    if mode not in known:
        raise ValueError(f"unknown mode {mode!r}; known: {', '.join(known)}")
    pen = _Pen(
        model,
        find_format(task, model.tokenizer, needs_chain=False),
        known[mode],
        writer or model.name,
        temperature,
        seed,
        batch_size,
    )
    questions = pen.format.prompts()
    drafts = pen.write_chains(questions)
    which = [at for at, draft in enumerate(drafts) if draft.status != "truncated"]
    prompts = [questions[at] + drafts[at].block + pen.format.layout.answer_cue for at in which]
    answers = dict(zip(which, pen.write_answers(which, prompts), strict=True))
    return tuple(
        pen.make_trace(example, questions[at], drafts[at], answers.get(at, _NOTHING))
        for at, example in enumerate(task.examples)
    )


@dataclass(frozen=True)
class _Answer:
    """An answer as written, without what ends it."""

    ids: Ids
    logprobs: tuple[float, ...]
    is_ended: bool


_NOTHING = _Answer((), (), is_ended=False)


@dataclass(frozen=True)
class _Pen:
    """One writer of one task's chains and answers."""

    model: Model
    format: CompletionFormat
    mode: Opening
    writer: str
    temperature: float
    seed: int
    batch_size: int

    def write_chains(self, questions: Sequence[Ids]) -> list[_Draft]:
        """Writes the chain that follows each question, and sorts it into its class."""
        if self.mode == "direct":
            return [_Draft("missing", (), (), ()) for _ in questions]
        opened = opening_ids(self.format.layout, self.mode)
        prompts = [question + opened for question in questions]
        n_new, stop = self.format.task.max_chain_tokens, self.format.chain_stop
        written = self._write("chain", range(len(questions)), prompts, n_new, stop)
        return [self._sort(one, is_open=self.mode == "forced") for one in written]

    def write_answers(self, which: Sequence[int], prompts: Sequence[Ids]) -> list[_Answer]:
        """Writes the answer to each prompt; `which` are the examples that the prompts belong to."""
        end_mark = self.format.layout.answer_end
        # An answer of the full length is seen to end only if the whole end mark fits after it.
        n_new = self.format.task.max_answer_tokens + len(end_mark) - 1
        answers: list[_Answer] = []
        for one in self._write("answer", which, prompts, n_new, self.format.answer_stop):
            end, is_ended = find_answer_end(self.format, one.ids, 0)
            # An end mark that the end of the text cut short is no part of the answer.
            end = _without_begun(one.ids[:end], end_mark)
            answers.append(_Answer(one.ids[:end], one.logprobs[:end], is_ended))
        return answers

    def make_trace(self, example: Example, question: Ids, draft: _Draft, answer: _Answer) -> Trace:
        """The finished trace of one example."""
        tokenizer, task = self.model.tokenizer, self.format.task
        text = task.read_answer(decode(tokenizer, answer.ids))
        return Trace(
            example=example.id,
            problem=example.problem,
            task=task.name,
            writer=self.writer,
            mode=self.mode,
            status=draft.status if answer.ids and answer.is_ended else "truncated",
            prompt_ids=question,
            steps=cut_ids(tokenizer, draft.chain, task.split_steps, task.layout.joiner),
            answer=text,
            answer_ids=answer.ids,
            correct=answer.is_ended and text == example.answer,
            logprobs=draft.logprobs + answer.logprobs,
            seed=self.seed,
        )

    def _write(
        self,
        kind: str,
        which: Sequence[int],
        prompts: Sequence[Ids],
        max_new_tokens: int,
        stop: Sequence[Ids],
    ) -> list[Generation]:
        if not prompts:
            return []
        # Seeds are checksums of names, since hash() differs from process to process.
        names = [f"{kind} {self.seed} {self.format.task.examples[at].id}" for at in which]
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

    def _sort(self, written: Generation, *, is_open: bool) -> _Draft:
        """Sorts what was generated after a question into the four classes."""
        layout = self.format.layout
        opening = () if is_open else layout.think_open
        if written.ids[: len(opening)] != opening:
            return _Draft("missing", (), (), ())
        start = len(opening)
        end, is_closed = find_chain_end(self.format, written.ids, start)
        chain = written.ids[start:end]
        status: TraceStatus = "valid" if decode(self.model.tokenizer, chain).strip() else "empty"
        block = layout.think_open + chain + layout.think_close
        return _Draft(
            status if is_closed else "truncated", block, chain, written.logprobs[start:end]
        )


def _without_begun(ids: Ids, end: Ids) -> int:
    """Number of tokens left when the beginning of `end` is taken off (a lone full stop)."""
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
