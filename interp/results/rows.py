"""Rows: per-example items, and the measurements made of them.

Probes produce `Item`s: one number per example, condition and metric. `interp.results.summaries`
turns items into `Measurement`s, and nothing else is saved as a result: a *mean* for each `RowKey`,
and a paired *contrast* 'post - base' for each role that base and post play. Both say what they are
about in the same columns, those of `RowKey`: names (`NAMES`) and points of a curve or grid
(`POINTS`). A probe leaves empty what it does not use.

A probe may declare two more kinds of statistic over its items: a `Ratio` of two means and a
`PooledStatistic` of all items together.

Example: the row of `early_answering` with metric 'same_answer', writer 'gold', reader 'post' and
kept 0.5 is the share of examples in which post, given half of the reference chain, gives the answer
that it gives after the whole chain. With reader 'post - base' it is what post has more than base.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from interp.stats.auroc import Statistic
from interp.stats.proportion_intervals import describe_interval

CONTRAST = "post - base"
"""Stands in the columns of the roles that a contrast compares."""
ORDER = ("gold", "base", "post", CONTRAST)
"""Order of writers, readers and sources in every table."""
ROLES = ("writer", "reader", "source")
"""Columns that name a model of the pair, and are therefore contrasted."""
NAMES = (*ROLES, "variant", "position")
"""Coordinates that are names; empty where a probe does not use them."""
POINTS = ("layer", "dose", "step", "kept", "k", "draw", "token")
"""Coordinates that are numbers: points of a curve or grid. None in a row about the whole."""
COORDINATES = (*NAMES, *POINTS)
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class RowKey:
    """What a number is about: all columns that identify a row."""

    probe: str
    task: str
    condition: str
    metric: str
    writer: str = ""
    """Who wrote the chain: 'base', 'post' or 'gold'."""
    reader: str = ""
    """Whose answer was read: 'base' or 'post'."""
    source: str = ""
    """The model that a direction or an activation comes from."""
    variant: str = ""
    """Way of decoding, elicitation method, or latent."""
    position: str = ""
    """Class of positions (`interp.chains.position_classes`)."""
    layer: int | None = None
    """Layer of an intervention; None for all layers together."""
    dose: float | None = None
    """Dose of a direction, in mean residual norms."""
    step: int | None = None
    """Index of a step of the chain, or how many steps were kept."""
    kept: float | None = None
    """Share of the chain that was kept, 0 to 1."""
    k: int | None = None
    """Number of samples (pass@k)."""
    draw: int | None = None
    """Number of a random control, or of an alternative first token."""
    token: int | None = None
    """Index of a token of the written text."""

    @property
    def is_whole(self) -> bool:
        """Whether the row is about the whole: no point of a curve or grid."""
        return all(getattr(self, name) is None for name in POINTS)


@dataclass(frozen=True, kw_only=True)
class Item(RowKey):
    """One number about one example. NaN means not measurable, and `note` says why."""

    example: str
    problem: str
    value: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement(RowKey):
    """One row of results: a mean, or a paired contrast (of a skewed metric: a median)."""

    pair: str
    value: float
    low: float
    high: float
    n: int
    """Number of problems (clusters) behind the value; items without a value do not count."""
    n_missing: int
    """Items that were not measurable."""
    chance: float
    seed: int
    contrast: str = ""
    """The roles that a contrast compares, joined by '+' ('reader', 'writer+reader'); empty for a
    mean."""
    p: float = NAN
    """Two-sided p of a contrast against 0, by the method of its interval; NaN for plain means."""
    q: float = NAN
    """p after Benjamini-Hochberg over all contrasts of the run."""
    note: str = ""
    worst_low: float = NAN
    """Worst case of a contrast of own chains, whatever the missing items are
    (`interp.results.worst_case`); NaN where little is missing or the metric has no bounds."""
    worst_high: float = NAN

    def describe(self, decimals: int = 2) -> str:
        """Value and interval, as a sentence quotes them."""
        return describe_interval(self.value, self.low, self.high, decimals=decimals)


@dataclass(frozen=True)
class Ratio:
    """A ratio of two sums over the same items, such as a rate over its rate by chance.

    Sums, and no mean of ratios: items whose denominator is noise would count as much as others. The
    items may be any numbers (nats, divergences), of whatever kind. Problems are the unit, so that
    numerator and denominator vary together; readers, writers and sources are contrasted as ratio of
    post less ratio of base, on the examples that both could measure (`interp.stats.estimates`). No
    value from fewer than 20 problems, or where the mean denominator lies within 4 standard errors
    of 0.
    """

    probe: str
    metric: str
    """Name of the ratio."""
    over: str
    """Metric of the numerator."""
    under: str
    """Metric of the denominator, in the same condition and at the same coordinates."""
    low: float = -math.inf
    """The smallest that the ratio can be, by its definition; no limit lies below."""
    high: float = math.inf
    """The largest; 1 where nothing in the numerator is missing from the denominator."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(
                f"the bounds of a ratio are its smallest and its largest value; {self.metric!r} "
                f"has {self.low} and {self.high}. Leave out a bound that it does not have."
            )


@dataclass(frozen=True)
class PooledStatistic:
    """A statistic of all items of two metrics together, such as AUROC; no mean of items."""

    probe: str
    condition: str
    positive: str
    """Metric whose items are the scores of what should be flagged."""
    negative: str
    """Metric whose items are the scores of what should not."""
    statistic: Statistic
    """Which one; also the metric of its rows."""


def rank(name: str) -> tuple[int, str]:
    """Sort key of a model's role: gold, base, post, contrast, then others by name."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
