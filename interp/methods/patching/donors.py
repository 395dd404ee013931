"""Donors: the runs that activations are taken from.

A `Donor` is a model and a text: the same model on another text (denoising, noising), the other
model of a pair on the same text (patching across the pair), or a run that has nothing to do with
the matter (the control with which every recovered effect should be compared).

Position p of the text that is patched takes the activation of the donor's position p, so both
texts must have one length. Where they have not, because two tokenizers split the same text in two
ways, `places` says which positions belong together, and only those are patched::

    places = align_tokens(text, model.tokenizer, other.tokenizer)
    Donor(other, other_ids, places)

Two positions are aligned when their tokens begin and end at the same characters. That the tokens
cover the same characters does not say that the two models keep the same things there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.engine import PassResult, run
from interp.models.forward import check_row
from interp.models.model import Model, check_site, site_shape
from interp.models.token_ids import Row, as_ids
from interp.sites import Site


@dataclass(frozen=True, eq=False)
class Donor:
    """A model and the text that it reads."""

    model: Model
    ids: Row
    places: Mapping[int, int] | None = None
    """Position of the patched text -> position of this one; None pairs equal positions."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", as_ids(self.ids, "the donor's text"))

    @property
    def n_block_tokens(self) -> int:
        """Tokens x blocks of its run."""
        return self.model.n_layers * len(self.ids)

    def of(self, position: int) -> int:
        """The donor's position that belongs to a position of the patched text."""
        return position if self.places is None else self.places[position]

    def aligned(self, n_tokens: int) -> tuple[int, ...]:
        """Positions of the patched text that have a partner, in order.

        Args:
            n_tokens: Length of the patched text.

        Raises:
            ValueError: If the lengths differ and no places are given, or a place is out of range.
        """
        if self.places is None:
            if len(self.ids) != n_tokens:
                raise ValueError(
                    f"positions are paired one to one, so both texts must be equally long; the "
                    f"donor has {len(self.ids)} tokens and the patched text {n_tokens}. Choose "
                    f"texts that differ word for word, or say which positions belong together: "
                    f"Donor(model, ids, places={{position: position_of_donor}})"
                )
            return tuple(range(n_tokens))
        wrong = {
            here: there
            for here, there in self.places.items()
            if not (0 <= here < n_tokens and 0 <= there < len(self.ids))
        }
        if wrong or not self.places:
            raise ValueError(
                f"places must pair at least one position below {n_tokens} with one of the donor's "
                f"below {len(self.ids)}; received {wrong or 'none'}"
            )
        return tuple(sorted(self.places))


def read_donor(donor: Donor, sites: Sequence[Site]) -> PassResult:
    """Runs a donor.

    Args:
        donor: The run.
        sites: Where its activations are wanted.

    Returns:
        Captures at the donor's own positions, and the logits of its last token.
    """
    return run(donor.model, [donor.ids], capture=sites, logits_at="last")


def check_donor(model: Model, ids: Row, donor: Donor, sites: Sequence[Site]) -> tuple[int, ...]:
    """Makes sure, before any forward pass, that a donor fits what is to be patched.

    Args:
        model: The model to be patched.
        ids: The text that it reads.
        donor: The run to take activations from.
        sites: Where.

    Returns:
        Positions of the text that have a partner in the donor.

    Raises:
        ValueError: If a text cannot be read, a site is missing in either model or has another
            shape, or positions do not pair up.
    """
    check_row(model, ids, "the patched text")
    check_row(donor.model, donor.ids, "the donor's text")
    for site in sites:
        check_site(model, site)
        check_site(donor.model, site)
        here, there = site_shape(model, site), site_shape(donor.model, site)
        if here != there:
            raise ValueError(
                f"an activation fits only where it has the same shape; {site} has {here} in "
                f"{model.name} and {there} in {donor.model.name}. Models of different width "
                f"cannot be patched into each other"
            )
    return donor.aligned(len(ids))


def choose_positions(
    aligned: Sequence[int], listed: Sequence[int] | None, n_tokens: int
) -> tuple[int, ...]:
    """The positions asked for, counted from the beginning; None asks for all that are aligned.

    Raises:
        ValueError: If one has no partner in the donor, or one is listed twice or none at all.
    """
    if listed is None:
        return tuple(aligned)
    chosen = tuple(position + n_tokens if position < 0 else position for position in listed)
    lonely = sorted(set(chosen) - set(aligned))
    if lonely or not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"positions must be listed once and have a partner in the donor; received "
            f"{tuple(listed)} for a text of {n_tokens} tokens; without a partner: {lonely}"
        )
    return chosen


def donated(
    read: PassResult, donor: Donor, site: Site, positions: Sequence[int], head: int | None = None
) -> Float[Tensor, "pos ..."]:
    """What the donor has for positions of the patched text, for one head or all."""
    values = read.captures[site][0]
    # The head is chosen first: a view of the others' values would keep them in memory.
    return (values if head is None else values[:, head])[[donor.of(at) for at in positions]]


def align_tokens(text: str, tokenizer: Any, donor_tokenizer: Any) -> dict[int, int]:
    """Pairs the positions of one text under two tokenizers.

    Args:
        text: The text, encoded as it is (nothing added) by both.
        tokenizer: Hugging Face fast tokenizer of the model to be patched.
        donor_tokenizer: That of the donor.

    Returns:
        Position -> the donor's position, for all tokens that begin and end at the same characters.
        Tokens that cover no character are never paired.

    Raises:
        ValueError: If no tokens pair up.
    """
    here, there = (_spans(text, one) for one in (tokenizer, donor_tokenizer))
    places = {position: there[span] for span, position in here.items() if span in there}
    if not places:
        raise ValueError(
            f"no token of the two tokenizers covers the same characters of {text[:60]!r}, so "
            f"nothing can be patched position by position"
        )
    return dict(sorted(places.items(), key=lambda pair: pair[0]))


def _spans(text: str, tokenizer: Any) -> dict[tuple[int, int], int]:
    """Characters (first, end) -> position. Of byte tokens within one character the last counts."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return {
        (first, end): position
        for position, (first, end) in enumerate(encoded["offset_mapping"])
        if end > first
    }
