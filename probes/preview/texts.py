"""What a model will read of a task: its first prompt token by token, lengths, and what fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from textwrap import wrap
from typing import Any

from interp.chains.chain import encode_answer, encode_chain, encode_question, find_layout
from interp.chains.rendering import render
from interp.chains.texts import Ids, decode, encode
from interp.chains.trace_forms import begin_chain
from interp.models.outline import Outline
from interp.tasks import Example, Task
from interp.tasks.presentation import present

WIDTH = 100


def describe_texts(task: Task, role: str, outline: Outline) -> Iterator[str]:
    """Lines about one model: its first prompt, how long questions and chains are, what fits.

    Args:
        task: The questions.
        role: Of the model in the audit.
        outline: Its tokenizer and configuration.
    """
    tokenizer, task = outline.tokenizer, present(task, outline)
    yield f"{role}: {outline.name}"
    yield f"  asked in the format {task.format!r} ({outline.prompt_format.account})"
    first = task.examples[0]
    prompt = encode_question(tokenizer, task, first)
    yield f"  first prompt ({first.id}), {len(prompt)} tokens, separated by |:"
    yield from _wrapped(tokenizer, prompt)
    yield f"  {_about_beginning(tokenizer, prompt)}"
    if first.steps:
        yield "  its gold chain and answer:"
        yield from _wrapped(tokenizer, _chain_ids(task, first, outline)[len(prompt) :])
    questions = [len(encode_question(tokenizer, task, e)) for e in task.examples]
    yield f"  questions: {_range(questions)} tokens"
    chains = [
        sum(len(encode(tokenizer, step)) for step in example.steps)
        for example in task.examples
        if example.steps
    ]
    if chains:
        steps = [len(example.steps) for example in task.examples if example.steps]
        yield f"  gold chains: {_range(chains)} tokens, {_range(steps)} steps"
        too_long = sum(length > task.max_chain_tokens for length in chains)
        yield (
            f"  a model may write {task.max_chain_tokens} tokens of a chain; "
            f"{too_long} gold chains are longer"
        )
    lengths = _lengths(task, outline)
    fitting = sum(length <= outline.n_ctx for length in lengths)
    yield (
        f"  context of {outline.n_ctx} tokens: question, longest chain and answer fit for "
        f"{fitting} of {len(lengths)} questions (the longest needs {max(lengths)})"
    )


def longest_sequence(task: Task, outline: Outline) -> int:
    """Tokens of the longest text of a task: a question, the longest chain, cue and answer."""
    return max(_lengths(present(task, outline), outline))


def _lengths(task: Task, outline: Outline) -> list[int]:
    tokenizer, layout = outline.tokenizer, find_layout(task, outline)
    around = len(layout.think_open) + len(layout.think_close) + len(layout.answer_cue)
    return [
        len(encode_question(tokenizer, task, example))
        + max(task.max_chain_tokens, sum(len(encode(tokenizer, step)) for step in example.steps))
        + around
        + task.max_answer_tokens
        for example in task.examples
    ]


def _chain_ids(task: Task, example: Example, outline: Outline) -> Ids:
    """Question, gold chain, cue and answer."""
    tokenizer = outline.tokenizer
    asked = encode_question(tokenizer, task, example)
    texts = (begin_chain(task, example, example.steps[0]), *example.steps[1:])
    chain = encode_chain(tokenizer, task.layout, asked, texts)
    text = render(asked, chain, find_layout(task, outline))
    return text + encode_answer(tokenizer, task.layout, example.answer)


def _about_beginning(tokenizer: Any, prompt: Sequence[int]) -> str:
    """Whether the prompt begins as the tokenizer begins a text."""
    begun = list(tokenizer("a")["input_ids"])
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    added = begun[: len(begun) - len(plain)] if begun[-len(plain) :] == plain else []
    if not added:
        return "this tokenizer puts nothing before a text"
    names = " ".join(repr(decode(tokenizer, (token,))) for token in added)
    if list(prompt[: len(added)]) == added:
        return f"it begins with {names}, as this tokenizer begins a text"
    return f"it does not begin with {names}, which this tokenizer puts before a text"


def _wrapped(tokenizer: Any, ids: Sequence[int]) -> Iterator[str]:
    shown = "|".join(_shown(decode(tokenizer, (token,))) for token in ids)
    for line in wrap(shown, WIDTH - 4, drop_whitespace=False, break_on_hyphens=False):
        yield f"    {line}"


def _shown(text: str) -> str:
    return text.replace("\n", "\\n").replace("\t", "\\t").replace(" ", "\u00b7")


def _range(numbers: Sequence[int]) -> str:
    """Smallest, median and largest."""
    return f"{min(numbers)} to {max(numbers)} (median {median(numbers):g})"
