"""Requests about one bucket, whose errors say what was being done and what to change."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from skin_pipeline.errors import BadInput
from skin_pipeline.storage.s3.addresses import without_login
from skin_pipeline.storage.s3.advice import SettingNames
from skin_pipeline.storage.s3.errors import explained

PAGE = 1000  # keys in one answer to a listing, the most that S3 gives
MOVED = {  # the answers to a conditional write when another process was faster
    "NoSuchKey",
    "PreconditionFailed",
    "ConditionalRequestConflict",
    "NoSuchUpload",  # completed by a request whose answer was lost, or aborted by another process
    "409",
    "412",
}


class Requests:
    """Sends requests about one bucket.

    Args:
        client: A boto3 S3 client.
        bucket: Name of the bucket.
        names: The settings that messages may tell a person to change.
    """

    def __init__(self, client: Any, bucket: str, names: SettingNames) -> None:
        self.client = client
        self.bucket = bucket
        self.endpoint = without_login(client.meta.endpoint_url)
        self.names = names

    def ask(
        self, doing: str, key: str, call: Callable[[], Any], none_on: Collection[str] = ()
    ) -> Any:
        """Returns `call()`, or None if S3 answers with one of the error codes `none_on`.

        Args:
            doing: A verb for messages, such as `read`.
            key: What it is done to.
            call: The request.
            none_on: Error codes that are an answer, and no error.

        Raises:
            BadInput, Unavailable: what went wrong, and which setting to change.
        """
        doing = f"{doing} {key} in the bucket {self.bucket!r} at {self.endpoint}"
        return explained(call, doing, none_on, self.names)

    def ask_about(
        self, doing: str, key: str, call: Callable[[], Any], none_on: Collection[str]
    ) -> Any:
        """Works like `ask`, for a request about one object, to which S3 always answers with an
        ETag; a web server that answers every request does not."""
        answer = self.ask(doing, key, call, none_on)
        if answer is not None and "ETag" not in answer:
            raise BadInput(f"{self.endpoint} is no S3 server. Change SKIN_S3_ENDPOINT")
        return answer


def pages(client: Any, bucket: str, prefix: str) -> Any:
    """Returns the pages of a listing of all objects whose names begin with `prefix`; each is
    requested when it is reached."""
    return client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE}
    )
