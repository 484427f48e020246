"""Fetches and lists the images of a source, but does not decode them.

What a data set is made from is known at this point, so the door can look whether its result exists.
Nothing heavy is imported here: a step whose result exists decodes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any, NamedTuple

from skin_pipeline.config import DEMO, Settings
from skin_pipeline.contracts import LABELS, Dataset, Notice, address
from skin_pipeline.data import metadata, sources
from skin_pipeline.data.metadata import Labelling
from skin_pipeline.data.returned import Returned, beside
from skin_pipeline.job import Job

log = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """The images of a source, before they are decoded.

    Attributes:
        source: What the setting `data` or `external` says.
        images: The images.
        reader: Reads the metadata tables beside them.
        labelling: Digest of the settings by which labels are read.
        returned: Images that were scored and whose label came back; None to leave them out.
    """

    source: str
    images: sources.Images
    reader: metadata.Reader
    labelling: str
    returned: Returned | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """What a data set is made from, apart from the settings of its geometry."""
        return {
            "content": self.images.digest,
            "synthetic": self.synthetic,
            "labelling": self.labelling,
            **returned_inputs(self.returned),
        }

    @property
    def synthetic(self) -> bool:
        """Whether the images were drawn by a program."""
        return self.source == DEMO


def returned_inputs(returned: Returned | None) -> dict[str, str]:
    """Returns what a data set is made from beside its own images.

    There is nothing at all without such images: so the keys of other data sets stay as they are.
    """
    return {"returned": returned.digest} if returned and returned.labels else {}


def log_news(notices: Iterable[Notice], dataset: Dataset) -> None:
    """Logs what was found beside the images and is new since their data set was made.

    The images are the same, so the data set is not made again and keeps its old notices.
    """
    # Without the reason: a later version of this code may word it in another way.
    known = {(notice.kind, notice.subject, notice.count) for notice in dataset.notices}
    for notice in notices:
        if (notice.kind, notice.subject, notice.count) not in known:
            log.warning('beside_the_images what="%s"', notice)


def reading(settings: Settings) -> tuple[metadata.Reader, dict[str, str]]:
    """Returns what reads the tables of a source, and the names of folders that are classes."""
    labelling = Labelling.of(settings)
    # Names of folders are compared with the values that a user has named, and not with the usual
    # ones: 0 and 1 mean benign and malignant in a table, but as folders they are mostly parts of a
    # large set.
    named = labelling.meanings if settings.names_values else {}
    classes = {name: meaning for name, meaning in named.items() if meaning in LABELS}
    return metadata.Reader(labelling), classes


@contextmanager
def fetched(job: Job, source: str, settings: Settings) -> Generator[Fetched, None, None]:
    """Fetches the images of a source, and yields them; they exist until the block ends.

    Args:
        job: The job.
        source: A folder, an archive, a Kaggle data set, a bucket, or `demo`.
        settings: By which labels are read, and which say whether images whose label came back are
            added; those of the job for its own images.

    Raises:
        BadInput: There are no usable images, or the credentials are wrong.
        Unavailable: The source did not answer.
    """
    reader, classes = reading(settings)
    job.fetch()
    with ExitStack() as stack:
        contents = stack.enter_context(sources.folder_of(job, source))
        images = sources.find(contents, reader.labels, classes)
        found = Fetched(source, images, reader, address(asdict(reader.labelling)))
        if settings.returned_labels == "use":
            more = stack.enter_context(beside(job.store, settings.released_as, images.labels))
            found = found._replace(returned=more)
        yield found
