"""Encryption, storage class and versioning of what is written to S3."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from botocore.stub import Stubber
from s3_calls import calls_of, client_of, enable, new_bucket, where
from stores import Location, random_file

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import S3Store


@pytest.mark.usefixtures("small_parts")
class TestWriting:
    """Encryption, storage class and versioning."""

    @pytest.mark.parametrize(
        ("backend", "writing", "shown"),
        [
            ("bucket", {"encryption": "AES256"}, {"ServerSideEncryption": "AES256"}),
            ("bucket", {"storage_class": "STANDARD_IA"}, {"StorageClass": "STANDARD_IA"}),
            ("bucket", {}, {}),
            ("aws", {"encryption": "AES256"}, {"ServerSideEncryption": "AES256"}),
            ("aws", {"encryption": "aws:kms"}, {"ServerSideEncryption": "aws:kms"}),
            (
                "aws",
                {"encryption": "aws:kms", "kms_key": "alias/skin", "storage_class": "ONEZONE_IA"},
                {
                    "ServerSideEncryption": "aws:kms",
                    "SSEKMSKeyId": "alias/skin",
                    "StorageClass": "ONEZONE_IA",
                },
            ),
            ("aws", {}, {}),
        ],
    )
    def test_every_kind_of_write_is_encrypted_and_classed_as_asked(
        self, location: Location, tmp_path: Path, writing: dict[str, str], shown: dict[str, str]
    ) -> None:
        store = location.open(**writing)
        small, large = tmp_path / "small", random_file(tmp_path / "large")
        small.write_bytes(b"x")
        store.put("put", b"x")
        store.put_file("small", small)
        store.put_file("large", large)
        store.swap("new", b"1", None)
        store.swap("moved", b"1", None)
        assert store.swap("moved", b"2", (store.tagged("moved") or (b"", ""))[1])

        client = client_of(location)
        for key in ("put", "small", "large", "new", "moved"):
            head = client.head_object(**where(location, key))
            names = ("ServerSideEncryption", "SSEKMSKeyId", "StorageClass")
            assert {name: head[name] for name in names if name in head} == shown, key
        assert store.local("large").read_bytes() == large.read_bytes()

    @pytest.mark.parametrize("backend", ["bucket", "aws"])
    @pytest.mark.parametrize("status", [None, "Suspended"])
    def test_a_bucket_without_versioning_is_refused_if_it_must_have_it(
        self, location: Location, tmp_path: Path, status: str | None
    ) -> None:
        bucket = new_bucket(location, status)
        store = location.open(versioned=True)
        for write in (
            partial(store.put, "a", b""),
            partial(store.put_file, "a", random_file(tmp_path / "large")),
            partial(store.swap, "a", b"", None),
        ):
            with pytest.raises(BadInput, match=f"{bucket}.*put-bucket-vers.*SKIN_S3_VERSIONING"):
                write()
        assert store.list("") == []
        assert location.open().put("a", b"")

        enable(location, bucket, "Enabled")
        assert store.put("b", b"")

    @pytest.mark.parametrize("backend", ["bucket", "aws"])
    def test_a_bucket_with_versioning_keeps_what_was_there(
        self, location: Location, tmp_path: Path
    ) -> None:
        bucket = new_bucket(location, "Enabled")
        store = location.open(versioned=True)
        asked = calls_of(store, "GetBucketVersioning")
        large = random_file(tmp_path / "large")

        assert store.put_file("a", large)
        assert not store.put_file("a", large)
        assert store.swap("pointer", b"1", None)
        assert store.swap("pointer", b"2", (store.tagged("pointer") or (b"", ""))[1])
        store.remove("a")
        assert store.list("") == ["pointer"]
        assert store.put("a", b"again")
        assert len(asked) == 1
        versions = client_of(location).list_object_versions(Bucket=bucket)["Versions"]
        keys = [version["Key"].rpartition("/")[2] for version in versions]
        assert sorted(keys) == ["a", "a", "pointer", "pointer"]

    @pytest.mark.parametrize(
        ("status", "code", "words"),
        [
            (403, "AccessDenied", "s3:GetBucketVersioning"),
            (501, "NotImplemented", "does not keep old versions"),
            (404, "NoSuchBucket", "no such bucket"),
        ],
    )
    def test_a_server_that_does_not_tell_of_versioning_is_bad_input(
        self, bucket: Location, status: int, code: str, words: str
    ) -> None:
        store = bucket.open(versioned=True)
        assert isinstance(store, S3Store)
        with Stubber(store._client) as answers:
            answers.add_client_error("get_bucket_versioning", code, http_status_code=status)
            with pytest.raises(BadInput, match=words):
                store.put("a", b"")

    def test_who_may_not_use_the_kms_key_is_told_of_it(self, bucket: Location) -> None:
        store = bucket.open(encryption="aws:kms")
        assert isinstance(store, S3Store)
        with Stubber(store._client) as answers:
            answers.add_client_error("put_object", "AccessDenied", http_status_code=403)
            with pytest.raises(BadInput, match="kms:GenerateDataKey"):
                store.put("a", b"")
