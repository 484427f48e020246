"""Large files, sent to S3 in parts: each is sent again by itself if it must be, and the object
appears when all of them have arrived."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from skin_pipeline.errors import PipelineError
from skin_pipeline.progress import Progress
from skin_pipeline.storage.s3.requests import Requests

log = logging.getLogger(__name__)

PARTS_FROM_BYTES = 64 << 20  # smaller files are sent in one request
PART_BYTES = 16 << 20  # grows with a file of more than 10,000 of them, the most that S3 takes
PARTS_AT_ONCE = 4
LARGEST_BYTES = 5 << 40  # what S3 servers take in one object; AWS by now takes more
ABANDONED_SECONDS = 24 * 3600  # no upload takes so long: the process that began it was killed


def is_small(size: int) -> bool:
    """Returns whether a file of this size is sent in one request."""
    return size < PARTS_FROM_BYTES


def complete_if_free(client: Any) -> None:
    """Has every upload of a client completed on the condition that the key is free.

    s3transfer has no argument for this condition, so it is added to the request on its way.
    """
    client.meta.events.register("provide-client-params.s3.CompleteMultipartUpload", _add_condition)


def _add_condition(params: dict[str, Any], **_: Any) -> None:
    params["IfNoneMatch"] = "*"


def upload(requests: Requests, name: str, path: Path, arguments: Mapping[str, Any]) -> None:
    """Sends a file in parts; if that fails, the parts that arrived are removed.

    Args:
        requests: Its client sends them.
        name: The object's whole name.
        path: The file.
        arguments: Arguments of the call that begins the object.
    """
    from boto3.s3.transfer import (
        ProgressCallbackInvoker,
        TransferConfig,
        create_transfer_manager,
    )

    config = TransferConfig(
        multipart_threshold=PARTS_FROM_BYTES,
        multipart_chunksize=PART_BYTES,
        max_concurrency=PARTS_AT_ONCE,
        preferred_transfer_client="classic",  # the one that sends by our client, in its bounds
    )
    told = ProgressCallbackInvoker(Progress("bytes sent", path.stat().st_size).moved)
    with create_transfer_manager(requests.client, config) as manager:
        manager.upload(str(path), requests.bucket, name, arguments, [told]).result()


def abort_abandoned(requests: Requests, folder: str, url: str) -> None:
    """Removes the parts of killed processes; another process may be doing the same.

    Args:
        requests: Sends the requests.
        folder: The store's folder in the bucket, with a slash at its end unless it is empty.
        url: The store's, for logs.
    """
    try:
        found = partial(_uploads, requests, folder)
        for begun in requests.ask("list", "uploads in parts", found):
            if time.time() - begun["Initiated"].timestamp() > ABANDONED_SECONDS:
                _abort(requests, begun["Key"], begun["UploadId"], url)
    except PipelineError as problem:  # such parts only cost space: no reason to stop a write
        log.warning("abandoned_uploads_stay store=%s reason=%s", url, problem)


def _uploads(requests: Requests, folder: str) -> Collection[dict[str, Any]]:
    pages = requests.client.get_paginator("list_multipart_uploads").paginate(
        Bucket=requests.bucket, Prefix=folder
    )
    return [begun for page in pages for begun in page.get("Uploads", ())]


def _abort(requests: Requests, name: str, upload_id: str, url: str) -> None:
    abort = partial(
        requests.client.abort_multipart_upload,
        Bucket=requests.bucket,
        Key=name,
        UploadId=upload_id,
    )
    requests.ask("abort the upload of", name, abort, none_on={"NoSuchUpload"})
    log.info("upload_aborted key=%s store=%s", name, url)
