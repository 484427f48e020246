"""Images from an S3 bucket: all that lies below a prefix, or a zip file.

    contents = fetch("s3://clinic/lesions", Path("work/images"), S3Access())
    contents = fetch("s3://clinic/lesions.zip", Path("work/images"), S3Access())

Nothing about a bucket is believed: what an archive would be refused for, a prefix is refused for
too. The target appears with one rename, when every object has arrived whole and unchanged.
"""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from skin_pipeline.data import kinds
from skin_pipeline.data.archive import Limits, appearing, extract, refuse_full
from skin_pipeline.data.contents import (
    Contents,
    Gathering,
    Named,
    Places,
    harmless,
    leads_out,
    parts_of,
)
from skin_pipeline.data.kinds import Use
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import shown
from skin_pipeline.storage import CONNECTIONS, Bucket, S3Access, S3Object, SettingNames

log = logging.getLogger(__name__)

S3 = "s3://"
LIMITS = Limits()
ZIP = ".zip"
IMAGES = SettingNames(
    address="the address in `data` or `external`",
    connection="SKIN_DATA_CONNECTION (if empty: SKIN_STORE_CONNECTION)",
    endpoint="SKIN_DATA_ENDPOINT (if empty: SKIN_S3_ENDPOINT)",
    rights="list and read",
    public=". For a public bucket, set SKIN_DATA_ANONYMOUS to true",
)
PAUSES = (1.0, 5.0)  # seconds between one attempt and the next
BATCH = 1000  # objects that are waited for together
WAYS = "Give s3://BUCKET/PREFIX with the images somewhere below, or s3://BUCKET/KEY.zip"
Pause = Callable[[float], object]  # is given seconds
T = TypeVar("T")


def fetch(
    url: str,
    target: Path,
    access: S3Access,
    *,
    limits: Limits = LIMITS,
    pause: Pause = time.sleep,
) -> Contents:
    """Brings the images and tables below a prefix, or of a zip file, into the new folder `target`.

    Memory stays flat: no object is held as a whole, and several come at once.

    Args:
        url: `s3://BUCKET/PREFIX`, or `s3://BUCKET/KEY.zip`.
        target: appears whole or not at all.
        access: endpoint and credentials.
        limits: the same as for archives.
        pause: waits some seconds before the next attempt.

    Raises:
        BadInput: the URL, the bucket or the access is wrong, nothing wanted lies there, or an
            object's name could lead out of the target (the message names it and the reason).
        Unavailable: the server or the disk does not do its part, or an object changed meanwhile.
    """
    bucket = Bucket(url, access, IMAGES)
    if bucket.prefix.lower().endswith(ZIP) and not url.endswith("/"):
        return _fetch_zip(bucket, target, limits, pause)
    return _fetch_folder(bucket, target, limits, pause)


def patiently(attempt: Callable[[], T], pause: Pause) -> T:
    """`attempt()`, up to three times while it raises `Unavailable`, with growing pauses."""
    for seconds in PAUSES:
        try:
            return attempt()
        except Unavailable as error:
            log.warning('download_interrupted pause_seconds=%g problem="%s"', seconds, error)
        pause(seconds)
    return attempt()


def _fetch_zip(bucket: Bucket, target: Path, limits: Limits, pause: Pause) -> Contents:
    item = _zip(bucket, limits)
    name = PurePosixPath(item.key).name
    path = target.with_name(name if harmless(name) else f"{target.name}{ZIP}")
    log.info('s3_fetch_started bucket=%s key="%s" bytes=%d', bucket.name, item.key, item.bytes)
    with appearing(path) as part:
        refuse_full(path.parent, item.bytes)
        _fetch(bucket, item, part, pause)
    try:
        return extract(path, target, limits)
    finally:
        path.unlink()


def _zip(bucket: Bucket, limits: Limits) -> S3Object:
    """The object that the URL names."""
    key = bucket.prefix
    item = next(bucket.objects(key), None)  # of all keys that begin so, this one comes first
    if item is None or item.key != key:
        raise BadInput(f"there is no object {shown(key)} in the bucket {bucket.name!r}. {WAYS}")
    if item.bytes > limits.total_bytes:
        reason = f"has {item.bytes} bytes; {limits.total_bytes} are allowed"
        raise _refusal(bucket, key, reason)
    return item


class _Wish(NamedTuple):
    """An object that is wanted, and where to write it."""

    use: Use
    name: str
    place: str
    item: S3Object


def _fetch_folder(bucket: Bucket, target: Path, limits: Limits, pause: Pause) -> Contents:
    gathering = Gathering(f"s3://{bucket.name}/{bucket.prefix}", operator.eq, limits.entry_bytes)
    wishes = _wanted(bucket, _listed(bucket, limits), gathering, limits, pause)
    size = sum(wish.item.bytes for wish in wishes)
    place = (bucket.name, bucket.prefix)
    log.info('s3_fetch_started bucket=%s prefix="%s" files=%d bytes=%d', *place, len(wishes), size)
    with appearing(target) as part:
        part.mkdir()
        refuse_full(part, size)
        _fetch_all(bucket, wishes, part, pause)
    log.info('s3_fetch_finished bucket=%s prefix="%s" files=%d', *place, len(wishes))
    for wish in wishes:
        gathering.add(wish.use, Named(wish.name, target / wish.place))
    return gathering.contents()


Listing = list[tuple[tuple[str, ...], S3Object]]


def _listed(bucket: Bucket, limits: Limits) -> Listing:
    """Lists the objects below the prefix, and their names in parts. All passed every check."""
    folder = f"{bucket.prefix}/".lstrip("/")
    listing: Listing = []
    for item in bucket.objects(folder):
        name = item.key.removeprefix(folder)
        if reason := name and (_bad_parts(name) or leads_out(name)):
            raise _refusal(bucket, item.key, reason)
        if name and not name.endswith(("/", "\\")):  # how some tools keep an empty folder
            listing.append((parts_of(name), item))
        if len(listing) > limits.entries:
            raise _refusal(bucket, item.key, f"is one too many; {limits.entries} are allowed")
    return listing


def _bad_parts(name: str) -> str | None:
    # HTTP clients take such a part out of an address, so another object would come.
    return "has `.` as a part of its name" if "." in name.split("/") else None


def _wanted(
    bucket: Bucket, listing: Listing, gathering: Gathering, limits: Limits, pause: Pause
) -> list[_Wish]:
    """Chooses the images and tables among the objects; the gathering counts the others."""
    places, wishes, size = Places(limits.entries), [], 0
    starts = _starts(bucket, listing, pause)
    for parts, item in listing:
        use = gathering.use(parts, item.bytes, partial(_start_of, item, starts))
        name = "/".join(parts)
        if not use or not gathering.is_new(name, (item.tag, item.bytes)):
            continue
        wishes.append(_Wish(use, name, places.take(parts), item))
        size += item.bytes
        if size > limits.total_bytes:
            reason = f"brings the total to {size} bytes; {limits.total_bytes} are allowed"
            raise _refusal(bucket, item.key, reason)
    if not wishes:
        raise BadInput(_nothing(bucket, gathering))
    return wishes


def _starts(bucket: Bucket, listing: Listing, pause: Pause) -> dict[str, bytes]:
    """Reads the first bytes of the objects whose names do not say what they are, by key."""
    unknown = [
        item for parts, item in listing if item.bytes and kinds.by_name(parts, item.bytes) is None
    ]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        starts = pool.map(
            lambda item: patiently(lambda: bucket.start(item, kinds.HEAD), pause), unknown
        )
        return {item.key: start for item, start in zip(unknown, starts, strict=True)}


def _start_of(item: S3Object, starts: Mapping[str, bytes]) -> bytes:
    return starts.get(item.key, b"")


def _nothing(bucket: Bucket, gathering: Gathering) -> str:
    where = f"s3://{bucket.name}/{bucket.prefix}"
    first = next(bucket.objects(bucket.prefix), None) if bucket.prefix else None
    if first and first.key == bucket.prefix:
        return f"{where} is a single object. Unpack it if it is an archive other than zip. {WAYS}"
    found = "; ".join(map(str, gathering.skipped.notices())) or "nothing"
    suffixes = ", ".join(sorted(kinds.SUFFIXES))
    return f"there are no images ({suffixes}) below {where}. Found there: {found}. {WAYS}"


def _refusal(bucket: Bucket, key: str, reason: str) -> BadInput:
    return BadInput(
        f"the bucket {bucket.name!r} is refused because of its object {shown(key)}, which "
        f"{reason}. Nothing was kept; rename or remove it, or name another prefix"
    )


def _fetch_all(bucket: Bucket, wishes: list[_Wish], folder: Path, pause: Pause) -> None:
    def one(wish: _Wish) -> None:
        path = folder / wish.place
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(bucket, wish.item, path, pause)

    waiting = iter(wishes)
    done = 0
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        while batch := list(islice(waiting, BATCH)):
            done += sum(1 for _ in pool.map(one, batch))
            log.info("s3_fetched files=%d of=%d", done, len(wishes))


def _fetch(bucket: Bucket, item: S3Object, path: Path, pause: Pause) -> None:
    if not patiently(lambda: bucket.fetch(item, path), pause):
        raise Unavailable(
            f"s3://{bucket.name}/{item.key} changed between listing and reading. Try again when "
            "nobody writes there"
        )
