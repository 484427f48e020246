"""Buckets with images: public ones, and what others keep in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import faulty
import pytest
from s3_calls import ALWAYS, Issuer, ended
from servers import S3Server

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Bucket, S3Access, S3Object, SettingNames, Store

pytestmark = pytest.mark.usefixtures("fresh")

NAMED = SettingNames()


def test_images_of_others_are_listed_and_read_across_the_end_of_a_session(
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    url: str,
    direct: Store,
    tmp_path: Path,
) -> None:
    direct.put("a", b"image")
    bucket = Bucket(url, issuer.access, NAMED)
    front.strike(ended(s3_server), ALWAYS)
    (item,) = bucket.objects(bucket.prefix)
    assert bucket.fetch(item, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"image"
    assert issuer.asked == 1


@pytest.fixture
def public(s3_server: S3Server, url: str) -> Iterator[str]:
    """The endpoint of a server that lets everybody read, as long as nobody says who he is."""

    def answer(exchange: faulty.Exchange) -> None:
        if "Authorization" in exchange.headers:
            exchange.refuse(403, "InvalidAccessKeyId")
        else:
            signed(exchange)

    signed = faulty.forgetful((), s3_server.reader_credentials)
    with faulty.faulty(s3_server.endpoint) as front:
        front.strike(answer, ALWAYS)
        yield front.endpoint


def test_a_public_bucket_is_read_without_credentials_if_asked_for(
    public: str,
    direct: Store,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    direct.put("a.jpg", b"image")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    bucket = Bucket(url, S3Access(public, anonymous=True), NAMED)
    (item,) = bucket.objects(bucket.prefix)
    assert bucket.fetch(item, tmp_path / "a")

    from skin_pipeline.data.sources.from_bucket import IMAGES

    with pytest.raises(BadInput, match="For a public bucket, set SKIN_DATA_ANONYMOUS to true"):
        list(Bucket(url, S3Access(public), IMAGES).objects(""))


def test_credentials_are_not_sent_to_a_public_bucket(
    public: str, direct: Store, url: str, s3_server: S3Server
) -> None:
    direct.put("a.jpg", b"image")
    access = S3Access(public, s3_server.credentials, anonymous=True)
    found = list(Bucket(url, access, NAMED).objects(url.split("/", 3)[3]))
    assert [type(item) for item in found] == [S3Object]


def test_a_marker_of_an_empty_folder_is_an_object_of_no_bytes(
    s3_server: S3Server, url: str, direct: Store, tmp_path: Path
) -> None:
    prefix = url.split("/", 3)[3]
    direct.put("benign/a.jpg", b"image")
    client = boto3.client("s3", endpoint_url=s3_server.endpoint, **s3_server.credentials)
    client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/malignant_$folder$", Body=b"")
    client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/malignant/", Body=b"")
    bucket = Bucket(url, S3Access(s3_server.endpoint, s3_server.credentials), NAMED)
    found = {item.key.removeprefix(f"{prefix}/"): item.bytes for item in bucket.objects(prefix)}
    assert found == {"benign/a.jpg": 5, "malignant_$folder$": 0, "malignant/": 0}
    assert direct.list("") == ["benign/a.jpg", "malignant_$folder$"]
