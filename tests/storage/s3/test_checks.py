"""Servers that do less than AWS: conditions that they ignore, checksums that they do not know."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import boto3
import faulty
import pytest
from botocore.config import Config
from s3_calls import ALWAYS
from servers import S3Server
from stores import calls_in_turn

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import S3Access, Store, digest, open_store

pytestmark = pytest.mark.usefixtures("fresh")

CONDITIONS = {
    "both": (("if-match", "if-none-match"), "ignores If-None-Match and If-Match"),
    "If-Match": (("if-match",), "ignores If-Match"),
    "If-None-Match": (("if-none-match",), "ignores If-None-Match"),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_a_server_that_ignores_conditions_is_refused_before_the_first_pointer_moves(
    case: str,
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
    names: Callable[[], list[str]],
) -> None:
    headers, words = CONDITIONS[case]
    assert direct.swap("champion.json", b"old", None)
    found = direct.tagged("champion.json")
    assert found
    store = at(S3Access(front.endpoint, s3_server.credentials))
    front.strike(faulty.forgetful(headers, s3_server.credentials), ALWAYS)

    for tag in (found[1], None, found[1]):  # it is not trusted the second time either
        with pytest.raises(BadInput, match=rf"{words}, by which .*proxy.*SKIN_S3_ENDPOINT"):
            store.swap("champion.json", b"new", tag)
    assert direct.read("champion.json") == b"old"
    assert names() == ["champion.json"]


def test_a_server_that_heeds_conditions_is_tried_once(
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    names: Callable[[], list[str]],
) -> None:
    access = S3Access(front.endpoint, s3_server.credentials)
    front.strike(faulty.pass_on, ALWAYS)
    assert at(access).swap("a", b"1", None)
    first = front.requests
    assert at(access).swap("b", b"1", None)  # of another store object, too
    assert (first, front.requests) == (5, 6)
    assert names() == ["a", "b"]


@pytest.mark.parametrize("known", [True, False], ids=["heeded", "ignored"])
def test_only_a_server_that_heeds_the_condition_is_asked_to_copy(
    known: bool,
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
    names: Callable[[], list[str]],
) -> None:
    direct.put("a", b"a")
    direct.put("taken", b"kept")
    store = at(S3Access(front.endpoint, s3_server.credentials))
    forget = faulty.forgetful(("if-none-match",), s3_server.credentials)
    front.strike(faulty.pass_on if known else forget, ALWAYS)

    for _ in range(2):
        assert not store.copy("a", "taken", digest(b"a"))
    assert store.copy("a", "free", digest(b"a")) == known
    assert direct.read("taken") == b"kept"
    assert names() == (["a", "free", "taken"] if known else ["a", "taken"])


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (500, "InternalError")])
def test_a_server_that_cannot_copy_is_asked_once_and_never_again(
    status: int,
    code: str,
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
    names: Callable[[], list[str]],
) -> None:
    direct.put("a", b"a")
    refused: list[str] = []

    def refuse_copies(exchange: faulty.Exchange) -> None:
        if "x-amz-copy-source" not in exchange.headers:
            return faulty.pass_on(exchange)
        refused.append(exchange.path)
        exchange.asked()
        return exchange.refuse(status, code)

    quick = Config(retries={"total_max_attempts": 1})
    store = at(S3Access(front.endpoint, s3_server.credentials, config=quick))
    front.strike(refuse_copies, ALWAYS)
    for _ in range(2):
        assert not store.copy("a", "b", digest(b"a"))
    assert len(refused) == 1
    assert names() == ["a"]


def test_a_copy_whose_answer_was_lost_is_known_as_ones_own(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store], direct: Store
) -> None:
    direct.put("a", b"a")
    store = at(S3Access(front.endpoint, s3_server.credentials))
    assert store.copy("a", "first", digest(b"a"))  # which also tries the server
    front.strike(faulty.lose_answer, {2})  # after the look for the source
    assert store.copy("a", "second", digest(b"a"))
    assert direct.read("second") == b"a"


def test_the_trial_of_a_server_leaves_no_version_behind(
    s3_server: S3Server, tmp_path: Path
) -> None:
    client = boto3.client("s3", endpoint_url=s3_server.endpoint, **s3_server.credentials)
    bucket = f"test-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    access = S3Access(s3_server.endpoint, s3_server.credentials)
    assert open_store(f"s3://{bucket}/x", cache=tmp_path, access=access).swap("a", b"1", None)
    listed = client.list_object_versions(Bucket=bucket)
    assert [item["Key"] for item in listed["Versions"]] == ["x/a"]
    assert "DeleteMarkers" not in listed


def test_a_key_that_does_not_fit_is_refused_before_anything_is_tried(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    store = at(S3Access(front.endpoint, s3_server.credentials))
    with pytest.raises(BadInput, match="a key is a relative path"):
        store.swap("../a", b"", None)
    assert front.requests == 0


# What servers are known to answer.
ANSWERS = {
    "Backblaze": (
        400,
        "InvalidArgument",
        "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call.",
    ),
    "Cloudflare": (501, "NotImplemented", "Header 'x-amz-checksum-sha256' not implemented"),
    "Google": (
        501,
        "NotImplemented",
        "A header you provided implies functionality that is not implemented.",
    ),
    "Ceph": (400, "XAmzContentSHA256Mismatch", "UnknownError"),
    "Scality": (400, "BadRequest", "trailing checksum is not supported"),
    "a signature": (403, "SignatureDoesNotMatch", "The signature does not match"),
    "no words": (400, "400", " "),
}


SETTING = "AWS_REQUEST_CHECKSUM_CALCULATION.*when_required.*config_kwargs"


@pytest.mark.parametrize("case", ANSWERS)
def test_a_server_that_knows_no_checksums_is_told_with_the_setting_that_helps(
    case: str,
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    names: Callable[[], list[str]],
    large: Path,
) -> None:
    store = at(S3Access(front.endpoint, s3_server.credentials))
    front.strike(faulty.without_checksums(*ANSWERS[case]), ALWAYS)
    for name in ("put", "put_file", "swap"):
        with pytest.raises(BadInput, match=rf"know the checksums of newer clients.*{SETTING}"):
            calls_in_turn(store, large)[name]()
    assert names() == []


def test_another_refusal_is_not_blamed_on_checksums(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    store = at(S3Access(front.endpoint, s3_server.credentials))

    def refuse(exchange: faulty.Exchange) -> None:
        exchange.asked()
        exchange.refuse(501, "NotImplemented")

    front.strike(refuse, ALWAYS)
    with pytest.raises(BadInput, match="does not know conditional writes"):
        store.put("a", b"")


WITHOUT = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


@pytest.mark.parametrize("by", ["environment", "connection"])
def test_with_that_setting_such_a_server_is_used_and_damage_is_still_noticed(
    by: str,
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if by == "environment":
        for name, value in WITHOUT.items():
            monkeypatch.setenv(f"AWS_{name.upper()}", value)
    config = Config(**WITHOUT) if by == "connection" else None
    store = at(S3Access(front.endpoint, s3_server.credentials, config=config))
    front.strike(faulty.without_checksums(400, "InvalidArgument", "no checksums here"), ALWAYS)

    direct.put("there", b"x")
    for call in calls_in_turn(store, large).values():
        assert call() is not False
    assert store.put("a", b"good bytes")
    assert front.struck

    client = boto3.client("s3", endpoint_url=s3_server.endpoint, **s3_server.credentials)
    location = {"Bucket": s3_server.bucket, "Key": store.link("a").split("/", 3)[3]}
    metadata = client.head_object(**location)["Metadata"]
    client.put_object(**location, Body=b"evil bytes", Metadata=metadata)
    with pytest.raises(Unavailable, match="did not arrive whole"):
        store.read("a")


def test_a_server_that_refuses_to_tell_checksums_is_told_so_too(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store], direct: Store
) -> None:
    direct.put("a", b"x")

    def refuse(exchange: faulty.Exchange) -> None:
        if "x-amz-checksum-mode" in exchange.headers:
            exchange.refuse(400, "InvalidArgument", "Unsupported header 'x-amz-checksum-mode'")
        else:
            faulty.pass_on(exchange)

    front.strike(refuse, ALWAYS)
    access = S3Access(front.endpoint, s3_server.credentials)
    with pytest.raises(BadInput, match="AWS_RESPONSE_CHECKSUM_VALIDATION to when_required"):
        at(access).read("a")
    assert at(replace(access, config=Config(**WITHOUT))).read("a") == b"x"
