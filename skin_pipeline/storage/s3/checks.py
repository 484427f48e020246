"""What a server must be able to do, found out before a write relies on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from skin_pipeline.errors import BadInput, PipelineError
from skin_pipeline.storage.s3.advice import CHECKSUMS, STORE
from skin_pipeline.storage.s3.errors import explained
from skin_pipeline.storage.s3.requests import MOVED, Requests
from skin_pipeline.storage.s3.writing import S3Writing, checksums_of

NO_TAG = f'"{"0" * 32}"'  # the tag of no object
_COPYING: dict[tuple[str, str], bool] = {}  # whether those copy an object if its key is free
_CONDITIONAL: set[tuple[str, str]] = set()  # servers and buckets that were seen to heed conditions


class ServerChecks:
    """Refuses servers and buckets by which the store could not keep its promises.

    Args:
        requests: Sends the requests.
        prefix: The store's folder in the bucket.
        writing: How objects are written.
        plain: Makes a client that sends no checksums, to find out whether they are the trouble.
    """

    def __init__(
        self, requests: Requests, prefix: str, writing: S3Writing, plain: Callable[[], Any]
    ) -> None:
        self._requests = requests
        self._prefix = prefix
        self._writing = writing
        self._plain = plain
        self._unchecked = writing.versioned  # whether the versioning is yet to be looked at

    def check_versioning(self) -> None:
        """Refuses a bucket without versioning, if the settings require it. The server is asked
        once."""
        if not self._unchecked:
            return
        bucket, endpoint = self._requests.bucket, self._requests.endpoint
        ask = partial(self._requests.client.get_bucket_versioning, Bucket=bucket)
        doing = f"see the versioning of the bucket {bucket!r} at {endpoint}"
        names = STORE._replace(rights="read its versioning (s3:GetBucketVersioning)")
        answer = explained(ask, doing, {"NotImplemented", "501"}, names)
        if answer is None or answer.get("Status") != "Enabled":
            raise BadInput(
                f"the bucket {bucket!r} at {endpoint} does not keep old versions of its "
                "objects, as SKIN_S3_VERSIONING requires. Switch it on (aws s3api "
                f"put-bucket-versioning --endpoint-url {endpoint} --bucket {bucket} "
                "--versioning-configuration Status=Enabled), or set SKIN_S3_VERSIONING to false"
            )
        self._unchecked = False

    def check_conditions(self) -> None:
        """Refuses a server that ignores conditions of writes; for the first move of a pointer.

        Two runs would overwrite each other's champion there, and neither would notice.
        """
        server = (self._requests.endpoint, self._requests.bucket)
        if server in _CONDITIONAL:
            return
        if ignored := self._ignored_conditions():
            raise BadInput(
                f"{server[0]} ignores {' and '.join(ignored)}, by which two runs are kept from "
                "overwriting each other's champion. If there is a proxy before the server, have it "
                "pass these headers on; else name another server in SKIN_S3_ENDPOINT"
            )
        _CONDITIONAL.add(server)

    def copies_if_free(self) -> bool:
        """Returns whether the server copies an object on the condition that the new key is free.

        It is tried once on each server: some do not copy, and some would overwrite the object.
        """
        server = (self._requests.endpoint, self._requests.bucket)
        known = _COPYING.get(server)
        if known is None:
            known = _COPYING[server] = self._copies_if_free()
        return known

    def blaming_checksums(self, key: str, write: Callable[[], Any]) -> Any:
        """Returns `write()`. If the server refuses it, but takes a write without checksums, the
        error names them as the reason.

        Servers answer to a checksum that they do not know with all kinds of errors, so the answer
        alone does not tell.
        """
        try:
            return write()
        except BadInput as problem:
            if not checksums_of(self._requests.client) or not self._takes_plain():
                raise
            code = str(problem).rpartition(" (")[2]
        raise BadInput(
            f"cannot write {key} in the bucket {self._requests.bucket!r} at "
            f"{self._requests.endpoint}: {CHECKSUMS.format(self._requests.names)} ({code}"
        )

    def _takes_plain(self) -> bool:
        """Returns whether the server takes an object without a checksum."""
        client, probe = self._plain(), self._probe()
        arguments = self._writing.arguments
        put = partial(client.put_object, **probe, Body=b"", IfNoneMatch="*", **arguments)
        try:
            self._take_back(probe, self._requests.ask("write", probe["Key"], put))
        except PipelineError:
            return False
        return True

    def _ignored_conditions(self) -> list[str]:
        """Returns the headers that the server ignores, tried on an object made for this.

        The object exists and has another tag than `NO_TAG`, so both writes must fail.
        """
        client, probe = self._requests.client, self._probe()
        put = partial(client.put_object, **probe, Body=b"", **self._writing.arguments_for(client))
        ask = partial(self._requests.ask, "write", probe["Key"], none_on=MOVED)
        first = partial(ask, partial(put, IfNoneMatch="*"))
        made = self.blaming_checksums(probe["Key"], first)
        conditions = {"If-None-Match": {"IfNoneMatch": "*"}, "If-Match": {"IfMatch": NO_TAG}}
        ignored = [name for name, value in conditions.items() if ask(partial(put, **value))]
        self._take_back(probe, made)
        return ignored

    def _copies_if_free(self) -> bool:
        """Tries to copy an object over itself: a server that heeds the condition refuses."""
        client, probe = self._requests.client, self._probe()
        arguments = self._writing.arguments_for(client)
        ask = partial(self._requests.ask, "write", probe["Key"], none_on=MOVED)
        copy = partial(
            client.copy_object,
            **{**probe, "CopySource": probe, "MetadataDirective": "REPLACE", "IfNoneMatch": "*"},
            **arguments,
        )
        made = ask(partial(client.put_object, **probe, Body=b"", **arguments))
        try:
            return ask(copy) is None
        except PipelineError:
            return False
        finally:
            self._take_back(probe, made)

    def _probe(self) -> dict[str, str]:
        """Returns bucket and name of an object to try something with; the name is hidden, in case
        the object is not removed again."""
        name = f"{self._prefix}/.probe-{uuid.uuid4().hex}".lstrip("/")
        return {"Bucket": self._requests.bucket, "Key": name}

    def _take_back(self, probe: dict[str, str], made: Any) -> None:
        """Removes such an object, and where the bucket keeps old versions, its version."""
        version = {"VersionId": made["VersionId"]} if made and "VersionId" in made else {}
        none_on = {"NoSuchKey", "NoSuchVersion"}
        for which in (version, {}):
            remove = partial(self._requests.client.delete_object, **probe, **which)
            try:
                self._requests.ask("remove", probe["Key"], remove, none_on)
            except BadInput:
                if not which:
                    raise
                continue  # the right to remove an object does not include that for its versions
            return
