"""Addresses of servers, refused or remarked on before anything is sent."""

from __future__ import annotations

import pytest
from stores import assert_untold

from skin_pipeline.errors import BadInput
from skin_pipeline.storage import S3Access, open_store
from skin_pipeline.storage.s3.addresses import warn_of_plain_http


class TestEndpoint:
    @pytest.mark.parametrize(
        "endpoint",
        [
            "nonsense",
            "ftp://host",
            "http://",
            "http://host:port",
            "http://host:99999",
            "http://me:hunter2@host:1",
        ],
    )
    def test_an_endpoint_that_is_no_web_address_is_bad_input(self, endpoint: str) -> None:
        with pytest.raises(BadInput, match="SKIN_S3_ENDPOINT must be") as caught:
            open_store("s3://bucket/x", endpoint=endpoint)
        assert_untold("hunter2", caught.value)


@pytest.mark.parametrize(
    ("endpoint", "anonymous", "warned"),
    [
        ("http://s3.example.org:9000", False, True),
        ("http://s3.example.org:9000", True, False),  # nothing is signed
        ("https://s3.example.org", False, False),
        ("http://store:8333", False, False),  # a service of Docker Compose
        ("http://127.0.0.1:8333", False, False),
    ],
)
def test_credentials_that_cross_networks_unencrypted_are_remarked_on_once(
    caplog: pytest.LogCaptureFixture, endpoint: str, anonymous: bool, warned: bool
) -> None:
    warn_of_plain_http.cache_clear()
    known = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "eu-west-1"}
    for _ in range(2):
        open_store("s3://bucket/x", access=S3Access(endpoint, known, anonymous=anonymous))
    told = [record for record in caplog.records if record.message.startswith("plain_http ")]
    assert len(told) == int(warned)
