"""Chains of thought: tuples of steps, each with its text and its token ids.

`encode_chain` places steps in a text: running text is encoded whole and cut at the characters where
steps begin. What a model has written is cut by `cut_ids`, which keeps the tokens that were
generated and never encodes them again. In both a token belongs to the step in which it begins, so
one that spans a border stays with the earlier step.

The ids of a step hold where it stands. A step that was put in the place of another has
`is_placed=False`: it is encoded with the text around it when it is rendered
(`interp.chains.rendering`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from interp.chains.texts import (
    Ids,
    continue_text,
    decode,
    encode,
    encode_beginning,
    encode_inside,
    token_starts,
)
from interp.tasks import Example, Layout, Task
from interp.tasks.presentation import Asked


@dataclass(frozen=True)
class Step:
    """One sentence or line of a chain, with the token ids in which it was written."""

    text: str
    ids: Ids
    is_placed: bool = field(default=True, compare=False)
    """Whether `ids` are its tokens where it stands."""


Chain = tuple[Step, ...]


@dataclass(frozen=True)
class LayoutIds(Layout[Ids]):
    """A task's layout in the token ids of one tokenizer, each piece as it stands in a text."""

    text: Layout[str]
    tokenizer: Any
    ends: Ids
    """Tokens that end a text; the tokenizer's own first."""

    @property
    def is_running(self) -> bool:
        """Whether texts are running text, which is encoded whole; else word by word."""
        return not self.joiner


def encode_layout(tokenizer: Any, layout: Layout[str], ends: Sequence[int] = ()) -> LayoutIds:
    """The fixed text around a chain, in token ids.

    Args:
        tokenizer: Of the reader.
        layout: Of the task, in the reader's prompt format.
        ends: Tokens that end a text (`Model.ends`); that of the tokenizer where none are given.

    Raises:
        ValueError: If the answer cue, the answer's end or the filler has no tokens, or tokens for
            unknown words: an answer could then not be asked for, or not be seen to end. Or if the
            tokenizer joins the cue with an answer, so that no answer could be scored alone.
    """
    for name in ("answer_cue", "answer_end", "filler"):
        if not encode(tokenizer, getattr(layout, name)):
            raise ValueError(
                f"a layout needs text for {name}, but this tokenizer makes no tokens of "
                f"{getattr(layout, name)!r}. Give it some, e.g. Layout({name}='...')."
            )
        _check_known(tokenizer, getattr(layout, name), f"{name} of the layout")

    def ids(text: str) -> Ids:
        return encode(tokenizer, text) if layout.joiner else encode_inside(tokenizer, text)

    eos = tokenizer.eos_token_id
    return LayoutIds(
        think_open=ids(layout.think_open),
        think_close=ids(layout.think_close),
        answer_cue=ids(layout.answer_cue),
        answer_end=ids(layout.answer_end),
        filler=ids(layout.filler),
        answer_open=ids(layout.answer_open),
        joiner=layout.joiner,
        text=layout,
        tokenizer=tokenizer,
        ends=tuple(ends) or (() if eos is None else (int(eos),)),
    )


def find_layout(task: Task, model: Asked) -> LayoutIds:
    """The layout of a task that stands in a model's prompt format, in the model's token ids."""
    return encode_layout(model.tokenizer, task.layout, model.ends)


def encode_question(tokenizer: Any, task: Task, example: Example) -> Ids:
    """Token ids of a question as a model is asked it: it begins as the tokenizer begins a text.

    The text of a chat holds all its special tokens already, and so do texts of words.
    """
    is_complete = bool(task.layout.joiner) or task.format in ("chat", "think")
    encoded = encode if is_complete else encode_beginning
    return encoded(tokenizer, example.question)


def encode_answer(tokenizer: Any, layout: Layout[str], answer: str) -> Ids:
    """Token ids of an answer as it stands after the answer cue, without `answer_end`.

    Raises:
        ValueError: If the tokenizer does not know a word of it: what would be scored is the token
            for unknown words, whatever the answer. Or if it joins the answer with the cue.
    """
    text = layout.answer_open + answer if answer else ""
    _check_known(tokenizer, text, "answer")
    if layout.joiner or not text:
        return encode(tokenizer, text)
    cue = encode(tokenizer, f"a{layout.answer_cue}")
    whole = encode(tokenizer, f"a{layout.answer_cue}{text}")
    if whole[: len(cue)] != cue:
        raise ValueError(
            f"an answer begins with a token of its own, and this tokenizer joins the end of the "
            f"cue {layout.answer_cue!r} with the beginning of {text!r}. End the cue where a word "
            "ends, and let answer_open hold what comes between"
        )
    return whole[len(cue) :]


@lru_cache(maxsize=16)
def find_answer_ends(tokenizer: Any, answer_end: Ids, ends: Ids = ()) -> Ids:
    r"""The tokens that end an answer.

    Tokenizers join an end mark with what follows it: after ``.\n\n`` in worked examples a model
    ends its answer with the one token ``.\n\n``, and hardly ever with ``.\n``.

    Args:
        tokenizer: Its whole vocabulary is looked through, once.
        answer_end: ``LayoutIds.answer_end``.
        ends: ``LayoutIds.ends``; that of the tokenizer where none are given.

    Returns:
        The first token of `answer_end`, then every token that begins with its whole text and does
        not go on with a letter or a digit, and the tokens that end a text.
    """
    mark = decode(tokenizer, answer_end)
    texts = ((token, decode(tokenizer, (token,))) for token in range(len(tokenizer)))
    longer = [
        t for t, text in texts if text.startswith(mark) and not text[len(mark) :][:1].isalnum()
    ]
    eos = tokenizer.eos_token_id
    return tuple(
        dict.fromkeys([answer_end[0], *longer, *(ends or ([] if eos is None else [int(eos)]))])
    )


def _check_known(tokenizer: Any, text: str, what: str) -> None:
    unknown = tokenizer.unk_token_id
    # Some tokenizers use one token for unknown words and for the end of a text.
    if unknown is None or unknown == tokenizer.eos_token_id:
        return
    if unknown in encode(tokenizer, text) and tokenizer.unk_token not in text:
        raise ValueError(
            f"the {what} must be made of words that the tokenizer knows; {text!r} becomes "
            f"{tokenizer.unk_token!r}. Likely a task for another kind of model: a bundled organism "
            f"knows the words of its own world only (posthoc list)"
        )


def encode_steps(tokenizer: Any, texts: Sequence[str]) -> Chain:
    """A chain of these steps, each encoded on its own, as texts of words are."""
    return tuple(Step(text, encode(tokenizer, text)) for text in texts)


def encode_chain(
    tokenizer: Any, layout: Layout[str], prompt_ids: Ids, texts: Sequence[str]
) -> Chain:
    """A chain of these steps where it stands, after a question and what opens the chain.

    Args:
        tokenizer: Of the reader.
        layout: The fixed text around the chain.
        prompt_ids: The question.
        texts: Of the steps. In running text each begins with its white space.
    """
    if layout.joiner:
        return encode_steps(tokenizer, texts)
    whole = continue_text(tokenizer, prompt_ids, layout.think_open + "".join(texts))
    # Counted from the question's end; a token that begins before it belongs to the question.
    offset = len(decode(tokenizer, prompt_ids)) + len(layout.think_open)
    starts = [start - offset for start in token_starts(tokenizer, whole)]
    n_before = sum(start < 0 for start in starts)
    return _group(texts, whole[n_before:], starts[n_before:])


def step_texts(chain: Chain) -> tuple[str, ...]:
    """The texts of the steps of a chain."""
    return tuple(step.text for step in chain)


def chain_ids(chain: Chain) -> Ids:
    """The token ids of a chain, steps joined."""
    return tuple(token for step in chain for token in step.ids)


def count_tokens(chain: Chain) -> int:
    """Number of tokens in a chain."""
    return sum(len(step.ids) for step in chain)


def cut_ids(
    tokenizer: Any, ids: Sequence[int], split: Callable[[str], tuple[str, ...]], joiner: str
) -> Chain:
    """Cuts generated tokens into steps without encoding anything again.

    The text of the tokens is split by `split`; each token belongs to the step in which its text
    begins. A token that spans the border therefore stays with the earlier step, and a step in
    which no token begins is part of the one before.

    Args:
        tokenizer: The tokenizer of the model that wrote the tokens.
        ids: The tokens of a chain, without what opens and closes it.
        split: The step splitter of the task.
        joiner: ``Layout.joiner``.

    Returns:
        Steps whose ids, joined, are `ids`.
    """
    text = decode(tokenizer, ids)
    pieces: list[str] = []
    end = 0
    for piece in split(text):
        start = text.index(piece, end)
        # Between two pieces lies the joiner, which stands in no step.
        before = text[end:start]
        pieces.append((before.removeprefix(joiner) if pieces else before) + piece)
        end = start + len(piece)
    # A word-level tokenizer writes the joiner before a token; the word itself begins after it.
    starts = [start + len(joiner) for start in token_starts(tokenizer, ids)]
    # A text of white space may have no pieces; its tokens are kept all the same.
    return _group(pieces or [text], ids, starts, joiner) if ids else ()


def _group(
    texts: Sequence[str], ids: Sequence[int], starts: Sequence[int], joiner: str = ""
) -> Chain:
    """Steps with the tokens that begin in each; one without any is joined to the one before."""
    groups: list[tuple[str, list[int]]] = []
    at = begin = 0
    for number, text in enumerate(texts, start=1):
        end = begin + len(text) + len(joiner)
        own: list[int] = []
        while at < len(ids) and (starts[at] < end or number == len(texts)):
            own.append(ids[at])
            at += 1
        if own or not groups:
            groups.append((text, own))
        else:
            groups[-1] = (groups[-1][0] + joiner + text, groups[-1][1])
        begin = end
    return tuple(Step(text, tuple(own)) for text, own in groups)
