r"""The format of completions: how the texts of a task are written in one model's tokens.

`find_format` presents a task to a model and encodes what stands around a chain. Where a chain and
an answer end is found here, for completions (`interp.chains.completions`) and for traces
(`interp.chains.trace_writing`) alike.

In running text a tokenizer may join a piece of the layout with its neighbours (".\n\n" where the
answer ends in ".\n"), so pieces are found there by their text, and elsewhere by their tokens. In
chats all is found by text (`find_parts`): the think tags, and the statement of the answer
(`interp.chains.answer_statements`), which is not written after a cue there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from interp.chains.answer_statements import find_statement
from interp.chains.chain import LayoutIds, encode_layout, encode_question
from interp.chains.rendering import render, render_opening
from interp.chains.texts import Ids, decode, encode, encode_inside, token_starts
from interp.errors import NotMeasurableError
from interp.models.token_ids import find_ids, stop_sequences
from interp.tasks import Layout, Task
from interp.tasks.presentation import Asked, present

Opening = Literal["free", "forced", "direct"]
SHORT = 3
"""Words of a text after a chain that is an answer by itself, without a statement of it."""


@dataclass(frozen=True)
class CompletionFormat:
    """How the completions of a task are written by one model."""

    task: Task
    """In the model's prompt format."""
    tokenizer: Any
    layout: LayoutIds

    @property
    def is_natural(self) -> bool:
        """Whether answers are stated in running text, as in chats, and not after a cue."""
        return self.task.format in ("chat", "think")

    @property
    def stop(self) -> tuple[Ids, ...]:
        """Token sequences that end the writing of a completion: the tokens that end a text.

        `answer_end` is not among them, since it may stand in a chain, as a full stop and
        a line break do in running text.
        """
        return stop_sequences(self.layout.ends)

    @property
    def answer_stop(self) -> tuple[Ids, ...]:
        """Token sequences that end the writing of an answer after the answer cue."""
        # A box may hold braces, so its end is found in what was written.
        end = () if self.is_natural else self.layout.answer_end
        return stop_sequences(self.layout.ends, end)

    @property
    def chain_stop(self) -> tuple[Ids, ...]:
        """Token sequences that end the writing of a chain; the first closes it."""
        if self.layout.think_close:
            return stop_sequences(self.layout.ends, self.layout.think_close)
        # A blank line is one token or two, depending on the vocabulary; () where it has none.
        blank_lines = {encode(self.tokenizer, "\n\n"), encode(self.tokenizer, "\n") * 2} - {()}
        return stop_sequences(self.layout.ends, self.layout.answer_cue, *sorted(blank_lines))

    @property
    def max_new_tokens(self) -> int:
        """Tokens that the longest completion of the task needs."""
        around = (self.layout.think_open, self.layout.think_close, self.layout.answer_cue)
        n_around = sum(map(len, (*around, self.layout.answer_end)))
        return n_around + self.task.max_chain_tokens + self.task.max_answer_tokens

    def questions(self) -> list[Ids]:
        """The questions as the model is asked them."""
        return [encode_question(self.tokenizer, self.task, e) for e in self.task.examples]

    def prompts(self, opening: str = "free") -> list[Ids]:
        """The questions, each with what is put after it."""
        put = {
            "free": lambda ids: ids,
            "forced": lambda ids: render_opening(ids, self.layout),
            "direct": lambda ids: render(ids, None, self.layout),
        }
        _check_opening(opening)
        return [put[opening](question) for question in self.questions()]


def find_format(task: Task, model: Asked, *, needs_chain: bool = True) -> CompletionFormat:
    """The format of a task's completions.

    Args:
        task: The questions, in any prompt format.
        model: The writer.
        needs_chain: Whether a layout without `think_open` or `think_close` is refused. What depends
            on the choice to open a chain needs both.

    Raises:
        NotMeasurableError: If they are needed and missing.
    """
    shown = present(task, model)
    if needs_chain and not (shown.layout.think_open and shown.layout.think_close):
        remedy = (
            "Its chat template opens the chain, so this model has no choice to open one"
            if shown.layout.think_close
            else "Choose a task of organisms that has both, such as arith/fresh, or ask the models "
            "in a format with think tags (--base-format think --post-format think)"
        )
        raise NotMeasurableError(
            f"this needs a layout with text that opens and closes a chain, and the layout of task "
            f"{task.name} lacks think_open or think_close in the prompt format "
            f"{shown.format!r} of {model.name}. {remedy}"
        )
    layout = encode_layout(model.tokenizer, shown.layout, model.ends)
    return CompletionFormat(shown, model.tokenizer, layout)


def find_shared_format(
    task: Task, base: Asked, post: Asked, *, needs_chain: bool = True
) -> CompletionFormat:
    """The format of a pair whose models read or write one text together.

    Args:
        task: The questions, in any prompt format.
        base: One of the two.
        post: The other; what ends a text is as it says.
        needs_chain: As in `find_format`.

    Raises:
        NotMeasurableError: The two are asked in different ways, or what is needed is missing.
    """
    first, second = (find_format(task, m, needs_chain=needs_chain) for m in (base, post))
    asked = [
        (form.task.layout, [example.question for example in form.task.examples])
        for form in (first, second)
    ]
    if asked[0] != asked[1]:
        ways = [
            f"{form.task.format!r}, {form.task.layout.think_open!r}" for form in (first, second)
        ]
        raise NotMeasurableError(
            f"here both models read one text, and they are asked in different ways: {base.name} in "
            f"{ways[0]} and {post.name} in {ways[1]} (prompt format, what opens a chain). Name one "
            "format for both, such as --base-format chat --post-format chat"
        )
    return second


def opening_ids(layout: LayoutIds, opening: str) -> Ids:
    """The tokens between the question and the first token that the model writes.

    Args:
        layout: Of the task.
        opening: *free*: none, so the model opens a chain or does not; *forced*: those that open a
            chain; *direct*: the answer cue (after an empty chain, where running text closes one).

    Raises:
        ValueError: If the opening is unknown.
    """
    _check_opening(opening)
    if opening == "direct" and layout.is_running and layout.think_close:
        fixed = layout.text
        block = fixed.think_open + fixed.think_close + fixed.answer_cue
        return encode_inside(layout.tokenizer, block)
    return {"free": (), "forced": layout.think_open, "direct": layout.answer_cue}[opening]


def _check_opening(opening: str) -> None:
    known = get_args(Opening)
    if opening not in known:
        raise ValueError(f"opening must be one of {', '.join(known)}, received {opening!r}")


@dataclass(frozen=True)
class Parts:
    """What a model wrote in a chat, in pieces, by their tokens."""

    opens: bool
    """Whether it begins with a chain."""
    chain: tuple[int, int]
    is_closed: bool
    """Whether the chain that was opened was closed, or none was."""
    answer: str
    """What is stated as the answer; empty where nothing is."""
    answer_span: tuple[int, int]
    is_ended: bool
    """Whether something ends the answer."""
    is_whole: bool
    """Whether the text was ended by its writer."""


def find_parts(format: CompletionFormat, ids: Sequence[int]) -> Parts:
    """Finds chain and answer in what was written after the question of a chat.

    Args:
        format: Of the task.
        ids: All tokens after the question, those that were put there for the model included.
    """
    n_text = end_of_text(format, ids)
    is_whole = n_text < len(ids)
    text = decode(format.tokenizer, ids[:n_text])
    starts = token_starts(format.tokenizer, ids[:n_text])

    def tokens(first: int, last: int) -> tuple[int, int]:
        return bisect_left(starts, first), bisect_left(starts, last)

    opens, begin, end, rest = _find_block(format.layout.text, text)
    if end is None:
        chain = tokens(begin, len(text))
        return Parts(opens, chain, False, "", (n_text, n_text), False, is_whole)
    said = text[rest:]
    found = find_statement(said)
    if found is not None:
        value = (rest + found.value.start, rest + found.value.stop)
        is_ended = found.is_ended or is_whole
    else:
        is_short = 0 < len(said.split()) <= SHORT and bool(format.layout.think_close)
        value = (rest, len(text)) if is_short and is_whole else (len(text), len(text))
        is_ended = is_whole
    if not format.layout.think_close:  # all that comes before the statement is the chain
        begin, end = 0, len(said[: found.start if found else None].rstrip())
    answer = text[slice(*value)].strip()
    return Parts(
        opens, tokens(begin, end), True, answer, tokens(*value), is_ended and bool(answer), is_whole
    )


def _find_block(fixed: Layout[str], text: str) -> tuple[bool, int, int | None, int]:
    """Whether a text opens a chain between tags, where that begins and ends, and what follows it.

    The end is None where the chain was not closed.
    """
    tag, close = fixed.think_open.strip(), fixed.think_close.strip()
    if not close:
        return True, 0, 0, 0
    space = len(text) - len(text.lstrip())
    if tag and not text.startswith(tag, space):
        return False, 0, 0, 0
    begin = space + len(tag) if tag else 0
    if tag and text.startswith(fixed.think_open, space):
        begin = space + len(fixed.think_open)
    at = text.find(close, max(0, begin - 1))
    if at < 0:
        return True, begin, None, len(text)
    return True, begin, max(begin, len(text[:at].rstrip())), at + len(close)


def find_chain_end(format: CompletionFormat, ids: Sequence[int], start: int) -> tuple[int, bool]:
    """Finds where a chain ends.

    Args:
        format: Of the task.
        ids: A text.
        start: First position of the chain.

    Returns:
        The position after its last token, and whether the chain was closed there.
    """
    layout = format.task.layout
    text = ids[: end_of_text(format, ids)]
    close = find_piece(format, text, layout.think_close or layout.answer_cue, start)
    blank = None if layout.think_close else find_piece(format, text, "\n\n", start)
    if blank is not None and (close is None or blank[0] < close[0]):
        return blank[0], False
    return (len(text), False) if close is None else (close[0], True)


def find_answer_end(format: CompletionFormat, ids: Sequence[int], start: int) -> tuple[int, bool]:
    """Finds where an answer ends.

    Args:
        format: Of the task.
        ids: A text.
        start: First position of the answer.

    Returns:
        The position after its last token, and whether anything ended it there.
    """
    text = ids[: end_of_text(format, ids)]
    end = find_piece(format, text, format.task.layout.answer_end, start)
    # Without an end mark it is the end-of-text token that ends an answer.
    return (len(text), len(text) < len(ids)) if end is None else (end[0], True)


def find_piece(
    format: CompletionFormat,
    ids: Sequence[int],
    piece: str,
    start: int = 0,
    *,
    at_start: bool = False,
) -> tuple[int, int] | None:
    """Finds the first place of a piece of the layout in a text.

    Args:
        format: Of the task.
        ids: The text.
        piece: Not empty.
        start: First position at which it may begin.
        at_start: Whether it may begin only there.

    Returns:
        The position of the token in which it begins, and the one after that in which it ends; None
        if it does not occur.
    """
    wanted = encode(format.tokenizer, piece)
    at = find_ids(ids, wanted, start) if wanted else None
    place = None if at is None else (at, at + len(wanted))
    if not format.task.layout.joiner:
        # By its characters a piece may also be found earlier, joined with its neighbours.
        before = ids[: place[1]] if place else ids
        place = _find_text(format.tokenizer, before, piece, start) or place
    return None if place is not None and at_start and place[0] != start else place


def _find_text(
    tokenizer: Any, ids: Sequence[int], piece: str, start: int
) -> tuple[int, int] | None:
    """The place of a piece by its characters, whatever tokens these are in."""
    text = decode(tokenizer, ids[start:])
    at = text.find(piece)
    if at < 0:
        return None
    starts = token_starts(tokenizer, ids[start:])
    # As many tokens begin at or before a character as the place of its token, counted from 1.
    first, last = (sum(begin <= char for begin in starts) for char in (at, at + len(piece) - 1))
    return start + first - 1, start + last


def end_of_text(format: CompletionFormat, ids: Sequence[int]) -> int:
    """Number of tokens before the first that ends the text."""
    ends = frozenset(format.layout.ends)
    return next((at for at, token in enumerate(ids) if token in ends), len(ids))
