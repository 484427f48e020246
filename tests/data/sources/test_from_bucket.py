"""Images from a real S3 server; a made-up one lists what a real one would not take."""

from __future__ import annotations

import io
import logging
import os
import shutil
import threading
import tracemalloc
import uuid
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import pytest
from servers import S3Server, free_ports, proxy

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.data import sources
from skin_pipeline.data.sources.contents import Contents
from skin_pipeline.data.sources.from_bucket import fetch
from skin_pipeline.data.sources.zip_archive import LIMITS, Limits
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.job import Job
from skin_pipeline.storage import CONNECTIONS, FolderStore, S3Access

MIB = 2**20
PATIENCE = 300.0  # seconds after which something that must happen is given up
GOOD = {
    "benign/a.jpg": b"picture a",
    "benign/more/ü + %41&.JPG": b"picture b",
    "malignant/c.jpg": b"picture c",
    "table.csv": b"image_id,age\na,50\n",
}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    return buffer.getvalue()


@dataclass
class Place:
    """A prefix of its own on the server, and a folder to fetch into."""

    server: S3Server
    folder: Path
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.access = S3Access(self.server.endpoint, self.server.reader_credentials)
        self.client: Any = boto3.client(
            "s3", endpoint_url=self.server.endpoint, **self.server.credentials
        )

    def key(self, name: str) -> dict[str, str]:
        return {"Bucket": self.server.bucket, "Key": f"{self.prefix}/{name}"}

    def put(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            self.client.put_object(**self.key(name), Body=data)

    def through(self, endpoint: str) -> None:
        """From now on, ask the server at `endpoint`."""
        self.access = S3Access(endpoint, self.server.reader_credentials)

    def url(self, name: str = "") -> str:
        return f"s3://{self.server.bucket}/{self.prefix}/{name}"

    def contents(self, name: str = "", limits: Limits = LIMITS, url: str = "") -> Contents:
        """What is brought from there."""
        target = self.folder / "images"
        options: dict[str, Any] = {"limits": limits, "pause": self.pauses.append}
        contents = fetch(url or self.url(name), target, self.access, **options)
        assert list(self.folder.iterdir()) == [target]
        files = [path for path in target.rglob("*") if path.is_file()]
        assert len(files) == len(contents.images) + len(contents.tables)
        return contents

    def fetch(self, name: str = "", limits: Limits = LIMITS, url: str = "") -> dict[str, bytes]:
        """The files that are brought from there, by name."""
        contents = self.contents(name, limits, url)
        files = (*contents.images, *contents.tables)
        return {item.name: item.path.read_bytes() for item in files}

    def failure(self, kind: type[PipelineError], name: str = "", **options: Any) -> str:
        """The message of the error, after which nothing is left anywhere."""
        with pytest.raises(kind) as caught:
            self.fetch(name, **options)
        assert list(self.folder.parent.rglob("*")) == [self.folder]
        told = repr(caught.value) + repr(caught.value.__context__)
        for secret in (self.server.secret, self.server.reader_secret):
            assert secret not in told
        return str(caught.value)


@pytest.fixture
def place(s3_server: S3Server, tmp_path: Path) -> Place:
    folder = tmp_path / "work"
    folder.mkdir()
    return Place(s3_server, folder)


# --- what comes ----------------------------------------------------------------------------------


def test_the_images_and_tables_below_a_prefix_come_and_nothing_else(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.put({**GOOD, "readme.md": b"x", "empty/": b"", "benign/._a.jpg": b"x"})
    place.put({"__MACOSX/b.jpg": b"x", "folder.jpg/": b""})
    Place(place.server, place.folder, f"{place.prefix}-too").put(GOOD)
    caplog.set_level(logging.INFO)

    assert place.fetch() == GOOD
    size = sum(map(len, GOOD.values()))
    assert f'prefix="{place.prefix}" files=4 bytes={size}' in caplog.text


def test_a_zip_file_is_extracted(place: Place) -> None:
    place.put({"set.ZIP": zipped(GOOD), "set.ZIP.old": b"older", "set.ZIPPED": b"x"})
    assert place.fetch("set.ZIP") == GOOD


def test_a_slash_at_the_end_makes_a_folder_of_a_name_like_a_zips(place: Place) -> None:
    place.put({f"set.zip/{name}": data for name, data in GOOD.items()})
    assert place.fetch("set.zip/") == GOOD


def test_more_objects_than_one_listing_shows_all_come(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skin_pipeline.storage.s3.requests.PAGE", 3)
    files = {f"benign/{number}.jpg": b"%d" % number for number in range(10)}
    place.put(files)
    assert place.fetch() == files


def test_the_same_images_have_the_same_digest_wherever_they_lie(
    place: Place, tmp_path: Path, store: FolderStore
) -> None:
    plain = tmp_path / "set"
    for name, data in GOOD.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(data)
    packed = shutil.make_archive(str(plain), "zip", tmp_path, "set")
    place.put({f"set/{name}": data for name, data in GOOD.items()})
    place.client.upload_file(packed, **place.key("set.zip"))
    access = place.access
    job = Job(Settings(data=str(plain)), Deployment(), store, data_access=lambda: access)

    digests = set()
    for where in (None, packed, place.url("set"), place.url("set.zip")):
        with sources.folder_of(job, where) as root:
            digests.add(sources.find(root).digest)
    assert len(digests) == 1


@pytest.mark.parametrize("endpoint_in", ["data_endpoint", "s3_endpoint"])
def test_outside_airflow_the_environment_opens_the_bucket(
    endpoint_in: str, place: Place, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in place.server.reader_credentials.items():
        monkeypatch.setenv(name.upper().replace("REGION_NAME", "AWS_DEFAULT_REGION"), value)
    place.put(GOOD)
    here: dict[str, Any] = {"s3_endpoint": "http://127.0.0.1:9", endpoint_in: place.server.endpoint}
    job = Job(Settings(data=place.url()), Deployment(**here), store)

    with sources.folder_of(job) as contents:
        (first, *_) = contents.images
        assert (first.name, first.path.read_bytes()) == ("benign/a.jpg", GOOD["benign/a.jpg"])
    assert not first.path.exists()


def test_access_is_looked_up_only_for_a_bucket(tmp_path: Path, store: FolderStore) -> None:
    looked_up: list[int] = []

    def access() -> S3Access:
        looked_up.append(1)
        return S3Access("http://127.0.0.1:9/?", {})

    job = Job(Settings(data=str(tmp_path)), Deployment(), store, data_access=access)
    with sources.folder_of(job):
        assert not looked_up
    with pytest.raises(BadInput), sources.folder_of(job, "s3://no"):
        pass
    assert looked_up


# --- what is refused -----------------------------------------------------------------------------

# sizes of objects, which of them is named, words of the message
REFUSED: dict[str, tuple[dict[str, int], str, str]] = {
    "too many": ({f"{i:02}.jpg": 1 for i in range(41)}, "40.jpg", "one too many; 40 are allowed"),
    "all too large": ({f"{i}.jpg": 70 for i in range(3)}, "2.jpg", "the total to 210 bytes; 200"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_objects_that_cannot_be_files_are_refused_with_a_reason(case: str, place: Place) -> None:
    sizes, named, words = REFUSED[case]
    place.put({name: b"x" * size for name, size in sizes.items()})

    told = place.failure(BadInput, limits=Limits(entries=40, total_bytes=200, entry_bytes=100))

    assert words in told
    assert f"object {f'{place.prefix}/{named}'!r}, which" in told


# keys that only a made-up server lists, words of the message
UNSAFE = {
    "up": ("../a.jpg", "leads out of its folder with `..`"),
    "up from below": ("benign/../../../a.jpg", "leads out of its folder with `..`"),
    "up at the end": ("benign/..", "leads out of its folder with `..`"),
    "here": ("benign/./a.jpg", "has `.` as a part"),
    "absolute": ("/etc/a.jpg", "is an absolute path"),
    "backslash": ("..\\a.jpg", "leads out of its folder with `..`"),
    "backslash root": ("\\a.jpg", "is an absolute path"),
    "drive": ("C:a.jpg", "starts with a drive letter"),
    "NUL": ("a.jpg\0.jpg", "has a NUL in its name"),
    "not even wanted": ("../readme.txt", "leads out of its folder with `..`"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_keys_are_refused_before_anything_is_read(case: str, place: Place) -> None:
    name, words = UNSAFE[case]
    with made_up({"benign/a.jpg": 1, name: 1}) as (endpoint, asked):
        place.through(endpoint)
        told = place.failure(BadInput, url="s3://bucket/set")

    assert words in told
    assert "'set/" in told
    assert [path for path in asked if path != "/bucket"] == []


def test_two_objects_of_one_name_are_refused_unless_they_are_the_same(place: Place) -> None:
    with made_up({"benign/a.jpg": 1, "benign//a.jpg": 2}) as (endpoint, asked):
        place.through(endpoint)
        assert "two different files of one name" in place.failure(BadInput, url="s3://bucket/set")
    assert set(asked) == {"/bucket"}
    with made_up({"benign/a.jpg": 1, "benign//a.jpg": 1}) as (endpoint, asked):
        place.through(endpoint)
        place.failure(Unavailable, url="s3://bucket/set")  # it sends something else than it lists
    assert asked.count("/bucket/set/benign/a.jpg") == 1


def test_names_that_no_file_could_have_cost_nothing(place: Place) -> None:
    odd = {
        **dict.fromkeys(["b/A.jpg", "b/a.jpg", "B/b.jpg", "a.jpg", "a.jpg/b.jpg"], b"case"),
        **dict.fromkeys(["e\u0301.jpg", "\u00e9.jpg", "NUL.jpg", "d/" * 33 + "a.jpg"], b"form"),
        **dict.fromkeys(["x" * 240 + ".jpg", "benign\\w.jpg"], b"long"),
        "a\n.jpg": b"control",
    }
    place.put(odd)
    known = {"a\n.jpg": "a%0A.jpg", "benign\\w.jpg": "benign/w.jpg"}

    assert place.fetch() == {known.get(name, name): data for name, data in odd.items()}


def test_marks_of_folders_are_no_files(place: Place) -> None:
    marks = ["", "benign/", "benign", "malignant_$folder$", "benign/_SUCCESS"]
    place.put({**GOOD, **dict.fromkeys(marks, b"")})

    contents = place.contents()

    assert len(contents.images) + len(contents.tables) == len(GOOD)
    assert contents.notices == ()


def test_what_does_not_come_is_told(place: Place) -> None:
    place.put({
        **GOOD,
        "benign/photo": b"\xff\xd8\xff\xe0" + bytes(3000),
        "HAM_metadata": b"image,dx\na,nv\n",
        "b.heic": b"\0\0\0\x18ftypheic",
        "c.dcm": bytes(128) + b"DICM",
        "part.zip": zipped(GOOD),
        ".git/config": b"x",
        "d.npy": b"\x93NUMPY",
        "large.jpg": bytes(4000),
    })

    contents = place.contents(limits=Limits(entry_bytes=3500))

    images, tables = ([item.name for item in found] for found in (contents.images, contents.tables))
    assert images == [*sorted(GOOD)[:2], "benign/photo", "malignant/c.jpg"]
    assert tables == ["HAM_metadata", "table.csv"]
    assert {notice.subject for notice in contents.notices} == {
        *(".heic", ".dcm", ".zip", "hidden folder .git", ".npy", ".jpg")
    }


def test_only_the_start_of_what_may_be_no_image_is_asked_for(place: Place) -> None:
    place.put({**GOOD, "weights.h5": os.urandom(4 * MIB)})
    passed = 0
    with proxy(place.server.endpoint) as front:

        def answered(chunk: bytes) -> bytes:
            nonlocal passed
            passed += len(chunk)
            return chunk

        front.answered = answered
        place.through(front.endpoint)
        assert place.fetch() == GOOD
    assert passed < MIB


def test_a_huge_total_is_refused_before_anything_is_read(place: Place) -> None:
    files = {f"benign/{number}.jpg": 200 * MIB for number in range(257)}
    with made_up(files) as (endpoint, asked):
        place.through(endpoint)
        assert "are allowed" in place.failure(BadInput, url="s3://bucket/set")
    assert set(asked) == {"/bucket"}


def test_a_full_disk_is_told_before_anything_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 3

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    place.put(GOOD)
    assert "3 are free" in place.failure(Unavailable)


@contextmanager
def made_up(sizes: dict[str, int]) -> Generator[tuple[str, list[str]], None, None]:
    """A server that lists these names below `set/`, whatever they are, and sends one byte for
    each, under a tag that the list does not have; its endpoint, and the paths it is asked for."""
    asked: list[str] = []
    entries = "".join(
        f"<Contents><Key>{quote(f'set/{name}')}</Key><Size>{size}</Size>"
        '<ETag>"listed"</ETag></Contents>'
        for name, size in sizes.items()
    )
    listing = f"<ListBucketResult><EncodingType>url</EncodingType>{entries}</ListBucketResult>"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked.append(parts.path)
            body = listing.encode() if "list-type" in parts.query else b"x"
            self.send_response(200)
            self.send_header("ETag", '"another"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"../evil.jpg": b"x"}, "leads out of its folder"),
        ({"C:/a.jpg": b"x"}, "drive letter"),
    ],
)
def test_a_hostile_zip_is_refused_as_one_on_disk_is(
    files: dict[str, bytes], words: str, place: Place
) -> None:
    place.put({"set.zip": zipped(files)})
    assert words in place.failure(BadInput, "set.zip")


def test_a_zip_larger_than_all_that_may_be_in_it_is_not_fetched(place: Place) -> None:
    place.put({"set.zip": zipped(GOOD)})
    told = place.failure(BadInput, "set.zip", limits=Limits(total_bytes=100))
    assert "100 are allowed" in told


# name of what is asked for, words of the message
NOT_THERE = {
    "nothing": ("", "there are no images (.apng, .bmp, "),
    "nothing wanted": ("other", "Found there: .md, no usual suffix (2): neither images"),
    "another archive": ("lesions.tar.gz", "lesions.tar.gz is a single object. Unpack it"),
    "no zip": ("none.zip", "there is no object"),
    "zip of a longer name": ("other/a.zip", "there is no object"),
}


@pytest.mark.parametrize("case", NOT_THERE)
def test_where_nothing_is_the_ways_are_told(case: str, place: Place) -> None:
    name, words = NOT_THERE[case]
    place.put({"other/readme.md": b"x", "other/a.zipped-part": b"\0", "lesions.tar.gz": b"x"})
    told = place.failure(BadInput, name)
    assert words in told
    assert "Give s3://BUCKET/PREFIX" in told


def test_a_missing_bucket_is_named_with_the_settings(place: Place) -> None:
    told = place.failure(BadInput, url="s3://no-such-bucket/x")
    assert "no such bucket" in told
    assert "change the address in `data` or `external` or SKIN_DATA_ENDPOINT" in told


@pytest.mark.parametrize("url", ["s3://", "s3://x/y", "s3://key:secret@bucket/x"])
def test_what_names_no_bucket_is_refused(url: str, place: Place) -> None:
    told = place.failure(BadInput, url=url)
    assert "must be s3://BUCKET/PREFIX" in told
    assert "secret" not in told


def test_wrong_credentials_are_told_without_them(place: Place) -> None:
    wrong = {**place.server.reader_credentials, "aws_secret_access_key": "wr0ng-secret"}
    place.access = S3Access(place.server.endpoint, wrong)
    told = place.failure(BadInput)
    assert "credentials are wrong" in told
    assert "SKIN_DATA_CONNECTION (if empty: SKIN_STORE_CONNECTION)" in told
    assert "wr0ng" not in told + repr(place.access)


def test_an_endpoint_that_is_none_is_told(place: Place) -> None:
    place.access = S3Access("store:8333", {})
    assert place.failure(BadInput).startswith("SKIN_DATA_ENDPOINT (if empty: SKIN_S3_ENDPOINT)")


# --- what goes wrong on the way ------------------------------------------------------------------


def test_a_server_that_is_away_is_unavailable(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skin_pipeline.storage.s3.client.ATTEMPTS", 1)
    place.through(f"http://127.0.0.1:{free_ports(1)[0]}")
    told = place.failure(Unavailable)
    assert "no answer" in told
    assert "check SKIN_DATA_ENDPOINT" in told


class Cutter(threading.local):
    """Cuts the first `times` answers of more than half a MiB in the middle.

    Objects come at once: what passed is counted for each connection, which has its own thread.
    """

    passed = 0

    def __init__(self, times: Iterator[object]) -> None:
        self.times = times  # one iterator for all threads

    def __call__(self, chunk: bytes) -> bytes:
        self.passed = len(chunk) if chunk.startswith(b"HTTP/") else self.passed + len(chunk)
        return b"" if self.passed > MIB // 2 and next(self.times, None) else chunk


@pytest.mark.parametrize("name", ["", "set.zip"])
@pytest.mark.parametrize(("breaks", "pauses"), [(1, [1.0]), (2, [1.0, 5.0])])
def test_an_object_that_broke_off_is_fetched_again(
    name: str, breaks: int, pauses: list[float], place: Place
) -> None:
    files = {"benign/a.jpg": os.urandom(MIB)}
    place.put({"set.zip": zipped(files)} if name else files)
    with proxy(place.server.endpoint) as front:
        front.answered = Cutter(repeat(True, breaks))
        place.through(front.endpoint)
        assert place.fetch(name) == files
    assert place.pauses == pauses


@pytest.mark.parametrize("name", ["", "set.zip"])
def test_after_three_attempts_it_is_unavailable_and_nothing_is_left(
    name: str, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"benign/a.jpg": os.urandom(MIB)}
    place.put({**GOOD, "set.zip": zipped(files)} if name else {**GOOD, **files})
    with proxy(place.server.endpoint) as front:
        front.answered = Cutter(repeat(True, 3))
        place.through(front.endpoint)
        told = place.failure(Unavailable, name)
    assert "did not arrive whole" in told or "no answer" in told
    assert place.pauses == [1.0, 5.0]
    assert caplog.text.count("download_interrupted") == 2


def overwrite(place: Place, name: str) -> None:
    place.put({name: b"something new"})


def delete(place: Place, name: str) -> None:
    place.client.delete_object(**place.key(name))


@pytest.mark.parametrize("change", [overwrite, delete])
@pytest.mark.parametrize("name", ["benign/a.jpg", "set.zip"])
def test_an_object_that_changes_after_the_listing_is_unavailable(
    name: str, change: Callable[[Place, str], None], place: Place
) -> None:
    place.put({**GOOD, "set.zip": zipped(GOOD)})
    with proxy(place.server.endpoint) as front:

        def asked(chunk: bytes) -> bytes:
            if chunk.startswith(f"GET /{place.server.bucket}/{place.prefix}/{name}".encode()):
                change(place, name)
            return chunk

        front.asked = asked
        place.through(front.endpoint)
        told = place.failure(Unavailable, name if name.endswith(".zip") else "")
    assert f"{place.prefix}/{name} changed between listing and reading" in told
    assert place.pauses == []


def test_a_server_that_ignores_the_condition_does_not_hide_a_change(place: Place) -> None:
    with made_up({"benign/a.jpg": 1}) as (endpoint, _):
        place.through(endpoint)
        assert "changed between" in place.failure(Unavailable, url="s3://bucket/set")


# --- many, and large -----------------------------------------------------------------------------


def test_several_objects_come_at_once_but_not_all(place: Place) -> None:
    place.put({f"benign/{number}.jpg": b"x" for number in range(3 * CONNECTIONS)})
    together = threading.Barrier(CONNECTIONS, timeout=PATIENCE)
    lock, waiting, most = threading.Lock(), 0, 0

    with proxy(place.server.endpoint) as front:

        def asked(chunk: bytes) -> bytes:
            nonlocal waiting, most
            if b".jpg" in chunk.split(b"\r\n")[0]:
                with lock:
                    waiting += 1
                    most = max(most, waiting)
                together.wait()  # all of them stand here, or the test fails
                with lock:
                    waiting -= 1
            return chunk

        front.asked = asked
        place.through(front.endpoint)
        assert len(place.fetch()) == 3 * CONNECTIONS
    assert most == CONNECTIONS


@pytest.mark.parametrize("name", ["", "set.zip"])
def test_a_large_object_is_never_in_memory_as_a_whole(name: str, place: Place) -> None:
    large = {"benign/a.jpg": os.urandom(MIB) * 48}
    place.put({"set.zip": zipped(large)} if name else large)
    url, target = place.url(name), place.folder / "images"
    tracemalloc.start()
    try:
        fetch(url, target, place.access)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (target / "benign/a.jpg").stat().st_size == 48 * MIB
    assert peak < 16 * MIB
