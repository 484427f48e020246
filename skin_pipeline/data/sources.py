"""From the `data` setting to a folder with images: Kaggle, S3, a folder, a zip, the generator."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.config import DEMO
from skin_pipeline.contracts import LABELS, Notice
from skin_pipeline.data import archive, kaggle, remote
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job, scratch
from skin_pipeline.storage import S3Access, digest_file

log = logging.getLogger(__name__)

KAGGLE = "kaggle://"
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
TABLE = ".csv"
# Files that may be a table of metadata: only their content tells. HAM10000's has no suffix at all.
TABLE_SUFFIXES = frozenset({"", ".csv", ".ods", ".tab", ".tsv", ".txt", ".xls", ".xlsx"})


@contextmanager
def folder_of(job: Job, where: str | None = None) -> Generator[Path, None, None]:
    """A folder with the images that stand at `where`; a temporary one is gone afterwards.

    Args:
        job: names who asks Kaggle and S3.
        where: one of the forms of the setting `data`, which is the default.

    Raises:
        BadInput: nothing can be read there, or the server refuses.
        Unavailable: the server did not answer.
    """
    where = where or job.settings.data
    path = Path(where).expanduser()
    if where != DEMO and "://" not in where and path.is_dir():
        yield path
        return
    with scratch() as folder:
        _bring(job, where, folder / "images")
        yield folder / "images"


def _bring(job: Job, where: str, target: Path) -> None:
    """Make the folder `target` with what stands at `where`."""
    if where == DEMO:
        from skin_pipeline.data import demo

        demo.generate(target, job.settings.seed)
    elif where.startswith(KAGGLE):
        name = where.removeprefix(KAGGLE)
        packed = kaggle.download(
            name, target.parent, credentials=job.kaggle, endpoint=job.kaggle_endpoint
        )
        archive.extract(packed, target)
    elif where.startswith(remote.S3):
        remote.fetch(where, target, _access(job), SUFFIXES | {TABLE})
    else:
        archive.extract(_existing(Path(where).expanduser()), target)


def _access(job: Job) -> S3Access:
    """How buckets with images are reached."""
    if job.data_access:
        return job.data_access()
    return S3Access(job.place.data_endpoint or job.place.s3_endpoint)


def _existing(path: Path) -> Path:
    if path.exists():
        return path
    raise BadInput(
        f"data: nothing stands at {path}. Give `kaggle://OWNER/NAME`, `s3://BUCKET/PREFIX`, a "
        f"folder with the class folders benign/ and malignant/, a zip of one, or `{DEMO}`."
    )


class Named(NamedTuple):
    """A file, and how the one who asked for it would call it."""

    name: str
    path: Path


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
            for line in _lines(place)
            for item in _files_at(line, stack, job)
        ]


def _lines(place: str) -> list[str]:
    """The places that a list names; any other place itself."""
    if not place.startswith("@"):
        return [place]
    try:
        lines = Path(place[1:]).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the list {place[1:]} cannot be read ({error})") from None
    return [line for line in lines if line]


def _files_at(place: str, stack: ExitStack, job: Job) -> list[Named]:
    path = Path(place).expanduser()
    is_zip = path.suffix.lower() == remote.ZIP and path.is_file()
    if path.is_dir():
        root = path
    elif is_zip or place.startswith(remote.S3):
        root = stack.enter_context(folder_of(job, place))
    else:
        return [Named(place, path)]
    below = sorted((item.relative_to(root).as_posix(), item) for item in _images(root))
    if not below:
        raise BadInput(f"no images ({', '.join(sorted(SUFFIXES))}) lie below {place}")
    return [Named(f"{place.rstrip('/')}/{name}", item) for name, item in below]


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

    @property
    def digest(self) -> str:
        """The content's identity: the same for the same files, wherever they lie."""
        rows = [f"{item.key}\0{digest_file(item.path)}" for item in self.files]
        rows += [f"table\0{digest_file(path)}" for path in self.tables]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


LabelsOf = Callable[[Sequence[Path], Sequence[str]], list[str]]


def find(root: Path, labels_of: LabelsOf | None = None) -> Images:
    """The images below any folders named benign and malignant, at any depth.

    Args:
        root: Where to look.
        labels_of: Called with the tables and the keys of all images where there is no class
            folder at all; gives the class of each, "" for those that stay out.

    Raises:
        BadInput: there are no images, or only of one class.
    """
    tables = tuple(sorted(p for p in root.rglob("*") if _may_be_table(p)))
    files = _in_class_folders(root) or _in_tables(root, tables, labels_of)
    missing = [label for label in LABELS if all(item.label != label for item in files)]
    if missing:
        seen = sorted(p.name for p in root.iterdir())[:8]
        raise BadInput(
            f"{root.name}: no images of class {' and '.join(missing)}. Expected image files "
            f"({', '.join(sorted(SUFFIXES))}) in folders named benign/ and malignant/ somewhere "
            "below, or a CSV table beside the images that has their labels. "
            f"Received: {', '.join(seen) or 'an empty folder'}"
        )
    return Images(tuple(files), tables)


def _may_be_table(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and path.suffix.lower() in TABLE_SUFFIXES and path.is_file()


def _in_class_folders(root: Path) -> list[Found]:
    seen = []
    for path in _images(root):
        parts = path.parent.relative_to(root).parts
        above = _above_class(parts)
        if above is not None:
            seen.append((above, parts[len(above)].lower(), path))
    # A key begins at the folders' common parent, so that a zip and its extracted folder agree.
    shared = _shared_parts([above for above, _, _ in seen])
    found = [
        Found(label, "/".join(path.relative_to(root).parts[shared:]), path)
        for _, label, path in seen
    ]
    return sorted(found, key=lambda item: item.key)


def _in_tables(root: Path, tables: tuple[Path, ...], labels_of: LabelsOf | None) -> list[Found]:
    paths = sorted(_images(root))
    if not (tables and paths and labels_of):
        return []
    folders = [path.parent.relative_to(root).parts for path in paths]
    shared = _shared_parts(folders)
    keys = ["/".join(path.relative_to(root).parts[shared:]) for path in paths]
    found = [
        Found(label, key, path)
        for label, key, path in zip(labels_of(tables, keys), keys, paths, strict=True)
        if label
    ]
    log.info("labels_from_tables images=%d without_label=%d", len(found), len(paths) - len(found))
    return sorted(found, key=lambda item: item.key)


def _images(root: Path) -> list[Path]:
    return [
        Path(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
    ]


def _shared_parts(folders: list[tuple[str, ...]]) -> int:
    """How many leading parts all of these paths have in common."""
    together = itertools.takewhile(lambda part: len(set(part)) == 1, zip(*folders, strict=False))
    return sum(1 for _ in together)


def _above_class(parts: tuple[str, ...]) -> tuple[str, ...] | None:
    """The folders above the class folder, or None outside of one."""
    place = next((i for i, part in enumerate(parts) if part.lower() in LABELS), None)
    return None if place is None else parts[:place]
