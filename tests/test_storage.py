"""The object store: one contract for a folder, a real S3 server and AWS as moto plays it, then
their faults."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import boto3
import faulty
import numpy as np
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws
from s3transfer.utils import MAX_PARTS, ChunksizeAdjuster
from servers import HOST, S3Server, free_ports, proxy

from skin_pipeline import beneath, storage
from skin_pipeline.cli import job_of
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.storage import FolderStore, S3Store, S3Writing, Store, open_store

ROOT = Path(__file__).parent.parent
PATIENCE = 300.0  # seconds until a test that waits for something gives up
MIB = 1 << 20


@dataclass
class Place:
    """Where a store lies, and what `open_store` needs to open it, here or in another process."""

    url: str
    endpoint: str = ""
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    cache: str = ""
    cache_bytes: int = storage.CACHE_BYTES

    def open(self, **writing: Any) -> Store:
        return open_store(
            self.url,
            endpoint=self.endpoint,
            credentials=self.credentials,
            cache=Path(self.cache) if self.cache else None,
            cache_bytes=self.cache_bytes,
            writing=S3Writing(**writing),
        )


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path) -> Place:
    """An empty place in S3."""
    return Place(
        f"s3://{s3_server.bucket}/{uuid.uuid4().hex}",
        s3_server.endpoint,
        s3_server.credentials,
        str(tmp_path / "cache"),
    )


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An empty place in AWS as moto plays it, in this process only."""
    monkeypatch.setattr(storage, "_check_head", lambda **_: None)  # moto's answers have no length
    credentials = {
        "aws_access_key_id": "moto",
        "aws_secret_access_key": "moto",
        "region_name": "us-east-1",
    }
    with mock_aws():
        boto3.client("s3", **credentials).create_bucket(Bucket="models")
        yield Place("s3://models/skin", "", credentials, str(tmp_path / "cache"))


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, backend: str) -> Place:
    if backend == "folder":
        return Place(f"file://{tmp_path}/store")
    return request.getfixturevalue(backend)


@pytest.fixture(params=["folder", "bucket", "aws"])
def backend(request: pytest.FixtureRequest) -> str:
    """Where a test's `place` is; a test may want other ones."""
    return request.param


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files go up in parts from the size on that S3's smallest part has."""
    monkeypatch.setattr(storage, "PARTS_FROM_BYTES", 5 * MIB)
    monkeypatch.setattr(storage, "PART_BYTES", 5 * MIB)


def random_file(path: Path) -> Path:
    """A file of three such parts."""
    path.write_bytes(os.urandom(10 * MIB + 7))
    return path


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def leftovers(cache: Path) -> list[Path]:
    """All files of a cache but its locks, which stay."""
    return [path for path in files_below(cache) if path.parent.name != "locks"]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


@contextmanager
def child(script: str, *arguments: str) -> Generator[subprocess.Popen[str], None, None]:
    """A Python process that runs `script`; it is killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], what: object) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(what) + "\n")


def kill_writer(
    bucket: Place,
    script: str,
    source: Path,
    stop: Callable[[bytes], bytes],
    half: threading.Event,
    killed: threading.Event,
) -> None:
    """Run a script that uploads `source`, and kill it when `stop`, which sees all that it sends,
    says that it is half done; then `stop` is told."""
    with proxy(bucket.endpoint) as front:
        front.asked = stop
        job = json.dumps({**vars(bucket), "endpoint": front.endpoint})
        with child(script, job, str(source)) as writer:
            assert half.wait(PATIENCE)
            writer.send_signal(signal.SIGKILL)
            assert writer.wait(PATIENCE) == -signal.SIGKILL
            killed.set()


class TestContract:
    """What all stores promise."""

    def test_an_object_is_written_once(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"third")

        assert store.put("a/b", b"first")
        assert not store.put("a/b", b"second")
        assert not store.put_file("a/b", source)
        assert store.read("a/b") == b"first"

    @pytest.mark.parametrize("data", [b"", b"\x00\xff" * 3, b"x" * (3 * MIB + 1)])
    def test_bytes_come_back_as_they_went(self, store: Store, tmp_path: Path, data: bytes) -> None:
        source = tmp_path / "source"
        source.write_bytes(data)

        assert store.put("put.bin", data)
        assert store.put_file("deep/er/file.bin", source)
        for key in ("put.bin", "deep/er/file.bin"):
            assert store.read(key) == data
            local = store.local(key)
            assert local.read_bytes() == data
            with store.opened(key) as file:
                assert file.read() == data
            assert local.name == key.rpartition("/")[2]
            assert storage.digest_file(local) == storage.digest(data)

    def test_a_large_file_comes_back_as_it_went(
        self, store: Store, tmp_path: Path, small_parts: None
    ) -> None:
        source = random_file(tmp_path / "source")

        assert store.put_file("model.keras", source)
        assert not store.put_file("model.keras", source)
        assert store.read("model.keras") == source.read_bytes()
        assert store.local("model.keras").read_bytes() == source.read_bytes()

    def test_what_is_not_there_is_bad_input_that_names_it(self, store: Store) -> None:
        assert not store.exists("a/b.json")
        assert store.tagged("a/b.json") is None
        for ask in (store.read, store.local, lambda key: store.opened(key).__enter__()):
            with pytest.raises(BadInput, match=r"there is no a/b\.json in the store .*run the"):
                ask("a/b.json")

    def test_a_folder_is_not_an_object(self, store: Store) -> None:
        store.put("a/b/c", b"")

        assert store.exists("a/b/c")
        assert not store.exists("a/b")
        assert store.tagged("a/b") is None

    def test_keys_are_listed_sorted_and_by_whole_folders(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "PAGE", 2)  # several pages of S3's answer
        keys = ["a/b/2", "a/b/10", "a/b/deep/1", "a/b/ü 1.json", "a/bc/1", "a/b-c", "z"]
        for key in keys:
            store.put(key, b"")

        assert store.list("a/b") == sorted(["a/b/2", "a/b/10", "a/b/deep/1", "a/b/ü 1.json"])
        assert store.list("a/b/") == store.list("a/b")
        assert store.list("") == sorted(keys)
        assert store.list("a/b/c") == []

    def test_only_what_lies_in_the_store_is_listed(self, place: Place) -> None:
        place.open().put("inside", b"")
        beside = Place(f"{place.url}-beside", place.endpoint, place.credentials, place.cache)
        beside.open().put("outside", b"")

        assert place.open().list("") == ["inside"]

    def test_a_pointer_moves_only_from_the_state_that_was_seen(self, store: Store) -> None:
        assert store.swap("champion.json", b"one", None)
        assert not store.swap("champion.json", b"two", None)
        data, tag = store.tagged("champion.json") or (b"", "")
        assert data == b"one"

        assert store.swap("champion.json", b"two", tag)
        assert not store.swap("champion.json", b"three", tag)
        assert store.read("champion.json") == b"two"

    def test_a_pointer_that_is_gone_does_not_move(self, store: Store) -> None:
        assert not store.swap("models/x/champion.json", b"new", '"tag of an earlier life"')
        assert store.list("") == []

    def test_what_was_removed_is_gone_and_can_be_written_again(self, store: Store) -> None:
        store.put("checkpoints/a/state", b"first")
        store.put("checkpoints/b/state", b"other")
        store.local("checkpoints/a/state")

        store.remove("checkpoints/a/state")
        assert not store.exists("checkpoints/a/state")
        assert store.tagged("checkpoints/a/state") is None
        with pytest.raises(BadInput, match="there is no checkpoints/a/state"):
            store.local("checkpoints/a/state")
        assert store.list("") == ["checkpoints/b/state"]

        assert store.put("checkpoints/a/state", b"second")
        assert store.local("checkpoints/a/state").read_bytes() == b"second"

    def test_removing_what_is_not_there_does_nothing(self, store: Store) -> None:
        store.put("a/b/c", b"x")

        for key in ("a/b", "a/b/d", "nothing"):
            store.remove(key)
        store.remove("a/b/c")
        store.remove("a/b/c")
        assert store.list("") == []

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/./b",
            ".hidden",
            "a/.part",
            "a\\b",
            "a\nb",
            "a\0b",
            "x" * 201,
            "ü" * 101,
            "/".join(["x" * 100] * 9),
            "\udc80",
        ],
    )
    def test_keys_that_other_stores_would_read_otherwise_are_refused(
        self, store: Store, tmp_path: Path, key: str
    ) -> None:
        source = tmp_path / "source"
        source.touch()
        calls: list[Callable[[], object]] = [
            partial(store.put, key, b""),
            partial(store.put_file, key, source),
            partial(store.swap, key, b"", None),
            partial(store.swap, key, b"", "tag"),
            *(
                partial(ask, key)
                for ask in (
                    store.read,
                    lambda key: store.opened(key).__enter__(),
                    store.exists,
                    store.local,
                    store.tagged,
                    store.remove,
                    store.link,
                )
            ),
        ]
        for call in calls:
            with pytest.raises(BadInput, match="a key is a relative path"):
                call()

    def test_a_missing_source_file_is_bad_input(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"file .*nothing\.h5 cannot be read: No such file"):
            store.put_file("a", tmp_path / "nothing.h5")

    def test_the_url_opens_the_same_store(self, place: Place) -> None:
        place.open().put("a", b"x")
        place.url = place.open().url

        assert place.open().read("a") == b"x"

    def test_the_link_leads_to_the_object(self, place: Place) -> None:
        link = place.open().link("a/b.json")

        assert link.removeprefix("file://") == f"{place.url}/a/b.json".removeprefix("file://")

    def test_a_copy_is_this_users_alone_and_its_digest_that_of_the_copied_bytes(
        self, store: Store, tmp_path: Path
    ) -> None:
        store.put("a/b", b"bytes")
        found = storage.copied(store, "a/b", tmp_path / "copy", storage.digest(b"bytes"))
        assert found == storage.digest(b"bytes")
        assert (tmp_path / "copy").read_bytes() == b"bytes"
        assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600

    def test_of_bytes_that_are_not_what_was_expected_there_is_no_copy(
        self, store: Store, tmp_path: Path
    ) -> None:
        store.put("a/b", b"other")
        with pytest.raises(BadInput, match=r"a/b .* is not what it was"):
            storage.copied(store, "a/b", tmp_path / "copy", storage.digest(b"bytes"))
        assert not (tmp_path / "copy").exists()


RACER = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from skin_pipeline.storage import open_store

name, folder = sys.argv[1:]

def race(heat, store, start, thread):
    data = heat["data"] or f"{name}-{thread} in heat {heat['number']}"
    source = Path(folder) / f"{name}-{thread}"
    source.write_text(data)
    start.wait(300)
    if heat["by"] == "put_file":
        return data, store.put_file(heat["key"], source)
    if heat["by"] == "put":
        return data, store.put(heat["key"], data.encode())
    return data, store.swap(heat["key"], data.encode(), heat["tag"])

with ThreadPoolExecutor(5) as pool:
    for line in sys.stdin:
        heat = json.loads(line)
        place = heat["place"]
        store = open_store(place["url"], endpoint=place["endpoint"],
                           credentials=place["credentials"])
        start = threading.Barrier(heat["threads"])
        each = partial(race, heat, store, start)
        results = pool.map(each, range(heat["threads"]))
        print(json.dumps([data for data, won in results if won]), flush=True)
"""


class TestRaces:
    """Four processes with one thread each, or with five."""

    @pytest.fixture(params=["folder", "bucket"])  # not moto, which lives in one process only
    def backend(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.fixture(scope="class")
    def racers(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[list[subprocess.Popen[str]]]:
        folder = str(tmp_path_factory.mktemp("racers"))
        with ExitStack() as stack:
            yield [stack.enter_context(child(RACER, f"racer {n}", folder)) for n in range(4)]

    @pytest.fixture
    def heat(self, racers: list[subprocess.Popen[str]], place: Place) -> Callable[..., list[str]]:
        """A function that runs one race and gives the data of everyone who won it."""
        numbers = count()

        def run(
            by: str, key: str, tag: str | None = None, *, threads: int = 1, data: str = ""
        ) -> list[str]:
            heat = {
                "by": by,
                "key": key,
                "tag": tag,
                "threads": threads,
                "data": data,
                "number": next(numbers),
                "place": vars(place),
            }
            for racer in racers:
                tell(racer, heat)
            return [won for racer in racers for won in json.loads(told(racer))]

        return run

    @pytest.mark.parametrize(("by", "heats"), [("put", (1, 1, 1, 5)), ("put_file", (1, 1, 1, 1))])
    def test_one_of_many_writers_wins(
        self,
        heat: Callable[..., list[str]],
        store: Store,
        tmp_path: Path,
        by: str,
        heats: tuple[int, ...],
    ) -> None:
        for number, threads in enumerate(heats):
            winners = heat(by, f"heat/{number}", threads=threads)
            assert len(winners) == 1, winners
            assert store.read(f"heat/{number}") == winners[0].encode()
        assert len(heat(by, "heat/same", data="the same bytes from everyone")) == 1

        assert store.list("heat") == ["heat/0", "heat/1", "heat/2", "heat/3", "heat/same"]
        assert not list(tmp_path.rglob("*.part"))

    def test_one_of_many_swaps_wins_each_round(
        self, heat: Callable[..., list[str]], store: Store, tmp_path: Path
    ) -> None:
        tag = None
        for threads in (1, 1, 1, 5):
            winners = heat("swap", "models/champion.json", tag, threads=threads)
            assert len(winners) == 1, winners
            data, tag = store.tagged("models/champion.json") or (b"", "")
            assert data == winners[0].encode()

        assert store.list("") == ["models/champion.json"]
        assert not list(tmp_path.rglob("*.part"))

    def test_no_move_is_lost(self, store: Store) -> None:
        store.swap("count", b"0", None)

        def add_one(_: int) -> None:
            moved = False
            while not moved:
                data, tag = store.tagged("count") or (b"", "")
                moved = store.swap("count", b"%d" % (int(data) + 1), tag)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add_one, range(20)))
        assert store.read("count") == b"20"


class TestFolderFaults:
    @pytest.mark.parametrize(
        "below", ["regular-file", "regular-file/deeper", "/proc/skin-pipeline"]
    )
    def test_a_folder_that_cannot_be_made_is_bad_input(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "regular-file").write_text("not a folder")
        store = FolderStore(tmp_path / below)
        source = tmp_path / "source"
        source.touch()

        for write in (
            partial(store.put, "a/b", b""),
            partial(store.put_file, "a/b", source),
            partial(store.swap, "a/b", b"", "tag"),
        ):
            with pytest.raises(BadInput, match=r"cannot be used: .*SKIN_STORE") as caught:
                write()
            assert str(tmp_path / below) in str(caught.value)

    @pytest.mark.parametrize(
        ("number", "kind"), [(errno.EIO, Unavailable), (errno.EACCES, BadInput)]
    )
    def test_a_removal_that_the_disk_refuses_is_told(
        self,
        folder: FolderStore,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
        kind: type[PipelineError],
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        folder.put("a", b"x")
        monkeypatch.setattr(os, "unlink", refuse)
        with pytest.raises(kind, match=str(folder.root)):
            folder.remove("a")
        assert folder.read("a") == b"x"

    @pytest.mark.parametrize(
        ("number", "kind", "words"),
        [
            (errno.ENOSPC, Unavailable, "no space left for .*SKIN_STORE"),
            (errno.EDQUOT, Unavailable, "no space left for .*SKIN_STORE"),
            *((number, Unavailable, "does not answer") for number in sorted(storage.PASSING)),
            (errno.EACCES, BadInput, "cannot be used: .*SKIN_STORE"),
            (errno.EROFS, BadInput, "cannot be used: .*SKIN_STORE"),
        ],
    )
    def test_a_failed_write_leaves_nothing_behind(
        self,
        folder: FolderStore,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
        kind: type[PipelineError],
        words: str,
    ) -> None:
        folder.swap("champion.json", b"old", None)
        _, tag = folder.tagged("champion.json") or (b"", "")

        def fail(_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        for write in (
            partial(folder.put, "new/one", b"x" * MIB),
            partial(folder.swap, "champion.json", b"new", tag),
        ):
            with pytest.raises(kind, match=words):
                write()

        assert folder.list("") == ["champion.json"]
        assert folder.read("champion.json") == b"old"
        assert not list(folder.root.rglob("*.part"))

    def test_a_writer_killed_in_the_middle_leaves_nothing_visible(
        self, folder: FolderStore, tmp_path: Path
    ) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)  # a file that does not end until we say so
        script = (
            "import sys; from pathlib import Path; from skin_pipeline.storage import open_store\n"
            "open_store(sys.argv[1]).put_file('models/big.keras', Path(sys.argv[2]))"
        )
        with child(script, folder.url, str(pipe)) as writer, pipe.open("wb") as source:
            source.write(b"x" * (8 * MIB))
            wait_until(lambda: sum(p.stat().st_size for p in files_below(folder.root)) > 4 * MIB)
            writer.send_signal(signal.SIGKILL)
            assert writer.wait(PATIENCE) == -signal.SIGKILL

            assert folder.list("") == []
            assert not folder.exists("models/big.keras")
        assert folder.put("models/big.keras", b"whole")
        assert folder.read("models/big.keras") == b"whole"

    def test_drafts_of_killed_writers_are_swept_up(self, folder: FolderStore) -> None:
        folder.put("models/a", b"")
        old, new = (folder.root / "models" / name for name in (".old.part", ".new.part"))
        old.touch()
        new.touch()
        os.utime(old, (0, time.time() - storage.ABANDONED_SECONDS - 1))

        folder.put("models/b", b"")
        assert not old.exists()
        assert new.exists()

    def test_a_killed_process_does_not_keep_its_lock(self, folder: FolderStore) -> None:
        folder.swap("champion.json", b"old", None)
        _, tag = folder.tagged("champion.json") or (b"", "")
        script = (
            "import sys; from pathlib import Path; from skin_pipeline import beneath, storage\n"
            "with beneath.at(Path(sys.argv[1]), 'champion.json') as place:\n"
            "    with storage._locked(place):\n"
            "        print('locked', flush=True); sys.stdin.read()"
        )
        with child(script, str(folder.root)) as holder:
            assert told(holder) == "locked"
            with ThreadPoolExecutor(1) as pool:
                swap = pool.submit(folder.swap, "champion.json", b"new", tag)
                holder.kill()
                assert swap.result(PATIENCE)
        assert folder.read("champion.json") == b"new"

    @pytest.mark.parametrize(("ours", "won"), [(True, True), (False, False)])
    def test_a_name_that_exists_by_a_repeated_request_is_our_own(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch, ours: bool, won: bool
    ) -> None:
        link = os.link

        def lose_answer(draft: str, target: str, **how: Any) -> None:
            if ours:  # a network disk did it, and its answer was lost
                link(draft, target, **how)
            else:
                (folder.root / target).write_bytes(b"another's")
            raise FileExistsError(errno.EEXIST, "File exists")

        monkeypatch.setattr(os, "link", lose_answer)
        assert folder.put("a", b"ours") is won
        assert folder.read("a") == (b"ours" if ours else b"another's")

    def test_a_disk_that_cannot_sync_folders_is_used_and_one_that_fails_is_not(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fsync, number = os.fsync, [errno.EINVAL]

        def refuse(handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(number[0], os.strerror(number[0]))
            fsync(handle)

        monkeypatch.setattr(os, "fsync", refuse)
        assert folder.put("a", b"x")  # a network disk that does it by itself
        number[0] = errno.EIO
        with pytest.raises(Unavailable, match="does not answer"):
            folder.put("b", b"x")

    def test_a_lock_ends_with_its_block_though_a_child_was_forked_meanwhile(
        self, folder: FolderStore
    ) -> None:
        folder.put("a", b"x")
        target = Path(folder.link("a"))
        done, over = os.pipe()
        with beneath.at(folder.root, "a") as place, storage._locked(place):
            child = os.fork()
            if child == 0:  # it inherits the open lock, and outlives the block
                os.close(over)
                os.read(done, 1)
                os._exit(0)
        try:
            with target.with_name(".a.lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(over)
            os.close(done)
            os.waitpid(child, 0)

    def test_bytes_are_on_the_disk_before_their_name_and_the_name_before_the_answer(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.swap("models/champion.json", b"old", None)
        done: list[str] = []
        fsync, link, replace = os.fsync, os.link, os.replace

        def synced(handle: int) -> None:
            done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
            fsync(handle)

        def linked(*where: Any, **how: Any) -> None:
            done.append("named")
            link(*where, **how)

        def replaced(*where: Any, **how: Any) -> None:
            done.append("named")
            replace(*where, **how)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "link", linked)
        monkeypatch.setattr(os, "replace", replaced)
        folder.put("models/new", b"x")
        assert done == ["file", "named", "folder"]
        done.clear()
        _, tag = folder.tagged("models/champion.json") or (b"", "")
        assert folder.swap("models/champion.json", b"new", tag)
        assert done == ["file", "named", "folder"]

    def test_a_disk_without_hard_links_keeps_the_promise(
        self, folder: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        asked: list[int] = []
        came: list[str] = []
        flock, replace = fcntl.flock, os.replace

        def ask(file: BinaryIO, how: int) -> None:
            if how == fcntl.LOCK_EX:
                asked.append(how)
            flock(file, how)

        def wait_for_another(draft: str, target: str, **how: Any) -> None:
            came.append(draft)
            # A second writer that came this far would win as well; else all stand before the lock.
            wait_until(lambda: len(came) > 1 or len(asked) == 20)
            replace(draft, target, **how)

        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(fcntl, "flock", ask)
        monkeypatch.setattr(os, "replace", wait_for_another)
        together = threading.Barrier(20)

        def put(number: int) -> bool:
            together.wait(PATIENCE)
            return folder.put("a", b"%d" % number)

        with ThreadPoolExecutor(20) as pool:
            won = list(pool.map(put, range(20)))
        assert won.count(True) == 1
        assert folder.read("a") == b"%d" % won.index(True)
        assert folder.list("") == ["a"]


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def assert_untold(secret: str, error: BaseException) -> None:
    """`secret` is nowhere in the error, what led to it, or its traceback."""
    told = "".join(traceback.format_exception(error))
    told += "".join(f"{each} {each!r} {vars(each)}" for each in chain_of(error))
    assert secret not in told


def every_call(store: Store, source: Path) -> list[Callable[[], object]]:
    return [
        partial(store.exists, "a"),
        partial(store.read, "a"),
        partial(store.local, "a"),
        partial(store.tagged, "a"),
        partial(store.list, ""),
        partial(store.put, "a", b""),
        partial(store.put_file, "a", source),
        partial(store.swap, "a", b"", None),
        partial(store.remove, "a"),
    ]


@contextmanager
def web_page(status: int) -> Generator[str, None, None]:
    """The address of a web server that answers everything with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html><p>Welcome")

        def do_PUT(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((HOST, 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class TestS3Faults:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        path = tmp_path / "source"
        path.write_bytes(b"x")
        return path

    def test_a_wrong_secret_is_bad_input_that_never_tells_it(
        self, bucket: Place, source: Path
    ) -> None:
        secret = "not-the-secret-7d20"
        bucket.credentials["aws_secret_access_key"] = secret

        for call in every_call(bucket.open(), source):
            with pytest.raises(BadInput, match=r"credentials are wrong.*SKIN_STORE_CONN") as caught:
                call()
            assert bucket.endpoint in str(caught.value)
            assert_untold(secret, caught.value)

    @pytest.mark.parametrize(
        ("variables", "secret"),
        [
            ({}, "nothing"),
            ({"AWS_ACCESS_KEY_ID": "half"}, "nothing"),
            (
                {
                    "AWS_ACCESS_KEY_ID": "a",
                    "AWS_SECRET_ACCESS_KEY": "s-5e1f",
                    "AWS_SESSION_TOKEN": "two\nlines-5e1f",
                },
                "5e1f",
            ),
        ],
    )
    def test_bad_credentials_in_the_environment_are_bad_input(
        self,
        bucket: Place,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        variables: dict[str, str],
        secret: str,
    ) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        bucket.credentials = {}

        with pytest.raises(BadInput, match=r"credentials.*AWS_ACCESS_KEY_ID") as caught:
            bucket.open().put("a", b"")
        assert_untold(secret, caught.value)

    def test_a_missing_bucket_is_bad_input(self, bucket: Place, source: Path) -> None:
        bucket.url = "s3://no-such-bucket/models"

        for call in every_call(bucket.open(), source):
            with pytest.raises(BadInput, match=r"'no-such-bucket' at .*no such bucket.*SKIN_STORE"):
                call()

    def test_an_identity_that_may_only_read_gets_bad_input_when_it_writes(
        self, bucket: Place, s3_server: S3Server, source: Path
    ) -> None:
        bucket.open().put("there", b"x")
        bucket.credentials = s3_server.reader_credentials
        store = bucket.open()

        assert store.read("there") == b"x"
        for write in (
            partial(store.put, "a", b""),
            partial(store.put_file, "a", source),
            partial(store.swap, "there", b"", (store.tagged("there") or ("", ""))[1]),
            partial(store.remove, "there"),
        ):
            with pytest.raises(BadInput, match="credentials do not allow it") as caught:
                write()
            assert_untold(s3_server.reader_secret, caught.value)
        assert store.list("") == ["there"]

    def test_a_dead_endpoint_is_unavailable(
        self, bucket: Place, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "ATTEMPTS", 1)
        bucket.endpoint = f"http://{HOST}:{free_ports(1)[0]}"

        for call in every_call(bucket.open(), source):
            with pytest.raises(Unavailable, match=r"no answer \(EndpointC.*SKIN_S3_END") as caught:
                call()
            assert_untold(bucket.credentials["aws_secret_access_key"], caught.value)

    def test_a_silent_endpoint_is_unavailable(
        self, bucket: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "ATTEMPTS", 1)
        monkeypatch.setattr(storage, "READ_SECONDS", 0.2)
        with proxy(bucket.endpoint) as front:
            release = threading.Event()
            front.answered = lambda chunk: chunk if release.wait(PATIENCE) else b""
            bucket.endpoint = front.endpoint
            with pytest.raises(Unavailable, match=r"no answer \(ReadTimeoutError\)"):
                bucket.open().local("a")
            release.set()

    @pytest.mark.parametrize("status", [200, 403, 404])
    def test_a_web_server_is_not_taken_for_s3(
        self, bucket: Place, source: Path, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        monkeypatch.setattr(storage, "ATTEMPTS", 1)
        with web_page(status) as bucket.endpoint:
            for call in every_call(bucket.open(), source):
                # boto3 takes a page in place of a list for a fault that may pass.
                with pytest.raises((BadInput, Unavailable), match=bucket.endpoint):
                    call()

    @pytest.mark.parametrize(
        ("status", "code", "kind", "words"),
        [
            (403, "AccessDenied", BadInput, "do not allow it"),
            (403, "InvalidAccessKeyId", BadInput, "credentials are wrong"),
            (400, "ExpiredToken", Unavailable, "session token has expired"),
            (403, "RequestTimeTooSkewed", BadInput, "clock"),
            (404, "NoSuchBucket", BadInput, "no such bucket"),
            (301, "PermanentRedirect", BadInput, "another region"),
            (400, "AuthorizationHeaderMalformed", BadInput, "another region"),
            (501, "NotImplemented", BadInput, "conditional writes.*SKIN_S3_ENCRYPTION"),
            (400, "KMS.NotFoundException", BadInput, "encryption key.*SKIN_S3_KMS_KEY"),
            (400, "KMS.DisabledException", BadInput, "encryption key.*switched off"),
            (400, "KMS.KMSInvalidStateException", BadInput, "encryption key.*Mend the key"),
            (400, "InvalidArgument", BadInput, "SKIN_S3_ENCRYPTION and SKIN_S3_KMS_KEY"),
            (400, "InvalidEncryptionAlgorithmError", BadInput, "SKIN_S3_ENCRYPTION"),
            (400, "InvalidStorageClass", BadInput, "no such storage class.*SKIN_S3_STORAGE_CLASS"),
            (400, "InvalidRequest", BadInput, "refused it"),
            (503, "SlowDown", Unavailable, "busy"),
            (500, "InternalError", Unavailable, "busy or out of order"),
            (502, "502", Unavailable, "busy or out of order"),
            (429, "TooManyRequests", Unavailable, "busy"),
            (400, "RequestTimeout", Unavailable, "busy"),
        ],
    )
    def test_each_refusal_says_what_to_do(
        self, bucket: Place, status: int, code: str, kind: type[PipelineError], words: str
    ) -> None:
        store = bucket.open()
        assert isinstance(store, S3Store)
        with Stubber(store._client) as answers:
            answers.add_client_error("put_object", code, http_status_code=status)
            with pytest.raises(kind, match=words) as caught:
                store.put("a", b"")
        assert f"({code})" in str(caught.value)
        assert repr(store.bucket) in str(caught.value)

    def test_an_object_that_comes_and_goes_while_it_is_written_is_unavailable(
        self, bucket: Place
    ) -> None:
        store = bucket.open()
        assert isinstance(store, S3Store)
        with Stubber(store._client) as answers:
            answers.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
            answers.add_client_error("head_object", "404", http_status_code=404)
            with pytest.raises(Unavailable, match="was changing while it was written"):
                store.put("a", b"")

    def test_a_lost_answer_does_not_hide_a_success(self, bucket: Place) -> None:
        with proxy(bucket.endpoint) as front:
            bucket.endpoint = front.endpoint
            store = bucket.open()
            lost: list[bytes] = []

            def lose_first(chunk: bytes) -> bytes:
                if lost or not chunk.startswith(b"HTTP/1.1 200"):
                    return chunk
                lost.append(chunk)
                return b""

            front.answered = lose_first
            assert store.put("a", b"1")
            assert lost
            _, tag = store.tagged("a") or (b"", "")
            lost.clear()
            assert store.swap("a", b"2", tag)
            assert lost
            assert not store.swap("a", b"2", tag)

    def test_a_download_that_is_cut_off_leaves_no_copy(self, bucket: Place, tmp_path: Path) -> None:
        bucket.open().put("model.keras", b"x" * MIB)
        with proxy(bucket.endpoint) as front:
            bucket.endpoint = front.endpoint
            store = bucket.open()
            passed: list[int] = []

            def cut(chunk: bytes) -> bytes:
                passed.append(len(chunk))
                return chunk if sum(passed) < MIB // 2 else b""

            front.answered = cut
            with pytest.raises(Unavailable, match="cannot read model"):
                store.local("model.keras")
            assert leftovers(tmp_path / "cache") == []
            front.answered = bytes
            assert store.local("model.keras").read_bytes() == b"x" * MIB

    def test_damaged_bytes_are_noticed(self, bucket: Place, tmp_path: Path) -> None:
        bucket.open().put("model.keras", b"good bytes")
        with proxy(bucket.endpoint) as front:
            bucket.endpoint = front.endpoint
            store = bucket.open()
            front.answered = lambda chunk: chunk.replace(b"good bytes", b"evil bytes")
            for read in (store.read, store.local):
                with pytest.raises(Unavailable, match="did not arrive whole"):
                    read("model.keras")
        assert leftovers(tmp_path / "cache") == []

    def test_a_writer_killed_in_the_middle_leaves_nothing_visible(
        self, bucket: Place, tmp_path: Path
    ) -> None:
        source = tmp_path / "big"
        source.write_bytes(b"x" * (8 * MIB))
        script = (
            "import json, sys; from pathlib import Path; from skin_pipeline.storage import *\n"
            "job = json.loads(sys.argv[1])\n"
            "store = open_store(job['url'], endpoint=job['endpoint'],\n"
            "                   credentials=job['credentials'])\n"
            "store.put_file('models/big.keras', Path(sys.argv[2]))"
        )
        half, killed = threading.Event(), threading.Event()
        sent: list[int] = []

        def stop_half_way(chunk: bytes) -> bytes:
            sent.append(len(chunk))
            if sum(sent) < 4 * MIB:
                return chunk
            half.set()
            killed.wait(PATIENCE)
            return b""

        kill_writer(bucket, script, source, stop_half_way, half, killed)

        store = bucket.open()
        assert not store.exists("models/big.keras")
        assert store.list("") == []
        assert store.put_file("models/big.keras", source)

    def test_a_file_too_large_for_s3_is_bad_input(
        self, bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "LARGEST_BYTES", 8)
        source = tmp_path / "huge"
        source.write_bytes(b"123456789")

        with pytest.raises(BadInput, match=r"huge has 9 bytes; S3 takes at most 8 in one object"):
            bucket.open().put_file("huge", source)

    def test_a_request_is_sent_a_few_times_and_waits_as_long_as_it_should(
        self, bucket: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pause = "botocore.retries.standard.ExponentialBackoff.delay_amount"
        monkeypatch.setattr(pause, lambda *_: 0)
        monkeypatch.setattr(storage, "CONNECT_SECONDS", 3)
        monkeypatch.setattr(storage, "READ_SECONDS", 4)
        with faulty.faulty(bucket.endpoint) as front:
            bucket.endpoint = front.endpoint
            store = bucket.open()
            front.strike(faulty.slow_down, range(1, 100))
            with pytest.raises(Unavailable):
                store.read("a")
            assert 3 <= front.requests == storage.ATTEMPTS
        assert isinstance(store, S3Store)
        config = store._client.meta.config
        assert (config.connect_timeout, config.read_timeout) == (3, 4)


def calls_of(store: Store, operation: str) -> list[str]:
    """A list that grows by one with each call of this store to an operation of S3."""
    assert isinstance(store, S3Store)
    seen: list[str] = []

    def note(params: dict[str, object], **_: object) -> None:
        seen.append(str(params["url_path"]))

    store._client.meta.events.register(f"before-call.s3.{operation}", note)
    return seen


downloads_of = partial(calls_of, operation="GetObject")


def client_of(place: Place) -> Any:
    """A client of its own to what is behind a store."""
    return boto3.client("s3", endpoint_url=place.endpoint or None, **place.credentials)


def where(place: Place, key: str) -> dict[str, str]:
    """Bucket and key of an object, as S3's operations want them."""
    bucket, _, prefix = place.url.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": f"{prefix}/{key}".lstrip("/")}


def uploads_in(place: Place) -> list[str]:
    """The keys of all uploads in parts that were begun below a place and not ended."""
    bucket, prefix = where(place, "").values()
    found = client_of(place).list_multipart_uploads(Bucket=bucket, Prefix=prefix)
    return [upload["Key"].removeprefix(prefix) for upload in found.get("Uploads", ())]


def once(store: Store, event: str, do: Callable[[], object]) -> None:
    """Have `do` done at the next event, such as `before-call.s3.PutObject`, of a store's client."""
    assert isinstance(store, S3Store)
    left = [do]

    def handle(**_: object) -> None:
        if left:
            left.pop()()

    store._client.meta.events.register(event, handle)


COMPLETING, COMPLETED = (f"{when}-call.s3.CompleteMultipartUpload" for when in ("before", "after"))


@pytest.mark.usefixtures("small_parts")
class TestLargeFiles:
    """Files that go up in parts."""

    @pytest.fixture(params=["bucket", "aws"])
    def backend(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return random_file(tmp_path / "source")

    def test_what_is_there_is_not_sent_again(self, store: Store, source: Path) -> None:
        store.put("model.keras", b"first")
        begun = calls_of(store, "CreateMultipartUpload")

        assert not store.put_file("model.keras", source)
        assert begun == []
        assert store.read("model.keras") == b"first"
        assert store.put_file("other.keras", source)
        assert len(begun) == 1

    def test_who_completes_second_changes_nothing_and_leaves_nothing(
        self, place: Place, source: Path, tmp_path: Path
    ) -> None:
        faster = random_file(tmp_path / "faster")
        store, other = place.open(), place.open()
        won: list[bool] = []
        once(store, COMPLETING, lambda: won.append(other.put_file("model.keras", faster)))

        assert not store.put_file("model.keras", source)
        assert won == [True]
        assert store.local("model.keras").read_bytes() == faster.read_bytes()
        assert uploads_in(place) == []

    def test_whose_bytes_were_replaced_at_once_did_not_write_them(
        self, place: Place, store: Store, source: Path
    ) -> None:
        other = partial(client_of(place).put_object, **where(place, "a"), Metadata={"writer": "x"})
        once(store, COMPLETED, other)

        assert not store.put_file("a", source)

    def test_damage_in_the_store_is_noticed(
        self, place: Place, store: Store, source: Path, tmp_path: Path
    ) -> None:
        store.put_file("model.keras", source)
        client, model = client_of(place), where(place, "model.keras")
        metadata = client.head_object(**model)["Metadata"]
        damaged = bytearray(source.read_bytes())
        damaged[7 * MIB] ^= 1
        client.put_object(**model, Body=bytes(damaged), Metadata=metadata)

        for read in (store.local, store.read):
            with pytest.raises(Unavailable, match=r"did not arrive whole.*remove the object"):
                read("model.keras")
        assert leftovers(tmp_path / "cache") == []


@pytest.mark.usefixtures("small_parts")
class TestLargeFileFaults:
    """Files that go up in parts to a real server, and what may happen on the way."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return random_file(tmp_path / "source")

    def test_of_writers_at_once_the_last_one_has_won(self, bucket: Place, tmp_path: Path) -> None:
        together = threading.Barrier(2)

        def write(name: str) -> bytes:
            source = random_file(tmp_path / name)
            store = bucket.open()
            once(store, COMPLETING, partial(together.wait, PATIENCE))
            return source.read_bytes() if store.put_file("model.keras", source) else b""

        with ThreadPoolExecutor(2) as pool:
            winners = list(pool.map(write, ["one", "two"]))
        # Not always a single one: seaweedfs may let both complete it.
        assert bucket.open().read("model.keras") in [data for data in winners if data]
        assert uploads_in(bucket) == []

    def test_damage_on_the_way_is_noticed(self, bucket: Place, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"good bytes" * MIB)
        assert bucket.open().put_file("model.keras", source)
        with proxy(bucket.endpoint) as front:
            bucket.endpoint = front.endpoint
            store = bucket.open()
            front.answered = lambda chunk: chunk.replace(b"good bytes", b"evil bytes")
            for read in (store.read, store.local):
                with pytest.raises(Unavailable, match="did not arrive whole"):
                    read("model.keras")
        assert leftovers(tmp_path / "cache") == []

    def test_a_lost_answer_does_not_hide_a_success(self, bucket: Place, source: Path) -> None:
        lost: list[bytes] = []
        with proxy(bucket.endpoint) as front:
            bucket.endpoint = front.endpoint
            store = bucket.open()

            def lose_first(chunk: bytes) -> bytes:
                if lost or not chunk.startswith(b"HTTP/1.1 200"):
                    return chunk
                lost.append(chunk)
                return b""

            once(store, COMPLETING, lambda: setattr(front, "answered", lose_first))
            assert store.put_file("a", source)
            assert lost
            assert store.read("a") == source.read_bytes()

    def test_a_cut_connection_leaves_no_part(
        self, bucket: Place, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "ATTEMPTS", 2)
        place, cut = replace(bucket), []

        def cut_second_part(chunk: bytes) -> bytes:
            if b"partNumber=2" not in chunk:
                return chunk
            cut.append(chunk)
            return b""

        with proxy(bucket.endpoint) as front:
            front.asked = cut_second_part
            bucket.endpoint = front.endpoint
            with pytest.raises(
                Unavailable, match=r"cannot write model\.keras .*no answer"
            ) as caught:
                bucket.open().put_file("model.keras", source)

        assert len(cut) == 2  # a part is sent again as often as any request
        assert {type(error).__module__ for error in chain_of(caught.value)} == {
            "skin_pipeline.errors"
        }
        assert place.open().list("") == []
        assert uploads_in(place) == []

    def test_a_writer_killed_in_the_middle_leaves_parts_that_go_when_they_are_old(
        self, bucket: Place, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = (
            "import json, sys; from pathlib import Path; from skin_pipeline import storage\n"
            "job = json.loads(sys.argv[1])\n"
            "storage.PARTS_FROM_BYTES = storage.PART_BYTES = 5 << 20\n"
            "store = storage.open_store(job['url'], endpoint=job['endpoint'],\n"
            "                           credentials=job['credentials'])\n"
            "store.put_file('models/big.keras', Path(sys.argv[2]))"
        )
        half, killed = threading.Event(), threading.Event()

        def stop_at_second_part(chunk: bytes) -> bytes:
            if b"partNumber=2" not in chunk:
                return chunk
            half.set()
            killed.wait(PATIENCE)
            return b""

        kill_writer(bucket, script, source, stop_at_second_part, half, killed)

        store = bucket.open()
        assert store.list("") == []
        assert uploads_in(bucket) == ["models/big.keras"]
        assert store.put_file("models/big.keras", source)
        assert uploads_in(bucket) == ["models/big.keras"]  # for all we know, still being written

        monkeypatch.setattr(storage, "ABANDONED_SECONDS", -1)
        assert store.put_file("models/other.keras", source)
        assert uploads_in(bucket) == []
        assert store.read("models/big.keras") == source.read_bytes()

    def test_uploads_beside_the_store_are_left_alone(
        self, bucket: Place, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "ABANDONED_SECONDS", -1)
        beside = replace(bucket, url=f"{bucket.url}-beside")
        client_of(beside).create_multipart_upload(**where(beside, "of another"))

        assert bucket.open().put_file("a", source)
        assert uploads_in(beside) == ["of another"]

    def test_old_parts_that_cannot_be_looked_for_do_not_stop_a_write(
        self, bucket: Place, source: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = bucket.open()
        assert isinstance(store, S3Store)
        refuse = ClientError({"Error": {"Code": "AccessDenied"}}, "ListMultipartUploads")
        once(store, "before-call.s3.ListMultipartUploads", partial(fail, refuse))

        assert store.put_file("a", source)
        (told,) = [text for text in caplog.messages if text.startswith("abandoned_uploads_stay")]
        assert "credentials do not allow it" in told

    def test_a_source_that_goes_away_meanwhile_is_bad_input(
        self, bucket: Place, source: Path
    ) -> None:
        store = bucket.open()
        once(store, "before-call.s3.CreateMultipartUpload", source.unlink)

        with pytest.raises(BadInput, match="source cannot be read: No such file"):
            store.put_file("a", source)
        assert store.list("") == []
        assert uploads_in(bucket) == []

    def test_an_identity_that_may_only_read_gets_bad_input(
        self, bucket: Place, s3_server: S3Server, source: Path
    ) -> None:
        bucket.credentials = s3_server.reader_credentials

        with pytest.raises(BadInput, match="credentials do not allow it") as caught:
            bucket.open().put_file("a", source)
        assert_untold(s3_server.reader_secret, caught.value)

    def test_the_largest_file_fits_into_the_parts_that_s3_takes(self) -> None:
        part = ChunksizeAdjuster().adjust_chunksize(16 * MIB, storage.LARGEST_BYTES)

        assert part <= 5 << 30
        assert storage.LARGEST_BYTES / part <= MAX_PARTS == 10_000


def fail(error: Exception) -> None:
    raise error


@pytest.mark.usefixtures("small_parts")
class TestWriting:
    """Encryption, storage class and versioning."""

    @pytest.mark.parametrize(
        ("backend", "writing", "shown"),
        [
            ("bucket", {"encryption": "AES256"}, {"ServerSideEncryption": "AES256"}),
            ("bucket", {"storage_class": "STANDARD_IA"}, {"StorageClass": "STANDARD_IA"}),
            ("bucket", {}, {}),
            ("aws", {"encryption": "AES256"}, {"ServerSideEncryption": "AES256"}),
            ("aws", {"encryption": "aws:kms"}, {"ServerSideEncryption": "aws:kms"}),
            (
                "aws",
                {"encryption": "aws:kms", "kms_key": "alias/skin", "storage_class": "ONEZONE_IA"},
                {
                    "ServerSideEncryption": "aws:kms",
                    "SSEKMSKeyId": "alias/skin",
                    "StorageClass": "ONEZONE_IA",
                },
            ),
            ("aws", {}, {}),
        ],
    )
    def test_every_kind_of_write_is_encrypted_and_classed_as_asked(
        self, place: Place, tmp_path: Path, writing: dict[str, str], shown: dict[str, str]
    ) -> None:
        store = place.open(**writing)
        small, large = tmp_path / "small", random_file(tmp_path / "large")
        small.write_bytes(b"x")
        store.put("put", b"x")
        store.put_file("small", small)
        store.put_file("large", large)
        store.swap("new", b"1", None)
        store.swap("moved", b"1", None)
        assert store.swap("moved", b"2", (store.tagged("moved") or (b"", ""))[1])

        client = client_of(place)
        for key in ("put", "small", "large", "new", "moved"):
            head = client.head_object(**where(place, key))
            names = ("ServerSideEncryption", "SSEKMSKeyId", "StorageClass")
            assert {name: head[name] for name in names if name in head} == shown, key
        assert store.local("large").read_bytes() == large.read_bytes()

    @pytest.mark.parametrize("backend", ["bucket", "aws"])
    @pytest.mark.parametrize("status", [None, "Suspended"])
    def test_a_bucket_without_versioning_is_refused_if_it_must_have_it(
        self, place: Place, tmp_path: Path, status: str | None
    ) -> None:
        bucket = new_bucket(place, status)
        store = place.open(versioned=True)
        for write in (
            partial(store.put, "a", b""),
            partial(store.put_file, "a", random_file(tmp_path / "large")),
            partial(store.swap, "a", b"", None),
        ):
            with pytest.raises(BadInput, match=f"{bucket}.*put-bucket-vers.*SKIN_S3_VERSIONING"):
                write()
        assert store.list("") == []
        assert place.open().put("a", b"")

        enable(place, bucket, "Enabled")
        assert store.put("b", b"")

    @pytest.mark.parametrize("backend", ["bucket", "aws"])
    def test_a_bucket_with_versioning_keeps_what_was_there(
        self, place: Place, tmp_path: Path
    ) -> None:
        bucket = new_bucket(place, "Enabled")
        store = place.open(versioned=True)
        asked = calls_of(store, "GetBucketVersioning")
        large = random_file(tmp_path / "large")

        assert store.put_file("a", large)
        assert not store.put_file("a", large)
        assert store.swap("pointer", b"1", None)
        assert store.swap("pointer", b"2", (store.tagged("pointer") or (b"", ""))[1])
        store.remove("a")
        assert store.list("") == ["pointer"]
        assert store.put("a", b"again")
        assert len(asked) == 1
        versions = client_of(place).list_object_versions(Bucket=bucket)["Versions"]
        keys = [version["Key"].rpartition("/")[2] for version in versions]
        assert sorted(keys) == ["a", "a", "pointer", "pointer"]

    @pytest.mark.parametrize(
        ("status", "code", "words"),
        [
            (403, "AccessDenied", "s3:GetBucketVersioning"),
            (501, "NotImplemented", "does not keep old versions"),
            (404, "NoSuchBucket", "no such bucket"),
        ],
    )
    def test_a_server_that_does_not_tell_of_versioning_is_bad_input(
        self, bucket: Place, status: int, code: str, words: str
    ) -> None:
        store = bucket.open(versioned=True)
        assert isinstance(store, S3Store)
        with Stubber(store._client) as answers:
            answers.add_client_error("get_bucket_versioning", code, http_status_code=status)
            with pytest.raises(BadInput, match=words):
                store.put("a", b"")

    def test_who_may_not_use_the_kms_key_is_told_of_it(self, bucket: Place) -> None:
        store = bucket.open(encryption="aws:kms")
        assert isinstance(store, S3Store)
        with Stubber(store._client) as answers:
            answers.add_client_error("put_object", "AccessDenied", http_status_code=403)
            with pytest.raises(BadInput, match="kms:GenerateDataKey"):
                store.put("a", b"")


def new_bucket(place: Place, status: str | None) -> str:
    """Move a place to a bucket of its own with that versioning; its name."""
    bucket = f"test-{uuid.uuid4().hex}"
    client_of(place).create_bucket(Bucket=bucket)
    place.url = f"s3://{bucket}/skin"
    if status:
        enable(place, bucket, status)
    return bucket


def enable(place: Place, bucket: str, status: str) -> None:
    versioning = {"Status": status}
    client_of(place).put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)


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
    def test_an_object_is_downloaded_once(self, bucket: Place) -> None:
        bucket.open().put("a", b"x")
        copy = bucket.open().local("a")
        bucket.endpoint = bucket.endpoint.upper().replace("HTTP", "http")
        store = bucket.open()
        assert isinstance(store, S3Store)
        with Stubber(store._client):  # refuses every request
            assert store.local("a") == copy

    def test_many_at_once_get_the_same_whole_copy_from_one_download(
        self, bucket: Place, tmp_path: Path
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

    def test_stores_that_share_a_cache_do_not_mix(self, bucket: Place) -> None:
        with proxy(bucket.endpoint) as front:
            places = [
                bucket,
                Place(f"{bucket.url}/below", bucket.endpoint, bucket.credentials, bucket.cache),
                Place(bucket.url, front.endpoint, bucket.credentials, bucket.cache),
            ]
            for place in places:
                place.open().put("a", place.url.encode())
            assert len({place.open().local("a") for place in places}) == 3

    def test_a_cache_that_cannot_be_written_is_bad_input(
        self, bucket: Place, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        bucket.cache = str(tmp_path / "file" / "cache")
        store = bucket.open()
        store.put("a", b"x")

        with pytest.raises(BadInput, match="SKIN_CACHE"):
            store.local("a")

    def test_a_default_cache_that_leads_elsewhere_is_refused(
        self, bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage.tempfile, "tempdir", str(tmp_path))
        bucket.cache = ""
        (tmp_path / "theirs").mkdir()
        (tmp_path / f"skin-pipeline-{os.getuid()}").symlink_to(tmp_path / "theirs")
        with pytest.raises(BadInput, match="name a folder of yours in SKIN_CACHE"):
            bucket.open()

    def test_the_default_cache_is_the_users_own(
        self, bucket: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage.tempfile, "tempdir", str(tmp_path))
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
    def store(self, bucket: Place) -> Store:
        bucket.cache_bytes = 250
        store = bucket.open()
        for key in "abcd":
            store.put(key, key.encode() * 100)
        return store

    @pytest.fixture
    def cache(self, store: Store) -> storage.LocalCache:
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
        monkeypatch.setattr(storage, "JUST_USED_SECONDS", 0)
        store.put("large", b"x" * 1000)
        a = store.local("a")

        assert store.local("large").is_file()
        assert not a.exists()

    def test_a_copy_that_took_long_to_reach_the_disk_is_a_fresh_one(
        self, cache: storage.LocalCache
    ) -> None:
        def fill(file: BinaryIO) -> None:
            file.write(b"x")
            file.flush()
            os.utime(file.fileno(), (LONG_AGO, LONG_AGO))

        copy = cache.get(f"{storage.digest(b'model')}/model.keras", fill)
        assert time.time() - copy.stat().st_mtime < storage.JUST_USED_SECONDS

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
        monkeypatch.delattr(Path, "iterdir")
        monkeypatch.delattr(os, "scandir")
        monkeypatch.delattr(os, "listdir")

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
        self, store: Store, cache: storage.LocalCache, monkeypatch: pytest.MonkeyPatch
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
        self, store: Store, cache: storage.LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = used(store.local("a"), 1), used(store.local("b"), 2)
        look = cache._copies

        def look_too_early() -> object:
            found = look()
            storage._unlink(a)
            return found

        monkeypatch.setattr(cache, "_copies", look_too_early)
        c = store.local("c")
        assert [copy.is_file() for copy in (a, b, c)] == [False, True, True]

    def test_a_folder_that_another_process_removes_meanwhile_is_passed_over(
        self, store: Store, cache: storage.LocalCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = store.local("a")
        store.local("b")
        stat = Path.stat

        def vanish(path: Path, **how: bool) -> os.stat_result:
            if path == gone:
                storage._unlink(gone)
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
        os.utime(draft, (0, time.time() - storage.ABANDONED_SECONDS - 1))

        store.local("b")
        assert not draft.exists()

    def test_lock_files_do_not_pile_up(self, cache: storage.LocalCache) -> None:
        for number in range(2000):
            with cache._alone(storage.digest(b"%d" % number)):
                pass

        assert len(list((cache.folder / "locks").iterdir())) <= 257

    def test_a_second_process_waits_for_the_copy_of_the_first(
        self, store: Store, bucket: Place
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

    def test_after_a_failed_download_the_next_in_line_tries(
        self, cache: storage.LocalCache
    ) -> None:
        copy = f"{storage.digest(b'model')}/model.keras"
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

    def test_a_reader_racing_an_evictor_never_fails(self, bucket: Place, store: Store) -> None:
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

    def test_a_removed_object_leaves_no_copy(self, store: Store) -> None:
        copy = store.local("a")
        store.remove("a")

        assert not copy.parent.exists()

    def test_a_removal_waits_for_a_download_so_that_no_copy_is_left(
        self, store: Store, cache: storage.LocalCache
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


class TestOpening:
    def test_place_and_bound_of_the_cache_are_settings(self, tmp_path: Path) -> None:
        deployment = Deployment(
            store="s3://bucket/x",
            s3_endpoint="http://127.0.0.1:1",
            cache=str(tmp_path),
            cache_gib=0.5,
        )
        store = job_of(Settings(), deployment).proven.inner

        assert isinstance(store, S3Store)
        assert (store.cache.folder, store.cache.bound) == (tmp_path, 1 << 29)

    def test_how_to_write_is_a_setting(self, aws: Place) -> None:
        deployment = Deployment(
            store=aws.url,
            cache=aws.cache,
            s3_encryption="aws:kms",
            s3_kms_key="alias/skin",
            s3_storage_class="STANDARD_IA",
            s3_versioning=True,
        )
        store = job_of(Settings(), deployment).store
        with pytest.raises(BadInput, match="SKIN_S3_VERSIONING"):
            store.put("a", b"")

        enable(aws, "models", "Enabled")
        assert store.put("a", b"")
        head = client_of(aws).head_object(**where(aws, "a"))
        assert (head["SSEKMSKeyId"], head["StorageClass"]) == ("alias/skin", "STANDARD_IA")

    @pytest.mark.parametrize("form", ["file://{}", "{}"])
    def test_a_folder_is_opened_and_not_yet_created(self, tmp_path: Path, form: str) -> None:
        store = open_store(form.format(tmp_path / "my store"))

        assert store.url == f"file://{tmp_path}/my store"
        assert (store.list(""), store.exists("a")) == ([], False)
        assert not (tmp_path / "my store").exists()

    @pytest.mark.parametrize("url", ["file://var/store", "var/store"])
    def test_a_relative_folder_starts_at_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        store = open_store(url)
        monkeypatch.chdir("/")

        assert store.link("a") == str(tmp_path / "var/store/a")

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "file://",
            "gs://bucket/x",
            "s3:/bucket/x",
            "S3://bucket/x",
            "https://bucket/x",
            "s3://",
            "s3:///x",
            "s3://a/x",
            "s3://buck et/x",
            "s3://bucket:1/x",
        ],
    )
    def test_what_is_neither_folder_nor_s3_is_bad_input(self, url: str) -> None:
        with pytest.raises(BadInput, match=r"SKIN_STORE must be .*s3://BUCKET/PREFIX"):
            open_store(url)

    @pytest.mark.parametrize("url", ["s3://bucket/../x", "s3://bucket/a//b"])
    def test_a_prefix_that_is_no_folder_is_bad_input(self, url: str) -> None:
        with pytest.raises(BadInput, match="a key is a relative path"):
            open_store(url)

    @pytest.mark.parametrize(
        "endpoint",
        [
            "nonsense",
            "ftp://host",
            "http://",
            "http://host:port",
            "http://host:99999",
            "http://me:hunter2@host:1",
        ],
    )
    def test_an_endpoint_that_is_no_web_address_is_bad_input(self, endpoint: str) -> None:
        with pytest.raises(BadInput, match="SKIN_S3_ENDPOINT must be") as caught:
            open_store("s3://bucket/x", endpoint=endpoint)
        assert_untold("hunter2", caught.value)

    @pytest.mark.parametrize(
        ("url", "credentials", "words"),
        [
            ("s3://key:hunter2@bucket/x", {}, "SKIN_STORE must be"),
            ("gs://key:hunter2@bucket/x", {}, "SKIN_STORE must be"),
            ("s3://bucket/x", {"aws_secret_access_key": "hunter2\n"}, "aws_secret_access_key has"),
            ("s3://bucket/x", {"aws_session_token": "hunter2 x"}, "aws_session_token has a space"),
            ("s3://bucket/x", {"password": "hunter2"}, "unknown S3 credentials password"),
            ("s3://bucket/x", {"aws_access_key_id": "hunter2"}, "only half of them"),
        ],
    )
    def test_credentials_that_cannot_be_right_are_never_repeated(
        self, url: str, credentials: dict[str, str], words: str
    ) -> None:
        with pytest.raises(BadInput, match=words) as caught:
            open_store(url, endpoint="http://127.0.0.1:1", credentials=credentials)
        assert_untold("hunter2", caught.value)

    def test_the_whole_bucket_can_be_a_store(self, bucket: Place, s3_server: S3Server) -> None:
        key = f"{uuid.uuid4().hex}/a"
        bucket.url = f"s3://{s3_server.bucket}/"
        store = bucket.open()
        store.put(key, b"x")

        assert key in store.list("")
        assert store.list(key.partition("/")[0]) == [key]
        assert store.link(key) == f"s3://{s3_server.bucket}/{key}"

    def test_a_folder_needs_no_boto3(self, tmp_path: Path) -> None:
        script = (
            "import sys; from skin_pipeline.storage import open_store\n"
            "open_store(sys.argv[1]).put('a', b'')\n"
            "print([name for name in sys.modules if name.startswith('boto')])"
        )
        with child(script, str(tmp_path)) as process:
            assert told(process) == "[]"
