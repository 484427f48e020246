"""How the images of a data set are divided: into shards, and into ranges of shards.

    layout = Layout.of(1_000_000, settings)
    layout.shard_size, layout.range_size           # 256 images in a shard, 5120 in a range
    layout.ranges(1_000_000)[1]          # range(5120, 10240)

A *shard* is one packed array, which a task holds in memory. A *range* is what one task decodes:
consecutive images, packed into shards of its own. Both follow from the number of images alone, and
never from the number of workers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from skin_pipeline.config import Settings

SHARDS_OF_A_RANGE = 20
MOST_RANGES = 512  # of one data set; beyond, shards grow, as far as memory allows
EVEN = 2  # shards of a small set are a multiple of it, for workers that share them
LEAST = 128  # images that are worth the start of a task of their own
LARGEST_SHARD = 160 * 2**20  # bytes of the squares in it
CHANNELS = 3


class Layout(NamedTuple):
    """Images of a full shard, and of a full range; only the last shard of a range may be smaller,
    and only the last range."""

    shard_size: int
    range_size: int

    @classmethod
    def of(cls, images: int, settings: Settings) -> Layout:
        """Returns the layout of a data set.

        Shards double until there are no more ranges than Airflow should make tasks of a step. Those
        of a set of one range are of equal size, and of an even number.

        Args:
            images: The number of images.
            settings: How many images a shard has at most, unless the set is very large; and how
                large a packed image is.
        """
        shard, each = settings.shard_size, CHANNELS * settings.packed_pixels
        while (
            images > MOST_RANGES * SHARDS_OF_A_RANGE * shard and 2 * shard * each <= LARGEST_SHARD
        ):
            shard *= 2
        layout = cls(shard, SHARDS_OF_A_RANGE * shard)
        if layout.is_one(images):
            return layout._replace(shard_size=_evenly(images, shard))
        return layout

    def ranges(self, images: int) -> list[range]:
        """Returns the numbers of the images of each range."""
        size = self.range_size
        return [range(start, min(start + size, images)) for start in range(0, images, size)]

    def buckets(self, images: int) -> int:
        """Returns into how many buckets of similar images a set is sorted.

        It is a power of two. A bucket has no more images than a range, unless the set is so large
        that there would be more buckets than tasks.
        """
        count = 1
        while count * self.range_size < images and count < MOST_RANGES:
            count *= 2
        return count

    def is_one(self, images: int) -> bool:
        """Returns whether the images are one range, which is decoded where the data set is made."""
        return images <= self.range_size


def _evenly(images: int, most: int) -> int:
    """Returns the size of the shards of a small set, so that two workers end at the same time."""
    shards = EVEN * math.ceil(images / (EVEN * most))
    return max(math.ceil(images / max(shards, 1)), min(most, LEAST))
