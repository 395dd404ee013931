"""Traces: what models and people wrote for the examples of a task."""

from interp.traces.files import export_traces, import_traces
from interp.traces.trace import Trace, TraceMode, TraceStatus
from interp.traces.writing import gold_traces, think_probability, write_traces

__all__ = [
    "Trace",
    "TraceMode",
    "TraceStatus",
    "export_traces",
    "gold_traces",
    "import_traces",
    "think_probability",
    "write_traces",
]
