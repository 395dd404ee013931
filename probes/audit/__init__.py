"""The audit: probes on a pair in one run folder, the verdict, and the page."""

from probes.audit.run import Audit, AuditSettings, audit, pair_readers, redraw

__all__ = ["Audit", "AuditSettings", "audit", "pair_readers", "redraw"]
