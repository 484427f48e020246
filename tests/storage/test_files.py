"""Files of this machine: copied before they are checked, and used as they were checked."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import weights_file
from children import in_child
from PIL import Image
from planted import exchange
from small_disk import MIB, Errors, mounted
from stores import Location

from skin_pipeline import steps
from skin_pipeline.config import Settings
from skin_pipeline.data import manifest
from skin_pipeline.data.sources import Found, Images
from skin_pipeline.errors import BadInput, Unavailable, UnavailableHere
from skin_pipeline.storage import (
    FolderStore,
    Store,
    copied,
    digest,
    digest_file,
    digest_named,
    scratch,
)
from skin_pipeline.storage.files import _opened_plain, opened
from skin_pipeline.training import backbone, pretrained

pytestmark = pytest.mark.timeout(60)  # whatever blocks is stopped, and fails


class TestCopies:
    """Of an object in each kind of store."""

    @pytest.fixture
    def store(self, location: Location) -> Store:
        return location.open()

    def test_a_copy_is_this_users_alone_and_its_digest_that_of_the_copied_bytes(
        self, store: Store, tmp_path: Path
    ) -> None:
        store.put("a/b", b"bytes")
        found = copied(store, "a/b", tmp_path / "copy", digest(b"bytes"))
        assert found == digest(b"bytes")
        assert (tmp_path / "copy").read_bytes() == b"bytes"
        assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600

    def test_of_bytes_that_are_not_what_was_expected_there_is_no_copy(
        self, store: Store, tmp_path: Path
    ) -> None:
        store.put("a/b", b"other")
        with pytest.raises(BadInput, match=r"a/b .* is not what it was"):
            copied(store, "a/b", tmp_path / "copy", digest(b"bytes"))
        assert not (tmp_path / "copy").exists()


class TestScratch:
    @pytest.mark.parametrize(
        "write",
        [
            lambda path: path.write_bytes(bytes(2 * MIB)),
            lambda path: np.save(path, np.zeros(MIB)),
            lambda path: np.savez(path, np.zeros(MIB)),
            lambda path: pd.DataFrame({"a": np.random.default_rng(0).random(MIB)}).to_parquet(path),
        ],
    )
    def test_a_full_disk_is_unavailable_whoever_finds_it_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], object]
    ) -> None:
        def fill_it() -> None:
            disk = mounted(tmp_path / "disk", MIB)
            if isinstance(disk, Errors):
                return  # nobody may mount here
            monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
            words = r"no space left for .*/disk .* folder in TMPDIR"
            with pytest.raises(UnavailableHere, match=words), scratch() as folder:
                write(folder / "written.npz")
            assert not [*disk.folder.iterdir()]

        in_child(fill_it)

    def test_other_errors_of_the_block_stay_what_they_are(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError), scratch() as folder:
            (folder / "missing").read_bytes()
        assert not folder.exists()

    def test_what_is_read_is_not_blamed_for_a_full_disk(self, tmp_path: Path) -> None:
        (tmp_path / "read").touch()
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for opens in (opened, _opened_plain):
            with pytest.raises(Unavailable), scratch(), opens(tmp_path / "read"):
                raise full


class TestCheckedThenUsed:
    @pytest.fixture
    def weights(self, tmp_path: Path) -> tuple[Path, Settings]:
        """A file of weights, and settings that name it."""
        path = tmp_path / "mine.weights.h5"
        weights_file.written(path, 1.0)
        return path, Settings(weights=str(path))

    def test_pinned_weights_are_the_bytes_that_their_key_names(
        self,
        store: FolderStore,
        weights: tuple[Path, Settings],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path, settings = weights
        put_file = FolderStore.put_file

        def exchange_first(self: FolderStore, key: str, source: Path) -> bool:
            weights_file.written(path, 2.0)
            return put_file(self, key, source)

        monkeypatch.setattr(FolderStore, "put_file", exchange_first)
        good = path.read_bytes()
        key = pretrained.pin_weights(settings, store)
        assert path.read_bytes() != good
        assert (store.root / key).read_bytes() == good
        assert digest_named(key) == digest((store.root / key).read_bytes())

    def test_weights_that_are_exchanged_for_a_pipe_block_nobody(
        self,
        store: FolderStore,
        weights: tuple[Path, Settings],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path, settings = weights

        def to_a_pipe() -> None:
            path.unlink()
            os.mkfifo(path)

        is_file = Path.is_file

        def exchange_after(self: Path) -> bool:
            was = is_file(self)
            if was and self == path:
                to_a_pipe()
            return was

        monkeypatch.setattr(Path, "is_file", exchange_after)
        with pytest.raises(BadInput, match="is not a file"):
            pretrained.pin_weights(settings, store)
        assert store.list("") == []

    def test_keras_reads_no_pinned_weights_that_were_exchanged(self, store: FolderStore) -> None:
        key = f"weights/{digest(b'good')}.weights.h5"
        store.put(key, b"good")
        exchange(store, key, b"evil")
        read: list[Path] = []
        whole = SimpleNamespace(load_weights=read.append)
        keras = SimpleNamespace(
            utils=SimpleNamespace(set_random_seed=lambda _: None),
            applications=SimpleNamespace(ResNet50=lambda **_: whole),
        )
        with pytest.raises(BadInput, match=f"{key} in the store .* is not what it was"):
            backbone.Network.load(keras, pretrained.trunk_of("ResNet50", key), 64, store)
        assert read == []

    @pytest.fixture
    def lesion(self, tmp_path: Path) -> tuple[pd.DataFrame, Images, Path]:
        """An image as it was inspected: its row, and where it lies."""
        path = tmp_path / "lesion.jpg"
        path.write_bytes(b"as it was inspected")
        row = {"key": "a.jpg", "label": "benign", "readable": True}
        table = pd.DataFrame([{**row, "sha256": digest_file(path)}])
        return table, Images((Found("benign", "a.jpg", path),), ()), path

    def test_a_golden_image_that_changed_since_it_was_inspected_is_not_kept(
        self, store: FolderStore, lesion: tuple[pd.DataFrame, Images, Path]
    ) -> None:
        table, images, path = lesion
        path.write_bytes(b"other")
        with pytest.raises(Unavailable, match="has other bytes"):
            manifest.golden(table, images, store)
        assert store.list("") == []

    def test_images_that_change_while_they_are_ingested_make_no_result(
        self,
        store: FolderStore,
        make_job: Callable[..., Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """It would be found again as that of the images that were there before."""
        drawn = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
        for number, pixels in enumerate(drawn[:4]):
            path = tmp_path / "images" / ("benign", "malignant")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        build = manifest.build

        def exchange_first(*found: Any, **how: Any) -> manifest.Built:
            Image.fromarray(drawn[4]).save(tmp_path / "images/benign/0.png")
            return build(*found, **how)

        monkeypatch.setattr(manifest, "build", exchange_first)
        with pytest.raises(Unavailable, match=r"0\.png.* has other bytes"):
            steps.ingest(make_job(data=str(tmp_path / "images"), weights="imagenet"))
        assert not [key for key in store.list("ingest") if key.endswith("result.json")]

    def test_a_golden_image_is_kept_as_the_bytes_that_its_key_names(
        self,
        store: FolderStore,
        lesion: tuple[pd.DataFrame, Images, Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        table, images, path = lesion
        put_file = FolderStore.put_file

        def exchange_first(self: FolderStore, key: str, source: Path) -> bool:
            path.write_bytes(b"other")
            return put_file(self, key, source)

        monkeypatch.setattr(FolderStore, "put_file", exchange_first)
        (key,) = manifest.golden(table, images, store).values()
        assert store.read(key) == b"as it was inspected"
