"""Grid layouts: which cells a patching grid has, worked out for one model, text and donor.

A grid is stream x layer x position, or stream x layer x head. A `GridLayout` describes it without
a text and may be used for many; `plan_grid` applies it to one text and checks the input before any
forward pass.

Example: `GridLayout(streams=("z",), by="head", positions=(-1,))` has a cell for each head of each
layer, patched at the last position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.methods.patching.donors import Donor, check_donor, choose_positions
from interp.models.model import Model, site_shape
from interp.models.token_ids import Row
from interp.sites import STREAMS, Site


@dataclass(frozen=True)
class GridLayout:
    """Which cells a grid has: stream x layer x position, or stream x layer x head.

    Raises:
        ValueError: If a stream is not one of a block, has no heads though they are asked for,
            something is listed twice or not at all, or `by` is unknown.
    """

    streams: tuple[str, ...] = ("resid_pre",)
    by: Literal["pos", "head"] = "pos"
    """'pos': a cell per position, all heads together; 'head': a cell per head, all positions
    together."""
    positions: tuple[int, ...] | None = None
    """Positions that are patched (each alone, or together for each head); None means all that have
    a partner in the donor. Negative ones count from the end."""
    layers: tuple[int, ...] | None = None
    """None means all."""

    def __post_init__(self) -> None:
        if self.by not in ("pos", "head"):
            raise ValueError(f"by must be 'pos' or 'head', received {self.by!r}")
        for stream in self.streams:
            if stream not in STREAMS or not STREAMS[stream].in_blocks:
                known = ", ".join(name for name, one in STREAMS.items() if one.in_blocks)
                raise ValueError(f"a grid has the streams of blocks ({known}), received {stream!r}")
            if self.by == "head" and STREAMS[stream].axes[-1] != "d_head":
                raise ValueError(
                    f"{stream!r} has no heads. Use by='pos', or a stream that has them: q, k, v, z"
                )
        for name in ("streams", "positions", "layers"):
            listed = getattr(self, name)
            if listed is not None and (not listed or len(set(listed)) < len(listed)):
                raise ValueError(f"{name} must list something and nothing twice, received {listed}")


@dataclass(frozen=True)
class GridPlan:
    """The cells of a grid, for one model, text and donor."""

    layout: GridLayout
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    places: tuple[int, ...]
    """Positions or heads along the last axis."""

    @property
    def sites(self) -> list[Site]:
        """Every site of the grid, streams first."""
        return [Site(layer, stream) for stream in self.layout.streams for layer in self.layers]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Streams, layers, and positions or heads."""
        return len(self.layout.streams), len(self.layers), len(self.places)

    def arrange(self, cells: Float[Tensor, "..."]) -> Float[Tensor, "stream layer place"]:
        """Numbers of all cells, in the order of sites and places, along the axes of the grid."""
        n_streams, n_layers, _ = self.shape
        return rearrange(
            cells.flatten(), "(stream layer place) -> stream layer place",
            stream=n_streams, layer=n_layers,
        )  # fmt: skip


def plan_grid(model: Model, ids: Row, donor: Donor, layout: GridLayout) -> GridPlan:
    """Works out the cells of a grid, and checks them against the model, the text and the donor.

    Raises:
        ValueError: If layers, positions, streams or the donor do not fit.
    """
    layers = layout.layers if layout.layers is not None else tuple(range(model.n_layers))
    sites = [Site(layer, stream) for stream in layout.streams for layer in layers]
    aligned = check_donor(model, ids, donor, sites)
    positions = choose_positions(aligned, layout.positions, len(ids))
    if layout.by == "pos":
        return GridPlan(layout, layers, positions, positions)
    n_heads = {site_shape(model, site)[0] for site in sites}
    if len(n_heads) > 1:
        raise ValueError(
            f"the streams {layout.streams} of {model.name} have different numbers of heads "
            f"{sorted(n_heads)} (k and v are shared by groups of heads). Make a grid of each"
        )
    return GridPlan(layout, layers, positions, tuple(range(n_heads.pop())))
