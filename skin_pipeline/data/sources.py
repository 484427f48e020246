"""From the `data` setting to files: Kaggle, S3, a folder, a zip, the generator.

    with folder_of(job) as contents:
        images = find(contents)

Which files are images and tables is the same question wherever they lie (`kinds`); here it is asked
of folders, and the images are given their class.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.config import DEMO
from skin_pipeline.contracts import LABELS, Notice
from skin_pipeline.data import archive, kaggle, kinds, remote, walking
from skin_pipeline.data.contents import (
    LEFT_OUT,
    LINK_SKIPPED,
    Contents,
    Named,
    Skipped,
)
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import line, shown, words
from skin_pipeline.job import Job
from skin_pipeline.storage import S3Access, digest_file, scratch

log = logging.getLogger(__name__)

SUFFIXES, TABLE_SUFFIXES = kinds.SUFFIXES, kinds.TABLE_SUFFIXES
CLASSES: dict[str, str] = {label: label for label in LABELS}
FOLDERS_SHOWN = 12
LINKED_TWICE = "links to files that are used under another name; each file is used once"
UNREADABLE = "unreadable"  # stands for the digest of a file that may not be read


@contextmanager
def folder_of(job: Job, where: str | None = None) -> Generator[Contents, None, None]:
    """Gives the images and tables that stand at `where`; what was fetched is gone afterwards.

    Args:
        job: names who asks Kaggle and S3.
        where: one of the forms of the setting `data`, which is the default.

    Raises:
        BadInput: nothing can be read there, or the server refuses.
        Unavailable: the server did not answer.
    """
    where = where or job.settings.data
    path = job.roots.path(where) if _is_path(where) else None
    if path and _is_folder(path):
        yield walking.contents_of(path, job.roots)
        return
    with scratch() as folder:
        yield _brought(job, where, folder / "images")


def _brought(job: Job, where: str, target: Path) -> Contents:
    """Brings what stands at `where` into the new folder `target`."""
    if where == DEMO:
        from skin_pipeline.data import demo

        demo.generate(target, job.settings.seed)
        return walking.contents_of(target)
    if kaggle.is_address(where):
        packed = kaggle.download(
            where, target.parent, credentials=job.kaggle, endpoint=job.kaggle_endpoint
        )
        return archive.extract(packed, target)
    if where.startswith(remote.S3):
        return remote.fetch(where, target, _access(job))
    return archive.extract(_existing(job.roots.path(where)), target)


def _is_path(where: str) -> bool:
    """Whether a place is none of the generator, Kaggle and S3."""
    return where != DEMO and not kaggle.is_address(where) and not where.startswith(remote.S3)


def _access(job: Job) -> S3Access:
    """How buckets with images are reached."""
    if job.data_access:
        return job.data_access()
    place = job.deployment
    return S3Access(place.data_endpoint or place.s3_endpoint, anonymous=place.data_anonymous)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # no permission on the way there, or too long a name
        raise BadInput(f"{shown(path)} cannot be reached ({error.strerror})") from None


def _existing(path: Path) -> Path:
    if path.exists():
        return path
    raise BadInput(
        f"data: nothing stands at {line(path)}. Give `kaggle://OWNER/NAME`, `s3://BUCKET/PREFIX`, "
        f"a folder with the class folders benign/ and malignant/, a zip of one, or `{DEMO}`."
    )


@contextmanager
def files_at(job: Job, places: Sequence[str]) -> Generator[list[Named], None, None]:
    """Image files in the order of the places that name them; what was fetched is gone afterwards.

    Args:
        job: names who asks S3.
        places: a file (of any suffix, there or not), a folder or zip with images somewhere below,
            `s3://BUCKET/PREFIX`, or `@FILE` with such a place in each line. The images below a
            folder are sorted by name.

    Raises:
        BadInput: a list cannot be read, a folder holds no images, or an archive or a bucket is
            refused.
        Unavailable: the server did not answer.
    """
    with ExitStack() as stack:
        yield [
            item
            for place in places
            for named in _named(place, job)
            for item in _files_at(named, stack, job)
        ]


def _named(place: str, job: Job) -> list[str]:
    """The places that a list names; any other place itself."""
    if not place.startswith("@"):
        return [place]
    try:
        lines = job.roots.path(place[1:]).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the list {line(place[1:])} cannot be read ({words(error)})") from None
    return [text for text in lines if text]


def _files_at(place: str, stack: ExitStack, job: Job) -> list[Named]:
    if place.startswith(remote.S3):
        return _files_in(place, stack.enter_context(folder_of(job, place)))
    path = job.roots.path(place)
    try:
        is_folder = path.is_dir()
    except OSError:  # too long a name, or no permission: its row says so
        return [Named(place, path)]
    if is_folder:
        return _files_in(place, walking.contents_of(path, job.roots), path)
    if _is_zip(path):
        return _files_in(place, stack.enter_context(folder_of(job, place)))
    return [Named(place, path)]


def _files_in(place: str, contents: Contents, folder: Path | None = None) -> list[Named]:
    """The images that were found at a place; `folder` where they lie in one."""
    images, repeated = _once([(item, "") for item in contents.images])
    for notice in (*contents.notices, *repeated):
        log.warning('not_scored place="%s" what="%s"', place, notice)
    if not images:
        raise BadInput(f"no images ({_suffixes()}) lie below {place}. {_told(contents.notices)}")
    below = place.rstrip("/")
    if folder:  # by the name under which it is found again, whatever bytes that has
        names = [item.path.relative_to(folder).as_posix() for item, _ in images]
    else:
        names = [item.name for item, _ in images]
    return [
        Named(f"{below}/{name}", item.path)
        for name, (item, _) in sorted(zip(names, images, strict=True))
    ]


def _is_zip(path: Path) -> bool:
    try:
        return path.is_file() and kinds.packed(path.suffix.lower(), walking.start(path)) == "zip"
    except OSError:  # its row says so
        return False


@dataclass(frozen=True)
class Found:
    """An image file: its class and its path below the folder of the classes."""

    label: str
    key: str
    path: Path


@dataclass(frozen=True)
class Images:
    """What stands in a folder: image files sorted by key, the tables beside them, and notices of
    what was found and is not used."""

    files: tuple[Found, ...]
    tables: tuple[Path, ...]
    notices: tuple[Notice, ...] = ()

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of each image file, as it was when this was first asked.

        Raises:
            Unavailable: a file went away or cannot be read now.
        """
        return tuple(_digest(item.path) for item in self.files)

    @property
    def digest(self) -> str:
        """The content's identity: the same for the same files, wherever they lie.

        Raises:
            Unavailable: a file went away or cannot be read now.
        """
        named = zip(self.files, self.digests, strict=True)
        rows = [f"{item.key}\0{found}" for item, found in named]
        rows += sorted(f"table\0{_digest(path)}" for path in self.tables)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def check_unchanged(self, inspected: Iterable[tuple[str, str]]) -> None:
        """Compares `digests`, by which a result is found again, with what it was made of.

        Args:
            inspected: Key and SHA-256 of each image as it was decoded; "" if it was not.

        Raises:
            Unavailable: An image has other bytes by now.
        """
        before = {(item.key, one) for item, one in zip(self.files, self.digests, strict=True)}
        paths = {item.key: item.path for item in self.files}
        for key, found in inspected:
            if found and (key, found) not in before:
                raise exchanged(paths[key])


def _digest(path: Path) -> str:
    try:
        return digest_file(path)
    except PermissionError:
        return UNREADABLE  # as an image, it is quarantined
    except OSError as error:
        raise changed(path, str(error.strerror)) from None


def changed(path: Path, problem: str) -> Unavailable:
    """Makes the error for a file that was there and cannot be read any more."""
    return Unavailable(
        f"{shown(path)} was found, but cannot be read any more ({problem}). Try again "
        "when nobody changes the data"
    )


def exchanged(path: Path) -> Unavailable:
    """Makes the error for a file that has other bytes than when it was looked at first."""
    return Unavailable(
        f"{shown(str(path))} has other bytes than when it was found. Try again when nobody changes "
        "the data"
    )


LabelsOf = Callable[[Sequence[Path], Sequence[str]], list[str]]


def find(
    root: Path | Contents,
    labels_of: LabelsOf | None = None,
    meanings: Mapping[str, str] | None = None,
) -> Images:
    """Finds the images below any folders named benign and malignant, at any depth.

    Args:
        root: Where to look, or what was found there.
        labels_of: Called with the tables and the keys of all images where there is no class
            folder at all; gives the class of each, "" for those that stay out.
        meanings: The class for which further names of folders stand, in lower case. They count
            where no folder is named benign or malignant.

    Raises:
        BadInput: there are no images, or only of one class, or the class of some is ambiguous.
        Unavailable: a file went away meanwhile.
    """
    contents = walking.contents_of(root) if isinstance(root, Path) else root
    tables, repeated = _once([(item, "") for item in contents.tables])
    paths = tuple(item.path for item, _ in tables)
    classed = _in_class_folders(contents, CLASSES)
    if not classed.files and meanings:
        named = _in_class_folders(contents, meanings)
        classed = named if len(_classes(named.files)) == len(LABELS) else classed
    files = classed.files or _in_tables(contents, paths, labels_of)
    _refuse_missing(contents, files)
    return Images(tuple(files), paths, (*contents.notices, *repeated, *classed.notices))


def _refuse_missing(contents: Contents, files: Sequence[Found]) -> None:
    missing = [label for label in LABELS if label not in _classes(files)]
    if missing:
        raise BadInput(
            f"{contents.title}: no images of class {' and '.join(missing)}. Expected image files "
            f"({_suffixes()}) in folders named benign/ and malignant/ somewhere below, or a table "
            f"beside the images that has their labels. {_advice(contents)}{_told(contents.notices)}"
        )


def _classes(files: Sequence[Found]) -> set[str]:
    return {item.label for item in files}


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))


def _told(notices: Sequence[Notice]) -> str:
    return f"Found, and not used: {'; '.join(map(str, notices))}" if notices else ""


def _advice(contents: Contents) -> str:
    """Says which folders hold images, and what to do if they are classes."""
    folders = Counter(_folder(item) for item in contents.images)
    if not folders:
        return "" if contents.notices else "Received: an empty folder"
    seen = [f"{name} ({count})" for name, count in folders.most_common(FOLDERS_SHOWN)]
    more = f" and {len(folders) - len(seen)} more" if len(folders) > len(seen) else ""
    return (
        f"Received images in: {', '.join(seen)}{more}. If folders are named after classes, name "
        "them in `malignant_values` and `benign_values`, for instance malignant_values=melanoma "
        "and benign_values=nevus. "
    )


def _folder(item: Named) -> str:
    """Names the folder in which an image lies."""
    name = item.name.rpartition("/")[0].rpartition("/")[2]
    return f"{name}/" if name else "the folder itself"


# --- classes from folders ------------------------------------------------------------------------


class _Classed(NamedTuple):
    """The images in class folders, and notices of those beside them."""

    files: list[Found]
    notices: tuple[Notice, ...]


def _in_class_folders(contents: Contents, meanings: Mapping[str, str]) -> _Classed:
    folders = [tuple(item.name.split("/")[:-1]) for item in contents.images]
    shared = _shared_parts(folders)
    places = [_class_place(parts, shared, meanings) for parts in folders]
    labelled = [
        (item, meanings[_plain(parts[place])])
        for item, parts, place in zip(contents.images, folders, places, strict=True)
        if place is not None
    ]
    if not labelled:
        return _Classed([], ())
    above = [
        parts[:place] for parts, place in zip(folders, places, strict=True) if place is not None
    ]
    outside = [item for item, place in zip(contents.images, places, strict=True) if place is None]
    once, repeated = _once(labelled)
    # A key begins at the folders' common parent, so that a zip and its extracted folder agree.
    start = _shared_parts(above)
    found = [
        Found(label, "/".join(item.name.split("/")[start:]), item.path) for item, label in once
    ]
    files = sorted(found, key=lambda item: item.key)
    return _Classed(files, (*repeated, *_left_out(outside, set(above))))


def _class_place(parts: tuple[str, ...], shared: int, meanings: Mapping[str, str]) -> int | None:
    """Finds which of the folders above an image is its class; None outside of one.

    A folder in which all images lie says nothing, if there is a class below it: a data set may be
    called Malignant.

    Raises:
        BadInput: folders of several classes lie within each other.
    """
    places = [i for i, part in enumerate(parts) if meanings.get(_plain(part))]
    places = [i for i in places if i >= shared] or places
    labels = {meanings[_plain(parts[i])] for i in places}
    if len(labels) > 1:
        raise BadInput(
            f"images lie in folders of both classes at once, such as {shown('/'.join(parts))}: "
            "nobody can know which is meant. Rename one of the folders"
        )
    return places[0] if places else None


def _plain(part: str) -> str:
    return part.strip().casefold()


def _left_out(outside: Sequence[Named], above: set[tuple[str, ...]]) -> tuple[Notice, ...]:
    """Makes a notice for each folder beside the class folders that has images."""
    counts = Counter(_beside(tuple(item.name.split("/")[:-1]), above) for item in outside)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    notices = [_beside_notice(name, counts[name]) for name in names[:FOLDERS_SHOWN]]
    if rest := names[FOLDERS_SHOWN:]:
        total = sum(counts[name] for name in rest)
        notices.append(_beside_notice(f"{len(rest)} further folders", total))
    return tuple(notices)


def _beside(parts: tuple[str, ...], above: set[tuple[str, ...]]) -> str:
    """Names the folder beside a class folder in which an image lies, or the topmost one."""
    depth = next((n for n in range(len(parts), -1, -1) if parts[:n] in above), 0)
    return f"{parts[depth]}/" if depth < len(parts) else "beside the class folders themselves"


def _beside_notice(name: str, count: int) -> Notice:
    reason = (
        "images outside of benign/ and malignant/ have neither class and are left out; move them "
        "into a class folder if they have one"
    )
    return Notice(kind=LEFT_OUT, subject=name, reason=reason, count=count)


def _once(files: Sequence[tuple[Named, str]]) -> tuple[list[tuple[Named, str]], tuple[Notice, ...]]:
    """Keeps each real file once for each label, by its own name rather than by a link's."""
    skipped, once = Skipped(), []
    known = {(item.real, label) for item, label in files if item.real and not item.linked}
    for item, label in files:
        if item.linked and (item.real, label) in known:
            skipped.add(LINK_SKIPPED, "symbolic links", LINKED_TWICE, item.name.rpartition("/")[2])
        else:
            known.add((item.real, label))
            once.append((item, label))
    return once, skipped.notices()


# --- classes from tables -------------------------------------------------------------------------


def _in_tables(
    contents: Contents, tables: tuple[Path, ...], labels_of: LabelsOf | None
) -> list[Found]:
    images = [item for item, _ in _once([(item, "") for item in contents.images])[0]]
    if not (tables and images and labels_of):
        return []
    shared = _shared_parts([tuple(item.name.split("/")[:-1]) for item in images])
    keys = ["/".join(item.name.split("/")[shared:]) for item in images]
    try:
        labels = labels_of(tables, keys)
    except BadInput as error:
        advice = _advice(contents) if len(set(map(_folder, images))) > 1 else ""
        raise BadInput(f"{error}. {advice}") from None
    found = [
        Found(label, key, item.path)
        for label, key, item in zip(labels, keys, images, strict=True)
        if label
    ]
    log.info("labels_from_tables images=%d without_label=%d", len(found), len(keys) - len(found))
    return sorted(found, key=lambda item: item.key)


def _shared_parts(folders: Sequence[tuple[str, ...]]) -> int:
    """Counts the leading parts that all of these paths have in common."""
    together = itertools.takewhile(lambda part: len(set(part)) == 1, zip(*folders, strict=False))
    return sum(1 for _ in together)
