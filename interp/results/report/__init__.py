"""The report: one HTML page made of rows, items, chains and words, never of models.

The page carries everything inside itself (styles, script, figures as SVG), opens without a network
and loads nothing, which its content security policy also forbids. First screen: the verdict in
words beside the headline figure. Then a section for each probe, from figure to table to every
single row, and a viewer that steps through chains. Text of models is escaped.
"""

from interp.results.report.page import Section, Verdict, write_report

__all__ = ["Section", "Verdict", "write_report"]
