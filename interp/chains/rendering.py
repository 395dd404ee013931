r"""Rendering: the tokens of a question, a chain and the answer cue, laid out for a reader.

Word by word the pieces are joined. Running text is rendered as the tokens of the whole text:

* the steps from the first on keep their tokens as long as these spell the text that is shown, so
  what a model wrote is not encoded again;
* from there on the text is encoded in its place. A chain that is cut after a step therefore ends
  as its text ends, even where the tokenizer had joined the full stop with the next line break.

Without a chain the question is answered directly. In running text that closes a chain, an empty one
stands before the cue then: it is how a chat template switches thinking off.

`lay_out` also says which tokens belong to which piece.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Any

from interp.chains.chain import Chain, LayoutIds, chain_ids, step_texts
from interp.chains.edits import FILLER_MARK
from interp.chains.texts import Ids, continue_text, decode, token_starts

CONTEXT = 4
"""Tokens with which others are decoded: some tokenizers drop the leading blank of a text."""


@dataclass(frozen=True)
class LaidOut:
    """A text and the tokens of its pieces."""

    ids: Ids
    """Up to and with the answer cue."""
    question: range
    opening: range
    """What opens the chain; empty where nothing does."""
    steps: tuple[range, ...]
    cue: range
    """What closes the chain, and the answer cue."""

    @property
    def chain(self) -> range:
        """Opening and steps."""
        return range(self.question.stop, self.cue.start)


def render(prompt_ids: Ids, chain: Chain | None, layout: LayoutIds) -> Ids:
    """Token ids up to and with the answer cue; without a chain there is no think block."""
    if not layout.is_running:
        if chain is None:
            return prompt_ids + layout.answer_cue
        block = layout.think_open + chain_ids(chain) + layout.think_close
        return prompt_ids + block + layout.answer_cue
    text = _after_question(prompt_ids, chain, layout)
    if not chain:
        return continue_text(layout.tokenizer, prompt_ids, text)
    opened = render_opening(prompt_ids, layout)
    rest = text[len(layout.text.think_open) :]
    return _continue_chain(prompt_ids, opened, chain, layout, rest)


def lay_out(prompt_ids: Ids, chain: Chain, layout: LayoutIds) -> LaidOut:
    """The text that `render` gives, with the tokens of each piece.

    A token belongs to the piece in which it begins.
    """
    ids = render(prompt_ids, chain, layout)
    if layout.is_running:
        texts = [layout.text.think_open, *_shown(chain, layout)]
        begin = len(decode(layout.tokenizer, prompt_ids))
        borders = accumulate(map(len, texts), initial=begin)
        starts = token_starts(layout.tokenizer, ids)
        edges = [bisect_left(starts, border) for border in borders]
    else:
        lengths = [len(layout.think_open), *(len(step.ids) for step in chain)]
        edges = list(accumulate(lengths, initial=len(prompt_ids)))
    spans = [range(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    return LaidOut(ids, range(edges[0]), spans[0], tuple(spans[1:]), range(edges[-1], len(ids)))


def render_opening(prompt_ids: Ids, layout: LayoutIds, chain: Chain = ()) -> Ids:
    """The question, what opens a chain, and the first steps of one that is to be written on."""
    if not layout.is_running:
        return prompt_ids + layout.think_open + chain_ids(chain)
    opened = continue_text(layout.tokenizer, prompt_ids, layout.text.think_open)
    return _continue_chain(prompt_ids, opened, chain, layout, "".join(_shown(chain, layout)))


def _after_question(prompt_ids: Ids, chain: Chain | None, layout: LayoutIds) -> str:
    """All text after the question."""
    fixed = layout.text
    if chain is None:
        block = fixed.think_open + fixed.think_close if fixed.think_close else ""
        return _joined(prompt_ids, block + fixed.answer_cue, layout)
    body = fixed.think_open + "".join(_shown(chain, layout))
    text = body + fixed.think_close + fixed.answer_cue
    return text if body else _joined(prompt_ids, text, layout)


def _placed_ids(chain: Chain) -> Ids:
    """Tokens of the first steps, as far as these stand where they were written."""
    return chain_ids(tuple(takewhile(lambda step: step.is_placed, chain)))


def _continue_chain(
    prompt_ids: Ids, opened: Ids, chain: Chain, layout: LayoutIds, text: str
) -> Ids:
    """Question and opening with the text that follows, in the tokens of the chain where it can."""
    tokenizer, placed = layout.tokenizer, _placed_ids(chain)
    kept = _count_agreeing(tokenizer, opened, placed, text)
    if not kept:
        return continue_text(tokenizer, prompt_ids, layout.text.think_open + text)
    known, before = opened + placed[:kept], opened[-CONTEXT:]
    n_chars = len(decode(tokenizer, before + placed[:kept])) - len(decode(tokenizer, before))
    return continue_text(tokenizer, known, text[n_chars:])


def _joined(prompt_ids: Ids, text: str, layout: LayoutIds) -> str:
    """Text right after the question: white space that stands there already is not doubled."""
    end = decode(layout.tokenizer, prompt_ids[-2:])
    return text.lstrip() if end[-1:].isspace() and not layout.text.think_close else text


def _shown(chain: Chain, layout: LayoutIds) -> list[str]:
    """The text of each step; that of filler is what its tokens spell."""
    texts = list(step_texts(chain))
    for at, step in enumerate(chain):
        if step.text == FILLER_MARK:
            n, rest = divmod(len(step.ids), len(layout.filler))
            is_whole = not rest and step.ids == layout.filler * n
            texts[at] = layout.text.filler * n if is_whole else decode(layout.tokenizer, step.ids)
    return texts


def _count_agreeing(tokenizer: Any, opened: Ids, placed: Ids, text: str) -> int:
    """How many of the tokens that follow an opening spell the beginning of a text."""
    before = opened[-CONTEXT:]
    begin = len(decode(tokenizer, before))

    def spell(count: int) -> bool:
        return text.startswith(decode(tokenizer, before + placed[:count])[begin:])

    if spell(len(placed)):
        return len(placed)
    # Mostly only the last token reaches beyond the text; each test decodes the whole.
    low, high = 0, len(placed) - 1
    while low < high:
        middle = max(low + 1, high - 1 if high == len(placed) - 1 else (low + high + 1) // 2)
        low, high = (middle, high) if spell(middle) else (low, middle - 1)
    return low
