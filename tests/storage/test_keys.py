"""What all stores promise: a folder, a real S3 server and AWS as moto plays it."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from stores import MIB, Location, child, random_file, tell, told

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import S3Store, Store, digest, digest_file


@pytest.fixture
def store(location: Location) -> Store:
    """The store of each backend in turn."""
    return location.open()


def elsewhere_replaced(store: Store, key: str, data: bytes) -> None:
    """Changes what is never changed, as another machine would: local copies stay."""
    if isinstance(store, S3Store):
        store._client.put_object(Bucket=store.bucket, Key=store._name(key), Body=data)
    else:
        Path(store.local(key)).write_bytes(data)


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
            assert digest_file(local) == digest(data)

    def test_a_large_file_comes_back_as_it_went(
        self, store: Store, tmp_path: Path, small_parts: None
    ) -> None:
        source = random_file(tmp_path / "source")

        assert store.put_file("model.keras", source)
        assert not store.put_file("model.keras", source)
        assert store.read("model.keras") == source.read_bytes()
        assert store.local("model.keras").read_bytes() == source.read_bytes()

    def test_a_copy_within_the_store_has_the_bytes_and_is_made_once(self, store: Store) -> None:
        store.put("evaluate/1/model.keras", b"first")
        made = store.copy("evaluate/1/model.keras", "models/a/model.keras", digest(b"first"))
        # A store that cannot copy has not touched the key.
        assert made == store.exists("models/a/model.keras")
        assert made or store.put("models/a/model.keras", b"first")
        store.put("other", b"second")
        assert not store.copy("other", "models/a/model.keras", digest(b"second"))
        assert store.read("models/a/model.keras") == b"first"
        store.remove("evaluate/1/model.keras")  # the copy is an object of its own
        assert store.read("models/a/model.keras") == b"first"

    def test_what_is_read_into_a_file_is_what_the_store_has_now(self, store: Store) -> None:
        store.put("a/b", b"first")
        store.local("a/b")
        for data in (b"first", b"second"):
            sink = io.BytesIO()
            assert store.read_into("a/b", sink) == digest(data)
            assert sink.getvalue() == data
            elsewhere_replaced(store, "a/b", b"second")
        with pytest.raises(BadInput, match=r"there is no a/c"):
            store.read_into("a/c", io.BytesIO())

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
        # S3 answers in several pages.
        monkeypatch.setattr("skin_pipeline.storage.s3.requests.PAGE", 2)
        keys = ["a/b/2", "a/b/10", "a/b/deep/1", "a/b/ü 1.json", "a/bc/1", "a/b-c", "z"]
        for key in keys:
            store.put(key, b"")

        assert store.list("a/b") == sorted(["a/b/2", "a/b/10", "a/b/deep/1", "a/b/ü 1.json"])
        assert store.list("a/b/") == store.list("a/b")
        assert store.list("") == sorted(keys)
        assert store.list("a/b/c") == []

    def test_only_what_lies_in_the_store_is_listed(self, location: Location) -> None:
        location.open().put("inside", b"")
        beside = Location(
            f"{location.url}-beside", location.endpoint, location.credentials, location.cache
        )
        beside.open().put("outside", b"")

        assert location.open().list("") == ["inside"]

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

    def test_the_url_opens_the_same_store(self, location: Location) -> None:
        location.open().put("a", b"x")
        location.url = location.open().url

        assert location.open().read("a") == b"x"

    def test_the_link_leads_to_the_object(self, location: Location) -> None:
        link = location.open().link("a/b.json")

        assert link.removeprefix("file://") == f"{location.url}/a/b.json".removeprefix("file://")


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
        location = heat["location"]
        store = open_store(location["url"], endpoint=location["endpoint"],
                           credentials=location["credentials"])
        start = threading.Barrier(heat["threads"])
        each = partial(race, heat, store, start)
        results = pool.map(each, range(heat["threads"]))
        print(json.dumps([data for data, won in results if won]), flush=True)
"""


class TestRaces:
    """Four processes with one thread each, or with five."""

    @pytest.fixture(params=["folder", "bucket"])  # not moto, which lives in one process only
    def backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture(scope="class")
    def racers(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[list[subprocess.Popen[str]]]:
        folder = str(tmp_path_factory.mktemp("racers"))
        with ExitStack() as stack:
            yield [stack.enter_context(child(RACER, f"racer {n}", folder)) for n in range(4)]

    @pytest.fixture
    def heat(
        self, racers: list[subprocess.Popen[str]], location: Location
    ) -> Callable[..., list[str]]:
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
                "location": vars(location),
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
