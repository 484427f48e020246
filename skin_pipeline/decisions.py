"""What a person decides about a run: whether one must be asked, and what a rejection leads to.

    request = decisions.pending(job, verdict)        # None: nobody has to be asked
    decisions.refused(job, verdict)                  # "": the model is not refused

The tasks `approve` and `reject` of the DAG call it. Whether a model is promoted does not hang on
them: the step `promote` looks for an approval itself.
"""

from __future__ import annotations

import logging
from functools import partial

from skin_pipeline import steps
from skin_pipeline.contracts import Verdict
from skin_pipeline.job import Job
from skin_pipeline.release import Registry, Request, tasks

log = logging.getLogger(__name__)


def pending(job: Job, verdict: str, *, again: bool = False) -> Request | None:
    """Returns what a person must be asked before a model is promoted; None if nothing.

    If the champion has moved since the gate, the model is judged again first: a person is asked
    about what is true now.

    Args:
        job: The job.
        verdict: Key of the gate's verdict.
        again: Whether to ask even if a person rejected just this before.

    Raises:
        BadInput: A decision in the store is damaged or forged, or the answer could not be signed.
        Unavailable: The champion kept moving, or the store failed.
    """
    if job.deployment.approval == "never":
        return None
    present = tasks.present(job, verdict, partial(steps.judged_again, job))
    request = tasks.request(job, present, again=again)
    asked = "no" if request is None else "yes"
    log.info("approval asked=%s verdict=%s setting=%s", asked, present, job.deployment.approval)
    return request


def refused(job: Job, verdict: str) -> str:
    """Returns the key of the verdict by which a model is refused; "" if it is not.

    That is the gate's, or one that a person rejected. Takes and raises what `pending` does.
    """
    if not job.load(verdict, Verdict).approved:
        return verdict
    if job.deployment.approval == "never":
        return ""
    present = tasks.present(job, verdict, partial(steps.judged_again, job))
    by_gate = not job.load(present, Verdict).approved
    return present if by_gate or tasks.rejection(job, present) else ""


def why(job: Job, verdict: str) -> str:
    """Returns in words why a model is refused: the gate's reasons, or those of a person.

    Args:
        job: The job.
        verdict: Key of the verdict, as `refused` returns it.
    """
    judged = job.load(verdict, Verdict)
    if not judged.approved:
        return "; ".join(judged.reasons)
    model = Registry.of(job.store, job.deployment).model(judged.released_as)
    return model.approvals.refusal(verdict)
