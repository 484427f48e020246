"""What the latest judged runs of a model took."""

from __future__ import annotations

from typing import Any

import documents
import released
from judged_run import put
from small_verdict import figures

from skin_pipeline import journal
from skin_pipeline.contracts import Judgement, StepCost
from skin_pipeline.operations import spending
from skin_pipeline.storage import Store

COSTS = {
    "ingest": StepCost(results=1, found=1),
    "train": StepCost(results=6, core_seconds=60, seconds=70, bytes_read=6, peak_mib=900),
    "evaluate": StepCost(results=1, core_seconds=5, seconds=6, bytes_read=1, peak_mib=1200),
}


def judged(store: Store, day: int, costs: dict[str, StepCost], **known: Any) -> str:
    """A judged run of a day of June, in the store and in the model's history."""
    key, at = f"gate/{day:020}", f"2026-06-{day:02}T00:00:00Z"
    known = {"judged_at": at, "report": f"{key}/report.html", **known}
    put(store, key, documents.verdict(costs=costs, released_as=released.MODEL, **known))
    found = figures(0.8)
    judgement = Judgement(
        **{"model": released.MODEL, "run": f"run {day}", "judged_at": at, "approved": False},
        **{"version": None, "reasons": (), "report": f"{key}/report.html"},
        **{"accuracy": found.accuracy, "sensitivity": found.sensitivity, "auc": found.auc},
    )
    released.opened(store).record(judgement, key.split("/")[1])
    return key


def test_the_latest_runs_come_first_and_no_more_than_asked_for(store: Store) -> None:
    for day in range(1, 6):
        judged(store, day, COSTS)
    found = spending.trend(released.opened(store), last=3)
    assert [spent.run for spent in found] == ["run 5", "run 4", "run 3"]
    assert found[0].steps == COSTS
    assert found[0].report.endswith("/report.html")


def test_the_steps_of_a_run_are_added_up_but_for_the_memory(store: Store) -> None:
    judged(store, 1, COSTS)
    (spent,) = spending.trend(released.opened(store))
    assert spent.total == StepCost(
        results=8, found=1, core_seconds=65, seconds=76, bytes_read=7, peak_mib=1200
    )


def test_runs_of_earlier_versions_and_damaged_verdicts_are_left_out(store: Store) -> None:
    judged(store, 1, {})
    judged(store, 3, COSTS)
    damaged = judged(store, 2, COSTS)
    store.remove(f"{damaged}/result.json")
    store.put(f"{damaged}/result.json", b"{}")
    assert [spent.run for spent in spending.trend(released.opened(store))] == ["run 3"]


def test_a_run_is_charged_once_it_has_a_verdict_of_its_own(store: Store) -> None:
    key = judged(store, 1, COSTS)
    assert spending.of_run(store, "run 1") is None
    journal.note(store, "run 1", verdict=key)
    spent = spending.of_run(store, "run 1")
    assert spent
    assert spent.steps == COSTS
    journal.note(store, "run 2", verdict=key, unchanged=True)
    assert spending.of_run(store, "run 2") is None
