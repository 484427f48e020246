"""Objects whose keys contain the SHA-256 of their bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import documents
import numpy as np
import pandas as pd
import pytest
from planted import exchange

from skin_pipeline import arrays
from skin_pipeline.contracts import Views
from skin_pipeline.data import manifest
from skin_pipeline.data.duplicates import Side
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Work
from skin_pipeline.storage import FolderStore, Store, digest, digest_named
from skin_pipeline.training import pretrained, tasks
from skin_pipeline.training.inputs import Squares

pytestmark = pytest.mark.timeout(60)  # whatever blocks is stopped, and fails


def npy(array: np.ndarray, folder: Path) -> bytes:
    np.save(folder / "made.npy", array)
    return (folder / "made.npy").read_bytes()


def shard(folder: Path, value: int, shape: tuple[int, ...] = (3, 8, 8, 3)) -> bytes:
    return npy(np.full(shape, value, np.uint8), folder)


class TestNamedByTheirBytes:
    """Objects whose keys say what their SHA-256 is."""

    @pytest.fixture
    def exchanged(self, store: FolderStore, tmp_path: Path) -> str:
        """The key of a shard that was exchanged after `ingest`."""
        data = shard(tmp_path, 1)
        key = f"images/{digest(data)}.npy"
        store.put(key, data)
        assert arrays.mapped(store, key).max() == 1
        exchange(store, key, shard(tmp_path, 2))
        return key

    @pytest.mark.parametrize(
        "use",
        [
            lambda store, key: store.read(key),
            arrays.loaded,
            arrays.mapped,
            lambda store, key: Squares(store, [key]),
            lambda store, key: Side.read(store, pd.DataFrame(), (key,)).thumbnails[0],
            lambda store, key: manifest.read(store, key),
        ],
        ids=["read", "loaded", "mapped", "training images", "thumbnails", "table"],
    )
    def test_an_object_that_was_exchanged_is_not_used(
        self, store: FolderStore, exchanged: str, use: Callable[[Store, str], object]
    ) -> None:
        with pytest.raises(BadInput, match=f"{exchanged} in the store .* is not what it was"):
            use(store, exchanged)

    def test_no_features_are_computed_of_a_shard_that_was_exchanged(
        self, make_job: Callable[..., Any], store: FolderStore, exchanged: str
    ) -> None:
        dataset = documents.dataset("ingest/x").model_copy(update={"shards": (exchanged,)})
        trunk = pretrained.trunk_of("ResNet50", "none")
        with pytest.raises(BadInput, match="is not what it was"):
            tasks.features(
                Work(make_job(), "features/x"), dataset, 0, trunk, ("pooled",), Views(dihedral=1)
            )

    def test_a_map_stays_what_was_verified(self, store: FolderStore, tmp_path: Path) -> None:
        data = shard(tmp_path, 1)
        key = f"images/{digest(data)}.npy"
        store.put(key, data)
        array = arrays.mapped(store, key)
        exchange(store, key, shard(tmp_path, 2))
        assert array.max() == 1

    def test_an_exchanged_object_in_s3_is_not_used(self, s3_store: Store, tmp_path: Path) -> None:
        data = shard(tmp_path, 1)
        key = f"images/{digest(data)}.npy"
        s3_store.put(key, shard(tmp_path, 2))  # under a name that it has not
        for use in (s3_store.read, partial(arrays.mapped, s3_store)):
            with pytest.raises(BadInput, match="is not what it was"):
                use(key)

    @pytest.mark.parametrize(
        ("key", "named"),
        [
            (f"images/{'a' * 64}.npy", "a" * 64),
            (f"images/{'0' * 64}", "0" * 64),
            (f"weights/{'f' * 64}.weights.h5", "f" * 64),
            (f"images/{'a' * 63}.npy", ""),
            (f"images/{'a' * 65}.npy", ""),
            (f"images/{'A' * 64}.npy", ""),
            (f"{'a' * 64}/result.json", ""),
            ("gate/4f1a/result.json", ""),
        ],
    )
    def test_which_keys_name_their_bytes(self, key: str, named: str) -> None:
        assert digest_named(key) == named
