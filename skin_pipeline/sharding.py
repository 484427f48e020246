"""Which shards of a data set each mapped task works on, and what the task is called."""

from __future__ import annotations

from itertools import pairwise

from skin_pipeline.contracts import Dataset, Split
from skin_pipeline.job import Job

MOST_TASKS = 512  # of one step: Airflow's scheduler makes a row of each at once


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


def divided(shards: list[int], most: int) -> list[list[int]]:
    """Returns shards in their order as at most `most` lists, none empty, of equal length as far as
    possible."""
    count = min(len(shards), most)
    ends = [len(shards) * end // count for end in range(count + 1)] if count else [0]
    return [shards[start:end] for start, end in pairwise(ends)]


def images_in(job: Job, split: str, shards: list[int]) -> str:
    """Returns which images are in consecutive shards, in words: `images 301 to 600`.

    Images are counted from 1, in the order in which they were packed.
    """
    dataset = job.load(job.load(split, Split).dataset, Dataset)
    size, packed = job.settings.shard_size, dataset.images - dataset.unreadable
    return f"images {shards[0] * size + 1} to {min((shards[-1] + 1) * size, packed)}"
