"""Bringing labels back is an action with an intent, an owner and an outcome."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import score_rows

from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.operations import actions, labelling
from skin_pipeline.storage import FolderStore

MakeJob = Callable[..., Job]


def test_it_is_recorded_with_what_came_of_it(
    make_job: MakeJob, tmp_path: Path, store: FolderStore
) -> None:
    score_rows.write(store, "skin", {"a.jpg": 0.9})
    (tmp_path / "labels.csv").write_text("image,label\na.jpg,malignant\n")
    place = str(tmp_path / "labels.csv")
    news = labelling.bring_back(make_job(), place, "skin", by="alice", dag="skin_labels")
    (found,) = actions.latest(store)
    assert (found.intent.kind, found.intent.by, found.intent.subject) == ("labels", "alice", place)
    assert found.outcome is not None
    assert (found.outcome.done, found.outcome.result) == (True, news.words)


def test_nothing_to_read_is_refused_before_anything_is_recorded(
    make_job: MakeJob, store: FolderStore
) -> None:
    with pytest.raises(BadInput, match="SKIN_LABELS_SOURCE"):
        labelling.bring_back(make_job(), "  ", "skin")
    assert list(actions.latest(store)) == []


def test_a_place_without_files_fails_and_that_is_recorded(
    make_job: MakeJob, tmp_path: Path, store: FolderStore
) -> None:
    with pytest.raises(BadInput, match="there is nothing at"):
        labelling.bring_back(make_job(), str(tmp_path / "none"), "skin")
    (found,) = actions.latest(store)
    assert found.outcome is not None
    assert not found.outcome.done
