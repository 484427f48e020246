"""Finds pictures that are in a data set more than once: as the same file, pixels, or nearly so.

It takes in tables of images with their thumbnails, and gives pairs of images. The task `validate`
calls it: within a data set, and between a data set and each external set.

Near-duplicates are the same photograph in another size or encoding, flipped, turned by quarters,
or cropped by up to about a tenth. They are found in two stages. *Candidates* are each image's
nearest neighbours by fingerprint, so that the work grows with the number of images and not with
its square; and each bucket of similar images is searched by itself, as far as possible by a task
of its own. Each candidate is then *verified* on thumbnails: the two are aligned to each other, and
what counts is the correlation of fine structure in all parts of the picture. Two lesions that only
look alike, dark on light in the middle, do not agree there.

    searching      the pairs within a data set, or between two
    sides          a data set as the search needs it: its table and its thumbnails
    buckets        the images of a set, sorted so that similar ones are in one bucket
    candidates     nearest neighbours by fingerprint
    likeness       how far two thumbnails show the same picture
    structure      the fine structure that is compared, apart from light and colour
    registration   how one thumbnail must be turned, scaled and shifted to show the other
    common         what many images of a set have in common, such as a ruler or a logo
"""

from skin_pipeline.data.duplicates.buckets import ARRAYS, Buckets
from skin_pipeline.data.duplicates.searching import (
    between,
    names_of,
    near,
    overlap,
    shared,
    united,
    within,
)
from skin_pipeline.data.duplicates.sides import SEARCHED, Pair, Side

__all__ = [
    "ARRAYS",
    "SEARCHED",
    "Buckets",
    "Pair",
    "Side",
    "between",
    "names_of",
    "near",
    "overlap",
    "shared",
    "united",
    "within",
]
