"""Figures inside the page: an SVG file becomes an element that follows the page's light or dark."""

from __future__ import annotations

import re

from interp.results.plots.canvas import COLOURS, GRID, INK, MUTED, PAPER

PAGE_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    PAPER: "var(--page)",
    "#ffffff": "none",  # backgrounds: the page's own shows through
    **{colour: f"var(--{name})" for name, colour in COLOURS.items() if name.isalpha()},
}
"""Colours of the figure files -> what the page draws instead."""


def inline_svg(svg: str, *, name: str) -> str:
    """The element of an SVG file, without prolog, comments and fixed size.

    Ids are made unique to the figure, since an id must occur once in a page.

    Args:
        svg: Text of a file that `interp.results.plots.save` wrote.
        name: Name of the figure; letters, digits, `-` and `_`.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(?:width|height|version)="[^"]*"', "", head)
    rest = re.sub(r'\bid="', f'id="{name}-', rest)
    rest = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", rest)
    for colour, variable in PAGE_COLOURS.items():
        rest = rest.replace(colour, variable)
    return f'{head} aria-hidden="true" focusable="false">{rest}'
