"""State edits: which cached rows of which step are changed, and by what.

`StateEdit(2)` ablates the third step of a text, `StateEdit(2, donor=other)` swaps in the rows of
another text (`interp.methods.attention.cached_states` defines both). `check_edits` checks texts,
edits and references before any forward pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from interp.errors import NotMeasurableError
from interp.interventions.ablations import MIN_TEXTS
from interp.methods.attention.stepped_text import Ids, SteppedText, check_text
from interp.models.forward import check_length, check_row
from interp.models.model import Model


@dataclass(frozen=True)
class AskedText:
    """A chain and what follows it, up to the answer."""

    text: SteppedText
    """From the first token of the prompt to the last of the chain: what is read before the edit."""
    after: Ids
    """What closes the chain and asks for the answer, read after the edit. At least one token,
    because the token that predicts the answer must itself come after the edit."""
    answer: Ids
    """The answer, with the token that ends it."""


@dataclass(frozen=True)
class StateEdit:
    """One change of the cached rows of one step: a swap if there is a donor, else an ablation."""

    step: int
    """Index into the steps of the text."""
    donor: AskedText | None = None
    """The text whose rows come in. One of its steps must lie at the same positions."""
    places: tuple[tuple[int, int], ...] | None = None
    """Pairs (layer, key-value head) that are edited; None means all. Under grouped-query attention
    several query heads read one key-value head."""
    recompute: bool = False
    """Whether the later tokens of the chain are read again after the edit."""

    @property
    def kind(self) -> Literal["ablate", "swap"]:
        """Its name in results."""
        return "ablate" if self.donor is None else "swap"


class References:
    """Texts whose mean state an ablation writes, counted by how they begin."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.rows: list[Ids] = [tuple(row) for row in rows]
        self._counts: dict[int, Counter[Ids]] = {}

    def beginnings(self, stop: int) -> Counter[Ids]:
        """How often each beginning of so many tokens occurs; shorter texts are left out.

        States depend on what was read so far, so texts that begin alike have the same ones.
        """
        if stop not in self._counts:
            self._counts[stop] = Counter(row[:stop] for row in self.rows if len(row) >= stop)
        return self._counts[stop]


def _check_edit(
    model: Model, text: SteppedText, edit: StateEdit, references: References, name: str
) -> None:
    if not 0 <= edit.step < len(text.steps):
        raise ValueError(
            f"{name} changes step {edit.step}, but the text has steps 0 to {len(text.steps) - 1}"
        )
    span = text.steps[edit.step]
    if edit.donor is not None and span not in edit.donor.text.steps:
        raise ValueError(
            f"a swap needs a step of the donor at the same positions, because keys carry their "
            f"position; {name} is about positions {span.start} to {span.stop - 1}, where the donor "
            f"has no step. Choose a donor whose prompt and earlier steps have as many tokens"
        )
    # Distinct beginnings: copies of one text add no other state to the mean.
    others = references.beginnings(span.stop).keys() - {text.ids[: span.stop]}
    if edit.donor is None and len(others) < MIN_TEXTS:
        raise NotMeasurableError(
            f"an ablation writes the mean over at least {MIN_TEXTS} other texts at the same "
            f"position; {name} reaches to position {span.stop - 1}, and {len(others)} of "
            f"{len(references.rows)} references reach as far and begin differently from the text "
            f"and from each other. Give more references=[ids, ...] at least {span.stop} long, for "
            f"example those of all texts"
        )
    places = edit.places
    known = {(i, j) for i in range(model.n_layers) for j in range(model.n_kv_heads)}
    if places is not None and (not places or len(set(places)) < len(places) or set(places) - known):
        raise ValueError(
            f"places lists pairs (layer, key-value head), at least one and none twice; {name} has "
            f"{places}, and {model.name} has layers 0 to {model.n_layers - 1} with key-value heads "
            f"0 to {model.n_kv_heads - 1}. Leave places out to edit them all"
        )


def _check_asked(model: Model, asked: AskedText, name: str) -> None:
    check_text(model, asked.text, name)
    check_row(model, asked.after, f"what follows the chain of {name}")
    check_row(model, asked.answer, f"the answer of {name}")


def check_edits(
    model: Model,
    texts: Sequence[AskedText],
    edits: Sequence[Sequence[StateEdit]],
    references: References,
) -> None:
    """Checks that every edit is possible, before any forward pass.

    Raises:
        NotMeasurableError: If an ablation has too few references.
        ValueError: If a text, step, donor, place or reference does not fit.
    """
    if len(texts) != len(edits):
        raise ValueError(
            f"every text needs its own list of edits (an empty one is fine), received "
            f"{len(texts)} texts and {len(edits)} lists"
        )
    for number, reference in enumerate(references.rows):
        check_row(model, reference, f"reference {number}")
    for number, (asked, of_text) in enumerate(zip(texts, edits, strict=True)):
        _check_asked(model, asked, f"text {number}")
        for place, edit in enumerate(of_text):
            name = f"edit {place} of text {number}"
            if edit.donor is not None:
                _check_asked(model, edit.donor, f"the donor of {name}")
            _check_edit(model, asked.text, edit, references, name)
        longest = longest_answer(asked, of_text)
        n_tokens = len(asked.text.ids) + len(asked.after) + longest
        check_length(model, n_tokens, f"text {number}, with its longest answer,")


def longest_answer(asked: AskedText, edits: Sequence[StateEdit]) -> int:
    """Tokens of the longest answer of a text and its donors."""
    donors = [edit.donor for edit in edits if edit.donor is not None]
    return max(len(each.answer) for each in (asked, *donors))
