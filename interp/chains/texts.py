r"""Texts: running text in the tokens that it has as a whole.

Tokenizers join characters across the borders of pieces (``.`` and a line break are one token of
Qwen), and some put a blank before whatever they are given (Llama 2), so pieces encoded apart are
not the tokens of the text. `continue_text` gives the tokens of a text that goes on: those of the
text encoded whole. Only the tokens at the border can change; what a model wrote before them stays
as it was written, even where a tokenizer would have cut it otherwise.

`token_starts` says at which character each token begins; it is linear in the length of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Ids = tuple[int, ...]
WINDOW = 48
"""Tokens before a border that are encoded again to find its tokens; more where these do not tell.
"""
_SETTLED = 8
"""Tokens at the end of a window that must come out as they stand before it is believed."""
_PARTIAL = "\N{REPLACEMENT CHARACTER}"


def encode(tokenizer: Any, text: str) -> Ids:
    """Token ids of a text that stands alone, without special tokens; an empty text has none."""
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


def encode_beginning(tokenizer: Any, text: str) -> Ids:
    """Token ids of a text that begins a context, as the tokenizer begins it (with BOS or not).

    A text that itself begins with the BOS token gets no second one. What some tokenizers put at the
    end of a text is left out: the text goes on.
    """
    bos = tokenizer.bos_token
    if bos and text.lstrip().startswith(bos):
        return encode(tokenizer, text)
    alone = encode(tokenizer, text)
    whole = tuple(tokenizer(text, add_special_tokens=True)["input_ids"])
    n_before = next((n for n in range(3) if whole[n : n + len(alone)] == alone), None)
    # A tokenizer that changes the text beside adding tokens is taken at its word.
    return whole if n_before is None else whole[: n_before + len(alone)]


def continue_text(tokenizer: Any, ids: Sequence[int], more: str) -> Ids:
    r"""The tokens of a text and what follows it, encoded as a whole.

    Args:
        tokenizer: Of the text.
        ids: The text so far.
        more: What follows.

    Returns:
        Tokens of both. They begin with `ids`, but for tokens at its end that the tokenizer joins
        with `more`, such as ``.`` with a line break. Where `ids` were not written as the tokenizer
        would cut their text, all of them are kept, and `more` begins with a token of its own.
    """
    before = tuple(ids)
    if not more:
        return before
    for window in (WINDOW, len(before)):
        tail = before[-window:] if window else ()
        text = decode(tokenizer, tail)
        alone, longer = encode(tokenizer, text), encode(tokenizer, text + more)
        n_settled = count_shared(tail[::-1], alone[::-1])
        n_replaced = len(alone) - count_shared(alone, longer)
        is_all = len(tail) == len(before) and n_settled == len(tail) == len(alone)
        if n_replaced <= n_settled and (is_all or n_settled >= _SETTLED):
            kept = len(before) - n_replaced
            return before[:kept] + longer[len(alone) - n_replaced :]
        if window >= len(before):
            break
    return before + encode_inside(tokenizer, more)


def encode_inside(tokenizer: Any, text: str) -> Ids:
    """Token ids of a text that follows other text, and begins with a token of its own."""
    for before in ("a", "1", "."):
        alone, longer = encode(tokenizer, before), encode(tokenizer, before + text)
        if text and longer[: len(alone)] == alone:
            return longer[len(alone) :]
    return encode(tokenizer, text)


def token_starts(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Character of the decoded text at which each token begins.

    A character whose bytes are spread over several tokens begins with the first of them.
    """
    text, starts = decode(tokenizer, ids), list[int]()
    # Each piece of text is decoded with the token before it: some tokenizers drop the leading blank
    # of what is decoded alone.
    known, first, n_done = "", 0, 0
    for at in range(len(ids)):
        starts.append(len(known))
        shown = decode(tokenizer, ids[first:n_done])
        longer = decode(tokenizer, ids[first : at + 1])
        if len(longer) > len(shown) and not longer.endswith(_PARTIAL):
            known += longer[len(shown) :]
            first, n_done = n_done, at + 1
    return starts if text.startswith(known) else _starts_by_prefixes(tokenizer, ids)


def _starts_by_prefixes(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """The same by decoding ever longer prefixes, for decoders whose pieces do not add up."""
    starts: list[int] = []
    known = 0
    for count in range(len(ids)):
        text = decode(tokenizer, ids[:count])
        # A prefix that ends within a character decodes to U+FFFD, which is not in the text.
        known = max(known, len(text.rstrip(_PARTIAL)))
        starts.append(known)
    return starts


def count_shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of leading tokens that two texts share."""
    pairs = zip(first, second, strict=False)
    differ = (at for at, (left, right) in enumerate(pairs) if left != right)
    return next(differ, min(len(first), len(second)))
