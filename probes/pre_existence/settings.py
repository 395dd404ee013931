"""The settings of the 2 x 2 test, fixed before a run and kept with it.

Every threshold on which a verdict can turn is a field here. `declared` adds what follows from them
and the number of problems: the smallest effect that a test of this size would find, so that an
*undecided* can be told from a *no*.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from interp.methods.steering import SweepSettings
from interp.models import Model
from interp.sites import Site

Contrast = Literal["gradient", "leaning"]
"""How a direction is found within one model, see `directions`."""
SPREAD = 0.5
"""Largest standard deviation of a number between 0 and 1, for the minimal detectable effect."""


@dataclass(frozen=True)
class PreExistenceSettings:
    """How directions are found, chosen and judged.

    Raises:
        ValueError: If a number is out of range, or too few random directions for `alpha`.
    """

    contrast: Contrast = "gradient"
    """How a direction is found within one model: by the gradient of the log-odds of opening, or by
    the states that lean to it."""
    doses: tuple[float, ...] = (0.25, 0.5, 1.0)
    """In mean residual norms at the last question token: no push is longer than the stream."""
    layers: tuple[int, ...] = ()
    """Layers whose resid_post is tried; empty: all of up to 4, else a quarter, half and three
    quarters of the depth."""
    n_random: int = 19
    """Random control directions."""
    kl_budget: float = 0.1
    """Nats per token of the text after the opening: the dose may not break what follows it."""
    bound: float = 0.1
    """Effects of less than this count as none; larger ones must be shown to be larger."""
    alpha: float = 0.05
    """Level of the intervals: 1 - alpha, and 1 - 2 alpha for equivalence."""
    power: float = 0.8
    """For which the smallest effect that can be found is stated."""
    share: float = 0.5
    """Of post's rate, from which on the base counts as reasoning by itself."""
    batch_size: int = 512
    """Texts read or written together."""

    def __post_init__(self) -> None:
        SweepSettings(self.doses)  # for its checks of doses
        if self.contrast not in get_args(Contrast):
            known = ", ".join(get_args(Contrast))
            raise ValueError(f"contrast is one of {known}, received {self.contrast!r}")
        if min(self.doses) <= 0:
            raise ValueError(f"doses are above 0 (signs follow the test), received {self.doses}")
        for name in ("bound", "alpha", "power", "share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is between 0 and 1, received {getattr(self, name)}")
        if not 0 <= self.kl_budget < math.inf:
            raise ValueError(f"kl_budget is a number of nats from 0 up, received {self.kl_budget}")
        if self.n_random + 1 < 1 / self.alpha - 1e-9:  # 1 / (1 / 49) is above 49
            raise ValueError(
                f"beating n_random directions has p = 1 / (n_random + 1), so alpha={self.alpha} "
                f"needs {math.ceil(1 / self.alpha - 1e-9) - 1} of them; received {self.n_random}"
            )

    def sites(self, model: Model) -> tuple[Site, ...]:
        """The sites that are tried in a model."""
        n = model.n_layers
        few = range(n) if n <= 4 else sorted({n // 4, n // 2, 3 * n // 4})
        return tuple(Site(layer, "resid_post") for layer in self.layers or few)

    def declared(self, n_test: int) -> dict[str, Any]:
        """All settings, with what they amount to for this many problems.

        Args:
            n_test: Problems of the half on which is tested.

        Returns:
            The fields, the number of problems, and the minimal detectable effect
            (z_{1-alpha/2} + z_power) s / sqrt(n) with the largest s there can be.
        """
        from scipy.special import ndtri

        z = float(ndtri(1 - self.alpha / 2) + ndtri(self.power))
        detectable = z * SPREAD / math.sqrt(n_test) if n_test else float("nan")
        return {**asdict(self), "n_test": n_test, "minimal_detectable_effect": detectable}
