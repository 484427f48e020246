"""What the pipeline is given from Airflow's connections."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
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
    monkeypatch.setenv("SKIN_CACHE_GIB", "0.5")

    store = open_configured_store()

    assert store.put("split/1/result.json", b"{}")
    assert isinstance(store, S3Store)
    assert store.cache.bound == 1 << 29
    assert store.endpoint == s3_server.endpoint
    assert store.local("split/1/result.json").is_relative_to(tmp_path)


def test_the_endpoint_of_the_connection_goes_before_that_of_the_settings(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_connection(monkeypatch, s3_server)
    monkeypatch.setenv("SKIN_S3_ENDPOINT", "http://another.test")
    store = open_configured_store()
    assert isinstance(store, S3Store)
    assert store.endpoint == data_access().endpoint == s3_server.endpoint


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


def s3_connection(monkeypatch: pytest.MonkeyPatch, server: S3Server, **connection: Any) -> None:
    """The connection `bucket` to a server, and settings that name it."""
    given = {"login": server.access_key, "password": server.secret, **connection}
    extra = {"region_name": "us-east-1", "endpoint_url": server.endpoint, **given.pop("extra", {})}
    connect(monkeypatch, "bucket", conn_type="aws", extra=extra, **given)
    monkeypatch.setenv("SKIN_STORE", f"s3://{server.bucket}/{uuid.uuid4().hex}")
    monkeypatch.setenv("SKIN_STORE_CONNECTION", "bucket")


def test_what_a_connection_says_beside_its_credentials_is_honoured(
    s3_server: S3Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    config = {
        "read_timeout": 7,
        "s3": {"addressing_style": "path"},
        "request_checksum_calculation": "when_required",
        "proxies": {"http": "http://proxy.test:3128"},
    }
    extra = {
        "verify": str(tmp_path / "ca.pem"),
        "config_kwargs": config,
        "region_name": "eu-central-1",
        "aws_session_token": "a-session",
    }
    s3_connection(monkeypatch, s3_server, extra=extra)
    access = data_access()
    assert (access.verify, access.anonymous) == (str(tmp_path / "ca.pem"), False)
    assert access.credentials["aws_session_token"] == "a-session"
    store = open_configured_store()
    assert isinstance(store, S3Store)
    meta = store._client.meta
    assert meta.region_name == "eu-central-1"
    assert meta.config.read_timeout == 7
    assert meta.config.s3["addressing_style"] == "path"
    assert meta.config.proxies == config["proxies"]
    assert meta.config.request_checksum_calculation == "when_required"


@pytest.mark.parametrize(
    ("given", "read"), [(False, False), ("false", False), ("True", True), (True, True), ("", None)]
)
def test_whether_certificates_are_checked_may_be_written_as_text(
    given: Any, read: bool | None, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_connection(monkeypatch, s3_server, extra={"verify": given})
    assert data_access().verify is read


def test_a_profile_gives_credentials_and_what_else_it_says(
    s3_server: S3Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    (tmp_path / "config").write_text(
        f"[profile clinic]\nregion = eu-west-3\naws_access_key_id = {s3_server.access_key}\n"
        f"aws_secret_access_key = {s3_server.secret}\nendpoint_url = {s3_server.endpoint}\n"
    )
    connect(monkeypatch, "bucket", conn_type="aws", extra={"profile_name": "clinic"})
    monkeypatch.setenv("SKIN_STORE", f"s3://{s3_server.bucket}/{uuid.uuid4().hex}")
    monkeypatch.setenv("SKIN_STORE_CONNECTION", "bucket")
    store = open_configured_store()
    assert isinstance(store, S3Store)
    assert store._client.meta.region_name == "eu-west-3"
    assert store.endpoint == s3_server.endpoint
    assert store.put("a", b"x")


UNUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"extra": {"region": "eu"}}, "region in its extra.*did you mean region_name?"),
    "far off": ({"extra": {"colour": "red"}}, "colour in its extra, which is not used. Known"),
    "in session_kwargs": (
        {"extra": {"session_kwargs": {"profile_name": "clinic"}}},
        "profile_name in its extra.*did you mean profile_name",
    ),
    "a host": ({"host": "http://minio:9000"}, "has a host.*`endpoint_url`"),
    "half a key pair": ({"password": ""}, "half a key pair"),
    "no such option": ({"extra": {"config_kwargs": {"timeout": 1}}}, "does not fit:.*timeout"),
    "no such method": (
        {"extra": {"role_arn": "arn:aws:iam::1:role/x", "assume_role_method": "ask"}},
        "does not fit:.*assume_role_method='ask'",
    ),
    "no object": ({"extra": {"config_kwargs": "fast"}}, "does not fit"),
}


@pytest.mark.parametrize("case", UNUSED)
def test_what_cannot_be_honoured_is_refused_by_name(
    case: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, words = UNUSED[case]
    s3_connection(monkeypatch, s3_server, **connection)
    with pytest.raises(BadInput, match=rf"'bucket'.*{words}") as caught:
        open_configured_store()
    assert s3_server.secret not in str(caught.value)


def test_a_role_is_assumed_and_one_that_is_refused_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    extra = {"region_name": "us-east-1", "role_arn": "arn:aws:iam::123456789012:role/skin"}
    connect(monkeypatch, "bucket", conn_type="aws", login="key", password="secret", extra=extra)
    monkeypatch.setenv("SKIN_DATA_CONNECTION", "bucket")
    with mock_aws():
        first, second = data_access(), data_access()
        assert first.renew
        renewed = first.renew()
    assert all(access.credentials["aws_session_token"] for access in (first, second, renewed))
    tokens = {access.credentials["aws_session_token"] for access in (first, second, renewed)}
    assert len(tokens) == 3  # each look-up asks for a session of its own

    def deny(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", deny)
    with pytest.raises(BadInput, match=r"'bucket'.*assume its role.*SKIN_DATA_CONNECTION"):
        data_access()


@pytest.mark.parametrize("method", ["assume_role_with_saml", "assume_role_with_web_identity"])
def test_half_of_a_role_is_told_without_a_stack_trace(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE", raising=False)
    role = {"role_arn": "arn:aws:iam::123456789012:role/skin", "assume_role_method": method}
    extra = {"region_name": "us-east-1", **role}
    connect(monkeypatch, "bucket", conn_type="aws", login="key", password="secret", extra=extra)
    monkeypatch.setenv("SKIN_DATA_CONNECTION", "bucket")
    with pytest.raises(BadInput, match=r"get credentials by .*'bucket': a part of it is missing"):
        data_access()


@pytest.mark.parametrize("setting", ["SKIN_DATA_ANONYMOUS", "the connection"])
def test_a_public_bucket_is_asked_without_credentials(
    setting: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned = {"config_kwargs": {"signature_version": "unsigned"}}
    s3_connection(monkeypatch, s3_server, extra={} if setting.startswith("SKIN") else unsigned)
    if setting.startswith("SKIN"):
        monkeypatch.setenv(setting, "true")
    access = data_access()
    assert (access.anonymous, dict(access.credentials)) == (True, {})
    assert access.endpoint == s3_server.endpoint


def test_the_store_is_asked_with_credentials_where_images_are_public(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_connection(monkeypatch, s3_server)
    monkeypatch.setenv("SKIN_DATA_ANONYMOUS", "true")
    assert open_configured_store().put("a", b"x")


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
