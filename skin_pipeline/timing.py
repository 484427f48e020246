"""How long a step may take: so long that only a step that makes no progress is ended.

    longest("features", factor=1.0)                    # before anything is known of the images
    allowed("features", images=160, passes=8)          # seconds, once it is

The figures are seconds for one image on one slow core: ten to twenty times what was measured on two
cores of 2020. `SKIN_TIME_FACTOR` stretches all of them, for machines that are slower still.
"""

from __future__ import annotations

from datetime import timedelta

HOUR = 3600.0
# The time-out of each Airflow task, which is fixed before the number of images is known. `ingest`
# is mostly a download. `train` has ten days, for a whole network that is trained without a GPU.
LONGEST_HOURS = {
    "listing": 30,
    "decode": 72,
    "ingest": 72,
    "engine": 6,
    "duplicates": 72,
    "validate": 48,
    "split": 12,
    "shards": 6,
    "runs": 6,
    "features": 72,
    "train": 240,
    "parts": 6,
    "logits": 72,
    "evaluate": 72,
    "champion": 96,
    "external_logits": 72,
    "external": 96,
    "gate": 12,
    "promote": 12,
    "reject": 6,
    # of tasks that ask a person: without the time that they wait for the answer
    "approve": 6,
    "budget": 6,
    # of the rollback
    "verify": 12,
    "rollback": 6,
    # of batch scoring; `plan` lists a source of any size
    "plan": 30,
    "chunks": 6,
    "score": 72,
    "merge": 12,
    # of monitoring
    "scoring_models": 6,
    "compare": 12,
    # of the watch
    "verify_all": 48,
    "resend": 6,
    # of the labels that come back
    "bring_back": 24,
    "judge": 6,
    # of skin_alias and skin_acknowledge
    "move": 6,
    "acknowledge": 6,
    # of profiles of sites
    "score_site": 72,
    "make_profile": 6,
}
# For what does not grow with the number of images: TensorFlow's start, the download of weights, a
# slow store, and images that were made to take long (`workers.MOST_SLOW`).
START = 2 * HOUR
FETCH = 24 * HOUR  # of one set of images; 50 GiB at half a megabyte a second
# For comparison: decoding takes a hundredth of a second, ResNet50 an eighth of a second for each
# view, and a second if it is trained as a whole.
EACH_IMAGE = {
    "decode": 1.0,
    "ingest": 1.0,
    "buckets": 0.05,
    "duplicates": 0.5,
    "validate": 0.5,
    "split": 0.05,
    "features": 3.0,
    "train": 0.02,  # an epoch of a head
    "fine_tune": 2.0,  # an epoch of the last block
    "full": 10.0,  # an epoch of the whole network
    "logits": 2.0,
    "evaluate": 2.0,
    "champion": 2.0,
    "external": 2.0,
    "score": 4.0,  # eight views of ResNet50 take a second
}


def longest(step: str, factor: float) -> timedelta:
    """Returns how long a step may take at most, however many images there are."""
    return timedelta(hours=LONGEST_HOURS[step] * factor)


def allowed(work: str, images: int, passes: int = 1) -> float:
    """Returns the seconds that some work may take.

    Args:
        work: A step, or `fine_tune` and `full` for stages of `train`.
        images: The number of images that it processes.
        passes: How often it processes each: views, epochs, runs.
    """
    return START + EACH_IMAGE[work] * images * passes
