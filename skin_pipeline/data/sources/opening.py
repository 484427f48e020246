"""Opens a source: Kaggle, S3, a folder, a zip file, or the generator of the demo.

    with folder_of(job) as contents:  # of the setting `data`
        images = find(contents)

    with files_at(job, ["a.jpg", "s3://clinic/new"]) as files:  # to score them; they have no class
        ...

A *source* is a text that says where images are: any value that the setting `data` may have.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from skin_pipeline.config import DEMO
from skin_pipeline.data import kinds
from skin_pipeline.data.sources import from_bucket, from_folder, from_kaggle, from_zip
from skin_pipeline.data.sources.archives import access_to_images, archive_at
from skin_pipeline.data.sources.contents import Contents, SourceFile, each_file_once, not_used
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import line, shown, words
from skin_pipeline.job import Job
from skin_pipeline.storage import scratch

log = logging.getLogger(__name__)


@contextmanager
def folder_of(job: Job, source: str | None = None) -> Generator[Contents, None, None]:
    """Yields the images and tables of a source. Removes fetched files afterwards.

    Args:
        job: Has the credentials for Kaggle and S3.
        source: A value that the setting `data` may have; by default that setting.

    Raises:
        BadInput: Nothing can be read there, or the server refuses.
        Unavailable: The server did not answer.
    """
    source = source or job.settings.data
    if path := folder_at(job, source):
        # A folder is read where it is: data sets are too large to copy without need.
        yield from_folder.contents_of(path, job.roots)
        return
    with scratch() as folder:
        yield _fetched(job, source, folder / "images")


def _fetched(job: Job, source: str, target: Path) -> Contents:
    """Fetches the files of a source into the new folder `target`."""
    if source == DEMO:
        # Imported late: the generator needs numpy and Pillow, and is seldom used.
        from skin_pipeline.data import demo

        demo.generate(target, job.settings.seed)
        return from_folder.contents_of(target)
    if from_bucket.is_prefix(source):
        return from_bucket.fetch(source, target, access_to_images(job))
    with archive_at(job, source) as archive:
        return from_zip.extract(archive, target)


def folder_at(job: Job, source: str) -> Path | None:
    """Returns the path of a source that is a folder; None for an archive, a server or the demo.

    Raises:
        BadInput: There is nothing at the path, or it cannot be reached.
    """
    if not _is_path(source):
        return None
    path = job.roots.path(source)
    if _is_folder(path):
        return path
    _refuse_missing(path)
    return None


def _is_path(source: str) -> bool:
    """Returns whether a source is a path, and not the generator, Kaggle or S3."""
    remote = from_kaggle.is_address(source) or source.startswith(from_bucket.S3)
    return source != DEMO and not remote


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:  # a folder above it cannot be entered, or the name is too long
        raise BadInput(f"{shown(path)} cannot be reached ({error.strerror})") from None


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise BadInput(
            f"data: there is nothing at {line(path)}. Give `kaggle://OWNER/NAME`, "
            f"`s3://BUCKET/PREFIX`, a folder with the class folders benign/ and malignant/, a zip "
            f"of one, or `{DEMO}`."
        )


# --- single files, to be scored ------------------------------------------------------------------


@contextmanager
def files_at(job: Job, sources: Sequence[str]) -> Generator[list[SourceFile], None, None]:
    """Yields image files in the order of their sources. Removes fetched files afterwards.

    Args:
        job: Has the credentials for S3.
        sources: Each is a file (of any suffix, existing or not), a folder or zip with images
            at any depth, `s3://BUCKET/PREFIX`, or `@FILE`, a list with one of these on each line.
            The images of a folder are sorted by name.

    Raises:
        BadInput: A list cannot be read, a folder contains no images, or an archive or a bucket is
            refused.
        Unavailable: The server did not answer.
    """
    with ExitStack() as stack:
        yield [
            file
            for source in sources
            for listed in _listed(source, job)
            for file in _files_at(listed, stack, job)
        ]


def _listed(source: str, job: Job) -> list[str]:
    """Returns the sources in a list `@FILE`; any other source itself."""
    if not source.startswith("@"):
        return [source]
    try:
        lines = job.roots.path(source[1:]).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the list {line(source[1:])} cannot be read ({words(error)})") from None
    return [text for text in lines if text]


def _files_at(source: str, stack: ExitStack, job: Job) -> list[SourceFile]:
    if source.startswith(from_bucket.S3):
        return _files_in(source, stack.enter_context(folder_of(job, source)))
    path = job.roots.path(source)
    # A file that does not exist or cannot be read is returned too: scoring reports it in its row,
    # and still scores the other files.
    one = [SourceFile(source, path)]
    try:
        if path.is_dir():
            return _files_in(source, from_folder.contents_of(path, job.roots), path)
    except OSError:
        return one
    if _is_zip(path):
        return _files_in(source, stack.enter_context(folder_of(job, source)))
    return one


def _files_in(source: str, contents: Contents, folder: Path | None = None) -> list[SourceFile]:
    """Returns the images of a source; `folder` if it is one."""
    images, repeated = each_file_once(contents.images)
    for notice in (*contents.notices, *repeated):
        log.warning('not_scored place="%s" what="%s"', source, notice)
    if not images:
        raise BadInput(
            f"there are no images ({kinds.shown_suffixes()}) below {source}. "
            f"{not_used(contents.notices)}"
        )
    if folder:  # names as on the disk, not made printable, so that people find each file again
        names = [item.path.relative_to(folder).as_posix() for item in images]
    else:
        names = [item.name for item in images]
    below = source.rstrip("/")
    return [
        SourceFile(f"{below}/{name}", item.path)
        for name, item in sorted(zip(names, images, strict=True))
    ]


def _is_zip(path: Path) -> bool:
    try:
        is_file = path.is_file()
        return is_file and kinds.packed(path.suffix.lower(), from_folder.start(path)) == "zip"
    except OSError:  # scoring reports it in the file's row
        return False
