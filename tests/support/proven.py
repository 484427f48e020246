"""A small result as a step makes it, for tests of what is proven of it."""

from __future__ import annotations

import documents

from skin_pipeline.contracts import Verdict
from skin_pipeline.job import Job, Work


def gate(job: Job, **inputs: str) -> str:
    """Makes a verdict with a file, from the results that `inputs` names; returns its key."""

    def make(work: Work) -> Verdict:
        work.put("card.md", b"a card")
        for earlier in inputs.values():
            work.load(earlier, Verdict)
        return documents.verdict()

    return job.once("gate", 1, inputs, make)
