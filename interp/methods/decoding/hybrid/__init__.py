"""Hybrid decoding: the base model writes, and is steered at the tokens where post would differ.

Venhoff et al. (arXiv 2510.07364) report that a base model so steered recovers most of what
post-training gained. The post model takes part three times, though: it says *where* to steer (the
gate), *what kind* of step comes (the category) and *which proposal* is taken (the guardrail). So
the same text is written again under controls with as many candidates, the same gate and edits of
the same norm, and once with **no post model at all**: gate and category by probes on the base's own
activations, one dose chosen on other problems. That number is what may be claimed.

- `categories`: kinds of position, the vectors of each, all found on training problems;
- `gates`: where to steer and with which vector, read off the base alone;
- `variants`: the method and its controls, as a table;
- `writing`: texts under a variant, with where they were steered.
"""

from interp.methods.decoding.hybrid.categories import (
    CATEGORIES,
    LabelledTexts,
    Vectors,
    find_category,
    find_vectors,
    label_texts,
)
from interp.methods.decoding.hybrid.gates import BaseGate, fit_gate
from interp.methods.decoding.hybrid.variants import ALONE, CONTROLS_OF, VARIANTS, WITH_POST, Variant
from interp.methods.decoding.hybrid.writing import (
    Hybrid,
    HybridSettings,
    Setup,
    prepare,
    write_hybrid,
)

__all__ = [
    "ALONE",
    "CATEGORIES",
    "CONTROLS_OF",
    "VARIANTS",
    "WITH_POST",
    "BaseGate",
    "Hybrid",
    "HybridSettings",
    "LabelledTexts",
    "Setup",
    "Variant",
    "Vectors",
    "find_category",
    "find_vectors",
    "fit_gate",
    "label_texts",
    "prepare",
    "write_hybrid",
]
