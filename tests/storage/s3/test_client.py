"""Clients: certificates, settings of a connection, retries, credentials that cannot be right."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import boto3
import faulty
import pytest
from botocore.config import Config
from servers import S3Server
from stores import Location, assert_untold

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import S3Access, S3Store, Store, open_store
from skin_pipeline.storage.s3.client import ATTEMPTS, CONNECT_SECONDS

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[SSLContext, Path]:
    """A context of a server with a certificate that nobody signed but itself, and its file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509
        .CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_a_certificate_is_checked_as_the_connection_says(
    certificate: tuple[SSLContext, Path],
    s3_server: S3Server,
    at: Callable[[S3Access], Store],
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skin_pipeline.storage.s3.client.ATTEMPTS", 1)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    context, file = certificate
    with faulty.faulty(s3_server.endpoint, context) as front:
        access = S3Access(front.endpoint, s3_server.credentials)
        with pytest.raises(BadInput, match=r"certificate is not signed by .*`verify`"):
            at(access).put("a", b"x")
        assert at(replace(access, verify=str(file))).put("a", b"x")
        assert at(replace(access, verify=False)).read("a") == b"x"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
        assert at(access).put("b", b"x")


def test_a_file_of_certificates_that_is_not_there_is_told(
    at: Callable[[S3Access], Store],
) -> None:
    with pytest.raises(BadInput, match=r"verify names /no/such\.pem, which is not there"):
        at(S3Access("https://localhost:1", verify="/no/such.pem"))


def test_the_config_of_a_connection_goes_before_ours(
    at: Callable[[S3Access], Store], s3_server: S3Server
) -> None:
    theirs = Config(read_timeout=7, s3={"addressing_style": "path"}, region_name="eu-west-3")
    store = at(S3Access(s3_server.endpoint, config=theirs))
    assert isinstance(store, S3Store)
    config = store._client.meta.config
    assert (config.read_timeout, config.connect_timeout) == (7, CONNECT_SECONDS)
    assert config.s3 == {"addressing_style": "path"}
    assert config.retries["total_max_attempts"] == ATTEMPTS


@pytest.mark.parametrize(
    "config",
    [
        Config(request_checksum_calculation="sometimes"),
        {"AWS_REQUEST_CHECKSUM_CALCULATION": "sometimes"},
        {"AWS_CONFIG_FILE": "broken"},
    ],
)
def test_a_setting_of_boto3_that_does_not_fit_is_told_as_such(
    config: Any,
    at: Callable[[S3Access], Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.chdir(tmp_path)
    Path("broken").write_text("no section")
    if isinstance(config, dict):
        for name, value in config.items():
            monkeypatch.setenv(name, value)
        config = None
    with pytest.raises(BadInput, match=r"a setting of boto3's does not fit.*~/.aws/config"):
        at(S3Access("http://localhost:1", config=config))


class TestBounds:
    def test_a_request_is_sent_a_few_times_and_waits_as_long_as_it_should(
        self, bucket: Location, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pause = "botocore.retries.standard.ExponentialBackoff.delay_amount"
        monkeypatch.setattr(pause, lambda *_: 0)
        monkeypatch.setattr("skin_pipeline.storage.s3.client.CONNECT_SECONDS", 3)
        monkeypatch.setattr("skin_pipeline.storage.s3.client.READ_SECONDS", 4)
        with faulty.faulty(bucket.endpoint) as front:
            bucket.endpoint = front.endpoint
            store = bucket.open()
            front.strike(faulty.slow_down, range(1, 100))
            with pytest.raises(Unavailable):
                store.read("a")
            assert 3 <= front.requests == ATTEMPTS
        assert isinstance(store, S3Store)
        config = store._client.meta.config
        assert (config.connect_timeout, config.read_timeout) == (3, 4)


class TestCredentials:
    @pytest.mark.parametrize(
        ("url", "credentials", "words"),
        [
            ("s3://key:hunter2@bucket/x", {}, "SKIN_STORE must be"),
            ("gs://key:hunter2@bucket/x", {}, "SKIN_STORE must be"),
            ("s3://bucket/x", {"aws_secret_access_key": "hunter2\n"}, "aws_secret_access_key has"),
            ("s3://bucket/x", {"aws_session_token": "hunter2 x"}, "aws_session_token has a space"),
            ("s3://bucket/x", {"password": "hunter2"}, "unknown S3 credentials password"),
            ("s3://bucket/x", {"aws_access_key_id": "hunter2"}, "only half of them"),
        ],
    )
    def test_credentials_that_cannot_be_right_are_never_repeated(
        self, url: str, credentials: dict[str, str], words: str
    ) -> None:
        with pytest.raises(BadInput, match=words) as caught:
            open_store(url, endpoint="http://127.0.0.1:1", credentials=credentials)
        assert_untold("hunter2", caught.value)
