"""Which data set came before."""

from __future__ import annotations

import pytest

from skin_pipeline.data import history
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore

NAME, WHEN = "skin", "2026-01-01T00:00:00Z"


def accept(store: FolderStore, dataset: str) -> None:
    history.accept(store, NAME, dataset, f"validate/{dataset}", WHEN)


def test_the_first_data_set_has_none_before_it(store: FolderStore) -> None:
    assert history.before(store, NAME, "a") is None
    accept(store, "a")
    assert history.before(store, NAME, "a") is None


def test_the_next_one_has_the_accepted_one_before_it_also_when_asked_again(
    store: FolderStore,
) -> None:
    accept(store, "a")
    assert history.before(store, NAME, "b") == "validate/a"
    accept(store, "b")
    accept(store, "b")
    assert history.before(store, NAME, "b") == "validate/a"
    assert history.before(store, NAME, "c") == "validate/b"


def test_a_data_set_that_was_not_accepted_leaves_no_trace(store: FolderStore) -> None:
    accept(store, "a")
    history.before(store, NAME, "refused")
    assert history.before(store, NAME, "b") == "validate/a"


def test_models_have_histories_of_their_own(store: FolderStore) -> None:
    accept(store, "a")
    assert history.before(store, "other", "b") is None


def test_a_run_that_was_slower_than_another_is_told_so(
    store: FolderStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(store), "swap", lambda *args: False)
    accept(store, "a")
    assert "data_pointer_moved_by_another_run name=skin" in caplog.text


def test_a_damaged_pointer_is_named(store: FolderStore) -> None:
    store.swap("datasets/skin/current.json", b"{}", None)
    with pytest.raises(
        BadInput, match=r"datasets/skin/current\.json is not a DataPointer document"
    ):
        history.before(store, NAME, "a")
