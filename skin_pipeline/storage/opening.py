"""Opens the store that a URL names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from skin_pipeline.errors import BadInput
from skin_pipeline.storage.cache import CACHE_BYTES, LocalCache, own_cache
from skin_pipeline.storage.folder import FolderStore
from skin_pipeline.storage.keys import Store, checked
from skin_pipeline.storage.s3.access import S3Access
from skin_pipeline.storage.s3.addresses import bucket_of, without_login
from skin_pipeline.storage.s3.advice import STORE
from skin_pipeline.storage.s3.client import checked_client, plain_client
from skin_pipeline.storage.s3.store import S3Store
from skin_pipeline.storage.s3.writing import AS_THE_BUCKET_DOES, S3Writing


def open_store(
    url: str,
    *,
    endpoint: str = "",
    credentials: Mapping[str, str] | None = None,
    access: S3Access | None = None,
    cache: Path | None = None,
    cache_bytes: int = CACHE_BYTES,
    writing: S3Writing = AS_THE_BUCKET_DOES,
) -> Store:
    """Returns the store that `url` names. The first use shows whether it can be reached.

    Args:
        url: `file:///FOLDER`, a path (a relative one starts at the working directory), or
            `s3://BUCKET/PREFIX`.
        endpoint: URL of an S3 server other than AWS.
        credentials: `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token` and
            `region_name`, or some of them; without a key boto3 searches by itself.
        access: How S3 is reached, instead of `endpoint` and `credentials`.
        cache: Folder for local copies of S3's objects; by default one in the system's temporary
            directory.
        cache_bytes: Largest size of these copies together.
        writing: How objects are written to S3.

    Raises:
        BadInput: names the setting that is wrong. No value of a credential is ever repeated.
    """
    if url.startswith("s3://"):
        access = access or S3Access(endpoint, credentials or {})
        return _open_s3(url, access, cache, cache_bytes, writing)
    folder = url.removeprefix("file://")
    # Any other scheme is a mistake, and must not become a folder of that name.
    if not folder or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", folder):
        raise BadInput(
            "SKIN_STORE must be file:///FOLDER or s3://BUCKET/PREFIX. "
            f"Received: {without_login(url)!r}"
        )
    return FolderStore(Path(folder))


def _open_s3(
    url: str, access: S3Access, cache: Path | None, cache_bytes: int, writing: S3Writing
) -> S3Store:
    bucket, prefix = bucket_of(url, STORE)
    if prefix:
        checked(prefix)
    client = checked_client(bucket, access, STORE)
    copies = LocalCache(cache or own_cache(), cache_bytes)
    return S3Store(bucket, prefix, client, copies, writing, partial(plain_client, access))
