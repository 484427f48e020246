"""What runs read is what was cached and packed, row by row and view by view."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import documents
import numpy as np
import pytest
import tiny_network as tiny
from seeing import IMAGES, TRUNK, Seeing

from skin_pipeline import tables
from skin_pipeline.contracts import RESULT, Features, Split, Views, dump
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import cache, inputs
from skin_pipeline.training.cache import FeatureCache, ids_of
from skin_pipeline.training.features import compute
from skin_pipeline.training.inputs import source_of
from skin_pipeline.training.views import dihedral, views_of

LABELS = np.array([0, 0, 1] * 10)


def test_rows_are_read_right_before_and_after_memory_is_given_back(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = [np.random.default_rng(n).normal(size=(50, 8)).astype(np.float32) for n in range(2)]
    for number, array in enumerate(arrays):
        np.save(tmp_path / "array.npy", array)
        store.put_file(f"{number}.npy", tmp_path / "array.npy")
    mapped, given = inputs.Mapped(store, ["0.npy", "1.npy"]), []
    back = inputs.Mapped._give_back
    monkeypatch.setattr(inputs, "WINDOW", 3 * 4 * (32 + inputs.AROUND))  # three reads of four rows

    def counted(self: inputs.Mapped) -> None:
        given.append(1)
        back(self)

    monkeypatch.setattr(inputs.Mapped, "_give_back", counted)
    rng, after = np.random.default_rng(3), []
    for _ in range(9):
        which, rows = rng.integers(2, size=4), rng.integers(50, size=4)
        expected = np.stack([arrays[w][row] for w, row in zip(which, rows, strict=True)])
        np.testing.assert_array_equal(mapped.take(which, rows), expected)
        after.append(len(given))
    assert after == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert (mapped.shape, mapped.sizes, mapped.row_bytes) == ((8,), [50, 50], 32)


def test_features_of_shards_stand_in_the_order_of_the_shards(
    store: FolderStore, tmp_path: Path
) -> None:
    """Shards share blocks where they share images, in whatever order these were computed."""
    known, keys = FeatureCache(store, TRUNK, 16), []
    for number, rows in enumerate(([3, 1, 4], [1, 5, 9, 2], [6, 3])):
        images = IMAGES[rows]
        ids = ids_of(images)
        compute(
            Seeing(),
            images,
            ids,
            known,
            kinds=["pooled"],
            views=views_of(Views(dihedral=2)),
            folder=tmp_path,
        )
        blocks, places = cache.index_of([known.find("pooled", view, ids) for view in "01"])
        np.save(tmp_path / "places.npy", places)
        store.put_file(f"features/{number}/pooled.npy", tmp_path / "places.npy")
        document = Features(
            shard=f"shards/{number}.npy",
            trunk=TRUNK,
            views=2,
            blocks={"pooled": blocks},
            places={"pooled": f"features/{number}/pooled.npy"},
        )
        store.put(f"features/{number}/{RESULT}", dump(document))
        keys.append(f"features/{number}")
    found = inputs.Activations(store, keys, "pooled")
    order = [3, 1, 4, 1, 5, 9, 2, 6, 3]
    assert (len(found), found.views) == (9, 2)
    for view in range(2):
        (read,) = found.take(np.arange(9), np.full(9, view))
        expected = Seeing()(dihedral(IMAGES[order], view))["pooled"]
        np.testing.assert_allclose(read, expected, rtol=1e-5)


@pytest.mark.parametrize("regions", [1, 2])
def test_squares_are_shown_in_the_views_that_their_features_were_computed_in(
    regions: int, store: FolderStore, tmp_path: Path
) -> None:
    packed = np.concatenate([IMAGES] + [255 - IMAGES] * (regions - 1), axis=1)
    np.save(tmp_path / "shard.npy", packed)
    store.put_file("shard.npy", tmp_path / "shard.npy")
    shown = Views(dihedral=2, regions=regions, copies=2, corruptions=("light", "crop"))
    rows, views = np.array([4, 1, 4, 0, 7]), np.array([3, 0, 1, 2, 2])
    (taken,) = inputs.Squares(store, ["shard.npy"], shown).take(rows, views)
    ways = views_of(shown)
    for row, view, square in zip(rows, views, taken, strict=True):
        assert np.array_equal(square, ways[view].of(packed[[row]])[0])


# --- all that the runs of a split read ------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "size"),
    [
        ("head", 4 * sum(tiny.CHANNELS)),
        ("fine_tune", 4 * sum(tiny.CHANNELS) + 2 * int(np.prod(tiny.MAP))),
        ("full", 4 * tiny.SIZE * tiny.SIZE * 3),
    ],
)
def test_what_a_model_reads_of_an_image_is_counted_in_bytes(
    tmp_path: Path, strategy: str, size: int
) -> None:
    source = tiny.source(tmp_path, tiny.table(LABELS), views=4)
    assert source.row_bytes(strategy) == size


def test_the_rows_of_a_run_are_those_on_its_side(tmp_path: Path) -> None:
    sides = {"run_0": ["train", "test"] * 15, "run_1": ["test", "train"] * 15}
    source = tiny.source(tmp_path, tiny.table(LABELS, **sides), views=1)
    assert list(source.rows(0, "train")) == list(range(0, 30, 2))
    assert list(source.rows(1, "train")) == list(range(1, 30, 2))
    assert list(source.labels) == list(LABELS)


def test_squares_are_the_packed_images_of_these_rows_whatever_their_order(tmp_path: Path) -> None:
    source = tiny.source(tmp_path, tiny.table(LABELS), views=1, shards=3)
    rows = np.array([29, 0, 11, 0])
    squares = source.squares(rows)
    np.testing.assert_array_equal(squares, tiny.squares(len(LABELS))[rows])
    assert squares.dtype == np.uint8


def test_the_source_of_a_split_has_its_readable_images_and_the_shards_of_its_data_set(
    make_job: Callable[..., Job],
) -> None:
    job = make_job()
    table = tiny.table(LABELS, readable=[True] * 29 + [False])
    tables.write(job.store, "split/1/manifest.parquet", table)
    dataset = documents.dataset("ingest/1", shards=("shards/0.npy", "shards/1.npy"))
    job.store.put(f"ingest/1/{RESULT}", dump(dataset))
    split = Split(
        dataset="ingest/1",
        table="split/1/manifest.parquet",
        runs=1,
        counts={},
        stratification={},
        checks=(),
        docs="",
    )
    source = source_of(Work(job, "train/1"), split, ("features/0",))
    assert list(source.table["key"]) == [f"{number}.jpg" for number in range(29)]
    assert source.features == ("features/0",)
    assert source.shards == dataset.shards
