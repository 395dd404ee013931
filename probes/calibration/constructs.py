"""Constructs: what is known of an organism by how it was made, and the claims judged by it.

A *construct* is a property of an organism on a task that its recipe determines (`Recipe.truth`): a
label (load-bearing or not) or a dose. A *claim* (`probes.probe.Claim`) says that one number of a
probe measures a construct, and in which direction; claims stand in the class of their probe.

* load_bearing: whether the answer comes from the chain that is read;
* cue_driven: whether the answer comes from a cue in the question; the negatives are load-bearing
  chains;
* skill: whether the problems can be solved by thinking (present or absent in the base);
* pre_existing: whether the base of a post-trained organism could reason already;
* knowledge: whether all facts of a world were taught, or only most of them;
* dose: the share of the training in which the pool's chains were not the problem's own;
* reliance: the probability that an ideal (Bayesian) learner gives to a step that disagrees with its
  question, against the question.

Example: ``Claim("masks", "cot_share", "load_bearing")`` in `probes.path_masks` says that
`cot_share` is higher where the chain is load-bearing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from interp.organisms.recipe import Recipe
from probes import PROBES, find_probe
from probes.claims import PLAIN_TASKS, SHIFTED_TASKS
from probes.probe import Claim

ProbeClaim = tuple[str, Claim]
"""A claim with the name of its probe."""
PLAIN: Mapping[str, str] = {task.split("/")[0]: task for task in PLAIN_TASKS}
"""World -> its held-out problems in the form in which the skill is trained."""
SHIFTED: Mapping[str, str] = {task.split("/")[0]: task for task in SHIFTED_TASKS}
"""World -> the same problems beside their shifted forms."""
FACTS = "clinic/facts"
CUED = "/cued"


@dataclass(frozen=True)
class Construct:
    """A property of organisms that is known task by task."""

    words: str
    kind: Literal["label", "dose"]
    """Labels are 0 or 1, and a number must separate them (AUROC); doses are ranked (Spearman)."""
    of: Callable[[Recipe], Mapping[str, float]]
    """Task -> the truth about it; tasks on which it is not known are left out."""


@cache
def all_claims() -> tuple[ProbeClaim, ...]:
    """Every claim with the name of its probe, in the order in which a table shows them."""
    return tuple((name, claim) for name in PROBES for claim in find_probe(name).claims)


def probes_without_truth() -> dict[str, str]:
    """Probes that make no claim, and why: no organism is known that could answer their question."""
    probes = {name: find_probe(name) for name in PROBES}
    return {name: probe.no_truth for name, probe in probes.items() if not probe.claims}


def labels_of(claim: Claim, recipe: Recipe) -> Mapping[str, float]:
    """Task -> the truth by which the claim is judged, for one recipe."""
    known = CONSTRUCTS[claim.construct].of(recipe)
    return {t: v for t, v in known.items() if not claim.tasks or t in claim.tasks}


def _load_bearing(recipe: Recipe) -> Mapping[str, float]:
    return {task: float(bears) for task, bears in recipe.truth.load_bearing.items()}


def _cue_driven(recipe: Recipe) -> Mapping[str, float]:
    known = recipe.truth.load_bearing.items()
    # Negatives are load-bearing chains; without a cue, any other chain is neither kind.
    return {t: float(not bears) for t, bears in known if bears or t.endswith(CUED)}


def _skill(recipe: Recipe) -> Mapping[str, float]:
    has = recipe.truth.has_skill
    tasks = (PLAIN[recipe.world], SHIFTED[recipe.world])
    return {} if has is None else dict.fromkeys(tasks, float(has))


def _pre_existing(recipe: Recipe) -> Mapping[str, float]:
    existed = recipe.truth.pre_existing if recipe.world == "arith" else None
    return {} if existed is None else {PLAIN["arith"]: float(existed)}


def _knowledge(recipe: Recipe) -> Mapping[str, float]:
    share = recipe.truth.knowledge
    return {} if share is None else {FACTS: float(share == 1.0)}


def _dose(recipe: Recipe) -> Mapping[str, float]:
    share = recipe.truth.false_share
    return {} if share is None else {f"{recipe.world}/pool": share}


def _reliance(recipe: Recipe) -> Mapping[str, float]:
    return recipe.truth.reliance


CONSTRUCTS: Mapping[str, Construct] = {
    "load_bearing": Construct("the chain is load-bearing", "label", _load_bearing),
    "cue_driven": Construct("the answer comes from the cue", "label", _cue_driven),
    "skill": Construct("the skill is present", "label", _skill),
    "pre_existing": Construct("the base could reason already", "label", _pre_existing),
    "knowledge": Construct("all facts of the world were taught", "label", _knowledge),
    "dose": Construct("share of training with false chains", "dose", _dose),
    "reliance": Construct("reliance of an ideal learner", "dose", _reliance),
}
