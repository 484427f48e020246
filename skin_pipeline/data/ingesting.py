"""Makes data sets: in one piece, or from ranges of images that several workers decode.

    ranges = listed(job)                     # [["", "listing/4f1a…", "0"], …]; none of small sets
    decoded(job, *ranges[0])                 # on any worker, or never
    ingested(job, version, ranges)           # makes what is missing, and the whole

The listing and each range are results of their own, so whoever needs one finds it or makes it. The
data set is the same whether its ranges were made beforehand or not.

Nothing heavy is imported here: a step whose result exists decodes nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from skin_pipeline.config import DEMO, Settings
from skin_pipeline.contracts import Dataset, DecodedRange, SourceListing, address
from skin_pipeline.data import fetching, sources
from skin_pipeline.data.layout import Layout
from skin_pipeline.data.returned import Returned, beside
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job, Work

if TYPE_CHECKING:
    from skin_pipeline.data.metadata import Reader
    from skin_pipeline.data.sources import Survey

log = logging.getLogger(__name__)

OWN = ""  # the name of the set that `data` names, among the external ones and its own parts
# Raised when the code gives another result from the same inputs.
VERSIONS = {"listing": 1, "decode": 1}


def _sources(job: Job) -> dict[str, tuple[str, Settings]]:
    """Returns the source of each set, and the settings by which its labels are read."""
    settings = job.settings
    # `columns` describes the tables of `data` only, and nothing is added to external sets.
    theirs = settings.model_copy(update={"columns": "", "returned_labels": "leave_out"})
    others = {name: (source, theirs) for name, source in settings.external_sets.items()}
    return {**others, **_own_sources(settings)}


def _own_sources(settings: Settings) -> dict[str, tuple[str, Settings]]:
    """Returns the sources of `data`. Images whose label came back are added to the first one."""
    plain = settings.model_copy(update={"returned_labels": "leave_out"})
    return {
        name: (source, plain if place else settings)
        for place, (name, source) in enumerate(settings.data_sets.items())
    }


def listed(job: Job) -> list[list[str]]:
    """Returns the ranges of images of all sets: `[name, key of the listing, number]` of each.

    The name is that of an external set, or `OWN`. Sets of one range are not listed.

    Raises:
        BadInput: There are no usable images where the settings point, or credentials are wrong.
        Unavailable: The source did not answer.
    """
    return [
        [name, key, str(number)]
        for name in _sources(job)
        for key in filter(None, [_listed(job, name)])
        for number in range(len(job.load(key, SourceListing).files))
    ]


def _listed(job: Job, name: str) -> str:
    """Returns the key of the listing of a source; "" if it is one range, or drawn for the demo."""
    source, settings = _sources(job)[name]
    if source == DEMO:
        return ""
    with _named(job, name):
        return _listing_of(job, source, settings)


@contextmanager
def _named(job: Job, name: str) -> Generator[None, None, None]:
    """Says in bad input which of the several sources of `data` it is about."""
    try:
        yield
    except BadInput as error:
        if name == OWN or name not in job.settings.data_sets:
            raise
        # The same error, since its kind and where it was raised say what to do.
        error.args = (f"the source {name} of data: {error}", *error.args[1:])
        raise


def _listing_of(job: Job, source: str, settings: Settings) -> str:
    job.fetch()
    with sources.surveyed(job, source) as survey:
        if _layout(job, len(survey.listed)).is_one(len(survey.listed)):
            return ""
        return _listing(job, survey, *fetching.reading(settings))


def _layout(job: Job, images: int) -> Layout:
    return Layout.of(images, job.settings)


def _listing(job: Job, survey: Survey, reader: Reader, classes: dict[str, str]) -> str:
    """Returns the key of the listing of the images that have a class; "" if they are one range."""
    known = reader.read(sources.find(survey.contents, reader.labels, classes))
    count = len(known.images.files)
    layout = _layout(job, count)
    if layout.is_one(count):
        return ""
    from skin_pipeline.data import listing

    files, facts = listing.put(job.store, survey, known, layout)
    tables = hashlib.sha256("\n".join(known.images.table_digests).encode()).hexdigest()
    made = SourceListing(
        images=count,
        shard_size=layout.shard_size,
        range_size=layout.range_size,
        files=files,
        facts=facts,
        content=tables,
        labelling=address(asdict(reader.labelling)),
        notices=known.images.notices,
    )
    inputs = {"found": address(made.model_dump(mode="json"))}
    return job.once("listing", VERSIONS["listing"], inputs, lambda _: made)


def decoded(job: Job, name: str, listing: str, number: str) -> str:
    """Returns the key of a decoded range of images, which `listed` named.

    Raises:
        BadInput: The source cannot be read any more.
        Unavailable: The source did not answer, or an image changed since it was listed.
    """
    return _decoded(job, _sources(job)[name][0], listing, int(number))


def _decoded(job: Job, source: str, listing: str, number: int) -> str:
    found = job.load(listing, SourceListing)
    inputs = {
        "files": found.files[number],
        "shard_size": found.shard_size,
        **job.settings.subset("image_size", "field_of_view", "regions", "masks"),
    }

    def make(work: Work) -> DecodedRange:
        from skin_pipeline.data import tasks

        return tasks.decode(work, source, found.files[number], found.shard_size)

    return job.once("decode", VERSIONS["decode"], inputs, make)


def ingested(
    job: Job, version: int, ranges: Iterable[Sequence[str]] | None = None
) -> dict[str, str]:
    """Returns the keys of all data sets, by their names; that of `data` is `OWN`.

    Args:
        job: The job.
        version: Of the step `ingest`.
        ranges: What `listed` returned; it is called now if nobody has done so.

    Raises:
        BadInput: There are no usable images, the metadata contradict themselves or the folders, or
            credentials are wrong.
        Unavailable: The source did not answer.
    """
    listings = {name: key for name, key, _ in (listed(job) if ranges is None else ranges)}
    made = {
        name: _of_its_source(job, version, name, listings.get(name, "")) for name in _sources(job)
    }
    own = {name: made.pop(name) for name in job.settings.data_sets}
    return {**made, OWN: own[OWN] if OWN in own else _united(job, version, own)}


def _of_its_source(job: Job, version: int, name: str, listing: str) -> str:
    """Returns the key of the data set of one source."""
    source, settings = _sources(job)[name]
    with _named(job, name):
        return data_set(job, version, source, settings, listing)


def _united(job: Job, version: int, sets: dict[str, str]) -> str:
    """Returns the key of the data set that all sources of `data` are together."""

    def make(work: Work) -> Dataset:
        from skin_pipeline.data import uniting

        return uniting.united(work, sets)

    # Other names are other keys of images.
    return job.once("ingest", version, {"united": sets}, make)


def data_set(job: Job, version: int, source: str, settings: Settings, listing: str = "") -> str:
    """Returns the key of one data set; see `ingested`."""
    if not listing:
        return _in_one_piece(job, version, source, settings)
    count = len(job.load(listing, SourceListing).files)
    parts = tuple(_decoded(job, source, listing, number) for number in range(count))
    return _merged(job, version, source, settings, listing, parts)


def _in_one_piece(job: Job, version: int, source: str, settings: Settings) -> str:
    with fetching.fetched(job, source, settings) as fetched:
        inputs = {
            **fetched.inputs,
            **settings.subset("image_size", "field_of_view", "regions", "shard_size", "masks"),
        }

        def make(work: Work) -> Dataset:
            from skin_pipeline.data import tasks

            return tasks.ingest(work, fetched)

        key = job.once("ingest", version, inputs, make)
        fetching.log_news(fetched.images.notices, job.load(key, Dataset))
        return key


def _merged(
    job: Job, version: int, source: str, settings: Settings, listing: str, parts: tuple[str, ...]
) -> str:
    found = job.load(listing, SourceListing)
    content = _content(found, (job.load(key, DecodedRange) for key in parts))
    with _returned(job, settings, parts) as returned:
        inputs = {
            **{"content": content, "synthetic": False, "labelling": found.labelling},
            **fetching.returned_inputs(returned),
            **settings.subset("image_size", "field_of_view", "regions", "masks"),
            **{"shard_size": found.shard_size, "range_size": found.range_size},
        }

        def make(work: Work) -> Dataset:
            from skin_pipeline.data import tasks

            return tasks.merge(work, source, content, listing, parts, returned)

        key = job.once("ingest", version, inputs, make)
    fetching.log_news(found.notices, job.load(key, Dataset))
    return key


def _content(listing: SourceListing, parts: Iterable[DecodedRange]) -> str:
    """Returns the identity of the content: the same for the same files, wherever they are."""
    lines = [listing.content, *(part.content for part in parts)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@contextmanager
def _returned(
    job: Job, settings: Settings, parts: tuple[str, ...]
) -> Generator[Returned | None, None, None]:
    """Yields the images whose label came back; None to leave them out."""
    if settings.returned_labels != "use":
        yield None
        return
    from skin_pipeline.data import listing

    with beside(job.store, settings.released_as, listing.labels(job, parts)) as returned:
        yield returned
