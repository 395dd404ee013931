r"""Graders: how an answer is read and when two answers are equal.

A grader turns text into a *normal form*; two answers are equal if their normal forms are. There are
four:

- `math`: numbers and formulas (`interp.tasks.math_reading`): ``\boxed{\frac12}`` is ``0.5``;
- `text`: the words themselves. Upper and lower case, punctuation around the answer and white space
  do not count: ``paris.`` is ``Paris``;
- `labels`: few words that every question is answered with (yes, no, maybe). The text may go on:
  ``Yes, because ...`` is ``yes``;
- `choices`: letters of listed choices: ``B``, ``(B)``, ``B.``, ``The answer is B``, and the text of
  the choice itself.

All four first look for the part of a text that states the answer: the last ``\boxed{}``, else what
follows the last "answer is". All but `math` know the gold answers of the task, so that a normal
form has the spelling of the gold answer, which is the text that a model is asked to give. `math`
knows the gold answers that are words, as ``\text{Evelyn}``.

`choose_grader` takes the one that fits the gold answers: `choices` where choices are listed,
`math` where the answers are numbers or formulas, `labels` where at most five different answers
occur at least twice each, else `text`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from interp.tasks.math_reading import find_answer, is_math, read_math

GRADERS = ("math", "text", "labels", "choices")
"""Names that `make_grader` knows."""
MOST_LABELS = 5
"""Different answers of a task whose answers are labels."""

_AROUND = " \t\n\r.,;:!?\"'`*_()[]{}$“”‘’"
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_LETTER = re.compile(
    r"\s*(?:(?:the\s+)?(?:choice|option|answer)\s*:?\s*)?[\s(\[*\"'`$]*([A-Za-z])(?![\w'’])", re.I
)


@dataclass(frozen=True)
class Grader:
    """Reads answers of one kind and compares them."""

    name: str
    """One of `GRADERS`."""
    read: Callable[[str], str]
    """A whole response, or what stands after an answer cue, to the normal form of its answer; empty
    if it gives none."""

    def equal(self, gold: str, given: str) -> bool:
        """Whether two answers are the same; an answer that cannot be read equals none."""
        read = self.read(gold)
        return bool(read) and read == self.read(given)


def choose_grader(answers: Sequence[str], choices: Sequence[Sequence[str]] = ()) -> str:
    """The name of the grader that fits gold answers.

    Args:
        answers: As they are written.
        choices: Of each question; empty where none are listed.
    """
    if any(choices):
        return "choices"
    folded = Counter(map(_fold, answers))
    n_math = sum(map(is_math, answers))
    # Not all: in data of mathematics some answers are names or days.
    if 2 * n_math > len(answers):
        return "math"
    is_few = len(folded) <= MOST_LABELS and min(folded.values(), default=0) > 1
    return "labels" if is_few else "text"


def make_grader(name: str, answers: Sequence[str], choices: Sequence[Sequence[str]] = ()) -> Grader:
    """A grader for the gold answers of a task.

    Args:
        name: One of `GRADERS`.
        answers: All gold answers, as they are written.
        choices: Of each question, for `choices`.

    Raises:
        ValueError: The name is unknown, or choices are not listed.
    """
    if name not in GRADERS:
        raise ValueError(f"unknown grader {name!r}; known: {', '.join(GRADERS)}")
    if name == "choices":
        if not any(choices):
            raise ValueError(
                "the grader 'choices' reads letters of listed choices, and no question lists any. "
                "Add a column 'choices', or take --grader text"
            )
        return _choice_grader(choices)
    if name == "math":
        words = _spellings([answer for answer in answers if not is_math(answer)])
        return Grader(name, lambda text: _known(text, words) or read_math(text))
    known = _spellings(answers)
    if name == "labels":
        return Grader(name, lambda text: _read_label(text, known))
    return Grader(name, lambda text: _known(text, known) or _first_line(text))


def letters(choices: Sequence[str]) -> tuple[str, ...]:
    """The letters of choices: A, B, C, ..."""
    return tuple(chr(ord("A") + at) for at in range(len(choices)))


def _spellings(answers: Sequence[str]) -> Mapping[str, str]:
    """Folded answer -> how the task spells it; the first spelling wins."""
    known: dict[str, str] = {}
    for answer in answers:
        stated = " ".join(_WRAPPED.sub(r"\1", find_answer(answer)).split())
        known.setdefault(_fold(stated), stated.strip(" .") or stated)
    return {folded: spelled for folded, spelled in known.items() if folded}


def _fold(text: str) -> str:
    """A text without what does not count: case, outer punctuation, white space."""
    plain = " ".join(_WRAPPED.sub(r"\1", text).split())
    return plain.strip(_AROUND).casefold() or plain


def _known(text: str, known: Mapping[str, str]) -> str:
    """The gold answer that a text states: the whole of it, its first line or first sentence."""
    stated = find_answer(text)
    for part in (stated, *_openings(stated)):
        if (folded := _fold(part)) and folded in known:
            return known[folded]
    return ""


def _openings(text: str) -> tuple[str, ...]:
    """A text's first paragraph, first line and first sentence."""
    return text.split("\n\n")[0], _line(text), re.split(r"(?<=[.!?;])\s", _line(text))[0]


def _line(text: str) -> str:
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def _first_line(text: str) -> str:
    line = " ".join(_WRAPPED.sub(r"\1", _line(find_answer(text))).split())
    return line.strip(_AROUND) or line


def _read_label(text: str, known: Mapping[str, str]) -> str:
    """The label with which a text begins, else the only one that it mentions.

    "Yes or no" gives none.
    """
    stated = find_answer(text)
    if found := _known(text, known):
        return found
    words = _fold(stated)
    heads = [name for name in known if re.match(rf"{re.escape(name)}(?!\w|\W+or\b)", words)]
    if heads:
        return known[max(heads, key=len)]
    mentioned = [name for name in known if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words)]
    return known[mentioned[0]] if len(mentioned) == 1 else ""


def _choice_grader(choices: Sequence[Sequence[str]]) -> Grader:
    """Letters, and the texts of choices as far as a text has the same letter in every question."""
    by_text: dict[str, set[str]] = {}
    for listed in choices:
        for letter, text in zip(letters(listed), listed, strict=True):
            by_text.setdefault(_fold(text), set()).add(letter)
    # A text that is a letter itself is read as that letter.
    known = {
        text: next(iter(found))
        for text, found in by_text.items()
        if len(found) == 1 and not _LETTER.fullmatch(text)
    }
    last = max(map(len, choices))

    def read(text: str) -> str:
        stated = _WRAPPED.sub(r"\1", find_answer(text))
        if own := _known(stated, known):
            return own
        match = _LETTER.match(stated)
        letter = match[1] if match is not None else ""
        # "A" and "I" are words: "A cat" and "I think" give no letter.
        is_word = (
            letter in "aAI" and match is not None and re.match(r"\s+\w", stated[match.end() :])
        )
        is_listed = bool(letter) and letter.upper() in letters("x" * last)
        return letter.upper() if is_listed and not is_word else ""

    return Grader("choices", read)
