"""Lists a source with its tables, before any image is fetched; and fetches some of its images.

    with surveyed(job, "s3://clinic/lesions") as survey:
        survey.images[0].state              # changes whenever the bytes may have changed
        find(survey.contents, …)            # the tables are there, the images are not
    with some_of(job, "s3://clinic/lesions", survey.images[:5120]) as paths:
        paths["benign/a.jpg"]

So many workers can share the images of one source, each fetching only what it decodes: the files of
a folder are read where they are, and of a bucket only the objects come. An archive has to come as a
whole; it is kept in the machine's cache, for all tasks there.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.config import DEMO
from skin_pipeline.data.sources import from_bucket, from_folder, from_zip
from skin_pipeline.data.sources.archives import access_to_images, archive_at
from skin_pipeline.data.sources.contents import Contents, Listed
from skin_pipeline.data.sources.opening import folder_at
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import shown
from skin_pipeline.job import Job
from skin_pipeline.storage import scratch


class Survey(NamedTuple):
    """What is in a source.

    Attributes:
        contents: Its images, tables and notices. The paths of images from a bucket or an archive
            lead nowhere, as nothing of them was fetched.
        listed: The state of each image, in the order of the contents.
    """

    contents: Contents
    listed: tuple[Listed, ...]


@contextmanager
def surveyed(job: Job, source: str) -> Generator[Survey, None, None]:
    """Yields what is in a source, with its tables; they exist until the block ends.

    Args:
        job: Has the credentials for Kaggle and S3.
        source: Any value of the setting `data` but the generator of the demo.

    Raises:
        BadInput: Nothing can be read there, or the server refuses.
        Unavailable: The server did not answer.
    """
    if source == DEMO:
        raise BadInput("the demo is drawn, and lies nowhere")
    if folder := folder_at(job, source):
        contents = from_folder.contents_of(folder, job.roots)
        yield Survey(contents, tuple(from_folder.seen(contents.images, folder)))
        return
    with scratch() as place:
        target = place / "tables"
        if from_bucket.is_prefix(source):
            yield Survey(*from_bucket.surveyed(source, target, access_to_images(job)))
        else:
            with archive_at(job, source) as archive:
                found = from_zip.surveyed(archive, target)
            yield Survey(*found)


@contextmanager
def some_of(
    job: Job, source: str, wanted: Sequence[Listed]
) -> Generator[dict[str, Path], None, None]:
    """Yields the paths of images that `surveyed` listed, by name. Removes what was fetched.

    Raises:
        BadInput: The source cannot be read.
        Unavailable: The server did not answer, or an image is not there as it was listed.
    """
    if folder := folder_at(job, source):
        paths = from_folder.brought(folder, wanted, job.roots)
        _refuse_missing(wanted, paths)
        yield paths
        return
    with scratch() as place:
        target = place / "images"
        if from_bucket.is_prefix(source):
            paths = from_bucket.brought(source, wanted, target, access_to_images(job))
        else:
            with archive_at(job, source) as archive:
                paths = from_zip.brought(archive, wanted, target)
        _refuse_missing(wanted, paths)
        yield paths


def _refuse_missing(wanted: Sequence[Listed], paths: dict[str, Path]) -> None:
    if missing := [item.name for item in wanted if item.name not in paths]:
        raise _not_as_listed(missing)


def check_unchanged(
    job: Job, source: str, wanted: Sequence[Listed], paths: Mapping[str, Path]
) -> None:
    """Compares files that were read where they are with how they were listed.

    They are compared by size and time of the last change. Where the machines have copies of a
    folder, nothing else of a file is the same on each. What was fetched is a copy of its own.

    Raises:
        Unavailable: One was changed since.
    """
    if not folder_at(job, source):
        return
    now = (from_folder.outside(paths[item.name]) for item in wanted)
    changed = [
        item.name
        for item, (size, when) in zip(wanted, now, strict=True)
        if item.state.split("-")[:2] != [size, when]
    ]
    if changed:
        raise _not_as_listed(changed)


def _not_as_listed(names: Sequence[str]) -> Unavailable:
    return Unavailable(
        f"{len(names)} images changed or went away since they were listed, such as "
        f"{shown(names[0])}. Let nobody change the data, then clear the task `listing`. If the "
        "workers have copies of one folder, the copies must keep the times of its files (rsync -t)"
    )
