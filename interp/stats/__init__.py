"""Statistics: estimates with intervals, clustered by problem.

The modules in the order in which they use each other: `proportion_intervals` (limits of shares,
where few problems differ), `resampling` (bootstrap and sign flips), `estimates` (means and paired
contrasts of many cells), `auroc` (statistics of all items together), `gap_recovered` (how much of
the gap between two models a method closes). `divergences` stands alone.
"""
