"""Three kinds of bad news, and what each means for a retry."""

from __future__ import annotations


class PipelineError(Exception):
    """Base of everything the pipeline raises on purpose."""


class BadInput(PipelineError):
    """What was given cannot work: a person must change it, so it is never retried."""


class Unavailable(PipelineError):
    """Something outside did not answer: the same call may work later, so it is retried."""


class Rejected(PipelineError):
    """The gate refused the model. A verdict, not a fault: nothing is retried or repaired."""
