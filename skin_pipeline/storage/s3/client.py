"""boto3's client for a server, within our time-outs and retries."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import crosses_networks, hide
from skin_pipeline.storage.s3.access import CREDENTIALS, S3Access
from skin_pipeline.storage.s3.addresses import check_endpoint, warn_of_plain_http
from skin_pipeline.storage.s3.advice import SettingNames
from skin_pipeline.storage.s3.errors import explained
from skin_pipeline.storage.s3.renewal import Renewal

# Of one request, for a whole object or a part of one. Before each new attempt botocore waits for a
# random share of a pause that doubles: from 50 ms, or from 1 s if the server is busy, up to 20 s.
ATTEMPTS = 5
CONNECT_SECONDS = 10
READ_SECONDS = 60  # without a single byte
CONNECTIONS = 10  # of one client to its server
LENGTHS = {"content-length", "transfer-encoding"}  # headers, of which a complete answer has one
_OPENING = threading.Lock()  # boto3's clients are safe to share between threads, making one is not


def checked_client(bucket: str, access: S3Access, names: SettingNames) -> Any:
    """Returns a boto3 S3 client for a bucket.

    Raises:
        BadInput: something in `access` cannot be right; the message names the setting.
    """
    check_endpoint(access.endpoint, names)
    if isinstance(access.verify, str) and not Path(access.verify).exists():
        raise BadInput(
            f"verify names {access.verify}, which is not there. Change the Airflow connection that "
            f"{names.connection} names"
        )
    _check_credentials(access.credentials, names)
    # From here on, no log and no error of this process shows the secret key or the session token.
    hide(*map(access.credentials.get, CREDENTIALS[1:3]))
    if crosses_networks(access.endpoint) and not access.anonymous:
        warn_of_plain_http(access.endpoint, names.endpoint)
    server = access.endpoint or "AWS"
    return explained(
        partial(new_client, access), f"open the bucket {bucket!r} at {server}", (), names
    )


def new_client(access: S3Access, **changes: Any) -> Any:
    """Returns a client according to `access`, with some `changes` of its `Config`."""
    import boto3

    config = _config(access, changes)
    with _OPENING:
        session = boto3.Session(profile_name=access.profile) if access.profile else boto3
        client = session.client(
            "s3",
            endpoint_url=access.endpoint or None,
            verify=access.verify,
            config=config,
            **{name: value for name, value in access.credentials.items() if value},
        )
    client.meta.events.register("before-parse.s3", _check_head)
    Renewal(access).watch(client)
    return client


def plain_client(access: S3Access) -> Any:
    """Returns a client that sends no checksums, except those that S3 insists on."""
    return new_client(access, request_checksum_calculation="when_required")


def _config(access: S3Access, changes: Mapping[str, Any]) -> Any:
    """Returns botocore's settings: our bounds, which a connection may change, then `changes`."""
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
    )
    if access.config:
        config = config.merge(access.config)
    unsigned = {"signature_version": UNSIGNED} if access.anonymous else {}
    return config.merge(Config(**unsigned, **changes))


def _check_head(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Refuses an answer that was cut off within its headers, which looks like a shorter one.

    Python takes the end of a connection for the end of the headers. Every answer of S3 has a
    header about the length of its body; without one, the request is sent again.
    """
    from botocore.exceptions import ConnectionClosedError

    said = {name.lower() for name in response_dict["headers"]}
    if response_dict["status_code"] not in {204, 304} and not LENGTHS & said:
        raise ConnectionClosedError(endpoint_url="")


def _check_credentials(credentials: Mapping[str, str], names: SettingNames) -> None:
    """Raises `BadInput` for credentials that cannot be right; never repeats a value."""
    unknown = sorted(set(credentials) - set(CREDENTIALS))
    if unknown:
        raise BadInput(
            f"unknown S3 credentials {', '.join(unknown)}. Known: {', '.join(CREDENTIALS)}"
        )
    for name, value in credentials.items():
        if value and not re.fullmatch(r"[!-~]+", value):
            raise BadInput(
                f"{name} has a space, a line break or a letter that no key has. Paste it again "
                f"into the Airflow connection that {names.connection} names"
            )
