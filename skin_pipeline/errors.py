"""The three kinds of errors, and what each means for a retry.

The DAGs turn them into Airflow's own: one kind is retried, the others are not.
"""

from __future__ import annotations

from skin_pipeline.foreign import line


class PipelineError(Exception):
    """Base of everything the pipeline raises on purpose.

    Args:
        lines: The message, mostly one line. Text of others in it cannot break a line or hide
            anything, and secrets in it are masked.
    """

    def __init__(self, *lines: str) -> None:
        # Here, where every message passes, and not where each one is written.
        super().__init__(*(line(" ".join(map(str.strip, str(text).split("\n")))) for text in lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class BadInput(PipelineError):
    """What was given cannot work. A person must change it, so it is never retried."""


class Unavailable(PipelineError):
    """Something outside did not answer. The same call may work later, so it is retried."""


class UnavailableHere(Unavailable):
    """This machine cannot do it now, and another one may: its disk is full, its clock is wrong."""


class Rejected(PipelineError):
    """The gate refused the model. This is a verdict and no fault: nothing is retried."""
