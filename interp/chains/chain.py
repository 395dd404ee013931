"""Chains of thought: tuples of steps, each with its text and its token ids.

Text is encoded piece by piece and special tokens are never added: `encode` is the one place where
the project turns text into ids. What a model has written is cut into steps by `cut_ids`, which
keeps the tokens that were generated and never encodes them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from interp.tasks import Layout


@dataclass(frozen=True)
class Step:
    """One sentence or line of a chain, with the token ids in which it was written."""

    text: str
    ids: tuple[int, ...]


Chain = tuple[Step, ...]


LayoutIds = Layout[tuple[int, ...]]
"""A task's layout in the token ids of one tokenizer."""


def encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of one piece of text. No special token is added; an empty text has no ids."""
    if not text:
        return ()
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids, special tokens included, with nothing tidied up."""
    if not ids:
        return ""
    # Tidied text ("3 ." as "3.") would shift the characters by which steps are found.
    return tokenizer.decode(
        list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )


def encode_layout(tokenizer: Any, layout: Layout[str]) -> LayoutIds:
    """The fixed text around a chain, in token ids.

    Raises:
        ValueError: If the answer cue, the answer's end or the filler has no tokens, or tokens for
            unknown words: an answer could then not be asked for, or not be seen to end.
    """
    for name in ("answer_cue", "answer_end", "filler"):
        if not encode(tokenizer, getattr(layout, name)):
            raise ValueError(
                f"a layout needs text for {name}, but this tokenizer makes no tokens of "
                f"{getattr(layout, name)!r}. Give it some, e.g. Layout({name}='...')."
            )
        _check_known(tokenizer, getattr(layout, name), f"{name} of the layout")
    return Layout(
        think_open=encode(tokenizer, layout.think_open),
        think_close=encode(tokenizer, layout.think_close),
        answer_cue=encode(tokenizer, layout.answer_cue),
        answer_end=encode(tokenizer, layout.answer_end),
        filler=encode(tokenizer, layout.filler),
        answer_open=encode(tokenizer, layout.answer_open),
        joiner=layout.joiner,
    )


def encode_answer(tokenizer: Any, layout: Layout[str], answer: str) -> tuple[int, ...]:
    """Token ids of an answer as it stands after the answer cue, without `answer_end`.

    Raises:
        ValueError: If the tokenizer does not know a word of it: what would be scored is the token
            for unknown words, whatever the answer.
    """
    text = layout.answer_open + answer if answer else ""
    _check_known(tokenizer, text, "answer")
    return encode(tokenizer, text)


@lru_cache(maxsize=16)
def find_answer_ends(tokenizer: Any, answer_end: tuple[int, ...]) -> tuple[int, ...]:
    r"""The tokens that end an answer.

    Tokenizers join an end mark with what follows it: after ``.\n\n`` in worked examples a model
    ends its answer with the one token ``.\n\n``, and hardly ever with ``.\n``.

    Args:
        tokenizer: Its whole vocabulary is looked through, once.
        answer_end: ``LayoutIds.answer_end``.

    Returns:
        The first token of `answer_end`, then every token that begins with its whole text and does
        not go on with a letter or a digit, and the token that ends a text.
    """
    mark = decode(tokenizer, answer_end)
    texts = ((token, decode(tokenizer, (token,))) for token in range(len(tokenizer)))
    longer = [
        t for t, text in texts if text.startswith(mark) and not text[len(mark) :][:1].isalnum()
    ]
    eos = tokenizer.eos_token_id
    return tuple(dict.fromkeys([answer_end[0], *longer, *([] if eos is None else [int(eos)])]))


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
    """A chain of these steps, each encoded on its own."""
    return tuple(Step(text, encode(tokenizer, text)) for text in texts)


def step_texts(chain: Chain) -> tuple[str, ...]:
    """The texts of the steps of a chain."""
    return tuple(step.text for step in chain)


def chain_ids(chain: Chain) -> tuple[int, ...]:
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
    edges: list[int] = []  # where each step begins in the text
    end = 0
    for piece in split(text):
        start = text.index(piece, end)
        edges.append(start)
        end = start + len(piece)
    groups: list[list[int]] = [[] for _ in edges]
    at = 0
    for token, start in zip(ids, token_starts(tokenizer, ids), strict=True):
        # A word-level tokenizer writes the joiner before a token; the word itself begins after it.
        while at + 1 < len(edges) and start + len(joiner) >= edges[at + 1]:
            at += 1
        # A text of white space may have no pieces; its tokens are kept all the same.
        if not groups:
            groups.append([])
        groups[at].append(token)
    return _as_steps(tokenizer, [tuple(group) for group in groups if group], joiner)


def token_starts(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Character at which each token begins in the decoded text (by decoding ever longer prefixes).

    A character whose bytes are spread over several tokens begins with the first of them.
    """
    starts: list[int] = []
    known = 0
    for count in range(len(ids)):
        text = decode(tokenizer, ids[:count])
        # A prefix that ends within a character decodes to U+FFFD, which is not in the text.
        whole = text.rstrip("\N{REPLACEMENT CHARACTER}")
        known = max(known, len(whole))
        starts.append(known)
    return starts


def _as_steps(tokenizer: Any, groups: Sequence[tuple[int, ...]], joiner: str) -> Chain:
    """Steps with these ids; each text is what its tokens add to the text before them."""
    steps: list[Step] = []
    done: tuple[int, ...] = ()
    n_done = 0
    for group in groups:
        done += group
        # Some tokenizers drop the leading blank of a token that is decoded alone.
        text = decode(tokenizer, done)
        steps.append(Step(text[n_done:].removeprefix(joiner if steps else ""), group))
        n_done = len(text)
    return tuple(steps)
