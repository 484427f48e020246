"""Copies of objects of S3 on this machine: fetched once, bounded, private."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from botocore.stub import Stubber
from planted import SECRET, all_in, mode
from s3_calls import downloads_of
from servers import proxy
from stores import MIB, PATIENCE, Location, child, leftovers, told, wait_until

from skin_pipeline.errors import BadInput, Unavailable, UnavailableHere
from skin_pipeline.storage import S3Store, Store, digest
from skin_pipeline.storage.cache import JUST_USED_SECONDS, LocalCache, _unlink
from skin_pipeline.storage.drafts import ABANDONED_SECONDS

# Says so when it must wait for a lock.
WAITER = """
import fcntl, json, sys
from pathlib import Path
from skin_pipeline.storage import open_store

flock = fcntl.flock

def wait(file, how):
    try:
        flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waits", flush=True)
        flock(file, how)

fcntl.flock = wait
job = json.loads(sys.argv[1])
store = open_store(job["url"], endpoint=job["endpoint"], credentials=job["credentials"],
                   cache=Path(job["cache"]))
print(store.local("model.keras").read_bytes().decode(), flush=True)
"""


class TestLocalCopies:
    def test_an_object_is_downloaded_once(self, bucket: Location) -> None:
        bucket.open().put("a", b"x")
        copy = bucket.open().local("a")
        bucket.endpoint = bucket.endpoint.upper().replace("HTTP", "http")
        store = bucket.open()
        assert isinstance(store, S3Store)
        with Stubber(store._client):  # refuses every request
            assert store.local("a") == copy

    def test_many_at_once_get_the_same_whole_copy_from_one_download(
        self, bucket: Location, tmp_path: Path
    ) -> None:
        data = os.urandom(2 * MIB)
        bucket.open().put("a/model.keras", data)
        stores = [bucket.open() for _ in range(4)]
        downloads = [downloads_of(store) for store in stores]
        together = threading.Barrier(8)

        def local(number: int) -> Path:
            together.wait(PATIENCE)
            return stores[number % 4].local("a/model.keras")

        with ThreadPoolExecutor(8) as pool:
            copies = list(pool.map(local, range(8)))

        assert sum(map(len, downloads)) == 1
        assert {copy.read_bytes() for copy in copies} == {data}
        assert leftovers(tmp_path / "cache") == [copies[0]]

    def test_stores_that_share_a_cache_do_not_mix(self, bucket: Location) -> None:
        with proxy(bucket.endpoint) as front:
            places = [
                bucket,
                Location(f"{bucket.url}/below", bucket.endpoint, bucket.credentials, bucket.cache),
                Location(bucket.url, front.endpoint, bucket.credentials, bucket.cache),
            ]
            for location in places:
                location.open().put("a", location.url.encode())
            assert len({location.open().local("a") for location in places}) == 3

    def test_a_cache_that_cannot_be_written_is_bad_input(
        self, bucket: Location, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        bucket.cache = str(tmp_path / "file" / "cache")
        store = bucket.open()
        store.put("a", b"x")

        with pytest.raises(BadInput, match="SKIN_CACHE"):
            store.local("a")

    def test_a_default_cache_that_leads_elsewhere_is_refused(
        self, bucket: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        bucket.cache = ""
        (tmp_path / "theirs").mkdir()
        (tmp_path / f"skin-pipeline-{os.getuid()}").symlink_to(tmp_path / "theirs")
        with pytest.raises(BadInput, match="name a folder of yours in SKIN_CACHE"):
            bucket.open()

    def test_the_default_cache_is_the_users_own(
        self, bucket: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        bucket.cache = ""
        store = bucket.open()
        store.put("a", b"x")
        folder = tmp_path / f"skin-pipeline-{os.getuid()}"
        assert folder in store.local("a").parents
        assert folder.stat().st_mode & 0o077 == 0

        folder.rename(tmp_path / "skin-pipeline-4711")
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        with pytest.raises(BadInput, match="belongs to another user"):
            bucket.open()


LONG_AGO = 1_000_000_000.0


def used(copy: Path, ago: float) -> Path:
    """Make a copy look as if it had last been used `ago` seconds after a day long gone."""
    os.utime(copy, (LONG_AGO + ago, LONG_AGO + ago))
    return copy


class TestBoundedCache:
    """Objects of 100 bytes, in a cache for two of them."""

    @pytest.fixture
    def store(self, bucket: Location) -> Store:
        bucket.cache_bytes = 250
        store = bucket.open()
        for key in "abcd":
            store.put(key, key.encode() * 100)
        return store

    @pytest.fixture
    def cache(self, store: Store) -> LocalCache:
        assert isinstance(store, S3Store)
        return store.cache

    def test_the_copies_not_used_for_longest_go_first(
        self, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        a, b, c = (store.local(key) for key in "abc")
        for copy, ago in ((a, 2), (b, 1), (c, 3)):
            used(copy, ago)

        d = store.local("d")
        assert sorted(leftovers(tmp_path / "cache")) == sorted([c, d])
        evicted = [text for text in caplog.messages if text.startswith("cache_evicted")]
        assert evicted == [f"cache_evicted copy={x.parent.name}/{x.name} bytes=100" for x in (b, a)]

    def test_nothing_is_left_of_what_went(self, store: Store) -> None:
        gone = used(store.local("a"), 1)
        for key in "bc":
            store.local(key)

        assert not gone.parent.exists()
        assert store.local("a").read_bytes() == b"a" * 100

    def test_what_was_just_used_stays_beyond_the_bound(self, store: Store) -> None:
        copies = [store.local(key) for key in "abcd"]

        assert all(copy.is_file() for copy in copies)

    def test_what_was_just_fetched_stays_even_if_nothing_else_would(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skin_pipeline.storage.cache.JUST_USED_SECONDS", 0)
        store.put("large", b"x" * 1000)
        a = store.local("a")

        assert store.local("large").is_file()
        assert not a.exists()

    def test_a_copy_that_took_long_to_reach_the_disk_is_a_fresh_one(
        self, cache: LocalCache
    ) -> None:
        def fill(file: BinaryIO) -> None:
            file.write(b"x")
            file.flush()
            os.utime(file.fileno(), (LONG_AGO, LONG_AGO))

        copy = cache.get(f"{digest(b'model')}/model.keras", fill)
        assert time.time() - copy.stat().st_mtime < JUST_USED_SECONDS

    def test_a_hit_counts_as_use(self, store: Store) -> None:
        a, b = used(store.local("a"), 1), used(store.local("b"), 2)
        downloads = downloads_of(store)
        assert store.local("a") == a

        store.local("c")
        assert len(downloads) == 1
        assert a.is_file()
        assert not b.exists()

    def test_a_hit_does_not_look_at_other_copies(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = store.local("a")
        with monkeypatch.context() as without:  # pytest itself looks into folders afterwards
            without.delattr(Path, "iterdir")
            without.delattr(os, "scandir")
            without.delattr(os, "listdir")
            assert store.local("a") == copy

    def test_an_object_larger_than_the_bound_is_fetched_nevertheless(self, store: Store) -> None:
        store.put("large", b"x" * 1000)
        a = used(store.local("a"), 1)

        large = store.local("large")
        assert large.read_bytes() == b"x" * 1000
        assert not a.exists()
        used(large, 2)
        assert store.local("large") == large
        used(large, 2)
        store.local("b")
        assert not large.exists()

    def test_a_mapped_copy_that_goes_stays_readable(self, store: Store) -> None:
        copy = used(store.local("a"), 1)
        mapped = np.memmap(copy, np.uint8, mode="r")
        for key in "bc":
            store.local(key)

        assert not copy.exists()
        assert mapped.tobytes() == b"a" * 100

    def test_a_copy_used_between_the_look_and_the_removal_stays(
        self, store: Store, cache: LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = used(store.local("a"), 1), used(store.local("b"), 2)
        look = cache._copies

        def look_then_use() -> object:
            found = look()
            assert store.local("a") == a
            return found

        monkeypatch.setattr(cache, "_copies", look_then_use)
        store.local("c")
        assert a.is_file()
        assert not b.exists()

    def test_copies_that_another_process_removes_meanwhile_count_as_gone(
        self, store: Store, cache: LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = used(store.local("a"), 1), used(store.local("b"), 2)
        look = cache._copies

        def look_too_early() -> object:
            found = look()
            _unlink(a)
            return found

        monkeypatch.setattr(cache, "_copies", look_too_early)
        c = store.local("c")
        assert [copy.is_file() for copy in (a, b, c)] == [False, True, True]

    def test_a_folder_that_another_process_removes_meanwhile_is_passed_over(
        self, store: Store, cache: LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = store.local("a")
        store.local("b")
        stat = Path.stat

        def vanish(path: Path, **how: bool) -> os.stat_result:
            if path == gone:
                _unlink(gone)
            return stat(path, **how)

        monkeypatch.setattr(Path, "stat", vanish)
        assert [copy.path.name for copy in cache._copies()] == ["b"]

    def test_only_copies_are_counted_and_removed(self, store: Store, tmp_path: Path) -> None:
        a = used(store.local("a"), 1)
        others = [tmp_path / "cache" / name for name in ("mine.txt", "drafts/.download.part")]
        for other in others:
            other.write_bytes(b"x" * 1000)

        store.local("b")
        assert a.is_file()
        assert all(other.is_file() for other in others)

    def test_drafts_of_killed_downloads_are_swept_up(self, store: Store, tmp_path: Path) -> None:
        store.local("a")
        draft = tmp_path / "cache" / "drafts" / ".download.part"
        draft.touch()
        os.utime(draft, (0, time.time() - ABANDONED_SECONDS - 1))

        store.local("b")
        assert not draft.exists()

    def test_lock_files_do_not_pile_up(self, cache: LocalCache) -> None:
        for number in range(2000):
            with cache._alone(digest(b"%d" % number)):
                pass

        assert len(list((cache.folder / "locks").iterdir())) <= 257

    def test_a_second_process_waits_for_the_copy_of_the_first(
        self, store: Store, bucket: Location
    ) -> None:
        store.put("model.keras", b"whole")
        asked: list[bytes] = []
        waits = threading.Event()

        def count_downloads(chunk: bytes) -> bytes:
            if chunk.startswith(b"GET "):
                asked.append(chunk)
                waits.wait(PATIENCE)
            return chunk

        with proxy(bucket.endpoint) as front, ThreadPoolExecutor(1) as pool:
            front.asked = count_downloads
            bucket.endpoint = front.endpoint
            first = pool.submit(bucket.open().local, "model.keras")
            wait_until(lambda: len(asked) == 1)
            with child(WAITER, json.dumps(vars(bucket))) as second:
                assert told(second) == "waits"
                waits.set()
                assert told(second) == "whole"
            assert first.result(PATIENCE).read_bytes() == b"whole"
        assert len(asked) == 1

    def test_after_a_failed_download_the_next_in_line_tries(self, cache: LocalCache) -> None:
        copy = f"{digest(b'model')}/model.keras"
        begun, fail = threading.Event(), threading.Event()

        def break_off(_: object) -> None:
            begun.set()
            fail.wait(PATIENCE)
            raise Unavailable("no answer")

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(cache.get, copy, break_off)
            assert begun.wait(PATIENCE)
            second = pool.submit(cache.get, copy, lambda file: file.write(b"whole"))
            fail.set()
            assert second.result(PATIENCE).read_bytes() == b"whole"
            with pytest.raises(Unavailable, match="no answer"):
                first.result(PATIENCE)

    def test_a_reader_racing_an_evictor_never_fails(self, bucket: Location, store: Store) -> None:
        bucket.cache_bytes = 100
        evictor, enough = bucket.open(), threading.Event()
        downloads = downloads_of(store)

        def evict() -> None:
            while not enough.is_set():
                for key in "bc":  # each takes the place of all that was not just used
                    used(evictor.local(key), 1)

        with ThreadPoolExecutor(1) as pool:
            evictions = pool.submit(evict)
            try:
                while len(downloads) < 20 and not evictions.done():
                    copy = store.local("a")
                    assert copy.read_bytes() == b"a" * 100
                    used(copy, 2)  # now it may go
            finally:
                enough.set()
            evictions.result(PATIENCE)
        assert len(downloads) == 20

    @pytest.mark.parametrize("step", ["_use", "_fetch", "_shrink"])
    def test_a_folder_that_somebody_removes_meanwhile_is_made_again(
        self, store: Store, cache: LocalCache, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        store.local("b")
        real = getattr(cache, step)
        removed: list[str] = []

        def gone(*given: Any) -> object:
            if not removed:
                removed.append(step)
                shutil.rmtree(cache.folder)
            return real(*given)

        monkeypatch.setattr(cache, step, gone)
        assert store.local("a").read_bytes() == b"a" * 100
        assert removed

    def test_a_copy_that_somebody_removes_before_it_is_open_is_fetched_again(
        self, store: Store, cache: LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        get, downloads = cache.get, downloads_of(store)

        def gone(*given: Any, **how: Any) -> Path:
            copy = get(*given, **how)
            if len(downloads) == 1:
                shutil.rmtree(cache.folder)
            return copy

        monkeypatch.setattr(cache, "get", gone)
        with store.opened("a") as file:
            assert file.read() == b"a" * 100
        assert len(downloads) == 2

    def test_on_a_full_disk_old_copies_make_room(
        self, store: Store, cache: LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new = used(store.local("a"), 1), store.local("b")
        fetch = cache._fetch

        def full(*given: Any) -> None:
            if old.exists():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fetch(*given)

        monkeypatch.setattr(cache, "_fetch", full)
        assert store.local("c").read_bytes() == b"c" * 100
        assert [copy.exists() for copy in (old, new)] == [False, True]

    def test_on_a_disk_that_others_filled_it_is_said_and_only_what_was_just_used_stays(
        self, store: Store, cache: LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.local("a")

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(cache, "_fetch", full)
        with pytest.raises(UnavailableHere, match=r"no space left for .* in SKIN_CACHE"):
            store.local("b")

    def test_a_removed_object_leaves_no_copy(self, store: Store) -> None:
        copy = store.local("a")
        store.remove("a")

        assert not copy.parent.exists()

    def test_a_removal_waits_for_a_download_so_that_no_copy_is_left(
        self, store: Store, cache: LocalCache
    ) -> None:
        copy = store.local("a")
        name = f"{copy.parent.name}/{copy.name}"
        with ThreadPoolExecutor(1) as pool:
            with cache._alone(name):
                removal = pool.submit(store.remove, "a")
                wait_until(lambda: not store.exists("a"))
                assert copy.is_file()
            removal.result(PATIENCE)
        assert not copy.exists()


class TestCacheFolder:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> LocalCache:
        return LocalCache(tmp_path / "cache", 1 << 20)

    def get(self, cache: LocalCache, data: bytes) -> bytes:
        return cache.get("ab12/model.keras", lambda file: file.write(data)).read_bytes()

    def test_it_is_its_users_alone(self, cache: LocalCache) -> None:
        self.get(cache, b"x")
        assert mode(cache.folder) == 0o700

    @pytest.mark.parametrize("open_to", [0o770, 0o707, 0o777, 0o1777])
    def test_copies_that_others_could_have_exchanged_are_fetched_again(
        self, cache: LocalCache, open_to: int
    ) -> None:
        self.get(cache, b"good")
        (cache.folder / "copies/ab12/model.keras").write_bytes(b"evil")
        cache.folder.chmod(open_to)
        assert self.get(cache, b"good") == b"good"
        assert mode(cache.folder) == 0o700

    def test_copies_that_others_could_only_read_stay(self, cache: LocalCache) -> None:
        self.get(cache, b"first")
        cache.folder.chmod(0o755)
        assert self.get(cache, b"second") == b"first"
        assert mode(cache.folder) == 0o700

    def test_that_of_another_user_is_refused(
        self, cache: LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.get(cache, b"x")
        user = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: user + 1)
        for use in (partial(self.get, cache, b"x"), partial(cache.drop, "ab12/model.keras")):
            with pytest.raises(BadInput, match=r"belongs to another user.*SKIN_CACHE"):
                use()

    @pytest.mark.parametrize("part", ["locks", "drafts", "copies", "copies/ab12"])
    def test_no_part_of_it_is_a_link(self, cache: LocalCache, secret: Path, part: str) -> None:
        (cache.folder / part).parent.mkdir(parents=True, mode=0o700)
        (cache.folder / part).symlink_to(secret.parent)
        with pytest.raises(BadInput, match=rf"{part} in the folder .* is a link"):
            self.get(cache, b"x")
        assert all_in(secret.parent) == {secret.name: SECRET}
