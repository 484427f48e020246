"""Decodes one image file at a time, measures it, and cuts the working square.

It takes in bytes that may come from anybody, and gives an `Inspected`: the measurements and the
pixels, or the reason why the image is quarantined. The manifest, the scoring of single images and
the trial of a model file call it; mostly in worker processes, since a decoder may crash.

    inspecting   a file or its bytes: what is known of it, or what is wrong with it
    decoding     bytes to an upright RGB image
    jpeg         whether the compressed data of a JPEG are complete
    pages        which page of a TIFF is the picture
    measuring    statistics, and the fingerprint by which near-duplicates are searched
    surround     the black or white around the skin
    masks        which images are masks of lesions and no pictures
    squares      the centre, and the square around the lesion, at the working size
    unusable     the error of an image that cannot be used

What does not fit is either converted, which its row says, or quarantined with a reason:

    as it is        JPEG, PNG, BMP, TIFF or WebP with 8-bit colours and the suffix of its format
    converted       another suffix than its format has; grey, palette, CMYK, alpha, 12-bit and
                    16-bit pixels; turned upright by its EXIF tag; EXIF tags or texts that cannot
                    be read; a thumbnail beside the picture
    quarantined     empty, damaged, cut short, of another format, several frames, 32-bit or float
                    pixels, a side under 64 pixels, over 120 million pixels or 256 MiB, one colour
                    only, a JPEG of over 100 scans; whatever is fatal to the decoder, or takes more
                    time or memory than `data.bounds` allows
"""

from skin_pipeline.data.images.decoding import Decoded, decode
from skin_pipeline.data.images.inspecting import (
    Inspected,
    Place,
    inspect,
    inspect_at,
    inspect_bytes,
    killed,
    pixels_digest,
    read,
)
from skin_pipeline.data.images.masks import named_like_a_mask
from skin_pipeline.data.images.measuring import QUANTILES, STATISTICS, THUMBNAIL
from skin_pipeline.data.images.squares import working_squares
from skin_pipeline.data.images.unusable import Unusable

__all__ = [
    "QUANTILES",
    "STATISTICS",
    "THUMBNAIL",
    "Decoded",
    "Inspected",
    "Place",
    "Unusable",
    "decode",
    "inspect",
    "inspect_at",
    "inspect_bytes",
    "killed",
    "named_like_a_mask",
    "pixels_digest",
    "read",
    "working_squares",
]
