"""A folder store into which somebody plants what is no object, or exchanges one that is."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import documents
import numpy as np
import pandas as pd
import pytest
import weights_file
from PIL import Image

from skin_pipeline import arrays, steps, storage
from skin_pipeline.config import Settings
from skin_pipeline.data import manifest
from skin_pipeline.data.duplicates import Side
from skin_pipeline.data.sources import Found, Images
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import FolderStore, Store
from skin_pipeline.training import backbone, pretrained, tasks
from skin_pipeline.training.inputs import Squares

KEY = "gate/4f1a/report.html"
SECRET = b"password: hunter2"
# Whatever blocks is stopped, and fails.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that whoever plants something cannot read."""
    path = tmp_path / "home" / "secrets.json"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


def a_link(secret: Path, at: Path) -> None:
    at.symlink_to(secret)


def a_relative_link(secret: Path, at: Path) -> None:
    at.symlink_to(os.path.relpath(secret, at.parent))


def a_link_to_nowhere(secret: Path, at: Path) -> None:
    at.symlink_to(secret.with_name("not-yet-there"))


def a_link_to_a_folder(secret: Path, at: Path) -> None:
    at.symlink_to(secret.parent)


def a_link_to_itself(_: Path, at: Path) -> None:
    at.symlink_to(at.name)


def a_link_within_the_store(_: Path, at: Path) -> None:
    (at.parent / "other").write_bytes(SECRET)
    at.symlink_to("other")


def a_pipe(_: Path, at: Path) -> None:
    os.mkfifo(at)


def a_socket(_: Path, at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:  # by a short name: a long one does not fit
        here = os.open(".", os.O_RDONLY)
        os.chdir(at.parent)
        try:
            made.bind(at.name)
        finally:
            os.chdir(here)
            os.close(here)


def a_hard_link(secret: Path, at: Path) -> None:
    os.link(secret, at)


LINKS = [
    a_link,
    a_relative_link,
    a_link_to_nowhere,
    a_link_to_a_folder,
    a_link_to_itself,
    a_link_within_the_store,
]
PLANTED = [*LINKS, a_pipe, a_socket, a_hard_link]
Plant = Callable[[Path, Path], None]


def calls_to(store: FolderStore, key: str, folder: Path) -> dict[str, Callable[[], object]]:
    """All that can be asked of a store about one key."""
    source = folder / "source"
    source.write_bytes(b"new")

    def opened() -> None:
        with store.opened(key) as file:
            file.read()

    return {
        "exists": partial(store.exists, key),
        "read": partial(store.read, key),
        "tagged": partial(store.tagged, key),
        "local": partial(store.local, key),
        "opened": opened,
        "copied": partial(storage.copied, store, key, folder / "copy"),
        "put": partial(store.put, key, b"new"),
        "put_file": partial(store.put_file, key, source),
        "swap from nothing": partial(store.swap, key, b"new", None),
        "swap": partial(store.swap, key, b"new", storage.digest(SECRET)),
        "remove": partial(store.remove, key),
    }


def all_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestPlanted:
    @pytest.mark.parametrize("plant", PLANTED)
    def test_what_is_no_plain_file_is_refused_by_name_whatever_is_asked(
        self, store: FolderStore, tmp_path: Path, secret: Path, plant: Plant
    ) -> None:
        at = store.root / KEY
        at.parent.mkdir(parents=True)
        plant(secret, at)
        before = at.lstat()
        for name, call in calls_to(store, KEY, tmp_path).items():
            with pytest.raises(BadInput, match=rf"{KEY} in the folder .* is ") as caught:
                call()
            assert SECRET.decode() not in str(caught.value), name
            assert not (tmp_path / "copy").exists()
            assert all_in(secret.parent) == {secret.name: SECRET}, name
            assert os.path.samestat(at.lstat(), before), name

    @pytest.mark.parametrize("plant", [item for item in PLANTED if item is not a_hard_link])
    def test_it_is_not_listed_and_told(
        self,
        store: FolderStore,
        secret: Path,
        caplog: pytest.LogCaptureFixture,
        plant: Plant,
    ) -> None:
        store.put("gate/4f1a/result.json", b"{}")
        plant(secret, store.root / KEY)
        assert KEY not in store.list("gate")
        assert "gate/4f1a/result.json" in store.list("gate")
        assert any("foreign_in_the_store" in text and KEY in text for text in caplog.messages)

    @pytest.mark.parametrize("folder", ["gate", "gate/4f1a"])
    @pytest.mark.parametrize("plant", [a_link, a_link_to_a_folder, a_link_to_nowhere, a_pipe])
    def test_no_folder_is_reached_through_a_link(
        self, store: FolderStore, tmp_path: Path, secret: Path, plant: Plant, folder: str
    ) -> None:
        """Such as one that leads to a folder with a file of the right name."""
        at = store.root / folder
        at.parent.mkdir(parents=True)
        plant(secret, at)
        key = f"{folder}/{secret.name}"
        for name, call in calls_to(store, key, tmp_path).items():
            with pytest.raises(BadInput, match=rf"{folder} in the folder .* is "):
                call()
            assert all_in(secret.parent) == {secret.name: SECRET}, name
        assert store.list("") == []
        with pytest.raises(BadInput, match=rf"{folder} in the folder .* is "):
            store.list(folder)

    def test_the_root_itself_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "big-disk").mkdir()
        (tmp_path / "store").symlink_to("big-disk")
        store = FolderStore(tmp_path / "store")
        assert store.put("a/b", b"x")
        assert store.read("a/b") == b"x"
        assert store.list("") == ["a/b"]
        assert all_in(tmp_path / "big-disk") == {"a/b": b"x"}

    def test_a_folder_under_a_key_is_no_object_and_no_put_is_lost_to_it(
        self, store: FolderStore
    ) -> None:
        (store.root / KEY).mkdir(parents=True)
        assert not store.exists(KEY)
        assert store.tagged(KEY) is None
        with pytest.raises(BadInput, match=rf"{KEY} in the folder .* is a folder"):
            store.put(KEY, b"new")

    @pytest.mark.parametrize("name", ["line\nbreak", "back\\slash", "bell\a", "\udcff", "x" * 220])
    def test_a_name_that_no_key_has_is_not_listed_and_told_on_one_line(
        self, store: FolderStore, caplog: pytest.LogCaptureFixture, name: str
    ) -> None:
        store.put("moves/1.json", b"{}")
        (store.root / "moves" / name).write_bytes(b"{}")
        assert store.list("moves") == ["moves/1.json"]
        (told,) = [text for text in caplog.messages if "foreign_in_the_store" in text]
        assert told.isprintable()

    def test_a_killed_writers_draft_does_not_make_its_object_foreign(
        self, store: FolderStore
    ) -> None:
        store.put("a/b", b"whole")
        os.link(store.root / "a/b", store.root / "a/.0123.part")  # killed before it was removed
        assert store.read("a/b") == b"whole"
        assert store.exists("a/b")

    def test_hidden_names_do_not_hide_a_hard_link_to_elsewhere(
        self, store: FolderStore, secret: Path
    ) -> None:
        (store.root / KEY).parent.mkdir(parents=True)
        a_hard_link(secret, store.root / KEY)
        a_hard_link(secret, (store.root / KEY).with_name(".0123.part"))
        with pytest.raises(BadInput, match="hard links"):
            store.read(KEY)


class TestLocksAndDrafts:
    @pytest.mark.parametrize("plant", PLANTED)
    def test_a_planted_lock_is_refused_and_nothing_is_made_through_it(
        self, store: FolderStore, secret: Path, plant: Plant
    ) -> None:
        store.swap("models/x/champion.json", b"old", None)
        plant(secret, store.root / "models/x/.champion.json.lock")
        with pytest.raises(BadInput, match=r"models/x/\.champion\.json\.lock in the folder"):
            store.swap("models/x/champion.json", b"new", storage.digest(b"old"))
        assert all_in(secret.parent) == {secret.name: SECRET}
        assert store.read("models/x/champion.json") == b"old"

    @pytest.mark.parametrize("plant", [*PLANTED, lambda _, at: at.mkdir()])
    def test_a_planted_draft_hinders_no_write_and_only_its_own_name_is_swept(
        self, store: FolderStore, secret: Path, plant: Plant
    ) -> None:
        store.put("gate/a", b"")
        plant(secret, store.root / "gate/.old.part")
        old = time.time() - storage.ABANDONED_SECONDS - 1
        os.utime(store.root / "gate/.old.part", (old, old), follow_symlinks=False)
        assert store.put("gate/b", b"new")
        assert all_in(secret.parent) == {secret.name: SECRET}

    def test_a_planted_folder_of_a_draft_is_not_swept(
        self, store: FolderStore, secret: Path
    ) -> None:
        """Nor anything in the folder that a link in its place leads to."""
        (secret.parent / ".mine.part").touch()
        os.utime(secret.parent / ".mine.part", (0, 0))
        store.root.mkdir()
        (store.root / "gate").symlink_to(secret.parent)
        with pytest.raises(BadInput):
            store.put("gate/a", b"")
        assert (secret.parent / ".mine.part").exists()


@contextmanager
def just_before(
    monkeypatch: pytest.MonkeyPatch, module: Any, function: str, name: str, act: Callable[[], None]
) -> Generator[list[str], None, None]:
    """`act` once, just before a function is called with this first argument."""
    real, done = getattr(module, function), []

    def acting(first: Any, *rest: Any, **how: Any) -> Any:
        if first == name and not done:
            done.append(name)
            act()
        return real(first, *rest, **how)

    with monkeypatch.context() as patch:
        patch.setattr(module, function, acting)
        yield done


class TestExchangedMeanwhile:
    """What was looked at is exchanged before it is opened."""

    @pytest.mark.parametrize("plant", PLANTED)
    @pytest.mark.parametrize("ask", ["read", "tagged", "opened", "local"])
    def test_what_comes_between_the_look_and_the_opening_is_refused(
        self,
        store: FolderStore,
        tmp_path: Path,
        secret: Path,
        monkeypatch: pytest.MonkeyPatch,
        plant: Plant,
        ask: str,
    ) -> None:
        store.put(KEY, b"good")

        def exchange() -> None:
            (store.root / KEY).unlink()
            plant(secret, store.root / KEY)

        call = calls_to(store, KEY, tmp_path)[ask]
        with just_before(monkeypatch, os, "open", "report.html", exchange) as done:
            with pytest.raises(BadInput, match=rf"{KEY} in the folder"):
                call()
            assert done

    def test_a_folder_that_is_exchanged_for_a_link_leads_nowhere_else(
        self, store: FolderStore, secret: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put(KEY, b"good")
        (secret.parent / "report.html").write_bytes(SECRET)

        def exchange() -> None:
            (store.root / "gate/4f1a").rename(store.root / "gate/away")
            (store.root / "gate/4f1a").symlink_to(secret.parent)

        with just_before(monkeypatch, os, "open", "report.html", exchange) as done:
            assert store.read(KEY) == b"good"
            assert done

    def test_a_write_goes_into_the_folder_that_it_began_in(
        self, store: FolderStore, secret: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put("gate/4f1a/result.json", b"{}")

        def exchange() -> None:
            (store.root / "gate/4f1a").rename(store.root / "gate/away")
            (store.root / "gate/4f1a").symlink_to(secret.parent)

        real = os.fsync

        def exchange_first(handle: int) -> None:
            if not (store.root / "gate/away").exists():
                exchange()
            real(handle)

        monkeypatch.setattr(os, "fsync", exchange_first)
        store.put(KEY, b"new")
        assert all_in(secret.parent) == {secret.name: SECRET}

    def test_an_open_object_stays_what_it_is(self, store: FolderStore, secret: Path) -> None:
        store.put(KEY, b"good")
        with store.opened(KEY) as file:
            (store.root / KEY).unlink()
            (store.root / KEY).symlink_to(secret)
            assert file.read() == b"good"


def exchange(store: FolderStore, key: str, data: bytes) -> None:
    """Put other bytes under a key, as whoever may write to its folder can."""
    (store.root / key).with_name("new").write_bytes(data)
    (store.root / key).with_name("new").replace(store.root / key)


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
        key = f"images/{storage.digest(data)}.npy"
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
            lambda store, key: Side.read(store, pd.DataFrame(), (key,)),
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
            tasks.features(make_job(), "features/x", dataset, 0, trunk, ("pooled",), 1)

    def test_a_map_stays_what_was_verified(self, store: FolderStore, tmp_path: Path) -> None:
        data = shard(tmp_path, 1)
        key = f"images/{storage.digest(data)}.npy"
        store.put(key, data)
        array = arrays.mapped(store, key)
        exchange(store, key, shard(tmp_path, 2))
        assert array.max() == 1

    def test_an_exchanged_object_in_s3_is_not_used(self, s3_store: Store, tmp_path: Path) -> None:
        data = shard(tmp_path, 1)
        key = f"images/{storage.digest(data)}.npy"
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
        assert storage.digest_named(key) == named


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
        assert storage.digest_named(key) == storage.digest((store.root / key).read_bytes())

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
        key = f"weights/{storage.digest(b'good')}.weights.h5"
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
        table = pd.DataFrame([{**row, "sha256": storage.digest_file(path)}])
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


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


WRITER = """
import os, sys
from pathlib import Path
from skin_pipeline.storage import FolderStore
os.umask(int(sys.argv[2], 8))
store = FolderStore(Path(sys.argv[1]) / "deep" / "store")
store.put("models/x/champion.json", b"old")
store.put_file("models/x/card.md", Path(__file__) if "__file__" in globals() else Path(os.__file__))
store.swap("models/x/champion.json", b"new", store.tagged("models/x/champion.json")[1])
"""


class TestModes:
    @pytest.mark.parametrize(
        ("umask", "files", "folders"),
        [
            ("022", 0o640, 0o750),
            ("002", 0o640, 0o770),
            ("000", 0o640, 0o770),
            ("077", 0o600, 0o700),
        ],
    )
    def test_nothing_in_the_store_is_for_everybody(
        self, tmp_path: Path, umask: str, files: int, folders: int
    ) -> None:
        subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), umask], check=True)
        root = tmp_path / "deep" / "store"
        made = list(root.rglob("*"))
        assert {mode(path) for path in (root, *made) if path.is_dir()} == {folders}
        objects = [path for path in made if path.is_file() and path.suffix != ".lock"]
        assert {mode(path) for path in objects} == {files}
        assert len(objects) == 2
        locks = [path for path in made if path.suffix == ".lock"]
        assert {mode(path) for path in locks} == {0o660 & ~int(umask, 8)}

    def test_a_folder_hands_its_group_on_as_the_operator_wished(self, store: FolderStore) -> None:
        store.root.mkdir()
        store.root.chmod(0o2770)
        store.put("models/x/champion.json", b"x")
        assert mode(store.root / "models/x") & stat.S_ISGID


class TestCacheFolder:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> storage.LocalCache:
        return storage.LocalCache(tmp_path / "cache", 1 << 20)

    def get(self, cache: storage.LocalCache, data: bytes) -> bytes:
        return cache.get("ab12/model.keras", lambda file: file.write(data)).read_bytes()

    def test_it_is_its_users_alone(self, cache: storage.LocalCache) -> None:
        self.get(cache, b"x")
        assert mode(cache.folder) == 0o700

    @pytest.mark.parametrize("open_to", [0o770, 0o707, 0o777, 0o1777])
    def test_copies_that_others_could_have_exchanged_are_fetched_again(
        self, cache: storage.LocalCache, open_to: int
    ) -> None:
        self.get(cache, b"good")
        (cache.folder / "copies/ab12/model.keras").write_bytes(b"evil")
        cache.folder.chmod(open_to)
        assert self.get(cache, b"good") == b"good"
        assert mode(cache.folder) == 0o700

    def test_copies_that_others_could_only_read_stay(self, cache: storage.LocalCache) -> None:
        self.get(cache, b"first")
        cache.folder.chmod(0o755)
        assert self.get(cache, b"second") == b"first"
        assert mode(cache.folder) == 0o700

    def test_that_of_another_user_is_refused(
        self, cache: storage.LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.get(cache, b"x")
        user = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: user + 1)
        for use in (partial(self.get, cache, b"x"), partial(cache.drop, "ab12/model.keras")):
            with pytest.raises(BadInput, match=r"belongs to another user.*SKIN_CACHE"):
                use()

    @pytest.mark.parametrize("part", ["locks", "drafts", "copies", "copies/ab12"])
    def test_no_part_of_it_is_a_link(
        self, cache: storage.LocalCache, secret: Path, part: str
    ) -> None:
        (cache.folder / part).parent.mkdir(parents=True, mode=0o700)
        (cache.folder / part).symlink_to(secret.parent)
        with pytest.raises(BadInput, match=rf"{part} in the folder .* is a link"):
            self.get(cache, b"x")
        assert all_in(secret.parent) == {secret.name: SECRET}


def open_files() -> int:
    """How many files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def test_nothing_stays_open_of_a_deep_listing_or_of_what_is_refused(
    store: FolderStore, secret: Path
) -> None:
    store.put("a/b", b"x")
    (store.root / "/".join(["d"] * 400)).mkdir(parents=True)
    (store.root / KEY).parent.mkdir(parents=True)
    a_link(secret, store.root / KEY)
    before = open_files()
    assert store.list("") == ["a/b"]
    for _ in range(5):
        with pytest.raises(BadInput):
            store.read(KEY)
    assert open_files() == before


def test_an_error_does_not_tell_where_a_link_leads(store: FolderStore, secret: Path) -> None:
    (store.root / KEY).parent.mkdir(parents=True)
    a_link(secret, store.root / KEY)
    with pytest.raises(BadInput, match="is a link") as caught:
        store.read(KEY)
    assert str(secret) not in str(caught.value)
