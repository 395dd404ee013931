"""Sites: the places in a model that can be read and edited, under their TransformerLens names.

A `Site` is a layer and a stream. Its text form is the TransformerLens hook name, so names from
papers, notebooks and published SAEs resolve untranslated::

    str(Site(12, "resid_post"))                   ->  "blocks.12.hook_resid_post"
    parse_site("blocks.0.attn.hook_z")            ->  Site(0, "z")
    parse_site("resid_post.12")                   ->  Site(12, "resid_post")

Other spellings in use (those of TransformerBridge, `model.layers.12` for the output of a block,
`resid_post.12`) are read too; files hold the canonical name only. Whatever takes a site takes its
name as well: `as_site` is the one door, and results by site (`BySite`) are found under both.

Which streams a model offers is the business of its adapter (`interp.models.adapters`); attention
patterns are no stream here, since fused attention never forms them.

The table `STREAMS` is in the order in which a block computes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Stream:
    """One kind of activation: how its sites are written and what its axes are."""

    template: str
    """The TransformerLens name; `{layer}` stands for the block, absent outside the blocks."""
    axes: tuple[str, ...]
    """Axis words of the activation. For k and v `n_heads` counts the key-value heads."""
    other_spellings: tuple[str, ...] = ()

    @property
    def in_blocks(self) -> bool:
        """Whether every block has this stream (else the model has it once)."""
        return "{layer}" in self.template


_RESIDUAL = ("batch", "pos", "d_model")
_HEADS = ("batch", "pos", "n_heads", "d_head")
_MLP = ("batch", "pos", "d_mlp")


def _block(name: str, axes: tuple[str, ...], *others: str) -> Stream:
    spellings = tuple("blocks.{layer}." + other for other in others)
    return Stream("blocks.{layer}." + name, axes, spellings)


STREAMS: dict[str, Stream] = {
    "embed": Stream("hook_embed", _RESIDUAL, ("embed.hook_out",)),
    "resid_pre": _block("hook_resid_pre", _RESIDUAL, "hook_in"),
    "ln1": _block("ln1.hook_out", _RESIDUAL),
    "q": _block("attn.hook_q", _HEADS, "attn.q.hook_out"),
    "k": _block("attn.hook_k", _HEADS, "attn.k.hook_out"),
    "v": _block("attn.hook_v", _HEADS, "attn.v.hook_out"),
    "z": _block("attn.hook_z", _HEADS, "attn.o.hook_in"),
    "attn_out": _block("hook_attn_out", _RESIDUAL, "attn.hook_out"),
    "resid_mid": _block("hook_resid_mid", _RESIDUAL, "ln2.hook_in"),
    "ln2": _block("ln2.hook_out", _RESIDUAL),
    "mlp_pre": _block("mlp.hook_pre", _MLP, "mlp.gate.hook_out"),
    "mlp_pre_linear": _block("mlp.hook_pre_linear", _MLP, "mlp.in.hook_out"),
    "mlp_post": _block("mlp.hook_post", _MLP, "mlp.out.hook_in"),
    "mlp_out": _block("hook_mlp_out", _RESIDUAL, "mlp.hook_out"),
    "resid_post": _block("hook_resid_post", _RESIDUAL, "hook_out"),
    "ln_final": Stream("ln_final.hook_out", _RESIDUAL),
}


def known_streams() -> str:
    """All stream names with their canonical spelling, for error messages."""
    return ", ".join(f"{name} ({stream.template})" for name, stream in STREAMS.items())


@dataclass(frozen=True)
class Site:
    """A place in a model: a stream, and the block it belongs to.

    Raises:
        ValueError: If the stream is unknown, or the layer is given for a stream outside the blocks
            or missing for one inside.
    """

    layer: int | None
    """Zero-based block; None for streams that exist once (embed, ln_final)."""
    stream: str

    def __post_init__(self) -> None:
        stream = STREAMS.get(self.stream)
        if stream is None:
            raise ValueError(f"unknown stream {self.stream!r}. Known: {known_streams()}")
        if stream.in_blocks and (self.layer is None or self.layer < 0):
            raise ValueError(
                f"{self.stream!r} exists once per block, so a site needs a layer from 0 up, "
                f"received {self.layer}. Example: Site(0, {self.stream!r})"
            )
        if not stream.in_blocks and self.layer is not None:
            raise ValueError(
                f"{self.stream!r} exists once in a model and has no layer, received layer "
                f"{self.layer}. Write Site(None, {self.stream!r})"
            )

    @property
    def axes(self) -> tuple[str, ...]:
        """Axis words of the activation at this site."""
        return STREAMS[self.stream].axes

    def __str__(self) -> str:
        return STREAMS[self.stream].template.format(layer=self.layer)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{layer\}", r"(?P<layer>\d+)"))


def _spellings() -> list[tuple[re.Pattern[str], str]]:
    pairs = [
        (_pattern(text), name)
        for name, stream in STREAMS.items()
        for text in (stream.template, *stream.other_spellings)
    ]
    for name, stream in STREAMS.items():
        pairs.append((_pattern(name + (".{layer}" if stream.in_blocks else "")), name))
    return [*pairs, (_pattern("model.layers.{layer}"), "resid_post")]


_SPELLINGS = _spellings()


def parse_site(text: str) -> Site:
    """Reads a site from its name.

    Args:
        text: A TransformerLens name (`blocks.3.hook_resid_post`), a TransformerBridge name
            (`blocks.3.hook_out`), `resid_post.3`, or `model.layers.3` (the block's output).

    Returns:
        The site; `str` of it is the canonical name.

    Raises:
        ValueError: If no site has this name; the message lists the known streams.

    Example:
        >>> parse_site("resid_post.3")
        Site(layer=3, stream='resid_post')
        >>> str(parse_site("model.layers.3"))
        'blocks.3.hook_resid_post'
    """
    for pattern, stream in _SPELLINGS:
        match = pattern.fullmatch(text)
        if match is not None:
            layer = match.groupdict().get("layer")
            return Site(None if layer is None else int(layer), stream)
    raise ValueError(
        f"no site is called {text!r}. A site is written like 'blocks.3.hook_resid_post' or "
        f"'resid_post.3'. Known streams: {known_streams()}"
    )


SiteOrName = Site | str
"""A site, or a name that `parse_site` reads."""


def as_site(site: SiteOrName) -> Site:
    """The site that is given or named.

    Raises:
        TypeError: If it is neither a site nor text.
        ValueError: If no site has this name.
    """
    if isinstance(site, str):
        return parse_site(site)
    if not isinstance(site, Site):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"a site is a Site or its name, received {site!r}. Write Site(3, 'resid_post') or "
            f"'blocks.3.hook_resid_post'"
        )
    return site


def as_sites(sites: Sequence[SiteOrName]) -> tuple[Site, ...]:
    """The sites that are given or named, in order.

    Raises:
        TypeError: If it is one site and no list, or holds something that is no site.
        ValueError: If no site has one of these names.
    """
    if isinstance(sites, str | Site):
        raise TypeError(
            f"several sites are given as a list, received only {str(sites)!r}. Write ['{sites}']"
        )
    return tuple(as_site(site) for site in sites)


class BySite(Mapping[Site, Value]):
    """Values by site; a site's name finds its value, too."""

    def __init__(self, values: Mapping[Site, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: SiteOrName) -> Value:
        return self._values[as_site(key)]

    def __iter__(self) -> Iterator[Site]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"BySite({self._values!r})"


def steering_layer(n_layers: int) -> int:
    """The layer after which to steer by default: the one at 0.37 of the depth.

    Venhoff et al. (arXiv 2510.07364) steer there. Of three layers it is the middle one, of twelve
    the fifth.
    """
    return round(0.37 * n_layers)
