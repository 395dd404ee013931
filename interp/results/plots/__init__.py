"""Figures: one function per kind, rows in, figure out.

- `curve`: a metric along the chain, one line per series, the interval as a band;
- `dots`: many conditions below each other, each value with its interval;
- `headline`: accuracy beside reliance on the chain, base and post, task by task;
- `columns`: several measures of the same models side by side, each on its own axis;
- `calibration`: how far each instrument can be trusted;
- `decoder_norms`: whose the latents of a crosscoder are;
- `dose_response`: a behaviour and coherence against the dose of a direction;
- `routes`: the ways to one ability, accuracy against what each cost;
- `step_bars`: one chain, what each of its steps told each reader.

All are one column wide (3.3 inches) with text of 6 to 8 points, drawn with the matplotlib object
interface (no display, no global figure), in the colour-blind safe palette of Okabe and Ito.
Readers keep their colour in every figure (base blue, post vermilion), and line style and marker
say the same, so that a figure survives grey print. A row without a value is written out as *not
measurable*, never left out in silence. `save` writes svg, pdf and png without dates or random
names: the same rows give the same bytes.
"""

from interp.results.plots.calibration import Judged, calibration
from interp.results.plots.canvas import Figure, save
from interp.results.plots.columns import columns
from interp.results.plots.crosscoder import decoder_norms
from interp.results.plots.doses import dose_response
from interp.results.plots.kinds import curve, dots, headline, step_bars, step_of
from interp.results.plots.routes import RouteRow, routes

__all__ = [
    "Figure",
    "Judged",
    "RouteRow",
    "calibration",
    "columns",
    "curve",
    "decoder_norms",
    "dose_response",
    "dots",
    "headline",
    "routes",
    "save",
    "step_bars",
    "step_of",
]
