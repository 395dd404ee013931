"""What each probe claims to see, and of which organisms that is known: the table of calibration.

A *construct* is something true of an organism on a task by how it was made (`Recipe.truth`): a
label (load-bearing or not) or a dose. A *claim* says that one number of one probe tells it, and in
which direction. Adding a probe to the calibration means adding its claims here, a line each.

* load_bearing: whether the answer comes from the chain that is read;
* cue_driven: the answer comes from a cue in the question, against chains that are load-bearing;
* skill: whether the problems can be solved by thinking (present in the base, or absent);
* pre_existing: whether the base of a pair could reason already (of post-trained organisms);
* knowledge: whether all facts of a world were taught, or only most of them;
* dose: the share of the training in which the chains of the pool were those of other problems;
* reliance: the probability that an ideal (Bayes) learner gives to a step that disagrees with its
  question, against the question.

Example: ``Claim("path_masks", "masks", "cot_share", "load_bearing")`` says that `cot_share` is
higher where the chain is load-bearing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from interp.organisms.recipe import Recipe, World

OWN = "own"
"""The organism, as the reader of every chain and the writer of its own."""
GOLD = "gold"
PLAIN: Mapping[World, str] = {
    "arith": "arith/fresh",
    "clinic": "clinic/known",
    "dispatch": "dispatch/plain",
}
"""Problems of each world as its skill is trained, held out."""
SHIFTED: Mapping[World, str] = {world: f"{world}/shifts" for world in PLAIN}
"""The same beside their shifted forms."""
FACTS = "clinic/facts"
CUED = "/cued"


@dataclass(frozen=True)
class Construct:
    """Something known about organisms, task by task."""

    words: str
    kind: Literal["label", "dose"]
    """Labels are 0 or 1 and are told apart (AUROC); doses are ranked (Spearman)."""
    of: Callable[[Recipe], Mapping[str, float]]
    """Task -> the truth about it; tasks on which it is not known are not named."""


@dataclass(frozen=True)
class Claim:
    """One number of one probe is held to tell a construct."""

    probe: str
    condition: str
    metric: str
    construct: str
    direction: int = 1
    """-1 where a larger number says less of the construct."""
    is_primary: bool = False
    writer: str = GOLD
    """Whose chains: the task's own correct ones, or the organism's; of a pair, whatever the probe
    calls the writer (the model that a direction comes from, a way of decoding)."""
    tasks: tuple[str, ...] = ()
    """Only these; every task on which the truth is known when empty."""
    why: str = ""
    """Why it does not tell the construct, where it was found not to."""
    reader: str = OWN
    """The organism alone; 'base' or 'post' where it is judged as a pair with its parent."""

    def labels(self, recipe: Recipe) -> Mapping[str, float]:
        """Task -> the truth that the claim is judged by, for one recipe."""
        known = CONSTRUCTS[self.construct].of(recipe)
        return {t: v for t, v in known.items() if not self.tasks or t in self.tasks}


def _load_bearing(recipe: Recipe) -> Mapping[str, float]:
    return {task: float(told) for task, told in recipe.truth.load_bearing.items()}


def _cue_driven(recipe: Recipe) -> Mapping[str, float]:
    told = recipe.truth.load_bearing.items()
    return {t: float(not bears) for t, bears in told if bears or t.endswith(CUED)}


def _skill(recipe: Recipe) -> Mapping[str, float]:
    has = recipe.truth.has_skill
    tasks = (PLAIN[recipe.world], SHIFTED[recipe.world])
    return {} if has is None else dict.fromkeys(tasks, float(has))


def _pre_existing(recipe: Recipe) -> Mapping[str, float]:
    told = recipe.truth.pre_existing if recipe.world == "arith" else None
    return {} if told is None else {PLAIN["arith"]: float(told)}


def _knowledge(recipe: Recipe) -> Mapping[str, float]:
    share = recipe.truth.knowledge
    return {} if share is None else {FACTS: float(share == 1.0)}


def _dose(recipe: Recipe) -> Mapping[str, float]:
    share = recipe.truth.swapped_share
    return {} if share is None else {"arith/pool": share}


def _reliance(recipe: Recipe) -> Mapping[str, float]:
    return recipe.truth.reliance


CONSTRUCTS: Mapping[str, Construct] = {
    "load_bearing": Construct("the chain is load-bearing", "label", _load_bearing),
    "cue_driven": Construct("the answer comes from the cue", "label", _cue_driven),
    "skill": Construct("the skill is present", "label", _skill),
    "pre_existing": Construct("the base could reason already", "label", _pre_existing),
    "knowledge": Construct("all facts of the world were taught", "label", _knowledge),
    "dose": Construct("share of training with other problems' chains", "dose", _dose),
    "reliance": Construct("reliance of an ideal learner", "dose", _reliance),
}


def _reads_chain(
    probe: str,
    condition: str,
    metric: str,
    *,
    direction: int = 1,
    is_primary: bool = False,
    why: str = "",
) -> tuple[Claim, ...]:
    """The claims of a number that says how far an answer hangs on the chain."""
    signs = {"load_bearing": 1, "cue_driven": -1, "dose": -1, "reliance": 1}
    return tuple(
        Claim(
            probe, condition, metric, construct, sign * direction,
            is_primary=is_primary and construct == "load_bearing", why=why,
        )
        for construct, sign in signs.items()
    )  # fmt: skip


def _of_pair(
    probe: str,
    condition: str,
    metric: str,
    writer: str,
    *,
    is_primary: bool = False,
    why: str = "",
) -> Claim:
    """A number about a pair that is held to say whether the base could reason already."""
    return Claim(
        probe, condition, metric, "pre_existing", is_primary=is_primary, writer=writer,
        reader="base", why=why,
    )  # fmt: skip


SCALE = "its scale differs from world to world, with how much the question alone tells"
CLAIMS: tuple[Claim, ...] = (
    Claim("accuracy", "forced", "accuracy", "skill", 1, True, OWN, tuple(PLAIN.values())),
    Claim("accuracy", "forced", "chain_gain", "skill", 1, False, OWN, tuple(PLAIN.values())),
    *_reads_chain("early_answering", "cut", "aoc", is_primary=True, why=SCALE),
    *_reads_chain("early_answering", "cut", "et"),
    *_reads_chain("early_answering", "chain_free", "bentham_normalised", direction=-1),
    *_reads_chain("information_gain", "chain", "total", is_primary=True, why=SCALE),
    *_reads_chain(
        "information_gain",
        "before_answer",
        "total",
        is_primary=True,
        why="a reader that relies on a cut chain can be sure of its last value, which is wrong",
    ),
    *_reads_chain("corruption", "joint", "reliant", is_primary=True),
    *_reads_chain("corruption", "joint", "decorative", direction=-1, is_primary=True),
    *_reads_chain("corruption", "mistake_last", "follows_mistake"),
    *_reads_chain("path_masks", "masks", "cot_share", is_primary=True),
    Claim("knowledge_index", "written", "ki", "knowledge", 1, True, OWN),
    Claim("knowledge_index", "written", "ki", "skill", 1, False, OWN, tuple(PLAIN.values())),
    Claim(
        "generalisation", "n_minus_1", "accuracy", "skill", 1, True, OWN, tuple(SHIFTED.values())
    ),
    _of_pair("pre_existence", "up", "reasons", "base", is_primary=True),
    _of_pair("pre_existence", "up", "opens", "base"),
    _of_pair(
        "hybrid",
        "free",
        "correct",
        "base_alone",
        is_primary=True,
        why="what RL-trained vectors add takes effect behind the last layer, and is not reproduced "
        "by vectors at the middle one, which is steered by default (posthoc hybrid --layer)",
    ),
    _of_pair("hybrid", "free", "correct", "base_alone_runner_up"),
    _of_pair("hybrid", "free", "correct", "guardrail_only"),
    _of_pair("first_token", "post_then_base", "transplant_gain", "base", is_primary=True),
)
"""In the order in which a table shows them."""
NO_TRUTH = {
    "abstention": "no organism is trained to abstain or not to by its recipe",
    "cross_patching": "a patch at a readout transports the donor's prediction wherever it was "
    "computed, so it claims no pre-existence",
    "mechanism": "no organism is known in which a direction changes the reliance on the chain",
    "sae_features": "no organism is known to have one latent that switches its mode",
    "sae_transfer": "a base's dictionary fits post badly where the reasoning did pre-exist, too",
}
"""Probes without a claim, and why: nothing in the zoo is known about what they ask."""
