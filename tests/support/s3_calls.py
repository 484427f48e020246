"""What tests of S3 share: its calls seen and disturbed, and clients of their own."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import faulty
from servers import HOST, S3Server
from stores import Location

from skin_pipeline.storage import S3Access, S3Store, Store


@contextmanager
def web_page(status: int) -> Generator[str, None, None]:
    """Yields the address of a web server that answers everything with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html><p>Welcome")

        def do_PUT(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((HOST, 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def calls_of(store: Store, operation: str) -> list[str]:
    """Returns a list that grows by one with each call of this store to an operation of S3."""
    assert isinstance(store, S3Store)
    seen: list[str] = []

    def note(params: dict[str, object], **_: object) -> None:
        seen.append(str(params["url_path"]))

    store._client.meta.events.register(f"before-call.s3.{operation}", note)
    return seen


downloads_of = partial(calls_of, operation="GetObject")


def client_of(location: Location) -> Any:
    """Returns a new client for the server behind a store."""
    return boto3.client("s3", endpoint_url=location.endpoint or None, **location.credentials)


def where(location: Location, key: str) -> dict[str, str]:
    """Returns the bucket and key of an object, as arguments of S3's operations."""
    bucket, _, prefix = location.url.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": f"{prefix}/{key}".lstrip("/")}


def uploads_in(location: Location) -> list[str]:
    """Returns the keys of all uploads in parts below a location that were begun and not ended."""
    bucket, prefix = where(location, "").values()
    found = client_of(location).list_multipart_uploads(Bucket=bucket, Prefix=prefix)
    return [upload["Key"].removeprefix(prefix) for upload in found.get("Uploads", ())]


def once(store: Store, event: str, do: Callable[[], object]) -> None:
    """Calls `do` at the next event, such as `before-call.s3.PutObject`, of a store's client."""
    assert isinstance(store, S3Store)
    left = [do]

    def handle(**_: object) -> None:
        if left:
            left.pop()()

    store._client.meta.events.register(event, handle)


COMPLETING, COMPLETED = (f"{when}-call.s3.CompleteMultipartUpload" for when in ("before", "after"))


def new_bucket(location: Location, status: str | None) -> str:
    """Moves a location to a bucket of its own with that versioning; returns its name."""
    bucket = f"test-{uuid.uuid4().hex}"
    client_of(location).create_bucket(Bucket=bucket)
    location.url = f"s3://{bucket}/skin"
    if status:
        enable(location, bucket, status)
    return bucket


def enable(location: Location, bucket: str, status: str) -> None:
    versioning = {"Status": status}
    client_of(location).put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)


ALWAYS = range(1, sys.maxsize)


CALLS = ["put", "put_file", "swap", "read", "tagged", "exists", "list", "local", "remove"]


class Issuer:
    """Gives credentials: first the first ones, and the second ones when they are renewed."""

    def __init__(self, endpoint: str, first: dict[str, str], second: dict[str, str]) -> None:
        self.access = S3Access(endpoint, first, renew=self.renew)
        self.second = second
        self.asked = 0

    def renew(self) -> S3Access:
        self.asked += 1
        return replace(self.access, credentials=self.second)


def ended(server: S3Server, code: str = "ExpiredToken", status: int = 400) -> faulty.Fault:
    return faulty.expiring(server.access_key, status, code)
