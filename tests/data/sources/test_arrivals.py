"""What is in a source that grows: listed without being fetched, and fetched in parts."""

from __future__ import annotations

import os
import shutil
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from servers import S3Server

from skin_pipeline.data import sources
from skin_pipeline.data.sources import from_folder
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.roots import Roots
from skin_pipeline.storage import Bucket, S3Access

PNG = b"\x89PNG\r\n\x1a\n"
FILES = {
    "a.png": PNG + b"1",
    "ward 7/b.PNG": PNG + b"2",
    "ward 7/ä%2F.png": PNG + b"3",
    "notes.docx": b"no image",
    "labels.csv": b"image,label\n",
}
IMAGES = {name: data for name, data in FILES.items() if name.lower().endswith(".png")}


@pytest.fixture
def job(make_job: Callable[..., Job], s3_server: S3Server) -> Job:
    access = S3Access(s3_server.endpoint, s3_server.credentials)
    return replace(make_job(), data_access=lambda: access)


@pytest.fixture
def client(s3_server: S3Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret,
        region_name="us-east-1",
    )


class Source:
    """A source of one kind that can be written to."""

    def __init__(self, kind: str, folder: Path, client: Any, bucket: str) -> None:
        self.kind, self.folder, self._client, self._bucket = kind, folder, client, bucket
        self._prefix = uuid.uuid4().hex
        self.files: dict[str, bytes] = {}
        folder.mkdir()

    @property
    def address(self) -> str:
        remote = f"s3://{self._bucket}/{self._prefix}"
        zipped = f"{self.folder}.zip"
        return {
            "folder": str(self.folder),
            "zip": zipped,
            "bucket": remote,
            "zip in a bucket": f"{remote}/x.zip",
        }[self.kind]

    def write(self, **files: bytes | None) -> None:
        for name, data in files.items():
            if data is None:
                del self.files[name]
            else:
                self.files[name] = data
        if self.kind == "folder":
            shutil.rmtree(self.folder)
            for name, data in self.files.items():
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        elif self.kind == "bucket":
            for name, data in files.items():
                key = f"{self._prefix}/{name}"
                if data is None:
                    self._client.delete_object(Bucket=self._bucket, Key=key)
                else:
                    self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
        else:
            with zipfile.ZipFile(f"{self.folder}.zip", "w") as archive:
                for name, data in self.files.items():
                    archive.writestr(name, data)
            if self.kind == "zip in a bucket":
                body = Path(f"{self.folder}.zip").read_bytes()
                self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}/x.zip", Body=body)


@pytest.fixture(params=["folder", "zip", "bucket", "zip in a bucket"])
def source(request: Any, tmp_path: Path, client: Any, s3_server: S3Server) -> Source:
    made = Source(request.param, tmp_path / "new", client, s3_server.bucket)
    made.write(**FILES)
    return made


def bring(job: Job, source: Source, wanted: Any) -> dict[str, bytes]:
    with sources.brought(job, source.address, wanted) as paths:
        return {name: path.read_bytes() for name, path in paths.items()}


def test_images_are_listed_and_others_noticed(job: Job, source: Source) -> None:
    found = sources.listed(job, source.address)
    assert [item.name for item in found.images] == sorted(IMAGES)
    (notice,) = found.notices
    assert ".docx" in str(notice)


def test_only_what_is_wanted_is_fetched(job: Job, source: Source) -> None:
    listed = sources.listed(job, source.address).images
    assert bring(job, source, listed) == IMAGES
    assert bring(job, source, listed[:1]) == {"a.png": IMAGES["a.png"]}


def test_a_rewritten_image_has_another_state(
    job: Job, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_folder, "UNSETTLED", 0.0)
    before = {item.name: item.state for item in sources.listed(job, source.address).images}
    again = {item.name: item.state for item in sources.listed(job, source.address).images}
    assert again == before
    source.write(**{"a.png": PNG + b"9"})
    after = {item.name: item.state for item in sources.listed(job, source.address).images}
    assert after["a.png"] != before["a.png"]


def test_an_archive_that_was_written_anew_has_new_states_though_its_list_says_the_same(
    job: Job, tmp_path: Path, client: Any, s3_server: S3Server
) -> None:
    """The checksums in the list are what whoever wrote it says of the images."""
    source = Source("zip", tmp_path / "new", client, s3_server.bucket)
    source.write(**FILES)
    before = {item.state for item in sources.listed(job, source.address).images}
    archive = Path(source.address)
    archive.write_bytes(archive.read_bytes().replace(PNG + b"1", PNG + b"9"))
    os.utime(archive, (0, 0))  # whatever the clock of the machine that wrote it says
    after = {item.state for item in sources.listed(job, source.address).images}
    assert not before & after


def test_what_is_gone_is_left_out(job: Job, source: Source) -> None:
    listed = sources.listed(job, source.address).images
    source.write(**{"a.png": None})
    found = bring(job, source, listed)
    assert found == {name: data for name, data in IMAGES.items() if name != "a.png"}


def test_what_has_changed_in_a_bucket_is_left_out(
    job: Job, tmp_path: Path, client: Any, s3_server: S3Server
) -> None:
    source = Source("bucket", tmp_path / "new", client, s3_server.bucket)
    source.write(**FILES)
    listed = sources.listed(job, source.address).images
    source.write(**{"a.png": PNG + b"9"})
    assert "a.png" not in bring(job, source, listed)


def test_listing_a_bucket_fetches_nothing(
    job: Job, tmp_path: Path, client: Any, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source("bucket", tmp_path / "new", client, s3_server.bucket)
    source.write(**FILES)
    monkeypatch.setattr(Bucket, "fetch", None)
    assert len(sources.listed(job, source.address).images) == len(IMAGES)


def test_a_file_that_has_just_changed_has_a_new_state_each_time(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_folder, "UNSETTLED", 3600.0)
    (tmp_path / "a.png").write_bytes(PNG)
    states = {sources.listed(job, str(tmp_path)).images[0].state for _ in range(3)}
    assert len(states) == 3


def test_a_name_that_is_no_text_is_found_again(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    with Path(os.fsdecode(os.fsencode(folder) + b"/\xff\n.png")).open("wb") as file:
        file.write(PNG)
    (one,) = sources.listed(job, str(folder)).images
    assert one.name.isprintable()
    assert one.where.isascii()
    with sources.brought(job, str(folder), [one]) as paths:
        assert paths[one.name].read_bytes() == PNG


@pytest.mark.parametrize("where", ["../secret.png", "/etc/hostname", "link.png"])
def test_nothing_outside_of_the_roots_is_brought(job: Job, tmp_path: Path, where: str) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    bound = replace(job, roots=Roots((str(folder),)))
    wanted = [sources.Listed("a.png", where, "1")]
    with sources.brought(bound, str(folder), wanted) as paths:
        assert paths == {}


def test_a_link_within_the_roots_is_one_image(job: Job, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert [item.name for item in sources.listed(job, str(tmp_path)).images] == ["a.png"]


@pytest.mark.parametrize("name", ["../up.png", "/abs.png"])
def test_a_dangerous_zip_is_refused(job: Job, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name, PNG)
    with pytest.raises(BadInput, match="is refused"):
        sources.listed(job, str(tmp_path / "x.zip"))


def test_a_prefix_that_is_one_image_is_refused_with_what_to_give(
    job: Job, client: Any, s3_server: S3Server
) -> None:
    key = f"{uuid.uuid4().hex}/a.png"
    client.put_object(Bucket=s3_server.bucket, Key=key, Body=PNG)
    with pytest.raises(BadInput, match=r"is a single object.*Give s3://BUCKET/PREFIX"):
        sources.listed(job, f"s3://{s3_server.bucket}/{key}")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("demo", "does not grow"),
        ("kaggle://a/b", "does not grow"),
        ("/no/such", r"cannot be reached \(No such file"),
        (__file__, "neither a folder nor a zip"),
        ("/dev/null", "neither a folder nor a zip"),
    ],
)
def test_what_is_no_such_source_is_refused(job: Job, source: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        sources.listed(job, source)
