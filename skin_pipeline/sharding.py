"""Which shards or ranges of images each mapped task works on, and what the task is called.

tasks = ranges(job)                  # of `decode`; none for small sets
[decode(job, one) for one in tasks[0]]
groups(job, dataset)                 # of `features`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from skin_pipeline.contracts import Dataset, Evaluation, SourceListing, Split, Validation
from skin_pipeline.job import Job
from skin_pipeline.operations import costs, sizing

T = TypeVar("T")

MOST_TASKS = sizing.MOST_TASKS


def ranges(job: Job, most: int = MOST_TASKS) -> list[list[list[str]]]:
    """Returns the ranges of images for each decode task; no task for sets of one range each.

    Args:
        job: The job.
        most: Most tasks that Airflow may make of it, at least 1.

    Raises:
        BadInput, Unavailable: As `ingesting.listed`.
    """
    from skin_pipeline.data import ingesting

    return divided(ingesting.listed(job), most)


def decode(job: Job, one: Sequence[str]) -> str:
    """Returns the key of a decoded range of images, for `ingest` to find.

    Raises:
        BadInput, Unavailable: As `ingesting.decoded`.
    """
    from skin_pipeline.data import ingesting

    name, listing, number = one
    return ingesting.decoded(job, name, listing, number)


def files_in(job: Job, some: Sequence[Sequence[str]]) -> str:
    """Returns which images are in consecutive ranges, in words: `images 5121 to 10240 of theirs`.

    Images are counted from 1, in the order in which they were listed.
    """
    (first, listing, number), (last, _, end) = some[0], some[-1]
    found = job.load(listing, SourceListing)
    of = f" of {first}" if first else ""
    start = f"images {int(number) * found.range_size + 1}"
    if first != last:
        return f"{start}{of} and others"
    return f"{start} to {min((int(end) + 1) * found.range_size, found.images)}{of}"


def numbers(job: Job, dataset: str) -> list[int]:
    """Returns the numbers of the shards of a data set's images."""
    return list(range(len(job.load(dataset, Dataset).shards)))


def groups(job: Job, dataset: str, most: int = MOST_TASKS) -> list[list[int]]:
    """Returns the shards for each features task: several where there are more shards than tasks.

    The size of a shard stays, and so do a task's memory and what is in the cache.

    Args:
        job: The job.
        dataset: Key of the data set.
        most: Most tasks that Airflow may make of it, at least 1.
    """
    return divided(numbers(job, dataset), most)


def parts(job: Job, split: str) -> list[list[int]]:
    """Returns the shards of each part of the work of scoring a set's images by all runs.

    There is one part if it takes a short time, and never more than shards. Whoever needs the parts
    gets the same ones.

    Args:
        job: The job.
        split: Key of the split.
    """
    document = job.load(split, Split)
    images = job.load(document.dataset, Dataset).images
    work = costs.judging(job.settings, document.runs, images, job.deployment.part_seconds)
    return _parts(job, document.dataset, work)


def external_parts(job: Job, evaluation: str, dataset: str) -> list[list[int]]:
    """Returns the shards of each part of the work of scoring an external set by an evaluation's
    models.

    The parts are as those of `parts`, but of the work on the features, too: nobody has computed
    them before.

    Args:
        job: The job.
        evaluation: Key of the evaluation.
        dataset: Key of the external set.
    """
    runs, images = len(job.load(evaluation, Evaluation).runs), job.load(dataset, Dataset).images
    work = costs.judging(job.settings, runs, images, job.deployment.part_seconds, "external")
    return _parts(job, dataset, work)


def _parts(job: Job, dataset: str, work: costs.Load) -> list[list[int]]:
    return divided(numbers(job, dataset), min(max(work.tasks, 1), MOST_TASKS))


def mapped_parts(job: Job, split: str, most: int = MOST_TASKS) -> list[list[list[int]]]:
    """Returns the parts that each task makes beforehand; none if one task does all of the work.

    Args:
        job: The job.
        split: Key of the split.
        most: Most tasks that Airflow may make of it, at least 1.
    """
    found = parts(job, split)
    return divided(found, most) if len(found) > 1 else []


def mapped_external(
    job: Job, evaluation: str, validation: str, most: int = MOST_TASKS
) -> list[list[dict[str, Any]]]:
    """Returns the parts of all external sets that each task makes beforehand; none if each set is
    one part, so that one task does all of the work.

    A part has the `name` of its set and the numbers of its `shards`.

    Args:
        job: The job.
        evaluation: Key of the evaluation.
        validation: Key of the validation, which names the sets.
        most: Most tasks that Airflow may make of it, at least 1.
    """
    sets = job.load(validation, Validation).external
    found = {name: external_parts(job, evaluation, sets[name]) for name in sorted(sets)}
    if max(map(len, found.values()), default=0) < 2:
        return []
    return divided([{"name": name, "shards": part} for name in found for part in found[name]], most)


def divided(items: Sequence[T], most: int) -> list[list[T]]:
    """Returns items in their order as at most `most` lists, none empty, of equal length as far as
    possible."""
    count = min(len(items), most)
    ends = [len(items) * end // count for end in range(count + 1)] if count else [0]
    return [list(items[start:end]) for start, end in pairwise(ends)]


def buckets_in(some: Sequence[Sequence[str]], external: Mapping[str, str]) -> str:
    """Returns which buckets consecutive searches are about, in words: `buckets 5 to 8 of theirs`.

    Buckets are counted from 1.

    Args:
        some: A key of a data set and the number of one of its buckets each.
        external: Keys of the external sets, by name.
    """
    (first, start), (last, end) = some[0], some[-1]
    of = "".join(f" of {name}" for name, key in external.items() if key == first)
    if first != last:
        return f"buckets {int(start) + 1}{of} and others"
    return f"buckets {int(start) + 1} to {int(end) + 1}{of}"


def images_in(job: Job, split: str, shards: list[int]) -> str:
    """Returns which images are in consecutive shards, in words: `images 301 to 600`.

    Images are counted from 1, in the order in which they were packed.
    """
    first, last = _places(job, job.load(split, Split).dataset, shards)
    return f"images {first} to {last}"


def external_images_in(job: Job, validation: str, parts: Sequence[Mapping[str, Any]]) -> str:
    """Returns which images are in consecutive parts of external sets, in words: `images 301 to 600
    of theirs`.

    Images are counted from 1, in the order in which they were packed.

    Args:
        job: The job.
        validation: Key of the validation, which names the sets.
        parts: Parts as those of `mapped_external`.
    """
    name, start, end = parts[0]["name"], parts[0], parts[-1]
    dataset = job.load(validation, Validation).external[name]
    first, last = _places(job, dataset, [*start["shards"], *end["shards"]])
    if name != end["name"]:
        return f"images {first} of {name} and others"
    return f"images {first} to {last} of {name}"


def _places(job: Job, dataset: str, shards: Sequence[int]) -> tuple[int, int]:
    """Returns the numbers of the first and the last image of consecutive shards."""
    sizes = job.load(dataset, Dataset).packed(job.settings.shard_size)
    return sum(sizes[: shards[0]]) + 1, sum(sizes[: shards[-1] + 1])
