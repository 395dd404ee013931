"""posthoc's questions: one module each, and the table of all of them.

Adding a probe means writing one module and adding one line here. Nothing registers itself, and
nothing is imported before it is asked for: `posthoc --help` needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interp.results.rows import Pooled, Ratio
    from probes.probe import Probe

PROBES = {
    "accuracy": "Accuracy",
    "early_answering": "EarlyAnswering",
    "information_gain": "InformationGain",
    "corruption": "Corruption",
    "path_masks": "PathMasks",
    "knowledge_index": "KnowledgeIndex",
    "abstention": "Abstention",
    "generalisation": "Generalisation",
}
"""Name, which is also the module's, and class; in the order in which a report shows them."""
PAIR_PROBES = {
    "pre_existence": "PreExistence",
    "first_token": "FirstToken",
    "cross_patching": "CrossPatching",
    "hybrid": "HybridDecoding",
    "mechanism": "Mechanism",
    "sae_features": "SaeFeatures",
    "sae_transfer": "SaeTransfer",
}
"""Questions about a pair that take longer than an audit should: asked for by name."""


def find_probe(name: str) -> type[Probe]:
    """The probe of this name.

    Raises:
        ValueError: There is none; the message lists the known names.
    """
    known = {**PROBES, **PAIR_PROBES}
    if name not in known:
        raise ValueError(f"Unknown probe {name!r}. Known probes: {', '.join(known)}.")
    return getattr(import_module(f"probes.{name}"), known[name])


def ratios_of(names: Iterable[str]) -> list[Ratio]:
    """The ratios of means that go with these probes (`RATIOS` of their modules)."""
    return [one for name in names for one in getattr(import_module(f"probes.{name}"), "RATIOS", ())]


def pooled_of(names: Iterable[str]) -> list[Pooled]:
    """The statistics of all items together that go with these probes (`POOLED`)."""
    return [one for name in names for one in getattr(import_module(f"probes.{name}"), "POOLED", ())]
