"""Chooses the page of an image file that is the picture, where a file has several.

A TIFF of a camera or a scanner often has a smaller copy, or a mask, beside the picture. Any other
file with several frames has several pictures, and nothing says which one is meant.
"""

from __future__ import annotations

from PIL import Image

from skin_pipeline.data.images.unusable import Unusable

PAGE_KIND = 0x00FE  # TIFF tag NewSubfileType: bit 0 says a smaller copy, bit 2 a mask
NO_PICTURE = 0b101
MOST_PAGES = 16  # of a TIFF: a picture and its copies in other sizes


def choose(image: Image.Image, changes: list[str]) -> None:
    """Turns to the one page of a TIFF that is no smaller copy and no mask of another.

    Args:
        image: An open image, of any format.
        changes: Gets an entry when a thumbnail is left out.

    Raises:
        Unusable: There are several pictures, so which one is meant is not known.
    """
    if image.format == "MPO":  # its further pictures are behind the first, which is the main one
        return
    if image.format != "TIFF":
        if (frames := getattr(image, "n_frames", 1)) > 1:  # which its header says
            raise Unusable(f"has {frames} frames; a lesion's image has one")
        return
    sizes, marked = _pages(image)
    if len(sizes) == 1:
        image.seek(0)
        return
    pages = _pictures(sizes, marked)
    if len(pages) != 1:
        raise Unusable(f"has {len(sizes)} frames; a lesion's image has one")
    image.seek(pages[0])
    changes.append("thumbnail left out")


def _pages(image: Image.Image) -> tuple[list[tuple[int, int]], list[bool]]:
    """Returns the sizes of a TIFF's pages, and whether each says that it is no picture.

    `n_frames` is never read: to count them, Pillow follows the whole chain of pages, and a small
    file can have a chain that takes hours.

    Raises:
        Unusable: There are more than a picture and its copies in other sizes.
    """
    sizes: list[tuple[int, int]] = []
    marked: list[bool] = []
    while not sizes or _goes_to(image, len(sizes)):
        if len(sizes) == MOST_PAGES:
            raise Unusable(f"has over {MOST_PAGES} frames; a lesion's image has one")
        sizes.append(image.size)
        marked.append(bool(int(getattr(image, "tag_v2", {}).get(PAGE_KIND, 0)) & NO_PICTURE))
    return sizes, marked


def _goes_to(image: Image.Image, number: int) -> bool:
    """Turns to a frame; returns whether there is one of this number."""
    try:
        image.seek(number)
    except EOFError:
        return False
    return True


def _pictures(sizes: list[tuple[int, int]], marked: list[bool]) -> list[int]:
    """Returns the numbers of the pages that are pictures of their own.

    Many programs do not mark a smaller copy. A page of at most half the size and of the same shape
    (within the rounding to whole pixels) is taken for one.
    """
    pictures = [size for size, other in zip(sizes, marked, strict=True) if not other]
    wide, high = max(pictures, default=(0, 0))
    return [
        number
        for number, (width, height) in enumerate(sizes)
        if not marked[number]
        and not (width * 2 <= wide and abs(width * high - height * wide) <= max(wide, high))
    ]
