"""A pod's account opens the bucket by its role: the store finds a token, and no key anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import servers
from servers import S3Server

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import open_store

ROLE = "arn:aws:iam::111122223333:role/skin-writer"
ANSWER = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{key}</AccessKeyId>
<SecretAccessKey>{secret}</SecretAccessKey><SessionToken></SessionToken>
<Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


@pytest.fixture
def asked(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """What a server was asked that gives a key of the bucket for the role, as AWS' STS does."""
    requests: list[dict[str, str]] = []

    class Tokens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append({name: values[0] for name, values in parse_qs(body).items()})
            text = ANSWER.format(key=s3_server.access_key, secret=s3_server.secret)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Tokens)
    with servers.serving(server):
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
        yield requests


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment of a pod whose account is tied to a role; the file with its token."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    token = tmp_path / "token"
    token.write_text("token-of-the-account")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # a process of its own remembers nobody
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    return token


def test_the_store_is_opened_by_the_role_of_the_account(
    s3_server: S3Server, asked: list[dict[str, str]], pod: Path, tmp_path: Path
) -> None:
    store = open_store(
        f"s3://{s3_server.bucket}/roles", endpoint=s3_server.endpoint, cache=tmp_path / "cache"
    )
    store.put("there", b"x")
    assert store.read("there") == b"x"
    assert [(one["RoleArn"], one["WebIdentityToken"]) for one in asked] == [
        (ROLE, "token-of-the-account")
    ]


def test_without_the_token_the_store_is_not_opened(
    s3_server: S3Server,
    asked: list[dict[str, str]],
    pod: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE")
    with pytest.raises(BadInput, match="credentials"):
        open_store(
            f"s3://{s3_server.bucket}/roles", endpoint=s3_server.endpoint, cache=tmp_path / "cache"
        ).list("")
    assert asked == []
