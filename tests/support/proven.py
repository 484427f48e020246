"""A small result as a step makes it, for tests of what is proven of it."""

from __future__ import annotations

import documents

from skin_pipeline.contracts import Verdict, load
from skin_pipeline.job import Job


def gate(job: Job, **inputs: str) -> str:
    """Makes a verdict with a file, from the results that `inputs` names; returns its key."""

    def work(key: str) -> Verdict:
        job.store.put(f"{key}/card.md", b"a card")
        for earlier in inputs.values():
            load(job.store, earlier, Verdict)
        return documents.verdict()

    return job.once("gate", 1, inputs, work)
