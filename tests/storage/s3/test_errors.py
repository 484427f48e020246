"""What a server answers, or does not, becomes an error that says what to do."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber
from s3_calls import web_page
from servers import HOST, S3Server, free_ports, proxy
from stores import PATIENCE, Location, assert_untold, every_call

from skin_pipeline.errors import BadInput, PipelineError, Unavailable, UnavailableHere
from skin_pipeline.storage import S3Store


class TestErrors:
    def test_a_wrong_secret_is_bad_input_that_never_tells_it(
        self, bucket: Location, source: Path
    ) -> None:
        secret = "not-the-secret-7d20"
        bucket.credentials["aws_secret_access_key"] = secret

        for call in every_call(bucket.open(), source):
            with pytest.raises(BadInput, match=r"credentials are wrong.*SKIN_STORE_CONN") as caught:
                call()
            assert bucket.endpoint in str(caught.value)
            assert_untold(secret, caught.value)

    @pytest.mark.parametrize(
        ("variables", "secret"),
        [
            ({}, "nothing"),
            ({"AWS_ACCESS_KEY_ID": "half"}, "nothing"),
            (
                {
                    "AWS_ACCESS_KEY_ID": "a",
                    "AWS_SECRET_ACCESS_KEY": "s-5e1f",
                    "AWS_SESSION_TOKEN": "two\nlines-5e1f",
                },
                "5e1f",
            ),
        ],
    )
    def test_bad_credentials_in_the_environment_are_bad_input(
        self,
        bucket: Location,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        variables: dict[str, str],
        secret: str,
    ) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        bucket.credentials = {}

        with pytest.raises(BadInput, match=r"credentials.*AWS_ACCESS_KEY_ID") as caught:
            bucket.open().put("a", b"")
        assert_untold(secret, caught.value)

    def test_a_missing_bucket_is_bad_input(self, bucket: Location, source: Path) -> None:
        bucket.url = "s3://no-such-bucket/models"

        for call in every_call(bucket.open(), source):
            with pytest.raises(BadInput, match=r"'no-such-bucket' at .*no such bucket.*SKIN_STORE"):
                call()

    def test_an_identity_that_may_only_read_gets_bad_input_when_it_writes(
        self, bucket: Location, s3_server: S3Server, source: Path
    ) -> None:
        bucket.open().put("there", b"x")
        bucket.credentials = s3_server.reader_credentials
        store = bucket.open()

        assert store.read("there") == b"x"
        for write in (
            partial(store.put, "a", b""),
            partial(store.put_file, "a", source),
            partial(store.swap, "there", b"", (store.tagged("there") or ("", ""))[1]),
            partial(store.remove, "there"),
        ):
            with pytest.raises(BadInput, match="credentials do not allow it") as caught:
                write()
            assert_untold(s3_server.reader_secret, caught.value)
        assert store.list("") == ["there"]

    def test_a_dead_endpoint_is_unavailable(
        self, bucket: Location, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skin_pipeline.storage.s3.client.ATTEMPTS", 1)
        bucket.endpoint = f"http://{HOST}:{free_ports(1)[0]}"

        for call in every_call(bucket.open(), source):
            with pytest.raises(Unavailable, match=r"no answer \(EndpointC.*SKIN_S3_END") as caught:
                call()
            assert_untold(bucket.credentials["aws_secret_access_key"], caught.value)

    def test_a_silent_endpoint_is_unavailable(
        self, bucket: Location, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skin_pipeline.storage.s3.client.ATTEMPTS", 1)
        monkeypatch.setattr("skin_pipeline.storage.s3.client.READ_SECONDS", 0.2)
        with proxy(bucket.endpoint) as front:
            release = threading.Event()
            front.answered = lambda chunk: chunk if release.wait(PATIENCE) else b""
            bucket.endpoint = front.endpoint
            with pytest.raises(Unavailable, match=r"no answer \(ReadTimeoutError\)"):
                bucket.open().local("a")
            release.set()

    @pytest.mark.parametrize("status", [200, 403, 404])
    def test_a_web_server_is_not_taken_for_s3(
        self, bucket: Location, source: Path, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        monkeypatch.setattr("skin_pipeline.storage.s3.client.ATTEMPTS", 1)
        with web_page(status) as bucket.endpoint:
            for call in every_call(bucket.open(), source):
                # boto3 takes a page in place of a list for a fault that may pass.
                with pytest.raises((BadInput, Unavailable), match=bucket.endpoint):
                    call()

    @pytest.mark.parametrize(
        ("status", "code", "kind", "words"),
        [
            (403, "AccessDenied", BadInput, "do not allow it"),
            (403, "InvalidAccessKeyId", BadInput, "credentials are wrong"),
            (400, "ExpiredToken", Unavailable, "session token has expired"),
            (403, "RequestTimeTooSkewed", UnavailableHere, "clock.*Set the clock"),
            (404, "NoSuchBucket", BadInput, "no such bucket"),
            (301, "PermanentRedirect", BadInput, "another region"),
            (400, "AuthorizationHeaderMalformed", BadInput, "another region"),
            (501, "NotImplemented", BadInput, "conditional writes.*SKIN_S3_ENCRYPTION"),
            (400, "KMS.NotFoundException", BadInput, "encryption key.*SKIN_S3_KMS_KEY"),
            (400, "KMS.DisabledException", BadInput, "encryption key.*switched off"),
            (400, "KMS.KMSInvalidStateException", BadInput, "encryption key.*Mend the key"),
            (400, "InvalidArgument", BadInput, "SKIN_S3_ENCRYPTION and SKIN_S3_KMS_KEY"),
            (400, "InvalidEncryptionAlgorithmError", BadInput, "SKIN_S3_ENCRYPTION"),
            (400, "InvalidStorageClass", BadInput, "no such storage class.*SKIN_S3_STORAGE_CLASS"),
            (400, "InvalidRequest", BadInput, "refused it"),
            (503, "SlowDown", Unavailable, "busy"),
            (500, "InternalError", Unavailable, "busy or out of order"),
            (502, "502", Unavailable, "busy or out of order"),
            (429, "TooManyRequests", Unavailable, "busy"),
            (400, "RequestTimeout", Unavailable, "busy"),
            (408, "408", Unavailable, "busy"),
            (409, "BucketBusy", Unavailable, "busy"),
        ],
    )
    def test_each_refusal_says_what_to_do(
        self, bucket: Location, status: int, code: str, kind: type[PipelineError], words: str
    ) -> None:
        store = bucket.open()
        assert isinstance(store, S3Store)
        with Stubber(store._client) as answers:
            answers.add_client_error("put_object", code, http_status_code=status)
            with pytest.raises(kind, match=words) as caught:
                store.put("a", b"")
        assert f"({code})" in str(caught.value)
        assert repr(store.bucket) in str(caught.value)
