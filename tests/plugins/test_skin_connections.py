"""What the pipeline is given from Airflow's connections."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

import pytest
from servers import S3Server
from skin_connections import (
    data_access,
    kaggle_credentials,
    kaggle_endpoint,
    open_configured_store,
)

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import FolderStore, S3Store


def connect(monkeypatch: pytest.MonkeyPatch, name: str, **connection: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


# --- the store -----------------------------------------------------------------------------------


def test_a_folder_needs_no_connection(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_STORE", store.url)
    assert open_configured_store().url == store.url


@pytest.mark.parametrize("endpoint_in", ["connection", "setting"])
def test_s3_is_opened_with_the_credentials_of_the_connection(
    endpoint_in: str, s3_server: S3Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"region_name": "us-east-1"}
    if endpoint_in == "connection":
        extra["endpoint_url"] = s3_server.endpoint
    else:
        monkeypatch.setenv("SKIN_S3_ENDPOINT", s3_server.endpoint)
    connect(
        monkeypatch,
        "bucket",
        conn_type="aws",
        login=s3_server.access_key,
        password=s3_server.secret,
        extra=extra,
    )
    monkeypatch.setenv("SKIN_STORE", f"s3://{s3_server.bucket}/{endpoint_in}")
    monkeypatch.setenv("SKIN_STORE_CONNECTION", "bucket")
    monkeypatch.setenv("SKIN_CACHE", str(tmp_path / "cache"))

    store = open_configured_store()

    assert store.put("split/1/result.json", b"{}")
    assert isinstance(store, S3Store)
    assert store.endpoint == s3_server.endpoint
    assert store.local("split/1/result.json").is_relative_to(tmp_path)


def test_how_to_write_to_the_store_is_a_setting(
    s3_server: S3Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"region_name": "us-east-1", "endpoint_url": s3_server.endpoint}
    who = {"login": s3_server.access_key, "password": s3_server.secret}
    connect(monkeypatch, "bucket", conn_type="aws", extra=extra, **who)
    monkeypatch.setenv("SKIN_STORE", f"s3://{s3_server.bucket}/{uuid.uuid4().hex}")
    monkeypatch.setenv("SKIN_STORE_CONNECTION", "bucket")
    monkeypatch.setenv("SKIN_CACHE", str(tmp_path))
    monkeypatch.setenv("SKIN_S3_STORAGE_CLASS", "NONSENSE")
    with pytest.raises(BadInput, match="no such storage class"):
        open_configured_store().put("a", b"x")

    monkeypatch.setenv("SKIN_S3_VERSIONING", "true")
    with pytest.raises(BadInput, match="does not keep old versions"):
        open_configured_store().put("a", b"x")


def test_a_missing_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_STORE", "s3://models")
    monkeypatch.setenv("SKIN_STORE_CONNECTION", "nowhere")
    with pytest.raises(BadInput, match="'nowhere', which does not exist"):
        open_configured_store()


def test_a_connection_without_credentials_is_named(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("SKIN_STORE", "s3://models")
    monkeypatch.setenv("SKIN_STORE_CONNECTION", "bucket")
    connect(monkeypatch, "bucket", conn_type="aws", extra={"region_name": "us-east-1"})
    with pytest.raises(BadInput, match="'bucket' holds no credentials"):
        open_configured_store()


def test_no_secret_of_a_connection_is_logged_or_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3-secret-8f20"
    connect(monkeypatch, "bucket", conn_type="aws", login="key-id", password=secret)
    monkeypatch.setenv("SKIN_STORE", "s3://models")
    monkeypatch.setenv("SKIN_STORE_CONNECTION", "bucket")
    with caplog.at_level(logging.DEBUG, logger="airflow"), caplog.at_level(logging.INFO):
        store = open_configured_store()
    assert secret not in caplog.text + repr(store)


# --- images in S3 --------------------------------------------------------------------------------

STORE, IMAGES = "http://store.test", "http://images.test"
HERE = {"extra": {"region_name": "us-east-1"}}


def at(endpoint: str) -> dict[str, Any]:
    return {"extra": {"region_name": "us-east-1", "endpoint_url": endpoint}}


# environment, connections by name, the endpoint and the access key that are found
ACCESS: dict[str, tuple[dict[str, str], dict[str, dict[str, Any]], str, str]] = {
    "nothing is set": ({}, {}, "", ""),
    "the store's endpoint": ({"S3_ENDPOINT": STORE}, {}, STORE, ""),
    "an endpoint of its own": ({"S3_ENDPOINT": STORE, "DATA_ENDPOINT": IMAGES}, {}, IMAGES, ""),
    "the store's connection": ({"STORE_CONNECTION": "one"}, {"one": at(STORE)}, STORE, "key-one"),
    "the store's connection, another server": (
        {"STORE_CONNECTION": "one", "DATA_ENDPOINT": IMAGES},
        {"one": at(STORE)},
        IMAGES,
        "key-one",
    ),
    "a connection of its own": (
        {"STORE_CONNECTION": "one", "DATA_CONNECTION": "two"},
        {"one": at(STORE), "two": at(IMAGES)},
        IMAGES,
        "key-two",
    ),
    "a connection of its own, the store's server": (
        {"DATA_CONNECTION": "two", "S3_ENDPOINT": STORE},
        {"two": HERE},
        STORE,
        "key-two",
    ),
}


@pytest.mark.parametrize("case", ACCESS)
def test_images_are_reached_like_the_store_unless_told_otherwise(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, connections, endpoint, key = ACCESS[case]
    for name, value in environment.items():
        monkeypatch.setenv(f"SKIN_{name}", value)
    for name, connection in connections.items():
        given = {"login": f"key-{name}", "password": "s3-secret-9a31", **connection}
        connect(monkeypatch, name, conn_type="aws", **given)

    access = data_access()

    assert access.endpoint == endpoint
    assert access.credentials.get("aws_access_key_id", "") == key
    assert "9a31" not in repr(access)


def test_a_missing_connection_for_images_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_DATA_CONNECTION", "nowhere")
    with pytest.raises(BadInput, match=r"SKIN_DATA_CONNECTION .*'nowhere', which does not exist"):
        data_access()


# --- Kaggle --------------------------------------------------------------------------------------


def test_without_a_kaggle_connection_there_are_no_credentials() -> None:
    assert kaggle_credentials() is None
    assert kaggle_endpoint() == ""


@pytest.mark.parametrize(
    ("connection", "found"),
    [
        ({"login": "me", "password": "k-61"}, ("me", "k-61", "")),
        ({"extra": {"token": "t-62"}}, ("", "", "t-62")),
        ({"password": "t-63"}, ("", "t-63", "")),
        ({"extra": {"username": "me", "key": "k-64"}}, ("me", "k-64", "")),
        ({"extra": {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "k-65"}}, ("me", "k-65", "")),
        ({"login": "me", "extra": {"KAGGLE_API_TOKEN": "t-66"}}, ("me", "", "t-66")),
        ({"extra": {"api_token": "t-67"}}, ("", "", "t-67")),
    ],
)
def test_kaggle_credentials_come_from_the_connection(
    connection: dict[str, Any], found: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "kaggle", conn_type="generic", **connection)
    given = kaggle_credentials()
    assert given is not None
    assert (given.username, given.key, given.token) == found
    assert "6" not in repr(given)  # no part of a secret


@pytest.mark.parametrize(
    ("connection", "endpoint"),
    [
        ({"host": "www.kaggle.com"}, "www.kaggle.com"),
        ({"host": " https://www.kaggle.com "}, "https://www.kaggle.com"),
        ({"host": "localhost", "schema": "http", "port": 9}, "http://localhost:9"),
        ({"host": "localhost", "port": 9}, "localhost:9"),
        ({"login": "me"}, ""),
    ],
)
def test_the_host_of_a_kaggle_connection_is_put_together_from_its_fields(
    connection: dict[str, Any], endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "kaggle", conn_type="http", **connection)
    assert kaggle_endpoint() == endpoint


def test_another_connection_and_endpoint_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_KAGGLE_CONNECTION", "mirror")
    connect(monkeypatch, "mirror", conn_type="generic", host="http://localhost:9", password="k")
    assert kaggle_endpoint() == "http://localhost:9"
    given = kaggle_credentials()
    assert given is not None
    assert given.origin == "the Airflow connection 'mirror'"
