"""How long a step may take: so long that only one that stands still runs out of its time.

    longest("features", factor=1.0)                    # before anything is known of the images
    allowed("features", images=160, passes=8)          # seconds, once it is

Figures are seconds of one slow core for one image, ten to twenty times what was measured on two
cores of 2020. `SKIN_TIME_FACTOR` stretches all of them, for machines that are slower yet.
"""

from __future__ import annotations

from datetime import timedelta

HOUR = 3600.0
# However large the work. `ingest` is most of all a download, and `train` is done by people who fine
# tune whole networks without a GPU.
LONGEST_HOURS = {
    "ingest": 72,
    "validate": 48,
    "split": 12,
    "shards": 6,
    "runs": 6,
    "features": 72,
    "train": 240,
    "evaluate": 72,
    "champion": 96,
    "external": 96,
    "gate": 12,
    "promote": 12,
    "reject": 6,
    # of the rollback
    "verify": 12,
    "rollback": 6,
}
# For what does not grow with the images: TensorFlow's start, weights that are downloaded, a store
# that is slow to answer, and images that were made to take long (`workers.MOST_SLOW`).
START = 2 * HOUR
FETCH = 24 * HOUR  # of one set of images; 50 GiB at half a megabyte a second
# Decoding takes a hundredth of a second, ResNet50 an eighth for each view, and a second where it is
# trained as a whole.
EACH_IMAGE = {
    "ingest": 1.0,
    "validate": 0.5,
    "split": 0.05,
    "features": 3.0,
    "train": 0.02,  # an epoch of a head
    "fine_tune": 2.0,  # an epoch of the last block
    "full": 10.0,  # an epoch of the whole network
    "evaluate": 2.0,
    "champion": 2.0,
    "external": 2.0,
}


def longest(step: str, factor: float) -> timedelta:
    """Returns how long a step may take at most, whatever its size."""
    return timedelta(hours=LONGEST_HOURS[step] * factor)


def allowed(work: str, images: int, passes: int = 1) -> float:
    """Returns the seconds that some work may take.

    Args:
        work: A step, or `fine_tune` and `full` for stages of `train`.
        images: How many it looks at.
        passes: How often it looks at each: views, epochs, runs.
    """
    return START + EACH_IMAGE[work] * images * passes
