"""Bounds of settings: numbers that a probe cannot work with are refused when it is made.

Every number is finite. A whole number counts something and is from 1 up to a thousand million,
unless the class of the probe gives other bounds (`Probe.bounds`); layers are compared with the
model when it is there. Of several numbers none is given twice, and there is at least one, unless
the default is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, NamedTuple

LARGEST_DOSE = 1e6
"""In mean residual norms; far above it float32 overflows."""
LAYERS = ("layer", "layers")


class Bounds(NamedTuple):
    """The smallest and the largest number that a setting can have."""

    least: float = -math.inf
    most: float = math.inf
    is_open: bool = False
    """The bounds themselves are not allowed."""

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int | float):
            return False
        is_bound = number in (self.least, self.most)
        return self.least <= number <= self.most and not (self.is_open and is_bound)

    def __str__(self) -> str:
        if self.is_open:
            return f"between {self.least:g} and {self.most:g}"
        if self.most == math.inf:
            return "finite" if self.least == -math.inf else f"from {self.least:g} up"
        return f"from {self.least:g} to {self.most:g}"


HOTTEST = 100.0
"""Temperature of draws; above it all tokens are about equally likely."""
MANY = 100_000
"""Of what is measured or drawn one after another: more would not end."""
COMMON: Mapping[str, Bounds] = {
    "n_random": Bounds(0, MANY),
    "n_features": Bounds(1, MANY),
    "n_latents": Bounds(0, MANY),
    "n_paths": Bounds(1, MANY),
    "n_samples": Bounds(1, MANY),
    "max_steps": Bounds(1, MANY),
    "dose": Bounds(-LARGEST_DOSE, LARGEST_DOSE),
    "doses": Bounds(-LARGEST_DOSE, LARGEST_DOSE),
    "temperature": Bounds(0.0, HOTTEST, is_open=True),
    "train_share": Bounds(0.0, 1.0, is_open=True),
}
"""Settings that mean the same in every probe."""
COUNT = Bounds(1, 1e9)


def check_settings(probe: Any, own: Mapping[str, Bounds]) -> None:
    """Refuses a setting outside of its bounds.

    Args:
        probe: Any dataclass.
        own: Bounds of its settings, where they are not the usual ones.

    Raises:
        ValueError: A number is not finite or out of bounds, is given twice, or is missing.
    """
    for field in fields(probe):
        value = getattr(probe, field.name)
        many = isinstance(value, tuple)
        numbers = [one for one in (value if many else (value,)) if _is_number(one)]
        if many:
            _check_many(field, value)
        for number in numbers:
            usual = COUNT if isinstance(number, int) and field.name not in LAYERS else Bounds()
            bounds = own.get(field.name, COMMON.get(field.name, usual))
            if not math.isfinite(number) or number not in bounds:
                what = "numbers" if many else "a number"
                raise ValueError(f"{field.name} takes {what} {bounds}, received {number:g}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_many(field: Field[Any], value: tuple[Any, ...]) -> None:
    usual: tuple[Any, ...] = field.default if isinstance(field.default, tuple) else ()
    if len(set(value)) < len(value) or (usual and not value):
        raise ValueError(
            f"{field.name} are one or more, none of them twice; received {value}. "
            f"Example: --set {field.name}={','.join(map(str, usual)) or '1'}"
        )
