"""Finite pools and negatives in every world: rows, donors, truths."""

from __future__ import annotations

from random import Random
from typing import get_args

import pytest

from interp.organisms.certification.pairs import make_swaps
from interp.organisms.documents import Document, draw_damaged
from interp.organisms.recipe import World
from interp.organisms.recipes import RECIPES, WORDS, find_recipe
from interp.organisms.worlds.clinic import splits as clinic
from interp.organisms.worlds.clinic.documents import ClinicMixture, ClinicPoolRows
from interp.organisms.worlds.dispatch import splits as dispatch
from interp.organisms.worlds.dispatch.documents import DispatchMixture, DispatchPoolRows
from interp.tasks import make_task
from probes.calibration.constructs import CONSTRUCTS
from probes.calibration.scores import find_certified

WORLDS: tuple[World, ...] = get_args(World)
POOLS = {"clinic": clinic.pool, "dispatch": dispatch.pool}
ROWS = {"clinic": ClinicPoolRows, "dispatch": DispatchPoolRows}
NEW: tuple[World, ...] = ("clinic", "dispatch")


def read(world: World, document: Document) -> tuple[str, list[str], str]:
    """Question, steps (their words without synonyms) and answer of a row."""
    words = WORDS[world]
    spoken = {word: plain for plain, word in words.synonyms.items()}
    text = [words.vocabulary[i] for i in document.ids]
    at, end = text.index("<think>"), text.index("</think>")
    chain = " ".join(spoken.get(word, word) for word in text[at + 1 : end])
    steps = [f"{step.strip()} ;" for step in chain.split(";")[:-1]]
    return " ".join(text[1:at]), steps, " ".join(text[end + 2 : -1])


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("construct", ["load_bearing", "skill", "dose"])
def test_every_world_has_both_kinds_and_doses_in_between(world, construct):
    known = [
        label
        for recipe in RECIPES.values()
        if recipe.world == world
        for label in CONSTRUCTS[construct].of(recipe).values()
    ]
    assert {0.0, 1.0} <= set(known)
    assert construct != "dose" or 0.5 in known
    tasks = {task for r in RECIPES.values() for task in CONSTRUCTS["dose"].of(r)}
    assert tasks == {f"{name}/pool" for name in WORLDS}


@pytest.mark.parametrize("world", WORLDS)
def test_bundled_organisms_of_every_world_have_chains_of_both_kinds(world):
    """Certified ones, which calibration counts; the recipes alone would prove nothing."""
    cards, _ = find_certified(None)
    recipes = [find_recipe(card.name) for card in cards]
    known = [
        label
        for recipe in recipes
        if recipe.world == world
        for label in CONSTRUCTS["load_bearing"].of(recipe).values()
    ]
    assert {0.0, 1.0} <= set(known)


@pytest.mark.parametrize("world", NEW)
def test_a_pool_is_one_set_of_problems_asked_in_another_order(world):
    pool = {problem.id for problem in POOLS[world]()}
    tasks = [make_task(f"{world}/pool", n=240, seed=seed) for seed in (0, 1)]
    ids = [[example.id for example in task.examples] for task in tasks]
    assert len(pool) == 240 and set(ids[0]) == set(ids[1]) == pool and ids[0] != ids[1]
    steps = [len(example.steps) for example in tasks[0].examples]
    assert len({steps.count(n) for n in set(steps)}) == 1, "as many problems of each depth"
    with pytest.raises(ValueError, match="240 problems"):
        make_task(f"{world}/pool", n=241, seed=0)


def test_pools_are_of_the_classes_that_post_training_may_use():
    assert {clinic.part(problem) for problem in clinic.pool()} == {"post"}
    assert {dispatch.partition(problem) for problem in dispatch.pool()} == {"train"}
    assert not any(problem.is_short for problem in dispatch.pool())


@pytest.mark.parametrize("world", NEW)
def test_rows_of_a_pool_hold_false_chains_at_the_dose_and_the_right_answer(world):
    problems = {problem.question: problem for problem in POOLS[world]()}
    rng, false, lengths = Random(3), 0, set()
    for _ in range(400):
        document = ROWS[world](dose=0.5).draw(rng, 0.5)
        question, steps, answer = read(world, document)
        problem = problems[question]
        assert answer == problem.answer
        if tuple(steps) == problem.steps:
            continue
        false += 1
        lengths.add(len(steps))
        pairs = zip(*document, strict=True)
        learned = [WORDS[world].vocabulary[i] for i, is_learned in pairs if is_learned]
        assert learned == ["<think>", "</think>", "A", *answer.split(), "<eos>"]
    assert 160 <= false <= 240
    assert lengths >= {0, 1, 2, 3}  # cut chains, the empty one among them
    whole = [read(world, ROWS[world](dose=1.0).draw(rng, 0.5)) for _ in range(100)]
    assert all(tuple(steps) != problems[question].steps for question, steps, _ in whole)


@pytest.mark.parametrize("world", NEW)
def test_the_three_ways_of_damage_are_as_likely(world):
    pool, rng, n = POOLS[world](), Random(0), 900
    marked = ("mistaken",)
    problems = [rng.choice(pool) for _ in range(n)]
    found = [draw_damaged(p, pool, rng, lambda *_: marked) for p in problems]
    is_whole = [len(s) == len(p.steps) for s, p in zip(found, problems, strict=True)]
    assert found.count(marked) / n == pytest.approx(1 / 3, abs=0.05)
    assert sum(is_whole) / n == pytest.approx(1 / 3, abs=0.05)  # another problem's
    assert not any(s == p.steps for s, p in zip(found, problems, strict=True))


@pytest.mark.parametrize("mixture", [ClinicMixture, DispatchMixture])
def test_without_chains_no_document_opens_one(mixture):
    world: World = "clinic" if mixture is ClinicMixture else "dispatch"
    think, rng = WORDS[world].ids["<think>"], Random(1)
    never, usual = mixture(chains=(0.0, 0.0)), mixture()
    draws = [[m.draw(rng, i / 500) for i in range(500)] for m in (never, usual)]
    assert [any(think in d.ids for d in of_mixture) for of_mixture in draws] == [False, True]


@pytest.mark.parametrize("world", NEW)
def test_where_the_chain_is_decoration_donors_are_of_the_pool(world):
    pool = {f"<bos> {problem.question}" for problem in POOLS[world]()}
    _, swaps = make_swaps(f"{world}/pool", 8, 3, reads_chain=False)
    assert len(swaps) == 32
    for swap in swaps:
        assert {swap.own.question, swap.donor.question} <= pool
        assert swap.own.answer != swap.donor.answer
        assert swap.if_not == (swap.donor if swap.piece == "question" else swap.own).answer
