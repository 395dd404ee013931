"""Variants: the method, its controls and the headline, as a table of four choices each.

| | gate | vectors | category | pick |
| --- | --- | --- | --- | --- |
| `hybrid` | where the models differ | of the category | by position | post's likeliest |
| a `guardrail_only` | same | none: base's likeliest tokens | - | same |
| b `random_vectors` | same | random, same norm | by position | same |
| c `bias_only` | same | one for all | - | same |
| d `random_category` | same | of the category | drawn | same |
| e `shuffled_positions` | as often, elsewhere | of the category | by position | same |
| f `random_choice` | same | of the category | by position | drawn |
| **g `base_alone`** | probe on base | of the category | nearest centroid in base | one dose |

`hybrid` and (a) to (f) ask the post model at every token: they are ceilings. (g) does not, and has
controls of its own: one candidate, the same gate, the same norms (`shuffled`: as often, elsewhere),
each with its own dose, chosen by the same rule. `base_alone_runner_up` has no vector: where the
gate fires it writes the base's second likeliest token, so what it recovers is due to the gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Variant:
    """One way to write."""

    name: str
    gate: Literal["differ", "probe", "shuffled"] = "differ"
    vectors: Literal["category", "bias", "random", "none"] = "category"
    category: Literal["position", "drawn", "centroid"] = "position"
    pick: Literal["guardrail", "drawn", "dose"] = "guardrail"
    as_often_as: str = ""
    """For a shuffled gate: the variant whose number of steered positions it copies, per text."""

    @property
    def asks_post(self) -> bool:
        """Whether the post model takes part in writing."""
        return self.pick != "dose"

    @property
    def reads_gate(self) -> bool:
        """Whether gate or category are read off the base (`BaseGate`)."""
        return self.gate == "probe" or self.category == "centroid"

    @property
    def is_steered(self) -> bool:
        """Whether vectors are added."""
        return self.vectors != "none"


WITH_POST = (
    Variant("hybrid"),
    Variant("guardrail_only", vectors="none"),
    Variant("random_vectors", vectors="random"),
    Variant("bias_only", vectors="bias"),
    Variant("random_category", category="drawn"),
    Variant("shuffled_positions", gate="shuffled", as_often_as="hybrid"),
    Variant("random_choice", pick="drawn"),
)
ALONE = (
    Variant("base_alone", "probe", "category", "centroid", "dose"),
    Variant("base_alone_runner_up", "probe", "none", "centroid", "dose"),
    Variant("base_alone_random_vectors", "probe", "random", "centroid", "dose"),
    Variant("base_alone_bias_only", "probe", "bias", "centroid", "dose"),
    Variant("base_alone_random_category", "probe", "category", "drawn", "dose"),
    Variant(
        "base_alone_shuffled_positions", "shuffled", "category", "centroid", "dose", "base_alone"
    ),
)
VARIANTS = (*WITH_POST, *ALONE)
CONTROLS_OF = {
    "hybrid": tuple(v.name for v in WITH_POST[1:]),
    "base_alone": tuple(v.name for v in ALONE[1:]),
}
"""Method -> what it must beat."""
