"""Stores opened by a URL and by the settings of a deployment."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from s3_calls import client_of, enable, where
from servers import S3Server
from stores import Location, child, told

from skin_pipeline.cli import job_of
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import S3Store, open_store


class TestOpening:
    def test_place_and_bound_of_the_cache_are_settings(self, tmp_path: Path) -> None:
        deployment = Deployment(
            store="s3://bucket/x",
            s3_endpoint="http://127.0.0.1:1",
            cache=str(tmp_path),
            cache_gib=0.5,
        )
        store = job_of(Settings(), deployment).proven.inner

        assert isinstance(store, S3Store)
        assert (store.cache.folder, store.cache.bound) == (tmp_path, 1 << 29)

    def test_how_to_write_is_a_setting(self, aws: Location) -> None:
        deployment = Deployment(
            store=aws.url,
            cache=aws.cache,
            s3_encryption="aws:kms",
            s3_kms_key="alias/skin",
            s3_storage_class="STANDARD_IA",
            s3_versioning=True,
        )
        store = job_of(Settings(), deployment).store
        with pytest.raises(BadInput, match="SKIN_S3_VERSIONING"):
            store.put("a", b"")

        enable(aws, "models", "Enabled")
        assert store.put("a", b"")
        head = client_of(aws).head_object(**where(aws, "a"))
        assert (head["SSEKMSKeyId"], head["StorageClass"]) == ("alias/skin", "STANDARD_IA")

    @pytest.mark.parametrize("form", ["file://{}", "{}"])
    def test_a_folder_is_opened_and_not_yet_created(self, tmp_path: Path, form: str) -> None:
        store = open_store(form.format(tmp_path / "my store"))

        assert store.url == f"file://{tmp_path}/my store"
        assert (store.list(""), store.exists("a")) == ([], False)
        assert not (tmp_path / "my store").exists()

    @pytest.mark.parametrize("url", ["file://var/store", "var/store"])
    def test_a_relative_folder_starts_at_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        store = open_store(url)
        monkeypatch.chdir("/")

        assert store.link("a") == str(tmp_path / "var/store/a")

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "file://",
            "gs://bucket/x",
            "s3:/bucket/x",
            "S3://bucket/x",
            "https://bucket/x",
            "s3://",
            "s3:///x",
            "s3://a/x",
            "s3://buck et/x",
            "s3://bucket:1/x",
        ],
    )
    def test_what_is_neither_folder_nor_s3_is_bad_input(self, url: str) -> None:
        with pytest.raises(BadInput, match=r"SKIN_STORE must be .*s3://BUCKET/PREFIX"):
            open_store(url)

    @pytest.mark.parametrize("url", ["s3://bucket/../x", "s3://bucket/a//b"])
    def test_a_prefix_that_is_no_folder_is_bad_input(self, url: str) -> None:
        with pytest.raises(BadInput, match="a key is a relative path"):
            open_store(url)

    def test_the_whole_bucket_can_be_a_store(self, bucket: Location, s3_server: S3Server) -> None:
        key = f"{uuid.uuid4().hex}/a"
        bucket.url = f"s3://{s3_server.bucket}/"
        store = bucket.open()
        store.put(key, b"x")

        assert key in store.list("")
        assert store.list(key.partition("/")[0]) == [key]
        assert store.link(key) == f"s3://{s3_server.bucket}/{key}"

    def test_a_folder_needs_no_boto3(self, tmp_path: Path) -> None:
        script = (
            "import sys; from skin_pipeline.storage import open_store\n"
            "open_store(sys.argv[1]).put('a', b'')\n"
            "print([name for name in sys.modules if name.startswith('boto')])"
        )
        with child(script, str(tmp_path)) as process:
            assert told(process) == "[]"
