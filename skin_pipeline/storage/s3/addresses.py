"""Addresses of buckets and servers, checked before the first request."""

from __future__ import annotations

import logging
import re
from functools import cache
from urllib.parse import urlsplit

from skin_pipeline.errors import BadInput
from skin_pipeline.storage.s3.advice import SettingNames

log = logging.getLogger(__name__)


def bucket_of(url: str, names: SettingNames) -> tuple[str, str]:
    """Returns the bucket and the prefix of an `s3://` URL, without slashes at the ends.

    Raises:
        BadInput: no bucket can have this name.
    """
    bucket, _, prefix = url.removeprefix("s3://").strip("/").partition("/")
    if not re.fullmatch(r"[a-zA-Z0-9._-]{3,63}", bucket):
        raise BadInput(
            f"{names.address} must be s3://BUCKET/PREFIX with a bucket name of 3 to 63 letters, "
            f"digits, dots and hyphens. Received: {without_login(url)!r}"
        )
    return bucket, prefix.strip("/")


def check_endpoint(endpoint: str, names: SettingNames) -> None:
    """Raises `BadInput` unless the address of a server is a web address without a password."""
    if not endpoint:
        return
    try:
        parts = urlsplit(endpoint)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        fits = False
    if not fits or "@" in endpoint:
        raise BadInput(
            f"{names.endpoint} must be http://HOST:PORT or https://HOST:PORT, without a user name "
            f"or password. Received: {without_login(endpoint)!r}"
        )


@cache
def warn_of_plain_http(endpoint: str, setting: str) -> None:
    """Logs, once a process, that requests to a server can be read on their way."""
    problem = "requests and images cross networks unencrypted; give an https:// address"
    log.warning('plain_http endpoint=%s setting="%s" problem="%s"', endpoint, setting, problem)


def without_login(url: str) -> str:
    """Returns `url` without the part before an @, where people write passwords."""
    scheme, mark, rest = url.rpartition("://")
    return scheme + mark + rest.rpartition("@")[2]
