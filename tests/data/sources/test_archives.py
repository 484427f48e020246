"""Archives that are fetched once for all tasks of a machine."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kaggle_server import STORAGE, KaggleServer

from skin_pipeline.config import Deployment
from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.data.sources.archives import archive_at
from skin_pipeline.job import Job


def archive(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("a.txt", text)
    return buffer.getvalue()


@pytest.fixture
def kaggle() -> Iterator[KaggleServer]:
    with KaggleServer({"owner/name": archive("first")}) as server:
        yield server


@pytest.fixture
def job(make_job: Callable[..., Job], kaggle: KaggleServer, tmp_path: Path) -> Job:
    return replace(
        make_job(),
        deployment=Deployment(cache=str(tmp_path / "kept")),
        kaggle=KaggleCredentials(username="ada", key="key-of-ada"),
        kaggle_endpoint=kaggle.url,
    )


def text_of(job: Job) -> str:
    with archive_at(job, "kaggle://owner/name") as path, zipfile.ZipFile(path) as packed:
        assert path.name == "owner.name.zip"
        return packed.read("a.txt").decode()


def whole(kaggle: KaggleServer, path: Path) -> int:
    """How often the archive came to this machine."""
    return len(list(path.glob("archives/copies/*/owner.name.zip")))


def test_an_archive_of_kaggles_is_downloaded_once_until_it_changes(
    job: Job, kaggle: KaggleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skin_pipeline.data.sources import from_kaggle

    downloads = []
    real = from_kaggle.download
    monkeypatch.setattr(
        from_kaggle, "download", lambda *args, **more: downloads.append(1) or real(*args, **more)
    )
    assert [text_of(job) for _ in range(3)] == ["first"] * 3
    assert len(downloads) == 1
    kaggle.datasets["owner/name"] = archive("second")
    assert [text_of(job) for _ in range(2)] == ["second"] * 2
    assert len(downloads) == 2
    assert whole(kaggle, tmp_path / "kept") == 2
    assert [seen.path for seen in kaggle.seen if STORAGE in seen.path]


def test_one_whose_state_is_not_told_is_downloaded_each_time_and_not_kept(
    job: Job, kaggle: KaggleServer, tmp_path: Path
) -> None:
    kaggle.tags = False
    assert text_of(job) == "first"
    kaggle.datasets["owner/name"] = archive("other")
    assert text_of(job) == "other"
    assert whole(kaggle, tmp_path / "kept") == 0


def test_an_archive_of_this_machine_is_read_where_it_is(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(archive("here"))
    with archive_at(job, str(path)) as found:
        assert found == path
