"""Stores of each kind, empty."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from planted import SECRET
from servers import S3Server
from stores import MIB, Location

from skin_pipeline.storage import FolderStore


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path) -> Location:
    """An empty folder in S3."""
    return Location(
        f"s3://{s3_server.bucket}/{uuid.uuid4().hex}",
        s3_server.endpoint,
        s3_server.credentials,
        str(tmp_path / "cache"),
    )


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Location]:
    """An empty folder in AWS as moto plays it, in this process only."""
    # Answers of moto have no length.
    monkeypatch.setattr("skin_pipeline.storage.s3.client._check_head", lambda **_: None)
    credentials = {
        "aws_access_key_id": "moto",
        "aws_secret_access_key": "moto",
        "region_name": "us-east-1",
    }
    with mock_aws():
        boto3.client("s3", **credentials).create_bucket(Bucket="models")
        yield Location("s3://models/skin", "", credentials, str(tmp_path / "cache"))


@pytest.fixture
def location(request: pytest.FixtureRequest, tmp_path: Path, backend: str) -> Location:
    """Where an empty store of each kind is."""
    if backend == "folder":
        return Location(f"file://{tmp_path}/store")
    found: Location = request.getfixturevalue(backend)
    return found


@pytest.fixture(params=["folder", "bucket", "aws"])
def backend(request: pytest.FixtureRequest) -> str:
    """Where a test's `location` is; a test may want other ones."""
    return str(request.param)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends files in parts from the size of the smallest part that S3 allows."""
    monkeypatch.setattr("skin_pipeline.storage.s3.parts.PARTS_FROM_BYTES", 5 * MIB)
    monkeypatch.setattr("skin_pipeline.storage.s3.parts.PART_BYTES", 5 * MIB)


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    """An empty folder store."""
    return FolderStore(tmp_path / "store")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of the store, which must not be read or changed."""
    path = tmp_path / "home" / "secrets.json"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path
