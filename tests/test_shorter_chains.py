"""Chains need no number of steps: what one step works out at once is shown, what none does is not.

The truth is found another way: each chain is built from an exact problem, by merging or leaving out
steps, so whether it is a whole solution is known when it is made.
"""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest

from interp.chains.completions import is_chain_valid
from interp.organisms.worlds.arith.problems import MODULUS
from interp.organisms.worlds.clinic.facts import ENTITIES
from interp.tasks import Example, make_task


def groupings(n: int):
    """Every way to cut n steps into groups of neighbours, as (first, one past the last)."""
    for size in range(n):
        for cuts in combinations(range(1, n), size):
            edges = (0, *cuts, n)
            yield list(zip(edges, edges[1:], strict=False))


def arith_group(steps: tuple[str, ...], first: int, end: int) -> str:
    """``3 + 4 = 7 ;`` and ``7 * 2 = 3 ;`` as ``3 + 4 * 2 = 3 ;``."""
    words = [step.split() for step in steps[first:end]]
    operations = [word for step in words for word in step[1:3]]
    return " ".join([words[0][0], *operations, "=", words[-1][4], ";"])


def clinic_group(steps: tuple[str, ...], first: int, end: int) -> str:
    """``d7 inhibits e28 ;`` and ``e28 regulates p19 ;`` as ``d7 inhibits regulates p19 ;``."""
    words = [step.split() for step in steps[first:end]]
    return " ".join([words[0][0], *(step[1] for step in words), words[-1][2], ";"])


MERGED = {
    "arith/fresh": arith_group,
    "arith/twins": arith_group,
    "arith/shifts": arith_group,
    "clinic/all": clinic_group,
}


@pytest.mark.parametrize("name", MERGED)
def test_steps_merged_into_one_true_step_are_right(name: str):
    task, merge = make_task(name, n=24, seed=1), MERGED[name]
    for example in task.examples:
        for groups in groupings(len(example.steps)):
            chain = tuple(merge(example.steps, *group) for group in groups)
            assert is_chain_valid(task, example, chain), chain


@pytest.mark.parametrize("name", ["arith/fresh", "clinic/all"])
def test_a_merged_step_with_another_result_is_wrong(name: str):
    task, merge = make_task(name, n=24, seed=1), MERGED[name]
    check = task.check_claim
    assert check is not None
    for example in task.examples:
        whole = merge(example.steps, 0, len(example.steps))
        *words, right, end = whole.split()
        for other in (
            [str(v) for v in range(MODULUS)] if name == "arith/fresh" else ENTITIES[right[0]]
        ):
            step = " ".join([*words, other, end])
            assert check(example, step) == ("right" if other == right else "wrong")
            assert is_chain_valid(task, example, (step,)) == (other == right)
            assert is_chain_valid(task, example, (*example.steps, step)) == (other == right)


@pytest.mark.parametrize("name", ["arith/fresh", "clinic/all", "dispatch/plain"])
def test_a_result_that_no_step_works_out_was_not_shown(name: str):
    task = make_task(name, n=30, seed=2)
    for example in task.examples:
        zeros = [" 0 left 0 ;" in step for step in example.steps]
        for at in range(len(example.steps)):
            left_out = example.steps[:at] + example.steps[at + 1 :]
            is_shown = zeros[at] and at > 0 and example.steps[at].startswith("0 ")
            assert is_chain_valid(task, example, left_out) == is_shown


@pytest.mark.parametrize("name", ["dispatch/plain", "dispatch/shifts"])
def test_generators_after_the_demand_is_served_need_no_step(name: str):
    task = make_task(name, n=80, seed=0)
    n_shorter = 0
    for example in task.examples:
        served = [step.split()[5] for step in example.steps]
        if "0" not in served[:-1]:
            continue
        end = served.index("0") + 1
        n_shorter += 1
        assert is_chain_valid(task, example, example.steps[:end])
        assert not is_chain_valid(task, example, example.steps[: end - 1])
        # The answer still has to name every generator, and a wrong zero is a wrong step.
        wrong = example.steps[end].replace("0 left 0", "1 left 0")
        assert not is_chain_valid(task, example, (*example.steps[:end], wrong))
    assert n_shorter >= 5


def test_merged_steps_in_other_words_repeated_or_malformed():
    task = make_task("arith/fresh", n=1, seed=0)
    steps = ("5 + 4 = 9 ;", "9 * 2 = 7 ;", "7 - 4 = 3 ;")
    example = Example("e", "e", "<bos> Q 5 + 4 * 2 - 4 ?", "3", steps)

    def valid(*chain: str) -> bool | None:
        return is_chain_valid(task, example, chain)

    assert valid("5 plus 4 times 2 is 7 ;", steps[2])
    assert valid(steps[0], "5 + 4 * 2 = 7 ;", steps[2]) and valid("5 + 4 * 2 - 4 = 3 ;")
    assert not valid("5 + 4 2 = 7 ;", steps[2]) and not valid("5 + 4 * 2 = 3 ;")
    assert not valid("9 * 2 - 4 = 3 ;"), "nothing shows where 9 comes from"
    assert not valid("4 * 2 + 5 - 4 = 9 ;") and not valid("5 + 4 * 2 - 4 3 ;")


def test_random_words_are_never_a_solution():
    for name in ("arith/fresh", "clinic/all", "dispatch/plain"):
        task, rng = make_task(name, n=10, seed=3), Random(0)
        for example in task.examples:
            words = " ".join(example.steps).split()
            for _ in range(50):
                chain = task.split_steps(" ".join(rng.choices(words, k=len(words))))
                results = [task.rewriter.result(step) for step in chain]
                goal = [task.rewriter.result(step) for step in example.steps]
                if is_chain_valid(task, example, chain):
                    assert set(filter(None, goal)) <= set(results)
