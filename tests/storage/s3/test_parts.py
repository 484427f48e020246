"""Files that are sent to S3 in parts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from s3_calls import COMPLETED, COMPLETING, calls_of, client_of, once, uploads_in, where
from s3transfer.utils import MAX_PARTS, ChunksizeAdjuster
from servers import S3Server, proxy
from stores import (
    MIB,
    PATIENCE,
    Location,
    assert_untold,
    chain_of,
    kill_writer,
    leftovers,
    random_file,
)

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import S3Store, Store
from skin_pipeline.storage.s3.parts import LARGEST_BYTES


@pytest.fixture
def store(location: Location) -> Store:
    """The store of each backend in turn."""
    return location.open()


def fail(error: Exception) -> None:
    raise error


@pytest.mark.usefixtures("small_parts")
class TestLargeFiles:
    """Files that go up in parts."""

    @pytest.fixture(params=["bucket", "aws"])
    def backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return random_file(tmp_path / "source")

    def test_a_digest_that_is_known_is_not_computed_again(
        self, store: Store, source: Path, tmp_path: Path
    ) -> None:
        small = tmp_path / "small"
        small.write_bytes(b"x")
        for key, path in {"large": source, "small": small}.items():
            assert store.put_file(key, path, sha256="f" * 64)
            with pytest.raises(Unavailable, match="did not arrive whole"):  # it is not that
                store.local(key)

    def test_what_is_there_is_not_sent_again(self, store: Store, source: Path) -> None:
        store.put("model.keras", b"first")
        begun = calls_of(store, "CreateMultipartUpload")

        assert not store.put_file("model.keras", source)
        assert begun == []
        assert store.read("model.keras") == b"first"
        assert store.put_file("other.keras", source)
        assert len(begun) == 1

    def test_who_completes_second_changes_nothing_and_leaves_nothing(
        self, location: Location, source: Path, tmp_path: Path
    ) -> None:
        faster = random_file(tmp_path / "faster")
        store, other = location.open(), location.open()
        won: list[bool] = []
        once(store, COMPLETING, lambda: won.append(other.put_file("model.keras", faster)))

        assert not store.put_file("model.keras", source)
        assert won == [True]
        assert store.local("model.keras").read_bytes() == faster.read_bytes()
        assert uploads_in(location) == []

    def test_whose_bytes_were_replaced_at_once_did_not_write_them(
        self, location: Location, store: Store, source: Path
    ) -> None:
        other = partial(
            client_of(location).put_object, **where(location, "a"), Metadata={"writer": "x"}
        )
        once(store, COMPLETED, other)

        assert not store.put_file("a", source)

    def test_damage_in_the_store_is_noticed(
        self, location: Location, store: Store, source: Path, tmp_path: Path
    ) -> None:
        store.put_file("model.keras", source)
        client, model = client_of(location), where(location, "model.keras")
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

    def test_of_writers_at_once_the_last_one_has_won(
        self, bucket: Location, tmp_path: Path
    ) -> None:
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

    def test_damage_on_the_way_is_noticed(self, bucket: Location, tmp_path: Path) -> None:
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

    def test_a_lost_answer_does_not_hide_a_success(self, bucket: Location, source: Path) -> None:
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
        self, bucket: Location, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skin_pipeline.storage.s3.client.ATTEMPTS", 2)
        location, cut = replace(bucket), []

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
        assert location.open().list("") == []
        assert uploads_in(location) == []

    def test_a_writer_killed_in_the_middle_leaves_parts_that_go_when_they_are_old(
        self, bucket: Location, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = (
            "import json, sys; from pathlib import Path\n"
            "from skin_pipeline.storage import open_store\n"
            "from skin_pipeline.storage.s3 import parts\n"
            "job = json.loads(sys.argv[1])\n"
            "parts.PARTS_FROM_BYTES = parts.PART_BYTES = 5 << 20\n"
            "store = open_store(job['url'], endpoint=job['endpoint'],\n"
            "                   credentials=job['credentials'])\n"
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

        monkeypatch.setattr("skin_pipeline.storage.s3.parts.ABANDONED_SECONDS", -1)
        assert store.put_file("models/other.keras", source)
        assert uploads_in(bucket) == []
        assert store.read("models/big.keras") == source.read_bytes()

    def test_uploads_beside_the_store_are_left_alone(
        self, bucket: Location, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skin_pipeline.storage.s3.parts.ABANDONED_SECONDS", -1)
        beside = replace(bucket, url=f"{bucket.url}-beside")
        client_of(beside).create_multipart_upload(**where(beside, "of another"))

        assert bucket.open().put_file("a", source)
        assert uploads_in(beside) == ["of another"]

    def test_old_parts_that_cannot_be_looked_for_do_not_stop_a_write(
        self, bucket: Location, source: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = bucket.open()
        assert isinstance(store, S3Store)
        refuse = ClientError({"Error": {"Code": "AccessDenied"}}, "ListMultipartUploads")
        once(store, "before-call.s3.ListMultipartUploads", partial(fail, refuse))

        assert store.put_file("a", source)
        (told,) = [text for text in caplog.messages if text.startswith("abandoned_uploads_stay")]
        assert "credentials do not allow it" in told

    def test_a_source_that_goes_away_meanwhile_is_bad_input(
        self, bucket: Location, source: Path
    ) -> None:
        store = bucket.open()
        once(store, "before-call.s3.CreateMultipartUpload", source.unlink)

        with pytest.raises(BadInput, match="source cannot be read: No such file"):
            store.put_file("a", source)
        assert store.list("") == []
        assert uploads_in(bucket) == []

    def test_an_identity_that_may_only_read_gets_bad_input(
        self, bucket: Location, s3_server: S3Server, source: Path
    ) -> None:
        bucket.credentials = s3_server.reader_credentials

        with pytest.raises(BadInput, match="credentials do not allow it") as caught:
            bucket.open().put_file("a", source)
        assert_untold(s3_server.reader_secret, caught.value)

    def test_the_largest_file_fits_into_the_parts_that_s3_takes(self) -> None:
        part = ChunksizeAdjuster().adjust_chunksize(16 * MIB, LARGEST_BYTES)

        assert part <= 5 << 30
        assert LARGEST_BYTES / part <= MAX_PARTS == 10_000
