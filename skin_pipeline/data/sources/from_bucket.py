"""Fetches images from an S3 bucket: those below a prefix, or a zip file.

    contents = fetch("s3://clinic/lesions", Path("work/images"), S3Access())
    contents = fetch("s3://clinic/lesions.zip", Path("work/images"), S3Access())

A bucket is trusted no more than an archive, and the same checks can refuse both. The target appears
with one rename, after every object has arrived whole and unchanged.
"""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import quote, unquote

from skin_pipeline.data import kinds
from skin_pipeline.data.disk import appearing, refuse_full
from skin_pipeline.data.kinds import Use
from skin_pipeline.data.sources import from_zip
from skin_pipeline.data.sources.contents import Contents, Gathering, Listed, Listing, SourceFile
from skin_pipeline.data.sources.from_zip import extract
from skin_pipeline.data.sources.names import SafePaths, harmless, leads_out, parts_of
from skin_pipeline.data.sources.patience import Pause, patiently
from skin_pipeline.data.sources.zip_archive import LIMITS, Limits
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import shown
from skin_pipeline.progress import Progress
from skin_pipeline.storage import CONNECTIONS, Bucket, S3Access, S3Object, SettingNames, scratch

log = logging.getLogger(__name__)

S3 = "s3://"
ZIP = ".zip"
IMAGES = SettingNames(
    address="the address in `data` or `external`",
    connection="SKIN_DATA_CONNECTION (if empty: SKIN_STORE_CONNECTION)",
    endpoint="SKIN_DATA_ENDPOINT (if empty: SKIN_S3_ENDPOINT)",
    rights="list and read",
    public=". For a public bucket, set SKIN_DATA_ANONYMOUS to true",
)
# Of what is listed, and fetched by many tasks, none of which brings more than a part.
MANY = replace(LIMITS, entries=50_000_000, total_bytes=LIMITS.total_bytes << 10)
BATCH = 1000  # objects for each line of the log; also the most that wait in the pool
WAYS = "Give s3://BUCKET/PREFIX with the images somewhere below, or s3://BUCKET/KEY.zip"


def fetch(
    url: str,
    target: Path,
    access: S3Access,
    *,
    limits: Limits = LIMITS,
    pause: Pause = time.sleep,
) -> Contents:
    """Fetches the images and tables below a prefix, or in a zip file, into the new folder `target`.

    Several objects are fetched at the same time. None is kept in memory as a whole, so their sizes
    do not matter.

    Args:
        url: `s3://BUCKET/PREFIX`, or `s3://BUCKET/KEY.zip`.
        target: The folder, which appears whole or not at all.
        access: Endpoint and credentials.
        limits: The same as for archives.
        pause: Called with the seconds to wait before the next attempt.

    Raises:
        BadInput: The URL, the bucket or the access is wrong, there is nothing to use, or an
            object's name could lead out of the target (the message names it and the reason).
        Unavailable: The server or the disk fails, or an object changed meanwhile.
    """
    bucket = _Fetching(Bucket(url, access, IMAGES), limits, pause)
    if _names_zip(url):
        return bucket.fetch_zip(target)
    return bucket.fetch_folder(target)


def surveyed(url: str, target: Path, access: S3Access) -> tuple[Contents, tuple[Listed, ...]]:
    """Returns what is below a prefix, and the state of each image.

    Only the tables are fetched, into the new folder `target`; raises what `fetch` does.
    """
    return _Fetching(Bucket(url, access, IMAGES), MANY, time.sleep).surveyed(target)


def packed(url: str, access: S3Access) -> tuple[str, str, Callable[[Path], Path]]:
    """Returns the name of a zip file, its state, and a function that fetches it into a folder;
    raises what `fetch` does."""
    bucket = _Fetching(Bucket(url, access, IMAGES), LIMITS, time.sleep)
    item = bucket.zip()
    state = f"s3 {bucket.bucket.name} {item.key} {item.bytes} {item.tag}"
    return PurePosixPath(item.key).name, state, partial(bucket.fetch_archive, item)


def is_prefix(source: str) -> bool:
    """Returns whether a source is a bucket, and not one zip file in it."""
    return source.startswith(S3) and not _names_zip(source)


def _names_zip(url: str) -> bool:
    return url.lower().endswith(ZIP)


def listed(
    url: str, access: S3Access, *, limits: Limits = LIMITS, pause: Pause = time.sleep
) -> Listing:
    """Returns the images below a prefix, of which nothing is fetched; or those in a zip file.

    Raises:
        BadInput: The URL, the bucket or the access is wrong, or an object's name is dangerous.
        Unavailable: The server does not answer.
    """
    bucket = _Fetching(Bucket(url, access, IMAGES), limits, pause)
    return bucket.listed_zip() if _names_zip(url) else bucket.listed()


def brought(
    url: str,
    wanted: Sequence[Listed],
    target: Path,
    access: S3Access,
    *,
    limits: Limits = LIMITS,
    pause: Pause = time.sleep,
) -> dict[str, Path]:
    """Fetches images that `listed` returned into the new folder `target`; returns their paths, by
    name, without those that have changed or gone since.

    Raises:
        BadInput: The bucket or the access is wrong.
        Unavailable: The server or the disk fails.
    """
    bucket = _Fetching(Bucket(url, access, IMAGES), limits, pause)
    if not _names_zip(url):
        return bucket.bring(wanted, target)
    contents = bucket.fetch_zip(target, {item.name for item in wanted})
    return {item.name: item.path for item in contents.images}


class _Listed(NamedTuple):
    """An object below the prefix, and its name in parts."""

    parts: tuple[str, ...]
    item: S3Object


class _Wanted(NamedTuple):
    """An object to fetch: what it is used as, its name, and its path below the target."""

    item: S3Object
    use: Use
    name: str
    path: str


@dataclass(frozen=True)
class _Fetching:
    """A bucket, what may be fetched from it, and how long to wait for it."""

    bucket: Bucket
    limits: Limits
    pause: Pause

    @property
    def prefix(self) -> str:
        return self.bucket.prefix

    @property
    def url(self) -> str:
        return f"s3://{self.bucket.name}/{self.prefix}"

    # --- a zip file ---

    def listed_zip(self) -> Listing:
        item = self.zip()
        with scratch() as folder:
            path = folder / f"images{ZIP}"
            refuse_full(folder, item.bytes)
            self._fetch(item, path)
            found = from_zip.listed(path, self.limits)
        images = (one._replace(state=f"{one.state}-{item.tag}") for one in found.images)
        return Listing(tuple(images), found.notices)

    def fetch_zip(self, target: Path, only: Container[str] | None = None) -> Contents:
        path = self.fetch_archive(self.zip(), target.parent)
        try:
            return extract(path, target, self.limits, only)
        finally:
            path.unlink()

    def fetch_archive(self, item: S3Object, folder: Path) -> Path:
        """Fetches a zip file into a folder."""
        name = PurePosixPath(item.key).name
        # Under its own name, which messages then show, unless that is not safe for a file here.
        path = folder / (name if harmless(name) else f"images{ZIP}")
        start = 's3_fetch_started bucket=%s key="%s" bytes=%d'
        log.info(start, self.bucket.name, item.key, item.bytes)
        with appearing(path) as part:
            refuse_full(folder, item.bytes)
            self._fetch(item, part)
        return path

    def zip(self) -> S3Object:
        """Returns the object that the URL names."""
        item = next(self.bucket.objects(self.prefix), None)  # the shortest key comes first
        if item is None or item.key != self.prefix:
            raise BadInput(
                f"there is no object {shown(self.prefix)} in the bucket {self.bucket.name!r}. "
                f"{WAYS}"
            )
        if item.bytes > self.limits.total_bytes:
            reason = f"has {item.bytes} bytes; {self.limits.total_bytes} are allowed"
            raise self._refusal(item.key, reason)
        return item

    # --- a prefix ---

    def fetch_folder(self, target: Path) -> Contents:
        gathering = self._gathering()
        wanted = self._wanted(self._listed(), gathering)
        self._fetch_into(target, wanted)
        return self._contents(gathering, wanted, target)

    def surveyed(self, target: Path) -> tuple[Contents, tuple[Listed, ...]]:
        """Fetches the tables only; returns what there is, and the state of each image."""
        gathering = self._gathering()
        wanted = self._wanted(self._listed(), gathering)
        self._fetch_into(target, [one for one in wanted if one.use == "table"])
        images = sorted(_seen(one.name, one.item) for one in wanted if one.use == "image")
        return self._contents(gathering, wanted, target), tuple(images)

    def _gathering(self) -> Gathering:
        return Gathering(self.url, operator.eq, self.limits.entry_bytes)

    def _fetch_into(self, target: Path, wanted: list[_Wanted]) -> None:
        size = sum(one.item.bytes for one in wanted)
        about = (self.bucket.name, self.prefix)
        start = 's3_fetch_started bucket=%s prefix="%s" files=%d bytes=%d'
        log.info(start, *about, len(wanted), size)
        with appearing(target) as part:
            part.mkdir()
            refuse_full(part, size)
            self._fetch_all(wanted, part)
        log.info('s3_fetch_finished bucket=%s prefix="%s" files=%d', *about, len(wanted))

    @staticmethod
    def _contents(gathering: Gathering, wanted: list[_Wanted], target: Path) -> Contents:
        for one in wanted:
            gathering.add(one.use, SourceFile(one.name, target / one.path))
        return gathering.contents()

    def listed(self) -> Listing:
        """Returns the images below the prefix, and notices of everything else."""
        gathering = self._gathering()
        listing, images = self._listed(), []
        starts = self._starts(listing)
        for parts, item in listing:
            use = gathering.use(parts, item.bytes, partial(_start_of, item, starts))
            name = "/".join(parts)
            if use == "image" and gathering.is_new(name, (item.tag, item.bytes)):
                images.append(_seen(name, item))
        if not listing and self.prefix and next(self.bucket.objects(self.prefix), None):
            raise BadInput(self._nothing(gathering))
        return Listing(tuple(sorted(images)), gathering.skipped.notices())

    def bring(self, wanted: Sequence[Listed], target: Path) -> dict[str, Path]:
        """Fetches images that were listed, as they were then."""
        items = [_object_of(one) for one in wanted]
        target.mkdir()
        refuse_full(target, sum(item.bytes for item in items))
        paths = [target / f"{n}{_suffix(one.name)}" for n, one in enumerate(wanted)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            there = list(pool.map(self._fetched, items, paths))
        return {
            one.name: path
            for one, path, is_there in zip(wanted, paths, there, strict=True)
            if is_there
        }

    def _listed(self) -> list[_Listed]:
        """Returns the objects below the prefix. Refuses the bucket if a name could lead out."""
        folder = f"{self.prefix}/".lstrip("/")
        listing: list[_Listed] = []
        for item in self.bucket.objects(folder):
            name = item.key.removeprefix(folder)
            if reason := name and (_bad_parts(name) or leads_out(name)):
                raise self._refusal(item.key, reason)
            if name and not name.endswith(("/", "\\")):  # how some tools keep an empty folder
                listing.append(_Listed(parts_of(name), item))
            if len(listing) > self.limits.entries:
                reason = f"is one too many; {self.limits.entries} are allowed"
                raise self._refusal(item.key, reason)
        return listing

    def _wanted(self, listing: list[_Listed], gathering: Gathering) -> list[_Wanted]:
        """Chooses the images and tables among the objects; the gathering counts the others."""
        paths, wanted, size = SafePaths(self.limits.entries), [], 0
        starts = self._starts(listing)
        for parts, item in listing:
            use = gathering.use(parts, item.bytes, partial(_start_of, item, starts))
            name = "/".join(parts)
            if not use or not gathering.is_new(name, (item.tag, item.bytes)):
                continue
            wanted.append(_Wanted(item, use, name, paths.take(parts)))
            size += item.bytes
            if size > self.limits.total_bytes:
                reason = f"brings the total to {size} bytes; {self.limits.total_bytes} are allowed"
                raise self._refusal(item.key, reason)
        if not wanted:
            raise BadInput(self._nothing(gathering))
        return wanted

    def _starts(self, listing: list[_Listed]) -> dict[str, bytes]:
        """Returns, by key, the first bytes of the objects whose names do not show what they are."""
        unknown = [
            item
            for parts, item in listing
            if item.bytes and kinds.by_name(parts, item.bytes) is None
        ]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            starts = pool.map(self._start, unknown)
            return {item.key: start for item, start in zip(unknown, starts, strict=True)}

    def _start(self, item: S3Object) -> bytes:
        return patiently(lambda: self.bucket.start(item, kinds.HEAD), self.pause)

    def _nothing(self, gathering: Gathering) -> str:
        """Returns the message for a prefix without images or tables: it names what is there."""
        first = next(self.bucket.objects(self.prefix), None) if self.prefix else None
        if first and first.key == self.prefix:
            advice = "Unpack it if it is an archive other than zip"
            return f"{self.url} is a single object. {advice}. {WAYS}"
        found = "; ".join(map(str, gathering.skipped.notices())) or "nothing"
        images = f"images ({kinds.shown_suffixes()})"
        return f"there are no {images} below {self.url}. Found there: {found}. {WAYS}"

    def _fetch_all(self, wanted: list[_Wanted], folder: Path) -> None:
        def fetch_one(one: _Wanted) -> None:
            path = folder / one.path
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(one.item, path)

        waiting, done = iter(wanted), 0
        progress = Progress("files fetched", len(wanted))
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            while batch := list(islice(waiting, BATCH)):
                for _ in pool.map(fetch_one, batch):
                    done += 1
                    progress.reached(done)
                log.info("s3_fetched files=%d of=%d", done, len(wanted))

    def _fetched(self, item: S3Object, path: Path) -> bool:
        return patiently(lambda: self.bucket.fetch(item, path), self.pause)

    def _fetch(self, item: S3Object, path: Path) -> None:
        if not self._fetched(item, path):
            raise Unavailable(
                f"s3://{self.bucket.name}/{item.key} changed between listing and reading. Try "
                "again when nobody writes there"
            )

    def _refusal(self, key: str, reason: str) -> BadInput:
        return BadInput(
            f"the bucket {self.bucket.name!r} is refused because of its object {shown(key)}, which "
            f"{reason}. Nothing was kept; rename or remove it, or name another prefix"
        )


def _seen(name: str, item: S3Object) -> Listed:
    return Listed(name, quote(item.key, safe=""), f"{item.bytes}-{item.tag}")


def _object_of(listed: Listed) -> S3Object:
    size, _, tag = listed.state.partition("-")
    return S3Object(unquote(listed.where), int(size), tag)


def _suffix(name: str) -> str:
    """Returns the suffix of a name, if it is harmless; decoding notes whether it is right."""
    suffix = kinds.suffix_of(name.rpartition("/")[2])
    return suffix if suffix in kinds.SUFFIXES else ""


def _start_of(item: S3Object, starts: Mapping[str, bytes]) -> bytes:
    return starts.get(item.key, b"")


def _bad_parts(name: str) -> str | None:
    # HTTP clients remove such a part from an address, and would fetch another object.
    return "has `.` as a part of its name" if "." in name.split("/") else None
