"""An S3 store whose network, server or process fails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from botocore.stub import Stubber
from servers import proxy
from stores import MIB, PATIENCE, Location, kill_writer, leftovers

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import S3Store


class TestS3Faults:
    def test_an_object_that_comes_and_goes_while_it_is_written_is_unavailable(
        self, bucket: Location
    ) -> None:
        store = bucket.open()
        assert isinstance(store, S3Store)
        with Stubber(store._client) as answers:
            answers.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
            answers.add_client_error("head_object", "404", http_status_code=404)
            with pytest.raises(Unavailable, match="was changing while it was written"):
                store.put("a", b"")

    def test_a_lost_answer_does_not_hide_a_success(self, bucket: Location) -> None:
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

    def test_a_download_that_is_cut_off_leaves_no_copy(
        self, bucket: Location, tmp_path: Path
    ) -> None:
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

    def test_damaged_bytes_are_noticed(self, bucket: Location, tmp_path: Path) -> None:
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
        self, bucket: Location, tmp_path: Path
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
        self, bucket: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skin_pipeline.storage.s3.parts.LARGEST_BYTES", 8)
        source = tmp_path / "huge"
        source.write_bytes(b"123456789")

        with pytest.raises(BadInput, match=r"huge has 9 bytes; S3 takes at most 8 in one object"):
            bucket.open().put_file("huge", source)
