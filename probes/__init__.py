"""posthoc's questions: one module each, and the table of all of them.

Adding a probe means writing one module and adding one line here. Nothing registers itself, and
nothing is imported before it is asked for: `posthoc --help` needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def find_probe(name: str) -> type[Probe]:
    """The probe of this name.

    Raises:
        ValueError: There is none; the message lists the known names.
    """
    if name not in PROBES:
        raise ValueError(f"Unknown probe {name!r}. Known probes: {', '.join(PROBES)}.")
    return getattr(import_module(f"probes.{name}"), PROBES[name])
