"""Three kinds of bad news, and what each means for a retry."""

from __future__ import annotations

from skin_pipeline.foreign import line


class PipelineError(Exception):
    """Base of everything the pipeline raises on purpose.

    Args:
        lines: The message, mostly one line. What others wrote in it cannot break a line, cannot
            hide, and tells no secret.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(*(line(" ".join(map(str.strip, str(text).split("\n")))) for text in lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class BadInput(PipelineError):
    """What was given cannot work: a person must change it, so it is never retried."""


class Unavailable(PipelineError):
    """Something outside did not answer: the same call may work later, so it is retried."""


class Rejected(PipelineError):
    """The gate refused the model. A verdict, not a fault: nothing is retried or repaired."""
