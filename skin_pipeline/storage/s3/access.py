"""How an S3 server is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

CREDENTIALS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "region_name",
)


@dataclass(frozen=True)
class S3Access:
    """How an S3 server is reached.

    Attributes:
        endpoint: The server's URL; empty: AWS.
        credentials: Some of `CREDENTIALS`; without a key boto3 searches by itself.
        profile: A profile of boto3's own files, for all that is not given here.
        verify: False to accept any certificate, a path to trust only the authorities in that file;
            None for boto3's default.
        config: A `Config` of botocore's, whose values take precedence over ours.
        anonymous: Whether requests are not signed, as public buckets allow.
        renew: Looks all this up again when a server says that the credentials have expired.
    """

    endpoint: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    profile: str = ""
    verify: bool | str | None = None
    config: Any = None
    anonymous: bool = False
    renew: Callable[[], S3Access] | None = field(default=None, repr=False, compare=False)
