"""The error for a number that does not exist, as opposed to a mistake in a call or in the code.

Code that turns a failure into an item that is *not measurable* catches this class and no other, so
that a bug is never reported as a property of a model.
"""

from __future__ import annotations


class NotMeasurableError(ValueError):
    """The models, the task or the texts leave nothing to measure; the message says why."""
