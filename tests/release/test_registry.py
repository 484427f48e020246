"""The registry: the models in it, and the history of their judgements."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from released import MODEL, opened, promote, registry, releases

from skin_pipeline.contracts import Interval, Judgement
from skin_pipeline.errors import BadInput
from skin_pipeline.release import PREVIOUS, version_key
from skin_pipeline.storage import FolderStore, Store

PREVIOUS = PREVIOUS


def test_an_alias_is_verified_with_its_history(store: FolderStore) -> None:
    versions = releases(store, 3)
    for version in versions:
        promote(store, version)
    _, second, third = versions
    assert opened(store).verify_alias().version == third
    with pytest.raises(BadInput, match=r"skin has no canary\. Its versions: "):
        opened(store).verify_alias("canary")
    store.remove(f"models/{MODEL}/moves/champion/00000002.json")
    with pytest.raises(BadInput, match="the moves between numbers 1 and 3 are missing"):
        opened(store).verify_alias()
    store.remove(f"{version_key(MODEL, third)}/metrics.json")
    with pytest.raises(BadInput, match=r"are missing; version .* metrics\.json is missing"):
        opened(store).verify_alias()
    assert opened(store).unverified.resolve("champion") == third
    assert opened(store).unverified.resolve(second) == second


def judgement(minute: int, model: Any = MODEL) -> Any:
    nothing = Interval(value=0.8, low=0.7, high=0.9)
    moment = datetime(2026, 1, 1, 12, minute, tzinfo=timezone.utc)
    return Judgement(
        model=model,
        run=f"run {minute}",
        judged_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        approved=False,
        version=None,
        reasons=("accuracy",),
        accuracy=nothing,
        sensitivity=nothing,
        auc=nothing,
        report="gate/1/report.html",
    )


def test_judged_runs_come_newest_first_and_each_once(any_store: Store) -> None:
    for minute in (5, 1, 9, 1):
        opened(any_store, name=judgement(minute).model).record(judgement(minute), "gate/abc")
    assert [item.run for item in opened(any_store).judgements()] == [
        "run 9",
        "run 5",
        "run 1",
    ]
    latest = opened(any_store).judgements(last=2)
    assert [item.run for item in latest] == ["run 9", "run 5"]


def test_models_are_those_that_were_judged_or_promoted(any_store: Store) -> None:
    assert registry(any_store).models() == []
    opened(any_store, name=judgement(1, "refused-one").model).record(
        judgement(1, "refused-one"), "gate/abc"
    )
    promote(any_store, *releases(any_store, 1))
    assert registry(any_store).models() == ["refused-one", MODEL]
