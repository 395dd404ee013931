"""How calibration compares a model with itself, and which items belong to a claim."""

from __future__ import annotations

import math

import pytest

from interp.results.rows import Item
from probes.calibration import scores
from probes.calibration.scores import _compare_with_itself, _unit
from probes.probe import OWN, Claim, Probe

NAN = float("nan")


class Alone(Probe):
    """Numbers about one organism, one of them a ratio."""

    name = "alone"
    claims = (Claim("c", "m", "skill", writer=OWN), Claim("c", "number", "skill"))


class Paired(Probe):
    """Numbers about an organism and its parent, one of them a difference."""

    name = "paired"
    claims = (
        Claim("c", "m", "pre_existing", reader="base", source="base"),
        Claim("c", "gain", "pre_existing", reader="base", writer=OWN),
    )
    kinds = {"m": "share", "gain": "difference"}


@pytest.fixture(autouse=True)
def two_probes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scores, "find_probe", {"alone": Alone, "paired": Paired}.__getitem__)


def item(reader: str, value: float, *, metric: str = "m", example: str = "e", **where: str) -> Item:
    return Item(
        probe="p", task="t", example=example, problem=example, condition="c", metric=metric,
        value=value, reader=reader, **{"writer": "gold", **where},
    )  # fmt: skip


def compare(probe: str, claim: int, *items: Item) -> float:
    name = {"alone": Alone, "paired": Paired}[probe]
    return _compare_with_itself(probe, name.claims[claim], items)


def test_a_number_against_none_is_no_equality():
    assert compare("alone", 0, item("base", 0.5), item("post", 0.5)) == 0
    assert compare("alone", 0, item("base", 0.5), item("post", 0.25)) == 0.25
    assert compare("alone", 0, item("base", 0.5), item("post", NAN)) == math.inf
    assert compare("alone", 0, item("base", NAN), item("post", 0.5)) == math.inf
    assert compare("alone", 0, item("base", 0.5)) == math.inf
    assert math.isnan(compare("alone", 0, item("base", NAN), item("post", NAN)))
    assert math.isnan(compare("alone", 0))


def test_what_a_reader_has_from_itself_is_compared_with_the_same_of_the_other():
    own = (item("base", 0.5, writer="base"), item("post", 0.75, writer="post"))
    assert compare("alone", 0, *own) == 0.25


def test_a_pair_is_compared_with_the_base_and_itself():
    """By counterpart where there is one; differences with 0; a refusal finds no difference."""
    null = (item("base", 0.5, source="base"), item("post", 0.25, source="post"))
    lone = item("base", 0.7, source="post")
    assert compare("paired", 0, *null, lone) == 0.25
    assert math.isnan(compare("paired", 0, lone))
    assert math.isnan(compare("paired", 0))
    assert compare("paired", 1, item("base", -0.5, metric="gain", writer="base")) == 0.5
    same = "a -> a do not differ at blocks.1.hook_resid_post"
    assert compare("paired", 0, item("base", NAN, note=same)) == 0
    failed = item("base", NAN, note="a context of 256 tokens is too short")
    assert math.isnan(compare("paired", 0, failed))


def test_a_unit_holds_the_items_of_its_claim_alone():
    from interp.organisms.zoo import read_cards

    card = next(card for card in read_cards() if card.parent and card.seed == 0)
    items = [
        item("base", 1.0, source="base"),
        item("base", NAN, source="base", example="f"),
        item("base", 0.0, source="post"),
        item("post", 0.0, source="base"),
        item("base", 0.0, source="base", variant="v"),
        item("base", 0.0, source="base", metric="gain"),
        item("base", 0.5, writer="base", metric="gain"),
    ]
    first, second = (_unit(card, "paired", claim, "t", 1.0, items, 0.0) for claim in Paired.claims)
    assert (first.examples, first.score, first.n_missing) == (("e",), 1.0, 1)
    assert (second.examples, second.score, second.n_missing) == (("e",), 0.5, 0)
    assert first.line == card.parent
