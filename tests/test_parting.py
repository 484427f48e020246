"""Parts of the work that several tasks share: the same part is made once, whoever asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from skin_pipeline import sharding, steps
from skin_pipeline.contracts import Evaluation, load
from skin_pipeline.errors import BadInput
from skin_pipeline.parting import Parts, succeeded

if TYPE_CHECKING:
    from tests.conftest import Finished


def test_runs_stand_in_one_order_however_they_ended() -> None:
    assert succeeded(["train/2", "train/1"]) == succeeded(["train/1", "train/2"])
    with pytest.raises(BadInput, match="no training run succeeded"):
        succeeded([])


def test_all_parts_are_those_that_the_evaluation_was_made_from(finished: Finished) -> None:
    made = Parts(finished.job)
    before = finished.job.store.list("logits")
    found = made.all_of_runs(finished.split, succeeded(finished.trained))
    assert tuple(found) == load(finished.job.store, finished.evaluation, Evaluation).logits
    assert found == [
        steps.logits(finished.job, finished.split, finished.trained, shards)
        for shards in sharding.parts(finished.job, finished.split)
    ]
    assert finished.job.store.list("logits") == before
