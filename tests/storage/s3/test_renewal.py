"""Sessions that end while a client uses them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import faulty
import pytest
from s3_calls import ALWAYS, CALLS, Issuer, ended
from servers import S3Server
from stores import calls_in_turn

from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.storage import S3Access, Store
from skin_pipeline.storage.s3.access import CREDENTIALS
from skin_pipeline.storage.s3.advice import EXPIRED

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.mark.parametrize("name", CALLS)
def test_a_session_that_ended_is_renewed_and_the_call_goes_on(
    name: str,
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
    large: Path,
) -> None:
    direct.put("there", b"x")
    store = at(issuer.access)
    front.strike(ended(s3_server), ALWAYS)

    assert calls_in_turn(store, large)[name]() is not False
    assert issuer.asked == 1
    assert store.read("there") == b"x"
    assert issuer.asked == 1  # the new credentials are kept


@pytest.mark.parametrize("code", EXPIRED)
@pytest.mark.parametrize("status", [400, 403])
def test_every_word_for_an_ended_session_is_understood(
    code: str,
    status: int,
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
) -> None:
    front.strike(ended(s3_server, code, status), ALWAYS)
    assert at(issuer.access).list("") == []
    assert issuer.asked == 1

    issuer.second = s3_server.credentials  # nobody has others
    with pytest.raises(Unavailable, match=rf"session token has expired.*\({code}\)"):
        at(issuer.access).list("")


@pytest.mark.parametrize("first", [2, 4, 5])
def test_a_session_that_ends_within_a_large_file_does_not_break_it(
    first: int,
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    large: Path,
) -> None:
    store = at(issuer.access)
    front.strike(ended(s3_server), range(first, sys.maxsize))

    assert store.put_file("model", large)
    assert store.local("model").read_bytes() == large.read_bytes()
    assert front.struck
    assert 1 <= issuer.asked <= front.struck


def test_requests_that_meet_an_ended_session_at_once_share_one_look_up(
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    direct: Store,
) -> None:
    direct.put("there", b"x")
    store = at(issuer.access)
    together = threading.Barrier(6)

    def refuse(exchange: faulty.Exchange) -> None:
        if f"Credential={s3_server.access_key}/" in exchange.headers["Authorization"]:
            together.wait(300)
        ended(s3_server)(exchange)

    front.strike(refuse, ALWAYS)
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(store.read, ["there"] * 6)) == {b"x"}
    assert issuer.asked == 1


def test_the_answer_to_head_that_says_nothing_is_taken_for_an_ended_session(
    front: faulty.Front, issuer: Issuer, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    store = at(issuer.access)
    assert store.put("a", b"x")

    def only_head(exchange: faulty.Exchange) -> None:
        (ended(s3_server) if exchange.command == "HEAD" else faulty.pass_on)(exchange)

    front.strike(only_head, ALWAYS)
    assert not store.put("a", b"y")  # whose it is shows by HEAD
    assert issuer.asked == 1


def test_credentials_that_nobody_can_renew_are_unavailable_and_tell_what_to_do(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    front.strike(ended(s3_server), ALWAYS)
    store = at(S3Access(front.endpoint, s3_server.credentials))
    with pytest.raises(Unavailable, match=r"If it stays so: Change the Airflow connection"):
        store.list("")
    assert front.requests == 1


def test_what_goes_wrong_in_a_look_up_is_told(
    front: faulty.Front, s3_server: S3Server, at: Callable[[S3Access], Store]
) -> None:
    def refuse() -> S3Access:
        raise BadInput("the role is gone")

    front.strike(ended(s3_server), ALWAYS)
    store = at(S3Access(front.endpoint, s3_server.credentials, renew=refuse))
    with pytest.raises(BadInput, match="the role is gone"):
        store.list("")


def test_a_file_of_credentials_that_another_program_renews_is_read_again(
    front: faulty.Front,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    write_credentials(file, s3_server.credentials)
    store = at(S3Access(front.endpoint))
    assert store.list("") == []

    front.strike(ended(s3_server), ALWAYS)
    with pytest.raises(Unavailable, match="session token has expired"):
        store.list("")
    write_credentials(file, s3_server.second_credentials)
    assert store.put("a", b"x")


def write_credentials(file: Path, credentials: dict[str, str]) -> None:
    lines = [f"{name} = {credentials[name]}" for name in CREDENTIALS[:2]]
    file.write_text("\n".join(["[default]", *lines]))


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("RequestTimeTooSkewed", Unavailable, "clock"),
        ("SignatureDoesNotMatch", BadInput, "credentials are wrong"),
        ("AccessDenied", BadInput, "do not allow it"),
    ],
)
def test_other_refusals_ask_for_no_new_credentials(
    code: str,
    kind: type[PipelineError],
    words: str,
    front: faulty.Front,
    issuer: Issuer,
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
) -> None:
    front.strike(ended(s3_server, code, 403), ALWAYS)
    with pytest.raises(kind, match=words):
        at(issuer.access).list("")
    assert issuer.asked == 0
