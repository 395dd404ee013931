"""Worst cases: what a contrast of own chains could be, whatever the missing items are.

Where each model is judged on the chains that it wrote, the items of chains that cannot be read are
missing. They are no chance sample: a chain breaks off where its writer is lost. The paired contrast
leaves such an example out. Beside it stand how many items each side lost and, where one of them
lost more than `MAY_MISS`, the worst case, which assumes nothing of them (bounds of Manski 1990):

* the lowest contrast gives each missing item of base the largest value of its kind, and each of
  post the smallest; the highest contrast is the reverse;
* the worst case runs from the lower limit of the lowest to the upper limit of the highest.

It needs bounds, so metrics in nats have none. It needs items on both sides: bounds that rest on no
item of post say nothing about post. And it needs items that could have had a value: a metric that
names its condition (`accuracy_if_valid`) is not missing where the condition is not met.

Where 0 lies outside the worst case, there is a difference whatever is missing; where it lies
inside, what is missing could explain the contrast. The worst case is about all examples, so it may
be narrower than the interval of the paired contrast, which is about those that both sides could
measure.

Example: of ten answers base has 8 right and 2 missing, post 6 right and 4 wrong. If the two were
right, base is at 1.0 and the difference is -0.4; if they were wrong, it is -0.2. The worst case
holds both, and the limits of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from interp.results.rows import NAN, Item, Measurement
from interp.stats.estimates import collect_pairs, estimate_all
from interp.stats.kinds import Kind
from interp.stats.proportion_intervals import Interval

MAY_MISS = 0.05
"""Share of the items of one side; no worst case is given up to it."""
BOUNDS: Mapping[Kind, tuple[float, float]] = {
    "binary": (0.0, 1.0),
    "share": (0.0, 1.0),
    "difference": (-1.0, 1.0),
}
"""Kind of a metric -> its smallest and largest value; other kinds have none."""
CONDITIONAL = "_if_"
"""In the name of a metric (`accuracy_if_valid`): it is about the items that meet the condition."""
Items = Mapping[str, Item]
"""Example -> its item, for one row."""


def describe_losses(
    row: Measurement, base: Items, post: Items, kind: Kind
) -> tuple[dict[str, Any], str]:
    """What is missing on either side of a contrast, and what it could hide.

    Args:
        row: The contrast, whose `contrast` names the roles.
        base: Items of one side.
        post: Those of the other.
        kind: Of the metric.

    Returns:
        The columns `worst_low` and `worst_high`, empty where there is no worst case, and words for
        the note, empty where nothing is missing, one side has no number, the metric is conditional
        or both sides read the same chains.
    """
    every = sorted(base.keys() | post.keys())
    lost = [sum(_is_missing(side.get(example)) for example in every) for side in (base, post)]
    is_asked = max(lost) < len(every)  # else a side has no number, and the row says why
    is_own = "writer" in row.contrast.split("+")
    if not is_own or CONDITIONAL in row.metric or not any(lost) or not is_asked:
        return {}, ""
    words = f"missing: {lost[0]} of {len(every)} items of base, {lost[1]} of post"
    if max(lost) <= MAY_MISS * len(every):
        return {}, words
    if kind not in BOUNDS:
        return {}, f"{words}; no worst case, since the numbers have no bounds"
    worst = worst_case(base, post, kind)
    if math.isnan(worst.low + worst.high):
        return {}, words
    columns = {"worst_low": worst.low, "worst_high": worst.high}
    return columns, f"{words}; worst case [{worst.low:z.2f}, {worst.high:z.2f}]"


def worst_case(base: Items, post: Items, kind: Kind) -> Interval:
    """The interval that holds the contrast whatever the missing items are.

    Args:
        base: Items of one side; NaN where missing. An example that one side lacks is missing there.
        post: Those of the other.
        kind: Of the metric, a key of `BOUNDS`.
    """
    smallest, largest = BOUNDS[kind]
    every = sorted(base.keys() | post.keys())
    problems = [(base.get(example) or post[example]).problem for example in every]

    def fill(side: Items, missing: float) -> np.ndarray:
        values = [side[example].value if example in side else NAN for example in every]
        return np.nan_to_num(np.array(values, dtype=np.float64), nan=missing)

    lowest, highest = estimate_all(
        [
            collect_pairs(fill(base, largest), fill(post, smallest), problems, kind),
            collect_pairs(fill(base, smallest), fill(post, largest), problems, kind),
        ]
    )
    return Interval(lowest.low, highest.high)


def _is_missing(item: Item | None) -> bool:
    return item is None or math.isnan(item.value)
