"""What the latest judged runs of a model took, step by step, for pages that show how it changes.

runs = spending.trend(model)            # newest first
runs[0].total.core_seconds
runs[0].steps["train"].bytes_read
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skin_pipeline import journal
from skin_pipeline.contracts import StepCost, Verdict, load
from skin_pipeline.errors import BadInput
from skin_pipeline.release import Model
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

LAST = 8  # judged runs; each is read with its verdict, while somebody waits for the page


SUMS = tuple(StepCost.model_fields.keys() - {"schema_version", "peak_mib"})


@dataclass(frozen=True)
class Spent:
    """What a workflow run took up to its verdict.

    Attributes:
        run: Its id in Airflow.
        judged_at: When it started.
        report: Key of its report.
        steps: What each step took, in the order of the workflow; empty for runs of earlier
            versions, which did not record it.
    """

    run: str
    judged_at: str
    report: str
    steps: Mapping[str, StepCost]

    @property
    def total(self) -> StepCost:
        """All steps together."""
        return added(self.steps.values())


def added(costs: Iterable[StepCost]) -> StepCost:
    """Returns costs added up; of the memory, the most."""
    costs = list(costs)
    sums = {name: sum(getattr(cost, name) for cost in costs) for name in SUMS}
    return StepCost(**sums, peak_mib=max((cost.peak_mib for cost in costs), default=0))


def trend(model: Model, last: int = LAST) -> tuple[Spent, ...]:
    """Returns the latest judged runs of a model that recorded what they took, newest first.

    Raises:
        BadInput, Unavailable: A judgement cannot be read. A verdict that cannot be is left out.
    """
    found = (
        _of_verdict(model.store, judged.report.rpartition("/")[0], judged.run)
        for judged in model.judgements(last=last)
    )
    return tuple(spent for spent in found if spent and spent.steps)


def of_run(store: Store, run: str) -> Spent | None:
    """Returns what a workflow run took; None while it has no verdict, or if it found one."""
    made = journal.of_run(store, run)
    if made is None or not made.verdict or made.unchanged:
        return None
    return _of_verdict(store, made.verdict, run)


def _of_verdict(store: Store, key: str, run: str) -> Spent | None:
    try:
        verdict = load(store, key, Verdict)
    except BadInput as error:  # removed, damaged, or of another version
        log.warning("cost_unreadable verdict=%s error=%s", key, error)
        return None
    return Spent(run, verdict.judged_at, verdict.report, verdict.costs)
