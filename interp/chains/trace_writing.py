"""Writing of traces by a model, or from the task's own chains.

`write_traces` asks a model in its prompt format and in two stages. First it writes a chain: *free*
(it opens one, or does not), *forced* (the chain is opened for it) or *direct* (no chain at all).
Then it is given the answer cue and writes the answer. That answer is never taken from what the
model went on to write by itself, so that it is read as it will be after every edit of the chain.

In chats a model writes its whole turn, and the answer is the one that it states there. The cue asks
only those that ended their turn without stating one, and those that are to answer directly.

Where a chain and an answer end is decided as for completions (`interp.chains.completions`): a chain
that was not closed has no answer, and an answer that nothing ends is unfinished, hence not correct.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from interp.chains.answer_statements import find_statement
from interp.chains.chain import (
    Chain,
    cut_ids,
    encode_answer,
    encode_chain,
    encode_question,
)
from interp.chains.completion_format import (
    CompletionFormat,
    Opening,
    find_answer_end,
    find_chain_end,
    find_format,
    find_parts,
)
from interp.chains.rendering import render
from interp.chains.texts import Ids, decode
from interp.chains.trace import Trace, TraceStatus
from interp.engine import Branch, Generation, generate, score_branches
from interp.models import Model
from interp.tasks import Example, Task
from interp.tasks.presentation import present

BOX_TOKENS = 24
"""Tokens of an answer in a box beyond those of an answer in the task's own form."""


@dataclass(frozen=True)
class _Answer:
    """An answer as written, without what ends it."""

    ids: Ids
    logprobs: tuple[float, ...]
    is_ended: bool


_NOTHING = _Answer((), (), is_ended=False)


@dataclass(frozen=True)
class _Draft:
    """A chain, and the answer where it was stated with it."""

    status: TraceStatus
    steps: Chain
    logprobs: tuple[float, ...]
    answer: _Answer | None = None

    @property
    def shown(self) -> Chain | None:
        """The chain as it is rendered."""
        return None if self.status == "missing" else self.steps


def write_traces(
    model: Model,
    task: Task,
    *,
    mode: str = "free",
    writer: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
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
            numbers of its own, so the traces do not depend on the batch. None takes that of the
            model's prompt format.
        top_p: Share of the probability that is drawn from; None takes that of the prompt format.
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
        find_format(task, model, needs_chain=False),
        known[mode],
        writer or model.name,
        model.prompt_format.temperature if temperature is None else temperature,
        model.prompt_format.top_p if top_p is None else top_p,
        seed,
        batch_size,
    )
    questions = pen.format.questions()
    drafts = pen.write_chains()
    answers = {at: one.answer for at, one in enumerate(drafts) if one.answer is not None}
    which = [at for at, one in enumerate(drafts) if one.status != "truncated" and not one.answer]
    prompts = [render(questions[at], drafts[at].shown, pen.format.layout) for at in which]
    answers |= dict(zip(which, pen.write_answers(which, prompts), strict=True))
    return tuple(
        pen.make_trace(example, questions[at], drafts[at], answers.get(at, _NOTHING))
        for at, example in enumerate(pen.format.task.examples)
    )


@dataclass(frozen=True)
class _Pen:
    """One writer of one task's chains and answers."""

    model: Model
    format: CompletionFormat
    mode: Opening
    writer: str
    temperature: float
    top_p: float
    seed: int
    batch_size: int

    def write_chains(self) -> list[_Draft]:
        """Writes the chain that follows each question, and sorts it into its class."""
        form = self.format
        if self.mode == "direct":
            return [_Draft("missing", (), ()) for _ in form.task.examples]
        prompts = form.prompts(self.mode)
        n_new, stop = form.task.max_chain_tokens, form.chain_stop
        if form.is_natural:
            n_new, stop = form.max_new_tokens, form.stop
        written = self._write("chain", range(len(prompts)), prompts, n_new, stop)
        sort = self._sort_turn if form.is_natural else self._sort
        return [sort(one, is_open=self.mode == "forced") for one in written]

    def write_answers(self, which: Sequence[int], prompts: Sequence[Ids]) -> list[_Answer]:
        """Writes the answer to each prompt; `which` are the examples that the prompts belong to."""
        end_mark = self.format.layout.answer_end
        # An answer of the full length is seen to end only if the whole end mark fits after it.
        n_new = self.format.task.max_answer_tokens + len(end_mark) - 1
        if self.format.is_natural:
            n_new = (self.format.task.origin or self.format.task).max_answer_tokens + BOX_TOKENS
        answers: list[_Answer] = []
        for one in self._write("answer", which, prompts, n_new, self.format.answer_stop):
            if self.format.is_natural:
                answers.append(self._read_box(one))
                continue
            end, is_ended = find_answer_end(self.format, one.ids, 0)
            # An end mark that the end of the text cut short is no part of the answer.
            end = _without_begun(one.ids[:end], end_mark)
            answers.append(_Answer(one.ids[:end], one.logprobs[:end], is_ended))
        return answers

    def make_trace(self, example: Example, question: Ids, draft: _Draft, answer: _Answer) -> Trace:
        """The finished trace of one example."""
        task = self.format.task
        opened = task.layout.answer_open if self.format.is_natural else ""
        text = task.read_answer(decode(self.model.tokenizer, answer.ids).removeprefix(opened))
        return Trace(
            example=example.id,
            problem=example.problem,
            task=task.name,
            writer=self.writer,
            mode=self.mode,
            status=draft.status if answer.ids and answer.is_ended else "truncated",
            prompt_ids=question,
            steps=draft.steps,
            answer=text,
            answer_ids=answer.ids,
            correct=answer.is_ended and text == example.answer,
            logprobs=draft.logprobs + answer.logprobs,
            seed=self.seed,
            format=task.format,
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
            top_p=self.top_p if sampled else 1.0,
            seeds=[zlib.crc32(name.encode()) for name in names] if sampled else None,
            batch_size=self.batch_size,
            progress=f"{self.writer} writes {kind}s",
        )

    def _sort(self, written: Generation, *, is_open: bool) -> _Draft:
        """Sorts what was generated after a question into the four classes."""
        opening = () if is_open else self.format.layout.think_open
        if written.ids[: len(opening)] != opening:
            return _Draft("missing", (), ())
        start = len(opening)
        end, is_closed = find_chain_end(self.format, written.ids, start)
        return self._draft(written, start, end, is_closed=is_closed)

    def _sort_turn(self, written: Generation, *, is_open: bool) -> _Draft:
        """The same for the whole turn of a chat, in which the answer is stated, too."""
        layout = self.format.layout
        given = layout.think_open if is_open else ()
        parts = find_parts(self.format, given + written.ids)
        first, end = (max(0, at - len(given)) for at in parts.chain)
        is_cut = not parts.is_closed or not (parts.answer or parts.is_whole)
        draft = self._draft(written, first, end, is_closed=not is_cut)
        is_blank = draft.status == "empty" and not layout.think_close
        if not parts.opens or is_blank:
            draft = _Draft("truncated" if is_cut else "missing", (), ())
        if not parts.answer:
            return draft
        stated = encode_answer(self.model.tokenizer, layout.text, parts.answer)
        return replace(draft, answer=_Answer(stated, (), parts.is_ended))

    def _draft(self, written: Generation, start: int, end: int, *, is_closed: bool) -> _Draft:
        """The draft whose chain lies between two positions of what was written."""
        task, chain = self.format.task, written.ids[start:end]
        tokenizer = self.model.tokenizer
        steps = cut_ids(tokenizer, chain, task.split_steps, task.layout.joiner)
        status: TraceStatus = "valid" if decode(tokenizer, chain).strip() else "empty"
        return _Draft(status if is_closed else "truncated", steps, written.logprobs[start:end])

    def _read_box(self, written: Generation) -> _Answer:
        """The answer that was written into the box that the cue opens."""
        tokenizer, layout = self.model.tokenizer, self.format.layout
        text = layout.text.answer_cue + decode(tokenizer, written.ids)
        found = find_statement(text)
        if found is None or not text[found.value].strip():
            return _NOTHING
        stated = encode_answer(tokenizer, layout.text, text[found.value].strip())
        return _Answer(stated, (), found.is_ended or written.stopped)


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
            prompt_ids=(asked := encode_question(tokenizer, task, example)),
            steps=encode_chain(tokenizer, task.layout, asked, example.steps),
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
    if not present(task, model).layout.think_open:
        return [float("nan")] * len(task.examples)
    form = find_format(task, model, needs_chain=False)
    opened = form.layout.think_open[:1]
    questions = form.questions()
    branches = [[Branch(len(question), opened)] for question in questions]
    scores = score_branches(model, questions, branches)
    return [float(row[0].logprobs[0].exp()) for row in scores]
