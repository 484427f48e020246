"""One place for all bytes: a folder (`file://`) or S3 (`s3://`).

Everything but a pointer is written once and never changed, so a key names the same bytes for
ever. A pointer moves by compare-and-swap. Nothing half-written is ever visible under its key.
Only what was kept for a time, such as a checkpoint, is ever removed.

    store = open_store("file:///srv/skin")
    store.put("split/4f1a/result.json", b"{}")      # True; False if it was there already
    store.swap("models/x/champion.json", b"1", None)  # True; False: somebody was faster
    data, tag = store.tagged("models/x/champion.json")
    store.swap("models/x/champion.json", b"2", tag)
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import logging
import os
import re
import shutil
import stat
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from skin_pipeline import beneath
from skin_pipeline.beneath import NOT_THERE, Place
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.foreign import crosses_networks, hide

log = logging.getLogger(__name__)

KeyList = list[str]  # inside a store's class, `list` is the method


class Store(Protocol):
    """Keys are relative POSIX paths such as `split/4f1a…/result.json`.

    No part of a key starts with a dot, and no key is also the folder of another key. Every method
    raises `BadInput` for a key that does not fit or a store that a person must put right, and
    `Unavailable` where the same call may work later. All of them are safe to call from several
    processes at once, and to repeat.

    A key whose last part begins with a SHA-256, such as `images/<sha256>.npy`, names its bytes:
    `read` and `opened` raise `BadInput` if they are others.
    """

    url: str

    def exists(self, key: str) -> bool:
        """Whether an object stands under `key`."""

    def read(self, key: str) -> bytes:
        """The bytes under `key`. Raises `BadInput` if there are none."""

    def opened(self, key: str) -> AbstractContextManager[BinaryIO]:
        """The bytes under `key` as an open file, which no other can take the place of. Raises
        `BadInput` if there are none."""

    def list(self, prefix: str) -> KeyList:
        """All keys below the folder `prefix` (empty: all keys), sorted."""

    def put(self, key: str, data: bytes) -> bool:
        """Write `data` unless the key is taken; whether it was written."""

    def put_file(self, key: str, path: Path) -> bool:
        """Like `put`, from a local file (of at most 5 TiB, for S3), which need not fit into
        memory. Raises `BadInput` if it cannot be read."""

    def local(self, key: str, *, fresh: bool = False) -> Path:
        """A local file with the bytes under `key`; never to be written to. Not for pointers,
        of which it may be an old copy. Raises `BadInput` if there is no such object.

        It is only a name: whoever may write to the store can exchange what it stands for before it
        is opened. Code takes `opened`, `read` or `copied`, whose bytes stay the same.

        Open it at once: a copy of what lies in S3 may go again a minute later. What is open by
        then stays readable. With `fresh` the bytes are those that the store has now, even if there
        is a copy.
        """

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        """The bytes of a pointer and a tag of this state of it, or None if it does not exist."""

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Move a pointer if it still has `tag` (None: does not exist yet); whether it moved.

        A tag names content: `data` must carry something that no earlier state had, such as a
        time, or a pointer that went away and came back looks as if it had never moved.
        """

    def remove(self, key: str) -> None:
        """Remove what was kept for a time only, such as a checkpoint; nothing happens if it is not
        there. Never for a result."""

    def link(self, key: str) -> str:
        """Where a person finds the object: a path or an `s3://` URL."""


# --- opening -------------------------------------------------------------------------------------

CREDENTIALS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "region_name",
)
# Of one request, be it a whole object or a part of one. Before each new one botocore waits for a
# random share of a pause that doubles: from 50 ms, or from 1 s if the server asked for it, to 20 s.
ATTEMPTS = 5
CONNECT_SECONDS = 10
READ_SECONDS = 60  # without a single byte
CONNECTIONS = 10  # of one client to its server
LENGTHS = {"content-length", "transfer-encoding"}  # headers, of which an answer has one
CACHE_BYTES = 20 << 30
_OPENING = threading.Lock()  # boto3's clients are safe to share between threads, making one is not


class Named(NamedTuple):
    """What messages tell a person to look at; here, the settings of the store."""

    place: str = "SKIN_STORE"
    connection: str = "SKIN_STORE_CONNECTION"
    endpoint: str = "SKIN_S3_ENDPOINT"
    rights: str = "list, read, write and delete"
    public: str = ""  # what to do where nobody needs credentials


STORE = Named()


@dataclass(frozen=True)
class S3Access:
    """How an S3 server is reached.

    Attributes:
        endpoint: its URL; empty: AWS.
        credentials: some of `CREDENTIALS`; without a key boto3 searches by itself.
        profile: of boto3's own files, for what they say beside credentials.
        verify: False to take any certificate, a path to trust only what is signed by the
            authorities in that file; None for what boto3 does.
        config: a `Config` of botocore's, whose values go before ours.
        anonymous: whether requests are not signed, as public buckets allow.
        renew: looks all this up again, when a server says that the credentials have expired.
    """

    endpoint: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    profile: str = ""
    verify: bool | str | None = None
    config: Any = None
    anonymous: bool = False
    renew: Callable[[], S3Access] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class S3Writing:
    """How objects are written to S3; what is empty is left to the bucket.

    Attributes:
        encryption: on the server, `AES256` or `aws:kms`.
        kms_key: the key's id, for `aws:kms`.
        storage_class: such as `STANDARD_IA`; one from which objects can be read at once.
        versioned: whether to refuse a bucket that does not keep old versions of its objects.
    """

    encryption: str = ""
    kms_key: str = ""
    storage_class: str = ""
    versioned: bool = False

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of boto3's calls that begin an object."""
        named = {
            "ServerSideEncryption": self.encryption,
            "SSEKMSKeyId": self.kms_key,
            "StorageClass": self.storage_class,
        }
        return {name: value for name, value in named.items() if value}


AS_THE_BUCKET_DOES = S3Writing()


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
    """The store that `url` names. Whether it can be reached shows at the first use.

    Args:
        url: `file:///FOLDER`, a path (a relative one starts at the working directory), or
            `s3://BUCKET/PREFIX`.
        endpoint: URL of an S3 server other than AWS.
        credentials: some of `CREDENTIALS`; without a key boto3 searches by itself.
        access: how S3 is reached, in the place of `endpoint` and `credentials`.
        cache: folder for local copies of what lies in S3; by default one in the system's
            temporary directory.
        cache_bytes: largest size of these copies together.
        writing: how objects are written to S3.

    Raises:
        BadInput: names the setting that does not fit. No value of a credential is ever repeated.
    """
    if url.startswith("s3://"):
        access = access or S3Access(endpoint, credentials or {})
        return _open_s3(url, access, cache, cache_bytes, writing)
    folder = url.removeprefix("file://")
    if not folder or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", folder):
        raise BadInput(
            "SKIN_STORE must be file:///FOLDER or s3://BUCKET/PREFIX. "
            f"Received: {_without_login(url)!r}"
        )
    return FolderStore(Path(folder))


def _open_s3(
    url: str, access: S3Access, cache: Path | None, cache_bytes: int, writing: S3Writing
) -> S3Store:
    bucket, prefix = _bucket(url, STORE)
    if prefix:
        _checked(prefix)
    client = _s3(bucket, access, STORE)
    copies = LocalCache(cache or _own_cache(), cache_bytes)
    return S3Store(bucket, prefix, client, copies, writing, partial(_plain_client, access))


def _bucket(url: str, named: Named) -> tuple[str, str]:
    """Bucket and prefix of an `s3://` URL, without slashes at the ends."""
    bucket, _, prefix = url.removeprefix("s3://").strip("/").partition("/")
    if not re.fullmatch(r"[a-zA-Z0-9._-]{3,63}", bucket):
        raise BadInput(
            f"{named.place} must be s3://BUCKET/PREFIX with a bucket name of 3 to 63 letters, "
            f"digits, dots and hyphens. Received: {_without_login(url)!r}"
        )
    return bucket, prefix.strip("/")


def _s3(bucket: str, access: S3Access, named: Named) -> Any:
    """A boto3 S3 client for a bucket."""
    _check_endpoint(access.endpoint, named)
    if isinstance(access.verify, str) and not Path(access.verify).exists():
        raise BadInput(
            f"verify names {access.verify}, which is not there. Change the Airflow connection that "
            f"{named.connection} names"
        )
    _usable(access.credentials, named)
    hide(*map(access.credentials.get, CREDENTIALS[1:3]))
    if crosses_networks(access.endpoint) and not access.anonymous:
        _warn_of_plain_http(access.endpoint, named.endpoint)
    place = access.endpoint or "AWS"
    return explained(partial(_client, access), f"open the bucket {bucket!r} at {place}", (), named)


def _client(access: S3Access, **changes: Any) -> Any:
    """A client as `access` says, but for `changes` of its `Config`."""
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
    _Renewal(access).watch(client)
    return client


def _config(access: S3Access, changes: Mapping[str, Any]) -> Any:
    """What botocore needs to know of a client: our bounds, before them what a connection says,
    and before all `changes`."""
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


def _plain_client(access: S3Access) -> Any:
    """A client that sends no checksums, but for those that S3 insists on."""
    return _client(access, request_checksum_calculation="when_required")


class _Renewal:
    """Looks credentials up again when a server says that they have expired, and has the request
    sent once more with what was found. Requests that meet it at once share one look-up."""

    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._found: Any = None  # botocore's credentials, in the place of those of the client
        self._number = 0  # of look-ups so far

    def watch(self, client: Any) -> None:
        client.meta.events.register("before-sign.s3", self._sign)
        client.meta.events.register("needs-retry.s3", self._again)

    def _sign(self, request: Any, **_: Any) -> None:
        with self._lock:
            request.context["skin_look_up"] = self._number
            if self._found:
                request.context.setdefault("signing", {})["request_credentials"] = self._found

    def _again(self, response: Any, request_dict: Any, **_: Any) -> float | None:
        """Seconds until the request is sent once more; None for not at all."""
        context = request_dict["context"]
        if response is None or "skin_renewed" in context:
            return None
        code = response[1].get("Error", {}).get("Code")
        # The answer to HEAD has no body that could say so.
        if code not in EXPIRED and (code != "400" or request_dict["method"] != "HEAD"):
            return None
        context["skin_renewed"] = True
        with self._lock:
            if context["skin_look_up"] == self._number:
                self._found = _looked_up(self._access)
                self._number += 1
            found = self._found
        log.info("credentials_looked_up_again reason=%s found=%s", code, bool(found))
        return 0.0 if found else None


def _looked_up(access: S3Access) -> Any:
    """Credentials as they are now, for botocore; None if there is nowhere to look."""
    import botocore.session
    from botocore.credentials import Credentials

    if access.renew:
        access = access.renew()
    elif access.credentials.get("aws_access_key_id"):
        return None  # they were given, and who gave them knows no others
    given = [access.credentials.get(name) or None for name in CREDENTIALS[:3]]
    if all(given[:2]):
        return Credentials(*given)
    return botocore.session.Session(profile=access.profile or None).get_credentials()


def _check_head(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Notice an answer that was cut off within its head, which looks like a shorter one.

    Python takes the end of a connection for the end of the headers. S3 says in each answer how
    long its body is.
    """
    from botocore.exceptions import ConnectionClosedError

    said = {name.lower() for name in response_dict["headers"]}
    if response_dict["status_code"] not in {204, 304} and not LENGTHS & said:
        raise ConnectionClosedError(endpoint_url="")


def _check_endpoint(endpoint: str, named: Named) -> None:
    if not endpoint:
        return
    try:
        parts = urlsplit(endpoint)
        fits = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        fits = False
    if not fits or "@" in endpoint:
        raise BadInput(
            f"{named.endpoint} must be http://HOST:PORT or https://HOST:PORT, without a user name "
            f"or password. Received: {_without_login(endpoint)!r}"
        )


@cache
def _warn_of_plain_http(endpoint: str, setting: str) -> None:
    """Say once a process that everybody on the way can read along."""
    problem = "requests and images cross networks unencrypted; give an https:// address"
    log.warning('plain_http endpoint=%s setting="%s" problem="%s"', endpoint, setting, problem)


def _without_login(url: str) -> str:
    """`url` without the part before an @, where people put passwords."""
    scheme, mark, rest = url.rpartition("://")
    return scheme + mark + rest.rpartition("@")[2]


def _usable(credentials: Mapping[str, str], named: Named) -> None:
    """Raise `BadInput` for credentials that cannot be right."""
    unknown = sorted(set(credentials) - set(CREDENTIALS))
    if unknown:
        raise BadInput(
            f"unknown S3 credentials {', '.join(unknown)}. Known: {', '.join(CREDENTIALS)}"
        )
    for name, value in credentials.items():
        if value and not re.fullmatch(r"[!-~]+", value):
            raise BadInput(
                f"{name} has a space, a line break or a letter that no key has. Paste it again "
                f"into the Airflow connection that {named.connection} names"
            )


def _own_cache() -> Path:
    """A cache folder that no other user of the machine can put a model into."""
    folder = Path(tempfile.gettempdir()) / f"skin-pipeline-{os.getuid()}"
    _made_private(folder)
    if folder.is_symlink():  # where everybody may make one
        raise _of_another(folder)
    return folder


def _made_private(folder: Path) -> None:
    """Make a folder for copies that no other user can reach, or keep others out of one that is
    there. What they could have exchanged by then is thrown away.

    Raises:
        BadInput: it belongs to another user.
    """
    with _folder_errors(folder, "SKIN_CACHE"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = folder.stat()
        if seen.st_uid != os.getuid():
            raise _of_another(folder)
        if seen.st_mode & OF_OTHERS:
            folder.chmod(0o700)
        if seen.st_mode & WRITABLE_BY_OTHERS:
            shutil.rmtree(folder / "copies", ignore_errors=True)
            log.warning("cache_was_open_to_others folder=%s: its copies are thrown away", folder)


def _of_another(folder: Path) -> BadInput:
    return BadInput(
        f"{folder} belongs to another user, who could exchange what is copied into it: name a "
        "folder of yours in SKIN_CACHE, or one that does not exist yet"
    )


# --- keys and digests ----------------------------------------------------------------------------

PART_NAME_BYTES = 200  # file systems take 255 bytes, and the store adds a few of its own
KEY_BYTES = 900  # S3 takes 1024, prefix included
CHUNK = 1 << 20
NAMED = re.compile(r"([0-9a-f]{64})(?:\.[^/]*)?")  # the last part of a key that names its bytes
OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def digest(data: bytes) -> str:
    """SHA-256 of `data` in hex: 64 characters."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes in hex. Raises OSError if it cannot be read."""
    seen = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            seen.update(block)
    return seen.hexdigest()


def digest_of(data: bytes | BinaryIO) -> str:
    """SHA-256, in hex, of bytes or of a file, which stands at its start afterwards."""
    if isinstance(data, bytes):
        return digest(data)
    seen = hashlib.sha256()
    while block := data.read(CHUNK):
        seen.update(block)
    data.seek(0)
    return seen.hexdigest()


@contextmanager
def scratch() -> Generator[Path, None, None]:
    """A temporary folder that is gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="skin-") as folder:
        yield Path(folder)


def copied(store: Store, key: str, target: Path, expected: str = "") -> str:
    """Copies an object into a file that only this user can reach; returns the SHA-256 of its bytes.

    What is checked in the copy is what is used: nobody who can write to the store can exchange it.

    Args:
        store: Where the object lies.
        key: Of the object.
        target: The file; there must be none yet.
        expected: The SHA-256 that it must have; empty for any.

    Raises:
        BadInput: there is no such object, or its bytes are others than expected; then there is no
            copy either.
        Unavailable: the store or the disk failed.
    """
    with store.opened(key) as source, _folder_errors(target.parent, "TMPDIR"):
        found = _copied_to(target, source)
    if expected and found != expected:
        target.unlink()
        raise _not_what_it_was(store, key, found, expected)
    return found


def copied_file(path: Path, target: Path) -> str:
    """`copied`, for a file of this machine that others may exchange; a pipe or a device is refused.

    Raises:
        BadInput: the file cannot be read.
        Unavailable: the disk of the copy failed.
    """
    with _opened_plain(path) as source, _folder_errors(target.parent, "TMPDIR"):
        return _copied_to(target, source)


def _copied_to(target: Path, source: BinaryIO) -> str:
    with open(target, "xb", opener=partial(os.open, mode=0o600)) as copy:
        return _copied(source, copy)


def digest_named(key: str) -> str:
    """The SHA-256 that the last part of a key begins with; empty if it names none."""
    found = NAMED.fullmatch(key.rpartition("/")[2])
    return found[1] if found else ""


def _as_named(store: Store, key: str, data: bytes | BinaryIO) -> None:
    """Raise `BadInput` if the key names other bytes than these."""
    named = digest_named(key)
    if named and (found := digest_of(data)) != named:
        raise _not_what_it_was(store, key, found, named)


def _not_what_it_was(store: Store, key: str, found: str, expected: str) -> BadInput:
    return BadInput(
        f"{key} in the store {store.url} is not what it was: its SHA-256 is {found}, expected was "
        f"{expected}. Nothing of it was used; find out who changed it, and put it back from a "
        "backup, or use another store"
    )


def _checked(key: str) -> str:
    """`key`, if it means the same object in every store."""
    if not _is_key(key):
        raise BadInput(
            "a key is a relative path such as split/4f1a/result.json: no empty part, none that "
            "starts with a dot, no backslash or control character, "
            f"at most {PART_NAME_BYTES} bytes a part and {KEY_BYTES} in all. "
            f"Received: {key[:KEY_BYTES]!r}"
        )
    return key


def _is_key(key: str) -> bool:
    parts = key.split("/")
    return (
        all(parts)
        and not _hidden(key)
        and key.isprintable()
        and "\\" not in key
        and len(key.encode(errors="replace")) <= KEY_BYTES
        and all(len(part.encode(errors="replace")) <= PART_NAME_BYTES for part in parts)
    )


def _keys_of(store: Store, found: Iterable[tuple[str, str]]) -> KeyList:
    """The keys, sorted, among what a listing found and what each of it is. Hidden names are passed
    over; what else no store writes is told."""
    keys = []
    for key, what in found:
        if what == "a file" and _is_key(key):
            keys.append(key)
        elif not _hidden(key):
            log.warning("foreign_in_the_store name=%r what=%r store=%s", key, what, store.url)
    return sorted(keys)


def _hidden(key: str) -> bool:
    """Whether a part starts with a dot: drafts and lock files do, keys (and `..`) may not."""
    return any(part.startswith(".") for part in key.split("/"))


def _missing(store: Store, key: str) -> BadInput:
    return BadInput(
        f"there is no {key} in the store {store.url}: run the step that makes it first, or check "
        "SKIN_STORE"
    )


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO, None, None]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise BadInput(f"the file {path} cannot be read: {error.strerror}") from error


@contextmanager
def _opened_plain(path: Path) -> Generator[BinaryIO, None, None]:
    """`_opened`, which a pipe cannot block and a device cannot answer."""

    def opener(name: str, how: int) -> int:
        handle = os.open(name, how | os.O_NONBLOCK)
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            return handle
        os.close(handle)
        raise BadInput(f"{path} is {beneath.kind(mode)}, and no file. Name a file")

    try:
        with open(path, "rb", opener=opener) as file:
            yield file
    except OSError as error:
        raise BadInput(f"the file {path} cannot be read: {error.strerror}") from error


# --- a folder ------------------------------------------------------------------------------------

NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
FULL = {errno.ENOSPC, errno.EDQUOT}
PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.EBUSY,
    errno.ENOLCK,
    errno.EMFILE,
    errno.ENFILE,
}
ABANDONED_SECONDS = 24 * 3600  # no write takes so long: whoever began this draft was killed


class FolderStore:
    """A store in a folder, which may be on a disk that several machines share.

    Below its root no link is followed, and only plain files are objects: see `beneath`.

    Args:
        root: the folder; it is created with the first object.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = f"file://{self.root}"

    def __repr__(self) -> str:
        return f"FolderStore({self.url!r})"

    def exists(self, key: str) -> bool:
        with self._at(key) as place, suppress(*NOT_THERE):
            return place is not None and bool(place.seen())
        return False

    def read(self, key: str) -> bytes:
        found = self.tagged(key)
        if found is None:
            raise _missing(self, key)
        data, tag = found
        if digest_named(key) not in {"", tag}:
            raise _not_what_it_was(self, key, tag, digest_named(key))
        return data

    @contextmanager
    def opened(self, key: str) -> Generator[BinaryIO, None, None]:
        with self._open(key) as file:
            with self._errors():
                _as_named(self, key, file)
            yield file

    def list(self, prefix: str) -> KeyList:
        prefix = prefix.rstrip("/")
        with self._errors():
            found = list(beneath.walk(self.root, _checked(prefix) if prefix else ""))
        return _keys_of(self, found)

    def put(self, key: str, data: bytes) -> bool:
        return self._publish(key, io.BytesIO(data))

    def put_file(self, key: str, path: Path) -> bool:
        with _opened(path) as source:
            return self._publish(key, source)

    def local(self, key: str, *, fresh: bool = False) -> Path:
        with self._open(key):  # it can be read
            return self.root / key

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        with self._at(key) as place:
            return None if place is None else _state(place)

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        if tag is None:
            return self.put(key, data)
        with self._errors(), beneath.at(self.root, _checked(key), make=True) as place:
            if not _swapped(place, data, tag):
                return False
        log.info("pointer_moved key=%s store=%s", key, self.url)
        return True

    def remove(self, key: str) -> None:
        with self._at(key) as place, suppress(*NOT_THERE):
            if place is not None:
                place.seen()
                place.unlink()  # not its folder, in which somebody may be about to write

    def link(self, key: str) -> str:
        return str(self.root / _checked(key))

    @contextmanager
    def _at(self, key: str) -> Generator[Place | None, None, None]:
        """The place of a key, or None if there is no folder for it."""
        with ExitStack() as stack:
            stack.enter_context(self._errors())
            try:
                place = stack.enter_context(beneath.at(self.root, _checked(key)))
            except NOT_THERE:
                place = None
            yield place

    @contextmanager
    def _open(self, key: str) -> Generator[BinaryIO, None, None]:
        """An object, whatever its bytes are."""
        file: BinaryIO | None = None
        with self._at(key) as place, suppress(*NOT_THERE):
            file = None if place is None else place.open()
        if file is None:
            raise _missing(self, key)
        with file:
            yield file

    def _publish(self, key: str, source: BinaryIO) -> bool:
        with self._errors(), beneath.at(self.root, _checked(key), make=True) as place:
            if place.is_taken():  # saves a copy; who comes first is decided by `_claim`
                return False
            with _draft(place, partial(shutil.copyfileobj, source, length=CHUNK)) as draft:
                return _claim(draft, place)

    def _errors(self) -> AbstractContextManager[None]:
        return _folder_errors(self.root, "SKIN_STORE")


def _state(place: Place) -> tuple[bytes, str] | None:
    """The bytes of a pointer and their tag, or None if it does not exist."""
    try:
        with place.open() as file:
            data = file.read()
    except NOT_THERE:
        return None
    return data, digest(data)


def _swapped(place: Place, data: bytes, tag: str) -> bool:
    """Move a pointer if it still has `tag`; whether it moved."""
    with _locked(place):
        now = _state(place)
        if now is None or now[1] != tag:
            return False
        with _draft(place, lambda file: file.write(data)) as draft:
            draft.move_to(place)
    return True


@contextmanager
def _draft(target: Place, fill: Callable[[BinaryIO], object]) -> Generator[Place, None, None]:
    """A file under a hidden name beside `target`, filled by `fill` and safe on the disk.

    The block moves or links it to its name; what is left of it afterwards is removed.
    """
    _sweep(target)
    draft = target.beside(f".{uuid.uuid4().hex}.part")
    try:
        with draft.create() as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        yield draft
        _sync(target.folder)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _sweep(target: Place) -> None:
    """Remove drafts whose writer was killed; another process may be doing the same."""
    for name in beneath.names_of(target.folder):
        if name.startswith(".") and name.endswith(".part"):
            with suppress(*NOT_THERE):  # a folder of this name is no draft
                draft = target.beside(name)
                if time.time() - draft.written() > ABANDONED_SECONDS:
                    draft.unlink()


def _sync(folder: int) -> None:
    """Put a folder's new names on the disk, so that they outlive a power cut."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a network disk that does this by itself
            raise


def _claim(draft: Place, target: Place) -> bool:
    """Give `draft` the name `target` if nobody has it; a rename alone would take it away."""
    try:
        draft.link_to(target.name)
    except FileExistsError:
        # A network disk may answer a repeated request with "exists" though it was our own.
        return target.is_taken() and draft.is_same(target)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return _claim_locked(draft, target)
    return True


def _claim_locked(draft: Place, target: Place) -> bool:
    """`_claim` on a file system without hard links, where every writer comes this way."""
    with _locked(target):
        if target.is_taken():
            return False
        draft.move_to(target)
    return True


@contextmanager
def _locked(target: Place) -> Generator[None, None, None]:
    """Alone with `target`, among all processes; the kernel frees the lock of a killed one."""
    with target.beside(f".{target.name}.lock").open_lock() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Closing is not enough: a process forked meanwhile holds the same lock.
            fcntl.flock(lock, fcntl.LOCK_UN)


@contextmanager
def _folder_errors(folder: Path, setting: str) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise _folder_problem(error, folder, setting) from error


def _folder_problem(error: OSError, folder: Path, setting: str) -> PipelineError:
    reason = error.strerror or type(error).__name__
    if error.errno in FULL:
        return Unavailable(
            f"no space left for {folder} ({reason}): free some, or name another folder in "
            f"{setting}. Nothing half-written was kept"
        )
    if error.errno in PASSING:
        return Unavailable(f"the folder {folder} does not answer: {reason}")
    return BadInput(
        f"the folder {folder} cannot be used: {reason}. Name a folder that this user may create "
        f"and write in {setting}"
    )


# --- local copies --------------------------------------------------------------------------------

# Between `local` and the opening of what it named, another process must not remove it. Whatever is
# open or mapped by then outlives its name.
JUST_USED_SECONDS = 60


class _Copy(NamedTuple):
    used: float  # first, so that copies sort by it
    bytes: int
    path: Path


class LocalCache:
    """Copies of objects on this machine's disk, each fetched by one process at a time.

    A copy is named `ADDRESS/NAME`, where two objects never have the same address. The time of its
    last use is that of its last change, as the disk has it.

    Args:
        folder: where they lie; processes may share it.
        bound: largest size in bytes of all copies. What was just used stays, even beyond it.
    """

    def __init__(self, folder: Path, bound: int) -> None:
        self.folder = folder
        self.bound = bound

    def get(self, copy: str, fill: Callable[[BinaryIO], object], *, fresh: bool = False) -> Path:
        """The file of a copy, written by `fill` unless it is there, or in any case if `fresh`."""
        target = self._target(copy)
        _made_private(self.folder)
        with _folder_errors(self.folder, "SKIN_CACHE"):
            if not fresh and self._use(target):
                return target
            with self._alone(copy):
                if not fresh and self._use(target):  # somebody was faster
                    return target
                self._fetch(target, fill)
            self._shrink(target)
        return target

    def drop(self, copy: str) -> None:
        """Remove a copy if it is there, be it only after a download that is under way."""
        _made_private(self.folder)
        with _folder_errors(self.folder, "SKIN_CACHE"), self._alone(copy), self._gate():
            _unlink(self._target(copy))

    def _target(self, copy: str) -> Path:
        return self.folder / "copies" / copy

    def _alone(self, copy: str) -> AbstractContextManager[None]:
        """Alone with a copy; a lock file serves many of them, so that there are never many."""
        return self._lock(copy[:2])

    def _gate(self) -> AbstractContextManager[None]:
        """Held for an instant, never during a transfer: a copy is marked, moved in or removed."""
        return self._lock("gate")

    @contextmanager
    def _lock(self, name: str) -> Generator[None, None, None]:
        with beneath.at(self.folder, f"locks/{name}", make=True) as place, _locked(place):
            yield

    def _use(self, target: Path) -> bool:
        """Mark a copy as just used; whether it is there."""
        with self._gate():
            try:
                os.utime(target)
            except FileNotFoundError:
                return False
        return True

    def _fetch(self, target: Path, fill: Callable[[BinaryIO], object]) -> None:
        # Drafts lie apart: no copy's folder is ever empty between two steps of a download.
        drafts = beneath.at(self.folder, f"drafts/{target.name}", make=True)
        with drafts as place, _draft(place, fill) as draft, self._gate():
            draft.touch()  # the last byte may be old: putting a large file on the disk takes long
            copy = target.relative_to(self.folder).as_posix()
            with beneath.at(self.folder, copy, make=True) as name:
                draft.move_to(name)

    def _shrink(self, fetched: Path) -> None:
        """Remove the copies that were not used for longest, until the rest is within the bound."""
        copies = self._copies()
        excess = sum(copy.bytes for copy in copies) - self.bound
        for copy in copies:
            if excess <= 0:
                return
            if copy.path != fetched and self._evict(copy):
                excess -= copy.bytes

    def _copies(self) -> list[_Copy]:
        """All copies, those not used for longest first."""
        found = []
        for folder in (self.folder / "copies").iterdir():
            with suppress(FileNotFoundError):  # another process has just evicted it
                for path in folder.iterdir():
                    if not _hidden(path.name):  # what a network disk keeps of an open file
                        seen = path.stat()
                        found.append(_Copy(seen.st_mtime, seen.st_size, path))
        return sorted(found)

    def _evict(self, copy: _Copy) -> bool:
        """Remove a copy unless it was just used; whether it is gone."""
        with self._gate():
            try:
                used = copy.path.stat().st_mtime  # it may have been used since it was listed
            except FileNotFoundError:
                return True
            if time.time() - used < JUST_USED_SECONDS:
                return False
            _unlink(copy.path)
        name = copy.path.relative_to(self.folder / "copies")
        log.info("cache_evicted copy=%s bytes=%d", name, copy.bytes)
        return True


def _unlink(path: Path) -> None:
    """Remove a file, if it is there, and its folder, if nothing else is in it."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


# --- S3 ------------------------------------------------------------------------------------------

# A small object is written in one request, and S3's own SHA-256 of it is verified at reading. A
# large file goes up in parts, each sent again by itself if it must be, and shows when it is whole.
# S3 knows a SHA-256 of each part only, so that of the file goes with it. Both are written on the
# condition that the key is free. Of writers that complete the same key at the same instant,
# seaweedfs 4.48 may accept several, one after the other: the mark of the writer tells who is left.
PARTS_FROM_BYTES = 64 << 20
PART_BYTES = 16 << 20  # grows with a file of more than 10,000 of them, the most that S3 takes
PARTS_AT_ONCE = 4
LARGEST_BYTES = 5 << 40  # what S3 servers take in one object; AWS by now takes more
PAGE = 1000  # keys in one answer
NO_TAG = f'"{"0" * 32}"'  # the tag of no object
_CONDITIONAL: set[tuple[str, str]] = set()  # servers and buckets that were seen to heed conditions
MOVED = {  # the answers to a conditional write when somebody else was faster
    "NoSuchKey",
    "PreconditionFailed",
    "ConditionalRequestConflict",
    "NoSuchUpload",  # completed by a request whose answer was lost, or aborted by another process
    "409",
    "412",
}

CHANGE_CREDENTIALS = (
    "Change the Airflow connection that {0.connection} names, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY"
)
EXPIRED = (  # what servers say of a session token that has ended
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "InvalidTokenId",
    "RequestExpired",
    "TokenRefreshRequired",
)
# The `config_kwargs` of a connection, or the environment, for a server that knows no checksums.
WITHOUT_CHECKSUMS = (
    "Set AWS_REQUEST_CHECKSUM_CALCULATION and AWS_RESPONSE_CHECKSUM_VALIDATION to when_required, "
    'or add {{"config_kwargs": {{"request_checksum_calculation": "when_required", '
    '"response_checksum_validation": "when_required"}}}} to the extra of the Airflow connection '
    "that {0.connection} names; the SHA-256 of what is written then goes along as metadata"
)
CHECKSUMS = (
    "this server, or a proxy before it, does not know the checksums of newer clients. "
    f"{WITHOUT_CHECKSUMS}"
)
ABOUT_CHECKSUMS = re.compile(r"checksum|x-amz-sdk-|trailer|aws-chunked|STREAMING-", re.IGNORECASE)
ADVICE: dict[tuple[str, ...], str] = {  # {0} is a `Named`
    EXPIRED: (
        "the session token has expired, and no other was found where the credentials come from. "
        f"If it stays so: {CHANGE_CREDENTIALS}; or this machine's clock is wrong"
    ),
    (
        "LoginRefreshRequired",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    ): "the sign-in of boto3's profile has ended. Sign in again (aws sso login)",
    (
        "ConfigNotFound",
        "ConfigParseError",
        "InvalidChecksumConfigError",
        "InvalidMaxRetryAttemptsError",
        "InvalidRetryConfigurationError",
        "InvalidRetryModeError",
        "InvalidS3AddressingStyleError",
    ): (
        "a setting of boto3's does not fit. Look at config_kwargs of the Airflow connection that "
        "{0.connection} names, at AWS_* variables and at ~/.aws/config"
    ),
    ("CertificateError",): (
        "the server's certificate is not signed by an authority that this machine trusts. Name a "
        "file with the right one in AWS_CA_BUNDLE, or in the extra `verify` of the Airflow "
        "connection that {0.connection} names"
    ),
    ("XAmzContentSHA256Mismatch", "MalformedTrailerError"): CHECKSUMS,
    ("NoSuchBucket", "InvalidBucketName"): (
        "there is no such bucket. Create it, or change {0.place} or {0.endpoint}"
    ),
    (
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "ProfileNotFound",
    ): f"the credentials are wrong or have expired. {CHANGE_CREDENTIALS}",
    ("HTTPClientError",): (
        f"the credentials have a line break or a letter that no key has. {CHANGE_CREDENTIALS}"
    ),
    ("NoCredentialsError", "PartialCredentialsError"): (
        f"there are no credentials, or only half of them. {CHANGE_CREDENTIALS}{{0.public}}"
    ),
    ("AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"): (
        "the credentials do not allow it. Give them permission to {0.rights} there. "
        f"{CHANGE_CREDENTIALS}"
    ),
    ("RequestTimeTooSkewed",): ("this machine's clock and the server's differ. Set the clock"),
    (
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidRegionError",
        "301",
    ): (
        "the bucket is in another region. Set region_name in the connection that "
        "{0.connection} names, or AWS_DEFAULT_REGION"
    ),
    (
        "KMS.DisabledException",
        "KMS.InvalidKeyUsageException",
        "KMS.InvalidStateException",
        "KMS.KMSInvalidStateException",
        "KMS.NotFoundException",
    ): (
        "the server cannot use the encryption key: it does not exist in the bucket's region, is "
        "switched off or is about to be deleted. Mend the key; SKIN_S3_KMS_KEY names the one to "
        "write with"
    ),
    ("InvalidEncryptionAlgorithmError", "InvalidArgument"): (
        "the server does not know something that was asked of it. For a write, check "
        "SKIN_S3_ENCRYPTION and SKIN_S3_KMS_KEY; then check {0.endpoint}"
    ),
    ("InvalidStorageClass",): (
        "the server has no such storage class. Change SKIN_S3_STORAGE_CLASS, or leave it empty"
    ),
    ("NotImplemented", "501"): (
        "this server does not know conditional writes, which keep two runs from overwriting each "
        "other, or not what SKIN_S3_ENCRYPTION asks for. Name one that does in {0.endpoint}"
    ),
    ("CredentialRetrievalError",): (
        f"the service that gives credentials did not. If it stays so: {CHANGE_CREDENTIALS}"
    ),
}
KMS_RIGHTS = "use the KMS key (kms:GenerateDataKey, kms:Decrypt), and to "
REFUSED = "the server refused it. Check {0.place} and {0.endpoint}"
SLOW = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "IncompleteBody",
    "BadDigest",
    "OperationAborted",
}


class S3Store:
    """A store below `prefix` of an S3 bucket whose server knows conditional writes.

    Args:
        bucket: its name.
        prefix: folder in the bucket, without slashes at the ends; may be empty.
        client: a boto3 S3 client.
        cache: for what `local` downloads; stores may share it.
        writing: how objects are written.
        plain: makes a client that sends no checksums, to find out whether they are the trouble.
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
        self.endpoint = _without_login(client.meta.endpoint_url)
        self._client = client
        self._plain = plain
        self._writing = writing
        asked_for = client.meta.config.request_checksum_calculation
        self._checksums = {} if asked_for == "when_required" else {"ChecksumAlgorithm": "SHA256"}
        self._unchecked = writing.versioned  # whether the bucket must still show its versioning
        kms = KMS_RIGHTS if writing.encryption == "aws:kms" else ""
        self._named = STORE._replace(rights=kms + STORE.rights)
        completing = "provide-client-params.s3.CompleteMultipartUpload"
        client.meta.events.register(completing, _unless_taken)

    def __repr__(self) -> str:
        return f"S3Store({self.url!r}, endpoint={self.endpoint!r})"

    def exists(self, key: str) -> bool:
        # Not HEAD: its errors say no reason, so a missing bucket would look like a missing key. Of
        # all keys that begin with this one, this one comes first.
        name = self._name(key)
        look = partial(self._client.list_objects_v2, Bucket=self.bucket, Prefix=name, MaxKeys=1)
        page = self._ask("look for", key, look)
        return any(entry["Key"] == name for entry in page.get("Contents", ()))

    def read(self, key: str) -> bytes:
        found = self.tagged(key)
        if found is None:
            raise _missing(self, key)
        _as_named(self, key, found[0])
        return found[0]

    @contextmanager
    def opened(self, key: str) -> Generator[BinaryIO, None, None]:
        with _opened(self.local(key)) as file:
            _as_named(self, key, file)
            yield file

    def list(self, prefix: str) -> KeyList:
        prefix = prefix.rstrip("/")
        folder = f"{self._name(prefix) if prefix else self.prefix}/".lstrip("/")
        names = self._ask("list", folder or "all keys", partial(self._names, folder))
        base = len(self.prefix) + 1 if self.prefix else 0
        return _keys_of(self, ((name[base:], "a file") for name in names if name[-1:] != "/"))

    def put(self, key: str, data: bytes) -> bool:
        return self._write(key, data)

    def put_file(self, key: str, path: Path) -> bool:
        with _opened(path) as source:
            if self.exists(key):  # saves the transfer; who comes first is decided by the server
                return False
            size = os.fstat(source.fileno()).st_size
            if size > LARGEST_BYTES:
                raise BadInput(
                    f"the file {path} has {size} bytes; S3 takes at most {LARGEST_BYTES} in one "
                    "object. Make smaller files"
                )
            if size < PARTS_FROM_BYTES:
                return self._write(key, source)
            return self._write_parts(key, path)

    def local(self, key: str, *, fresh: bool = False) -> Path:
        return self.cache.get(self._copy(key), partial(self._download, key), fresh=fresh)

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        answer = self._get(key)
        if answer is None:
            return None
        data = self._ask("read", key, answer["Body"].read)
        self._check_whole(key, answer, digest(data))
        return data, answer["ETag"]

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        self._name(key)  # refuses a key that does not fit before anything is tried
        self._check_conditions()
        moved = self._write(key, data, tag)
        if moved:
            log.info("pointer_moved key=%s store=%s", key, self.url)
        return moved

    def remove(self, key: str) -> None:
        delete = partial(self._client.delete_object, Bucket=self.bucket, Key=self._name(key))
        self._ask("remove", key, delete, none_on={"NoSuchKey"})
        self.cache.drop(self._copy(key))

    def link(self, key: str) -> str:
        return f"s3://{self.bucket}/{self._name(key)}"

    def _name(self, key: str) -> str:
        return f"{self.prefix}/{_checked(key)}".lstrip("/")

    def _names(self, folder: str) -> KeyList:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=folder, PaginationConfig={"PageSize": PAGE}
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def _copy(self, key: str) -> str:
        """The name of the local copy, which ends like the key: some readers go by the suffix."""
        name = self._name(key)
        address = digest(f"{self.endpoint} {self.bucket} {name}".encode())
        return f"{address}/{Path(name).name}"

    def _download(self, key: str, file: BinaryIO) -> None:
        answer = self._get(key)
        if answer is None:
            raise _missing(self, key)
        received = self._ask("read", key, partial(_copied, answer["Body"], file))
        self._check_whole(key, answer, received)
        size = answer["ContentLength"]
        log.info("object_downloaded key=%s copy=%s bytes=%d", key, self._copy(key), size)

    def _get(self, key: str) -> Any:
        """S3's answer with the object's `Body` yet to be read, or None if there is no object."""
        get = partial(self._client.get_object, Bucket=self.bucket, Key=self._name(key))
        return self._ask_about("read", key, get, none_on={"NoSuchKey"})

    def _check_whole(self, key: str, answer: Any, received: str) -> None:
        """Compare with the SHA-256 that was written with an object."""
        if answer["Metadata"].get("sha256", received) != received:
            raise Unavailable(
                f"cannot read {self.link(key)} at {self.endpoint} now: the bytes did not arrive "
                "whole (sha256). If it stays so, they are damaged there: remove the object and run "
                "the step that makes it again"
            )

    def _write(self, key: str, data: bytes | BinaryIO, tag: str | None = None) -> bool:
        """Write if the object still has `tag` (None: does not exist); whether this call did it."""
        self._check_versioning()
        writer = uuid.uuid4().hex
        request = partial(
            self._client.put_object,
            Bucket=self.bucket,
            Key=self._name(key),
            Body=data,
            **self._arguments(writer=writer, sha256=digest_of(data)),
            **({"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}),
        )
        ask = partial(self._ask_about, "write", key, request, MOVED)
        if self._blaming_checksums(key, ask) is not None:
            return True
        return self._won(key, writer, new=tag is None)

    def _write_parts(self, key: str, path: Path) -> bool:
        """Write a large file if the object does not exist; whether this call did it."""
        self._check_versioning()
        self._abort_abandoned()
        writer = uuid.uuid4().hex
        arguments = self._arguments(writer=writer, sha256=digest_file(path))
        upload = partial(self._upload, self._name(key), path, arguments)
        self._blaming_checksums(key, partial(self._ask, "write", key, upload, MOVED))
        return self._won(key, writer, new=True)

    def _upload(self, name: str, path: Path, arguments: Mapping[str, Any]) -> None:
        """Send a file in parts; what was sent is thrown away if it fails."""
        from boto3.s3.transfer import TransferConfig, create_transfer_manager

        config = TransferConfig(
            multipart_threshold=PARTS_FROM_BYTES,
            multipart_chunksize=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
            preferred_transfer_client="classic",  # the one that sends by our client, in its bounds
        )
        with create_transfer_manager(self._client, config) as manager:
            manager.upload(str(path), self.bucket, name, extra_args=arguments).result()

    def _arguments(self, **metadata: str) -> dict[str, Any]:
        """Arguments that every write has."""
        return {"Metadata": metadata, **self._checksums, **self._writing.arguments}

    def _blaming_checksums(self, key: str, write: Callable[[], Any]) -> Any:
        """`write()`; if it is refused, and a write without checksums is not, the error says so.

        What servers answer to a checksum that they do not know is of every kind.
        """
        try:
            return write()
        except BadInput as problem:
            if not self._checksums or not self._takes_plain():
                raise
            told = str(problem).rpartition(" (")[2]
        raise BadInput(
            f"cannot write {key} in the bucket {self.bucket!r} at {self.endpoint}: "
            f"{CHECKSUMS.format(self._named)} ({told}"
        )

    def _takes_plain(self) -> bool:
        """Whether the server takes an object that comes without a checksum."""
        client, place = self._plain(), {"Bucket": self.bucket, "Key": self._probe()}
        arguments = self._writing.arguments
        put = partial(client.put_object, **place, Body=b"", IfNoneMatch="*", **arguments)
        try:
            self._take_back(place, self._ask("write", place["Key"], put))
        except PipelineError:
            return False
        return True

    def _check_conditions(self) -> None:
        """Before the first move of a pointer, refuse a server that ignores conditions of writes.

        Two runs would overwrite each other's champion there, and neither would know.
        """
        server = (self.endpoint, self.bucket)
        if server in _CONDITIONAL:
            return
        if ignored := self._ignored_conditions():
            raise BadInput(
                f"{self.endpoint} ignores {' and '.join(ignored)}, by which two runs are kept from "
                "overwriting each other's champion. If a proxy stands before the server, have it "
                "pass these headers on; else name another server in SKIN_S3_ENDPOINT"
            )
        _CONDITIONAL.add(server)

    def _ignored_conditions(self) -> KeyList:
        """The headers that the server does not heed, found out by an object of its own."""
        place = {"Bucket": self.bucket, "Key": self._probe()}
        put = partial(self._client.put_object, **place, Body=b"", **self._arguments())
        ask = partial(self._ask, "write", place["Key"], none_on=MOVED)
        first = partial(ask, partial(put, IfNoneMatch="*"))
        made = self._blaming_checksums(place["Key"], first)
        conditions = {"If-None-Match": {"IfNoneMatch": "*"}, "If-Match": {"IfMatch": NO_TAG}}
        ignored = [name for name, value in conditions.items() if ask(partial(put, **value))]
        self._take_back(place, made)
        return ignored

    def _probe(self) -> str:
        """The name of an object to try something with; hidden, should it ever stay."""
        return f"{self.prefix}/.probe-{uuid.uuid4().hex}".lstrip("/")

    def _take_back(self, place: dict[str, str], made: Any) -> None:
        """Remove such an object: all of it, where the bucket would keep old versions."""
        version = {"VersionId": made["VersionId"]} if made and "VersionId" in made else {}
        for which in (version, {}):
            remove = partial(self._client.delete_object, **place, **which)
            try:
                self._ask("remove", place["Key"], remove, none_on={"NoSuchKey", "NoSuchVersion"})
            except BadInput:
                if not which:
                    raise
                continue  # whoever may remove an object may not always remove a version of it
            return

    def _won(self, key: str, writer: str, *, new: bool) -> bool:
        """Whether the object is the one that `writer` wrote.

        A retry after a lost answer meets its own success as a conflict, so each write carries a
        mark of its own, by which it is known again.
        """
        now = self._writer(key)
        if now is None and new:
            raise Unavailable(f"{self.link(key)} was changing while it was written")
        return now == writer

    def _writer(self, key: str) -> str | None:
        """The mark of the write that made the object, or None if there is no object."""
        head = partial(self._client.head_object, Bucket=self.bucket, Key=self._name(key))
        answer = self._ask_about("look for", key, head, none_on={"404"})
        return None if answer is None else str(answer["Metadata"].get("writer", ""))

    def _check_versioning(self) -> None:
        """Before the first write, refuse a bucket without versioning, if it must have it."""
        if not self._unchecked:
            return
        ask = partial(self._client.get_bucket_versioning, Bucket=self.bucket)
        doing = f"see the versioning of the bucket {self.bucket!r} at {self.endpoint}"
        named = STORE._replace(rights="read its versioning (s3:GetBucketVersioning)")
        answer = explained(ask, doing, {"NotImplemented", "501"}, named)
        if answer is None or answer.get("Status") != "Enabled":
            raise BadInput(
                f"the bucket {self.bucket!r} at {self.endpoint} does not keep old versions of its "
                "objects, as SKIN_S3_VERSIONING asks for. Switch it on (aws s3api "
                f"put-bucket-versioning --endpoint-url {self.endpoint} --bucket {self.bucket} "
                "--versioning-configuration Status=Enabled), or set SKIN_S3_VERSIONING to false"
            )
        self._unchecked = False

    def _abort_abandoned(self) -> None:
        """Throw away the parts of writers that were killed; another process may be at it, too."""
        try:
            for upload in self._ask("list", "uploads in parts", self._uploads):
                if time.time() - upload["Initiated"].timestamp() > ABANDONED_SECONDS:
                    self._abort(upload["Key"], upload["UploadId"])
        except PipelineError as problem:  # they cost space, but stand in nobody's way
            log.warning("abandoned_uploads_stay store=%s reason=%s", self.url, problem)

    def _uploads(self) -> Collection[dict[str, Any]]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}/".lstrip("/")
        )
        return [upload for page in pages for upload in page.get("Uploads", ())]

    def _abort(self, name: str, upload: str) -> None:
        abort = partial(
            self._client.abort_multipart_upload, Bucket=self.bucket, Key=name, UploadId=upload
        )
        self._ask("abort the upload of", name, abort, none_on={"NoSuchUpload"})
        log.info("upload_aborted key=%s store=%s", name, self.url)

    def _ask_about(
        self, doing: str, key: str, call: Callable[[], Any], none_on: Collection[str]
    ) -> Any:
        """`_ask` for a request about one object, to which S3 always answers with an ETag."""
        answer = self._ask(doing, key, call, none_on)
        if answer is not None and "ETag" not in answer:
            raise BadInput(f"{self.endpoint} is no S3 server. Change SKIN_S3_ENDPOINT")
        return answer

    def _ask(
        self, doing: str, key: str, call: Callable[[], Any], none_on: Collection[str] = ()
    ) -> Any:
        doing = f"{doing} {key} in the bucket {self.bucket!r} at {self.endpoint}"
        return explained(call, doing, none_on, self._named)


def _unless_taken(params: dict[str, Any], **_: Any) -> None:
    """Condition of completing an upload, which s3transfer has no argument for."""
    params["IfNoneMatch"] = "*"


def _copied(source: Any, sink: BinaryIO) -> str:
    """Copy all bytes; their SHA-256 in hex."""
    seen = hashlib.sha256()
    while block := source.read(CHUNK):
        seen.update(block)
        sink.write(block)
    return seen.hexdigest()


class S3Object(NamedTuple):
    """An object as a listing shows it: its whole key, its size, and the tag of this state."""

    key: str
    bytes: int
    tag: str


class Bucket:
    """A bucket of others, only read: a key may be any text, and an object may change.

    Args:
        url: `s3://BUCKET/PREFIX`; whether it can be reached shows at the first use.
        access: how.
        named: what messages tell a person to look at.

    Raises:
        BadInput: names the setting that does not fit, as every method does for what a person
            must put right.
    """

    def __init__(self, url: str, access: S3Access, named: Named) -> None:
        self.name, self.prefix = _bucket(url, named)
        self._client = _s3(self.name, access, named)
        self._named = named

    def objects(self, prefix: str) -> Iterator[S3Object]:
        """All objects whose keys begin with `prefix`, sorted; a page at a time in memory.

        Raises:
            Unavailable: the server does not answer.
        """
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, PaginationConfig={"PageSize": PAGE}
            )
        )
        while page := self._ask("list", prefix, partial(next, pages, None)):
            for entry in page.get("Contents", ()):
                yield S3Object(entry["Key"], entry["Size"], entry["ETag"])

    def fetch(self, item: S3Object, path: Path) -> bool:
        """Write an object to the file `path`; False if it is no longer what `item` says.

        Raises:
            Unavailable: the bytes did not arrive whole. `path` may hold some of them.
            OSError: `path` cannot be written.
        """
        get = partial(self._client.get_object, Bucket=self.name, Key=item.key, IfMatch=item.tag)
        answer = self._ask("read", item.key, get, none_on=MOVED)
        if answer is None:
            return False
        with closing(answer["Body"]) as body:
            if (answer.get("ETag"), answer.get("ContentLength")) != (item.tag, item.bytes):
                return False  # a server that does not know conditional reads
            with path.open("wb") as sink:
                self._ask("read", item.key, partial(shutil.copyfileobj, body, sink, CHUNK))
        return True

    def start(self, item: S3Object, most: int) -> bytes:
        """The first `most` bytes of an object that is not empty; none of one that has changed.

        Raises:
            Unavailable: the bytes did not arrive.
        """
        place = {"Bucket": self.name, "Key": item.key, "IfMatch": item.tag}
        get = partial(self._client.get_object, **place, Range=f"bytes=0-{most - 1}")
        answer = self._ask("read", item.key, get, none_on=MOVED)
        if answer is None:
            return b""
        with closing(answer["Body"]) as body:
            return bytes(self._ask("read", item.key, partial(body.read, most)))

    def _ask(
        self, doing: str, key: str, call: Callable[[], Any], none_on: Collection[str] = ()
    ) -> Any:
        doing = (
            f"{doing} s3://{self.name}/{key} at {_without_login(self._client.meta.endpoint_url)}"
        )
        return explained(call, doing, none_on, self._named)


def explained(
    call: Callable[[], Any], doing: str, none_on: Collection[str] = (), named: Named = STORE
) -> Any:
    """`call()`, or None if S3 answers with one of the error codes `none_on`.

    Raises:
        BadInput, Unavailable: what went wrong while `doing`, and which setting to change.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        return call()
    except ClientError as error:
        code, status = _answer(error)
        if code in none_on:
            return None
        problem = _refusal(code, status, doing, named, _said(error))
    except (BotoCoreError, ResponseParserError) as error:
        problem = _failure(error, doing, named)
    # Raised out here so that botocore's error is no part of it: that one may quote a header or an
    # address with a credential in it.
    raise problem


def _answer(error: Any) -> tuple[str, int]:
    """Code and HTTP status of an error that S3 answered with."""
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    return code, int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _said(error: Any) -> str:
    """What an error that S3 answered with says for people, and which header it names."""
    answer = error.response.get("Error", {})
    return (
        f"{answer.get('Message', '')} {answer.get('Header', '')} {answer.get('ArgumentName', '')}"
    )


def _refusal(code: str, status: int, doing: str, named: Named, said: str = "") -> PipelineError:
    """The error for what S3 answered."""
    if code in EXPIRED:
        return Unavailable(f"cannot {doing} now: {_advice(code, named)} ({code})")
    passing = status in {408, 409, 429} or (status >= 500 and status != 501)
    if code in SLOW or passing:
        return Unavailable(f"cannot {doing} now: the server is busy or out of order ({code})")
    if ABOUT_CHECKSUMS.search(said):
        return BadInput(f"cannot {doing}: {CHECKSUMS.format(named)} ({code})")
    return BadInput(f"cannot {doing}: {_advice(code, named)} ({code})")


def _failure(error: Exception, doing: str, named: Named) -> PipelineError:
    """The error for a request that got no answer, or none that makes sense."""
    from botocore import exceptions as boto

    code = type(error).__name__
    garbled = (boto.IncompleteReadError, boto.FlexibleChecksumError)
    if isinstance(error, garbled):
        return Unavailable(f"cannot {doing} now: the bytes did not arrive whole ({code})")
    if isinstance(error, boto.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return BadInput(f"cannot {doing}: {_advice('CertificateError', named)} ({code})")
    if isinstance(error, boto.CredentialRetrievalError):
        return Unavailable(f"cannot {doing} now: {_advice(code, named)} ({code})")
    # The bare HTTPClientError is a request that could not even be written.
    no_answer = isinstance(error, (boto.HTTPClientError, boto.ConnectionError))
    if no_answer and type(error) is not boto.HTTPClientError:
        return Unavailable(
            f"cannot {doing} now: no answer ({code}). If it stays so, check {named.endpoint} and "
            "that the server runs"
        )
    return BadInput(f"cannot {doing}: {_advice(code, named)} ({code})")


def _advice(code: str, named: Named) -> str:
    text = next((text for codes, text in ADVICE.items() if code in codes), REFUSED)
    return text.format(named)
