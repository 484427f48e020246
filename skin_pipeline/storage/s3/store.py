"""A store in an S3 bucket.

A small object is written in one request, and S3's own SHA-256 of it is verified at reading. For a
file in parts, S3 knows a SHA-256 of each part only, so that of the file is written as metadata.
Both are written on the condition that the key is free. If several processes complete the same key
at the same instant, seaweedfs 4.48 may accept all of them, one after the other: a mark of the
writer in the metadata tells whose object remains.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage.cache import LocalCache
from skin_pipeline.storage.digests import (
    check_named,
    copy_and_digest,
    digest,
    digest_file,
    digest_of,
)
from skin_pipeline.storage.files import opened
from skin_pipeline.storage.keys import KeyList, checked, keys_among, missing
from skin_pipeline.storage.s3 import parts
from skin_pipeline.storage.s3.advice import KMS_RIGHTS, STORE
from skin_pipeline.storage.s3.checks import ServerChecks
from skin_pipeline.storage.s3.requests import MOVED, Requests, pages
from skin_pipeline.storage.s3.writing import S3Writing

log = logging.getLogger(__name__)

# A server may send nothing while it copies, and must be done before we stop waiting for an answer.
LARGEST_COPIED_BYTES = 1 << 30


class S3Store:
    """A `Store` below `prefix` of an S3 bucket, whose server must know conditional writes.

    Args:
        bucket: Its name.
        prefix: Folder in the bucket, without slashes at the ends; may be empty.
        client: A boto3 S3 client.
        cache: For what `local` downloads; stores may share it.
        writing: How objects are written.
        plain: Makes a client that sends no checksums, to find out whether they are the trouble.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        client: Any,
        cache: LocalCache,
        writing: S3Writing,
        plain: Callable[[], Any],
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.cache = cache
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._client = client
        self._writing = writing
        kms = KMS_RIGHTS if writing.encryption == "aws:kms" else ""
        names = STORE._replace(rights=kms + STORE.rights)
        self._requests = Requests(client, bucket, names)
        self.endpoint = self._requests.endpoint
        self._checks = ServerChecks(self._requests, prefix, writing, plain)
        parts.complete_if_free(client)

    def __repr__(self) -> str:
        return f"S3Store({self.url!r}, endpoint={self.endpoint!r})"

    # --- what every store does -------------------------------------------------------------------

    def exists(self, key: str) -> bool:
        """Implements `Store`."""
        return self._size(key) is not None

    def read(self, key: str) -> bytes:
        """Implements `Store`."""
        found = self.tagged(key)
        if found is None:
            raise missing(self, key)
        check_named(self, key, found[0])
        return found[0]

    @contextmanager
    def opened(self, key: str) -> Generator[BinaryIO, None, None]:
        """Implements `Store`."""
        with ExitStack() as stack:
            try:
                file = stack.enter_context(opened(self.local(key)))
            except BadInput as problem:
                if not isinstance(problem.__cause__, FileNotFoundError):
                    raise
                # Somebody removed all copies before this one was open.
                file = stack.enter_context(opened(self.local(key)))
            check_named(self, key, file)
            yield file

    def list(self, prefix: str) -> KeyList:
        """Implements `Store`."""
        # Some tools keep an empty folder as an object whose name ends with a slash.
        found = (key for key in self._listed(prefix) if key[-1:] != "/")
        return keys_among(self, ((key, "a file") for key in found))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Implements `Store`."""
        found = self._listed(prefix)
        keys = keys_among(self, ((key, "a file") for key in found if key[-1:] != "/"))
        return {key: found[key] for key in keys}

    def put(self, key: str, data: bytes) -> bool:
        """Implements `Store`."""
        return self._write(key, data)

    def put_file(self, key: str, path: Path, sha256: str = "") -> bool:
        """Implements `Store`."""
        with opened(path) as source:
            if self.exists(key):  # only saves the transfer: the server decides who is first
                return False
            size = os.fstat(source.fileno()).st_size
            if size > parts.LARGEST_BYTES:
                raise BadInput(
                    f"the file {path} has {size} bytes; S3 takes at most {parts.LARGEST_BYTES} in "
                    "one object. Make smaller files"
                )
            if parts.is_small(size):
                return self._write(key, source, sha256=sha256)
            return self._write_parts(key, path, sha256 or digest_file(path))

    def copy(self, source: str, key: str, sha256: str) -> bool:
        """Implements `Store`. The server copies, if it is able to and heeds the condition."""
        size = self._size(source)
        if size is None or size > LARGEST_COPIED_BYTES or not self._checks.copies_if_free():
            return False
        self._checks.check_versioning()
        writer = uuid.uuid4().hex
        request = partial(
            self._client.copy_object,
            Bucket=self.bucket,
            Key=self._name(key),
            CopySource={"Bucket": self.bucket, "Key": self._name(source)},
            MetadataDirective="REPLACE",
            IfNoneMatch="*",
            **self._writing.arguments_for(self._client, writer=writer, sha256=sha256),
        )
        try:
            answer = self._requests.ask("write", key, request, MOVED - {"NoSuchKey"})
        except BadInput as problem:  # it takes other ways than this one, or says it better there
            log.info('not_copied_by_the_server key=%s reason="%s"', key, problem)
            return False
        return answer is not None or self._won(key, writer, new=True)

    def read_into(self, key: str, sink: BinaryIO) -> str:
        """Implements `Store`."""
        answer = self._get(key)
        if answer is None:
            raise missing(self, key)
        return self._received(key, answer, sink)

    def local(self, key: str, *, fresh: bool = False) -> Path:
        """Implements `Store`."""
        return self.cache.get(self._copy(key), partial(self._download, key), fresh=fresh)

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        """Implements `Store`."""
        answer = self._get(key)
        if answer is None:
            return None
        data = self._requests.ask("read", key, answer["Body"].read)
        self._check_whole(key, answer, digest(data))
        return data, answer["ETag"]

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Implements `Store`."""
        self._name(key)  # raises for an invalid key before anything is tried
        self._checks.check_conditions()
        moved = self._write(key, data, tag)
        if moved:
            log.info("pointer_moved key=%s store=%s", key, self.url)
        return moved

    def remove(self, key: str) -> None:
        """Implements `Store`."""
        delete = partial(self._client.delete_object, Bucket=self.bucket, Key=self._name(key))
        self._requests.ask("remove", key, delete, none_on={"NoSuchKey"})
        self.cache.drop(self._copy(key))

    def link(self, key: str) -> str:
        """Implements `Store`."""
        return f"s3://{self.bucket}/{self._name(key)}"

    # --- names -----------------------------------------------------------------------------------

    def _name(self, key: str) -> str:
        """Returns the object's whole name in the bucket."""
        return f"{self.prefix}/{checked(key)}".lstrip("/")

    def _size(self, key: str) -> int | None:
        """Returns the bytes of an object, or None if there is no such object."""
        # Not HEAD: its errors say no reason, so a missing bucket would look like a missing key. Of
        # all keys that begin with this one, this one comes first.
        name = self._name(key)
        look = partial(self._client.list_objects_v2, Bucket=self.bucket, Prefix=name, MaxKeys=1)
        page = self._requests.ask("look for", key, look)
        return next((e["Size"] for e in page.get("Contents", ()) if e["Key"] == name), None)

    def _listed(self, prefix: str) -> dict[str, int]:
        """Returns the bytes of all below a folder, by what would be its key."""
        prefix = prefix.rstrip("/")
        folder = f"{self._name(prefix) if prefix else self.prefix}/".lstrip("/")
        names = self._requests.ask("list", folder or "all keys", partial(self._names, folder))
        base = len(self.prefix) + 1 if self.prefix else 0
        return {name[base:]: size for name, size in names.items()}

    def _names(self, folder: str) -> dict[str, int]:
        listed = pages(self._client, self.bucket, folder)
        entries = (entry for page in listed for entry in page.get("Contents", ()))
        return {entry["Key"]: entry["Size"] for entry in entries}

    def _copy(self, key: str) -> str:
        """Returns the name of the local copy, which ends like the key: some readers look at the
        suffix."""
        name = self._name(key)
        address = digest(f"{self.endpoint} {self.bucket} {name}".encode())
        return f"{address}/{Path(name).name}"

    # --- reading ---------------------------------------------------------------------------------

    def _download(self, key: str, file: BinaryIO) -> None:
        answer = self._get(key)
        if answer is None:
            raise missing(self, key)
        received = self._received(key, answer, file)
        self._check_whole(key, answer, received)
        size = answer["ContentLength"]
        log.info("object_downloaded key=%s copy=%s bytes=%d", key, self._copy(key), size)

    def _received(self, key: str, answer: Any, sink: BinaryIO) -> str:
        """Writes the body of an answer to a file; returns its SHA-256."""
        copy = partial(copy_and_digest, answer["Body"], sink, answer["ContentLength"])
        return str(self._requests.ask("read", key, copy))

    def _get(self, key: str) -> Any:
        """Returns S3's answer with the object's `Body` yet to be read, or None if there is no
        object."""
        get = partial(self._client.get_object, Bucket=self.bucket, Key=self._name(key))
        return self._requests.ask_about("read", key, get, none_on={"NoSuchKey"})

    def _check_whole(self, key: str, answer: Any, received: str) -> None:
        """Compares what was received with the SHA-256 that was written with the object."""
        if answer["Metadata"].get("sha256", received) != received:
            raise Unavailable(
                f"cannot read {self.link(key)} at {self.endpoint} now: the bytes did not arrive "
                "whole (sha256). If it stays so, they are damaged there: remove the object and run "
                "the step that makes it again"
            )

    # --- writing ---------------------------------------------------------------------------------

    def _write(
        self, key: str, data: bytes | BinaryIO, tag: str | None = None, sha256: str = ""
    ) -> bool:
        """Writes if the object still has `tag` (None: does not exist); returns whether this call
        did it."""
        self._checks.check_versioning()
        writer = uuid.uuid4().hex
        sha256 = sha256 or digest_of(data)
        request = partial(
            self._client.put_object,
            Bucket=self.bucket,
            Key=self._name(key),
            Body=data,
            **self._writing.arguments_for(self._client, writer=writer, sha256=sha256),
            **({"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}),
        )
        ask = partial(self._requests.ask_about, "write", key, request, MOVED)
        if self._checks.blaming_checksums(key, ask) is not None:
            return True
        return self._won(key, writer, new=tag is None)

    def _write_parts(self, key: str, path: Path, sha256: str) -> bool:
        """Writes a large file if the object does not exist; returns whether this call did it."""
        self._checks.check_versioning()
        parts.abort_abandoned(self._requests, f"{self.prefix}/".lstrip("/"), self.url)
        writer = uuid.uuid4().hex
        arguments = self._writing.arguments_for(self._client, writer=writer, sha256=sha256)
        upload = partial(parts.upload, self._requests, self._name(key), path, arguments)
        ask = partial(self._requests.ask, "write", key, upload, MOVED)
        self._checks.blaming_checksums(key, ask)
        return self._won(key, writer, new=True)

    def _won(self, key: str, writer: str, *, new: bool) -> bool:
        """Returns whether the object is the one that `writer` wrote.

        If the answer to a write is lost, botocore repeats the write, and the second one fails
        because of the first: it looks as if another process had been faster. So each write has a
        mark of its own, by which it is recognised.
        """
        now = self._writer(key)
        if now is None and new:
            raise Unavailable(f"{self.link(key)} was changing while it was written")
        return now == writer

    def _writer(self, key: str) -> str | None:
        """Returns the mark of the write that made the object, or None if there is no object."""
        head = partial(self._client.head_object, Bucket=self.bucket, Key=self._name(key))
        answer = self._requests.ask_about("look for", key, head, none_on={"404"})
        return None if answer is None else str(answer["Metadata"].get("writer", ""))
