"""A bucket of other people, only read: the images in it are the input of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from skin_pipeline.storage.digests import CHUNK
from skin_pipeline.storage.s3.access import S3Access
from skin_pipeline.storage.s3.addresses import bucket_of, without_login
from skin_pipeline.storage.s3.advice import SettingNames
from skin_pipeline.storage.s3.client import checked_client
from skin_pipeline.storage.s3.errors import explained
from skin_pipeline.storage.s3.requests import MOVED, pages


class S3Object(NamedTuple):
    """An object in a listing: its whole key, its size, and the tag of this state."""

    key: str
    bytes: int
    tag: str


class Bucket:
    """A bucket of other people, only read: a key may be any text, and an object may change.

    Args:
        url: `s3://BUCKET/PREFIX`; the first use shows whether it can be reached.
        access: How the server is reached.
        names: The settings that messages may tell a person to change.

    Raises:
        BadInput: names the setting that is wrong; every method raises it for what a person must
            change.
    """

    def __init__(self, url: str, access: S3Access, names: SettingNames) -> None:
        self.name, self.prefix = bucket_of(url, names)
        self._client = checked_client(self.name, access, names)
        self._names = names

    def objects(self, prefix: str) -> Iterator[S3Object]:
        """Yields all objects whose keys begin with `prefix`, sorted; a page at a time in memory.

        Raises:
            Unavailable: the server does not answer.
        """
        listed = iter(pages(self._client, self.name, prefix))
        while page := self._ask("list", prefix, partial(next, listed, None)):
            for entry in page.get("Contents", ()):
                yield S3Object(entry["Key"], entry["Size"], entry["ETag"])

    def fetch(self, item: S3Object, path: Path) -> bool:
        """Writes an object to the file `path`; returns False if it changed since it was listed.

        Raises:
            Unavailable: the bytes did not arrive whole. `path` may contain some of them.
            OSError: `path` cannot be written.
        """
        get = partial(self._client.get_object, Bucket=self.name, Key=item.key, IfMatch=item.tag)
        answer = self._ask("read", item.key, get, none_on=MOVED)
        if answer is None:
            return False
        with closing(answer["Body"]) as body:
            # A server that ignores the condition of the request sends the object in any state.
            if (answer.get("ETag"), answer.get("ContentLength")) != (item.tag, item.bytes):
                return False
            with path.open("wb") as sink:
                self._ask("read", item.key, partial(shutil.copyfileobj, body, sink, CHUNK))
        return True

    def start(self, item: S3Object, most: int) -> bytes:
        """Returns the first `most` bytes of an object that is not empty; none if it has changed.

        Raises:
            Unavailable: the bytes did not arrive.
        """
        wanted = {"Bucket": self.name, "Key": item.key, "IfMatch": item.tag}
        get = partial(self._client.get_object, **wanted, Range=f"bytes=0-{most - 1}")
        answer = self._ask("read", item.key, get, none_on=MOVED)
        if answer is None:
            return b""
        with closing(answer["Body"]) as body:
            return bytes(self._ask("read", item.key, partial(body.read, most)))

    def _ask(
        self, doing: str, key: str, call: Callable[[], Any], none_on: Collection[str] = ()
    ) -> Any:
        server = without_login(self._client.meta.endpoint_url)
        doing = f"{doing} s3://{self.name}/{key} at {server}"
        return explained(call, doing, none_on, self._names)
