"""A source that many workers share: listed with its tables, and fetched in parts."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kaggle_server import KaggleServer
from servers import S3Server

from skin_pipeline.config import Deployment
from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.data import sources
from skin_pipeline.data.sources import from_folder
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.job import Job
from skin_pipeline.storage import S3Access, open_store

PNG = b"\x89PNG\r\n\x1a\n"
FILES = {
    "set/benign/a.png": PNG + b"1",
    "set/benign/b.png": PNG + b"22",
    "set/malignant/c.png": PNG + b"333",
    "set/labels.csv": b"image,patient\na,1\n",
    "set/notes.docx": b"no image",
}
KINDS = ("folder", "zip", "bucket", "zip in a bucket", "Kaggle")


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


class Place:
    """Where the files of a test are, which may change."""

    def __init__(self, kind: str, folder: Path, s3: S3Server, kaggle: KaggleServer) -> None:
        self.kind, self.folder, self.kaggle = kind, folder, kaggle
        self.prefix = uuid.uuid4().hex
        self.store = open_store(
            f"s3://{s3.bucket}/{self.prefix}",
            endpoint=s3.endpoint,
            credentials=s3.credentials,
            cache=folder / "cache",
        )
        bucket = f"s3://{s3.bucket}/{self.prefix}"
        self.source = {
            "folder": str(folder / "files"),
            "zip": str(folder / "files.zip"),
            "bucket": bucket,
            "zip in a bucket": f"{bucket}/files.zip",
            "Kaggle": "kaggle://owner/name",
        }[kind]

    def put(self, files: dict[str, bytes]) -> None:
        """Write the files; those of before stay where there are single ones."""
        if self.kind == "folder":
            for name, data in files.items():
                path = self.folder / "files" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        elif self.kind == "bucket":
            for name, data in files.items():
                self._object(name, data)
        elif self.kind == "zip in a bucket":
            self._object("files.zip", packed(files))
        elif self.kind == "zip":
            (self.folder / "files.zip").write_bytes(packed(files))
        else:
            self.kaggle.datasets["owner/name"] = packed(files)

    def _object(self, name: str, data: bytes) -> None:
        found = self.store.tagged(name)
        assert self.store.swap(name, data, found[1] if found else None)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server) -> Iterator[Place]:
    with KaggleServer({}) as kaggle:
        found = Place(request.param, tmp_path, s3_server, kaggle)
        found.put(FILES)
        yield found


@pytest.fixture
def job(make_job: Callable[..., Job], place: Place, s3_server: S3Server, tmp_path: Path) -> Job:
    access = S3Access(s3_server.endpoint, s3_server.credentials)
    return replace(
        make_job(),
        deployment=Deployment(cache=str(tmp_path / "kept")),
        data_access=lambda: access,
        kaggle=KaggleCredentials(username="ada", key="key-of-ada"),
        kaggle_endpoint=place.kaggle.url,
    )


def test_everything_is_listed_and_only_the_tables_are_fetched(job: Job, place: Place) -> None:
    with sources.surveyed(job, place.source) as survey:
        names = [item.name for item in survey.contents.images]
        assert names == sorted(name for name in FILES if name.endswith(".png"))
        assert [item.name for item in survey.listed] == names
        (table,) = survey.contents.tables
        assert table.path.read_bytes() == FILES["set/labels.csv"]
        assert [notice.subject for notice in survey.contents.notices] == [".docx"]
        there = {item.path.exists() for item in survey.contents.images}
        assert there == {place.kind == "folder"}
        images = sources.find(survey.contents)
    assert [(item.label, item.key) for item in images.files] == [
        ("benign", "benign/a.png"),
        ("benign", "benign/b.png"),
        ("malignant", "malignant/c.png"),
    ]


def test_a_worker_fetches_what_it_needs_and_nothing_is_left(job: Job, place: Place) -> None:
    with sources.surveyed(job, place.source) as survey:
        wanted = survey.listed[1:]
    with sources.some_of(job, place.source, wanted) as paths:
        assert {name: path.read_bytes() for name, path in paths.items()} == {
            name: FILES[name] for name in ("set/benign/b.png", "set/malignant/c.png")
        }
        sources.check_unchanged(job, place.source, wanted, paths)
        kept = list(paths.values())
    assert {path.exists() for path in kept} == {place.kind == "folder"}


def test_the_same_files_are_listed_alike_until_one_changes(
    job: Job, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_folder, "UNSETTLED", 0.0)

    def states() -> dict[str, str]:
        with sources.surveyed(job, place.source) as survey:
            return {item.name: item.state for item in survey.listed}

    before = states()
    assert states() == before
    place.put({**FILES, "set/benign/b.png": PNG + b"44"})
    after = states()
    assert {name for name in before if before[name] != after[name]} >= {"set/benign/b.png"}
    if place.kind in {"bucket", "zip", "Kaggle", "zip in a bucket"}:
        same = set(before) - {"set/benign/b.png"}
        assert {name for name in before if before[name] == after[name]} == same


def test_an_image_that_has_changed_since_is_never_decoded(job: Job, place: Place) -> None:
    with sources.surveyed(job, place.source) as survey:
        wanted = survey.listed
    place.put({**FILES, "set/benign/b.png": PNG + b"changed"})
    with (
        pytest.raises(Unavailable, match=r"[13] images changed or went away"),
        sources.some_of(job, place.source, wanted) as paths,
    ):
        sources.check_unchanged(job, place.source, wanted, paths)


def test_the_demo_is_nowhere_to_be_listed(make_job: Callable[..., Job]) -> None:
    with pytest.raises(BadInput, match="lies nowhere"), sources.surveyed(make_job(), "demo"):
        pass
