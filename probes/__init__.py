"""posthoc's questions: one module each, and the table of all of them.

Adding a probe means writing one module and adding one line here. Nothing registers itself, and
nothing is imported before it is asked for: `posthoc --help` needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probes.probe import Probe

PROBES = {
    "accuracy": "Accuracy",
    "early_answering": "EarlyAnswering",
    "information_gain": "InformationGain",
    "corruption": "Corruption",
    "resampling": "Resampling",
    "path_masks": "PathMasks",
    "knowledge_index": "KnowledgeIndex",
    "abstention": "Abstention",
    "generalisation": "Generalisation",
    "pre_existence": "PreExistence",
    "first_token": "FirstToken",
    "cross_patching": "CrossPatching",
    "hybrid": "HybridDecoding",
    "elicitation_methods": "ElicitationMethods",
    "direction_by_corruption": "DirectionByCorruption",
    "sae_features": "SaeFeatures",
    "sae_transfer": "SaeTransfer",
    "crosscoding": "Crosscoding",
}
"""Name, which is also the module's, and class; in the order in which a report shows them."""


def find_probe(name: str) -> type[Probe]:
    """The probe of this name.

    Args:
        name: One of the table, or ``module:Class`` for a class of one's own.

    Raises:
        ValueError: There is none; the message lists the known names.
    """
    module, colon, of_class = name.partition(":")
    if colon:
        return _import_probe(module, of_class)
    if name not in PROBES:
        raise ValueError(
            f"unknown probe {name!r}; known: {', '.join(PROBES)}; or module:Class for your own"
        )
    return getattr(import_module(f"probes.{name}"), PROBES[name])


def _import_probe(module: str, name: str) -> type[Probe]:
    from interp.errors import explain_failure
    from probes.probe import Probe

    with explain_failure(
        f"the probe {module}:{name} cannot be imported",
        "A class of a notebook or of another folder is known only there: put it into a module that "
        "Python finds (PYTHONPATH), or draw the page in Python",
    ):
        try:
            found = getattr(import_module(module), name)
        except ModuleNotFoundError as error:  # its own message would pass through unexplained
            raise ImportError(str(error)) from error
    if not (isinstance(found, type) and issubclass(found, Probe)):
        raise ValueError(
            f"{module}:{name} is no class of probes (a subclass of probes.probe.Probe)"
        )
    return found


def audit_probes() -> tuple[str, ...]:
    """Names of the probes that an audit runs."""
    return tuple(name for name in PROBES if find_probe(name).is_in_audit)


def statistics_of(probes: Iterable[str | type[Probe]]) -> dict[str, Any]:
    """What `interp.results.summaries.summarise` makes of these probes' items beside their means.

    Args:
        probes: Names or classes.

    Returns:
        Its arguments `ratios`, `pooled` and `kinds`.
    """
    classes = [find_probe(one) if isinstance(one, str) else one for one in probes]
    return {
        "ratios": [ratio for probe in classes for ratio in probe.ratios],
        "pooled": [pooled for probe in classes for pooled in probe.pooled],
        "kinds": {
            (probe.name, metric): kind
            for probe in classes
            for metric, kind in probe.kinds_of_all().items()
        },
    }
