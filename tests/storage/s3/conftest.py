"""A folder in S3, reached as a test wants, and what may go wrong on the way."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import faulty
import pytest
from s3_calls import Issuer
from servers import S3Server
from stores import MIB

from skin_pipeline.storage import S3Access, Store, open_store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small file."""
    path = tmp_path / "source"
    path.write_bytes(b"x")
    return path


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets all servers, takes a file of 11 MiB for a large one, and removes boto3's settings."""
    monkeypatch.setattr("skin_pipeline.storage.s3.checks._CONDITIONAL", set())
    monkeypatch.setattr("skin_pipeline.storage.s3.checks._COPYING", {})
    monkeypatch.setattr("skin_pipeline.storage.s3.parts.PARTS_FROM_BYTES", 5 * MIB)
    monkeypatch.setattr("skin_pipeline.storage.s3.parts.PART_BYTES", 5 * MIB)
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def url(s3_server: S3Server) -> str:
    """An empty folder in S3."""
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (11 * MIB // 256))
    return path


@pytest.fixture
def at(url: str, tmp_path: Path) -> Callable[[S3Access], Store]:
    """Opens the folder as an access says, with a cache of its own each time."""

    def opened(access: S3Access) -> Store:
        return open_store(url, access=access, cache=tmp_path / uuid.uuid4().hex)

    return opened


@pytest.fixture
def direct(at: Callable[[S3Access], Store], s3_server: S3Server) -> Store:
    """The folder without anything in between."""
    return at(S3Access(s3_server.endpoint, s3_server.credentials))


@pytest.fixture
def names(s3_server: S3Server, url: str) -> Callable[[], list[str]]:
    """The names of all objects below the folder, hidden ones too."""
    prefix = url.split("/", 3)[3]
    client = boto3.client("s3", endpoint_url=s3_server.endpoint, **s3_server.credentials)

    def found() -> list[str]:
        page = client.list_objects_v2(Bucket=s3_server.bucket, Prefix=f"{prefix}/")
        return [item["Key"].removeprefix(f"{prefix}/") for item in page.get("Contents", ())]

    return found


@pytest.fixture
def front(s3_server: S3Server) -> Iterator[faulty.Front]:
    with faulty.faulty(s3_server.endpoint) as front:
        yield front


@pytest.fixture
def issuer(front: faulty.Front, s3_server: S3Server) -> Issuer:
    return Issuer(front.endpoint, s3_server.credentials, s3_server.second_credentials)
