"""What a model will read of a task: its first prompt token by token, lengths, and what fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from textwrap import wrap
from typing import Any

from interp.chains.chain import encode_answer, encode_layout
from interp.chains.texts import decode, encode
from interp.models.outline import Outline
from interp.tasks import Example, Layout, Task

WIDTH = 100


def describe_texts(task: Task, role: str, outline: Outline) -> Iterator[str]:
    """Lines about one model: its first prompt, how long questions and chains are, what fits.

    Args:
        task: The questions.
        role: Of the model in the audit.
        outline: Its tokenizer and configuration.
    """
    tokenizer = outline.tokenizer
    yield f"{role}: {outline.name}"
    first = task.examples[0]
    prompt = encode(tokenizer, first.question)
    yield f"  first prompt ({first.id}), {len(prompt)} tokens, separated by |:"
    yield from _wrapped(tokenizer, prompt)
    yield f"  {_about_beginning(tokenizer, prompt)}"
    if first.steps:
        yield "  its gold chain and answer:"
        yield from _wrapped(tokenizer, _chain_ids(task, first, tokenizer))
    questions = [len(encode(tokenizer, example.question)) for example in task.examples]
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
    lengths = _lengths(task, tokenizer)
    fitting = sum(length <= outline.n_ctx for length in lengths)
    yield (
        f"  context of {outline.n_ctx} tokens: question, longest chain and answer fit for "
        f"{fitting} of {len(lengths)} questions (the longest needs {max(lengths)})"
    )


def longest_sequence(task: Task, tokenizer: Any) -> int:
    """Tokens of the longest text of a task: a question, the longest chain, cue and answer."""
    return max(_lengths(task, tokenizer))


def _lengths(task: Task, tokenizer: Any) -> list[int]:
    layout: Layout[tuple[int, ...]] = encode_layout(tokenizer, task.layout)
    around = len(layout.think_open) + len(layout.think_close) + len(layout.answer_cue)
    return [
        len(encode(tokenizer, example.question))
        + max(task.max_chain_tokens, sum(len(encode(tokenizer, step)) for step in example.steps))
        + around
        + task.max_answer_tokens
        for example in task.examples
    ]


def _chain_ids(task: Task, example: Example, tokenizer: Any) -> tuple[int, ...]:
    layout = task.layout
    pieces = [layout.think_open, *example.steps, layout.think_close, layout.answer_cue]
    ids = tuple(token for piece in pieces for token in encode(tokenizer, piece))
    return ids + encode_answer(tokenizer, layout, example.answer)


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
