"""Figures: one function per kind, rows in, figure out.

- `curve`: a metric along a coordinate (`step`, `kept`, `dose`, `layer`, `k`), one line per series;
- `dots`: many conditions below each other, each value with its interval;
- `headline`: accuracy beside reliance on the chain, base and post, task by task;
- `columns`: several measures of the same models side by side, each on its own axis;
- `calibration`: how far the number of each probe can be trusted;
- `decoder_norms`: which latents of a crosscoder are shared, and which are of one model;
- `dose_response`: a behaviour and coherence against the dose of a direction;
- `elicitation_costs`: accuracy of each elicitation method against what it changes;
- `step_bars`: one chain, a number for each of its steps and each reader.

All are one column wide (3.3 inches) with text of 6 to 8 points, drawn with the matplotlib object
interface (no display, no global figure), in the colour-blind safe palette of Okabe and Ito.
Readers keep their colour in every figure (base blue, post vermilion), and line style and marker
show the same, so that a figure can be read in grey print. A row without a value is written out as
*not measurable*, never left out in silence. `save` writes svg, pdf and png without dates or random
names: the same rows give the same bytes.
"""

from interp.results.plots.calibration import Judged, calibration
from interp.results.plots.canvas import Figure, save
from interp.results.plots.columns import columns
from interp.results.plots.crosscoder import decoder_norms
from interp.results.plots.curves import curve
from interp.results.plots.dose_curves import dose_response
from interp.results.plots.dot_plots import dots, headline
from interp.results.plots.elicitation_costs import MethodCost, elicitation_costs
from interp.results.plots.legends import write_above
from interp.results.plots.step_plots import step_bars

__all__ = [
    "Figure",
    "Judged",
    "MethodCost",
    "calibration",
    "columns",
    "curve",
    "decoder_norms",
    "dose_response",
    "dots",
    "elicitation_costs",
    "headline",
    "save",
    "step_bars",
    "write_above",
]
