"""How far a run has come is never lost, and never mistaken for another time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skin_pipeline.arrays import Arrays
from skin_pipeline.contracts import Epoch
from skin_pipeline.errors import Unavailable
from skin_pipeline.storage import FolderStore
from skin_pipeline.training.checkpoints import Checkpoints, State


def line(epoch: int, stage: str = "head", auc: float = 0.7) -> Epoch:
    return Epoch(
        stage=stage,
        epoch=epoch,
        loss=0.1 * epoch,
        validation_loss=0.5,
        validation_auc=auc,
        validation_sensitivity=0.8,
        validation_specificity=0.6,
        images_per_second=10.0,
        seconds=0.25 * epoch,
    )


def state(epochs: int, stage: int = 0) -> State:
    """A state after so many epochs, whose arrays say which it is."""
    best: Arrays = [np.full((2, 3), epochs, np.float32), np.array([epochs], np.int64)]
    variables = [np.full(2, number + 100 * epochs, np.float32) for number in range(12)]
    return State(stage, [line(number) for number in range(1, epochs + 1)], best, variables)


def same(one: State | None, other: State) -> bool:
    return (
        one is not None
        and (one.stage, one.history) == (other.stage, other.history)
        and all(map(np.array_equal, one.best, other.best))
        and all(map(np.array_equal, one.variables, other.variables))
        and (len(one.best), len(one.variables)) == (len(other.best), len(other.variables))
    )


def test_a_state_reads_back_as_it_was_kept_with_every_array_in_its_place(
    store: FolderStore,
) -> None:
    kept = state(3, stage=1)
    Checkpoints(store, "train/a").save(kept)
    read = Checkpoints(store, "train/a").latest()
    assert same(read, kept)
    assert read is not None
    assert [array.dtype for array in read.best] == [np.float32, np.int64]


def test_without_a_checkpoint_there_is_none(store: FolderStore) -> None:
    Checkpoints(store, "train/other").save(state(1))
    assert Checkpoints(store, "train/a").latest() is None


@pytest.mark.parametrize("order", [(1, 2, 11), (11, 2, 1), (9, 10, 8)])
def test_the_newest_of_several_checkpoints_is_taken(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]
) -> None:
    monkeypatch.setattr(FolderStore, "remove", lambda self, key: None)  # as if killed before it
    for epochs in order:
        Checkpoints(store, "train/a").save(state(epochs))
    assert len(store.list("train/a/checkpoints")) == 3
    assert same(Checkpoints(store, "train/a").latest(), state(max(order)))


def test_an_unreadable_checkpoint_gives_way_to_the_one_before_it(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderStore, "remove", lambda self, key: None)
    for epochs in (1, 2):
        Checkpoints(store, "train/a").save(state(epochs))
    monkeypatch.undo()
    whole = store.read("train/a/checkpoints/000002.npz")
    for broken in (b"", b"not a zip", whole[: len(whole) // 2]):
        store.remove("train/a/checkpoints/000002.npz")
        assert store.put("train/a/checkpoints/000002.npz", broken)
        assert same(Checkpoints(store, "train/a").latest(), state(1))
        assert store.list("train/a/checkpoints") == ["train/a/checkpoints/000001.npz"]


def test_a_checkpoint_stays_until_the_next_one_is_whole(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(store, "train/a")
    checkpoints.save(state(1))

    def fails(self: FolderStore, key: str, path: Path) -> None:
        raise Unavailable("the store is full")

    monkeypatch.setattr(FolderStore, "put_file", fails)
    with pytest.raises(Unavailable):
        checkpoints.save(state(2))
    monkeypatch.undo()
    assert same(checkpoints.latest(), state(1))


def test_a_state_that_is_kept_again_stays(store: FolderStore) -> None:
    for _ in range(2):
        Checkpoints(store, "train/a").save(state(2))
    assert same(Checkpoints(store, "train/a").latest(), state(2))


def test_clearing_one_run_leaves_the_others(store: FolderStore) -> None:
    for key in ("train/a", "train/b"):
        Checkpoints(store, key).save(state(1))
    Checkpoints(store, "train/a").clear()
    assert store.list("train") == ["train/b/checkpoints/000001.npz"]


@pytest.mark.parametrize(
    ("aucs", "best"), [([], None), ([0.6], 0), ([0.6, 0.8, 0.7], 1), ([0.6, 0.8, 0.8], 1)]
)
def test_the_best_epoch_is_the_first_with_the_highest_auc_of_whatever_stage(
    aucs: list[float], best: int | None
) -> None:
    stages = ("head", "head", "fine_tune")
    lines = [
        line(number, stage, auc) for number, stage, auc in zip(range(3), stages, aucs, strict=False)
    ]
    expected = None if best is None else lines[best]
    assert State(0, lines).best_epoch is expected


def test_the_epochs_of_a_stage_are_its_own() -> None:
    lines = [line(1), line(2), line(1, "fine_tune")]
    assert State(1, lines).epochs_of("head") == lines[:2]
    assert State(1, lines).epochs_of("fine_tune") == lines[2:]
    assert State(1, lines).epochs_of("full") == []
