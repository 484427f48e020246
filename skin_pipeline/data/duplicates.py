"""Pictures that stand in a data set more than once: the same file, the same pixels, or nearly so.

Near-duplicates are the same photograph in another size or encoding, flipped, turned by quarters,
or cropped by up to about a tenth. They are found in two stages. *Candidates* are each image's
nearest neighbours by fingerprint (`images.fingerprint`), looked up in a k-d tree, so that the work
grows with the number of images and not with its square. Each is then *verified* on thumbnails: all
eight orientations and a few crops are tried by correlation in the Fourier domain, the best
is aligned by Gauss-Newton steps (Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 2004), and
what then counts is the correlation of fine structure in all parts of the picture. Two lesions that
only look alike, dark on light in the middle, do not agree there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from skin_pipeline import arrays
from skin_pipeline.contracts import Dataset
from skin_pipeline.data import manifest, surround
from skin_pipeline.data.common import SAMPLE, Common
from skin_pipeline.data.images import QUANTILES, THUMBNAIL
from skin_pipeline.data.workers import spread
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # thumbnails of pairs

NEIGHBOURS = 4  # candidates of each image
COLOUR_WEIGHT = 3.0  # of the colour differences in a fingerprint; a crop changes them least
COARSE = 24  # side in pixels at which orientation, place and scale are searched
CROPS = (1.0, 0.95, 0.9, 0.85)  # shares of the side that are tried
LIKELY = 0.78  # correlation of coarse structure that is worth a closer look
# Likeness from which two images are one photograph. Of distinct real images the most alike have
# .55, of generated ones on smooth skin .74; nine in ten of those cropped to 90 % have over .77.
SAME = 0.77
OVERLAP = 0.4  # least share of the image that both must show
BLOCK = 16  # side in pixels of the parts of a thumbnail that are compared one by one
MOST = 0.7  # share of the picture below which blocks of half the side are compared
LEAST_SHARE = 0.2  # of a block that must count, so that its correlation says something
EVIDENCE = 0.2  # share of the picture from which on a likeness is taken as it is
LEAST_EVIDENCE = 0.06  # share of the picture without which nothing is said
BATCH = 128  # pairs that a process is given at a time


class Pair(NamedTuple):
    """Two images by their index in their tables; `likeness` is 1 for the same pixels."""

    first: int
    second: int
    kind: str  # "file", "pixels" or "near"
    likeness: float


class Side(NamedTuple):
    """A data set's table, and its thumbnails, which are read only where they are needed."""

    table: pd.DataFrame
    thumbnails: list[NDArray[np.uint8]]

    @classmethod
    def of(cls, store: Store, dataset: Dataset) -> Side:
        """The side of a data set that `ingest` made."""
        return cls.read(store, manifest.read(store, dataset.table), dataset.thumbnails)

    @classmethod
    def read(cls, store: Store, table: pd.DataFrame, thumbnails: tuple[str, ...]) -> Side:
        """A table, and the thumbnails under these keys."""
        return cls(table, [arrays.mapped(store, key) for key in thumbnails])

    @property
    def readable(self) -> pd.DataFrame:
        return self.table[self.table["readable"]]

    def images(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Thumbnails (n, 64, 64) of the images with these indices in the table."""
        places = self.table.loc[index, ["shard", "row"]].to_numpy()
        return np.stack([self.thumbnails[shard][row] for shard, row in places])

    def sample(self, most: int) -> NDArray[np.uint8]:
        """Thumbnails of `most` images at even distances, or of all."""
        index = self.readable.index.to_numpy()
        places = np.linspace(0, len(index) - 1, min(len(index), most)).astype(np.int64)
        return self.images(index[places])


def within(ours: Side, processes: int) -> list[Pair]:
    """The duplicates inside a data set, the lower index first. Each file's copies are linked to
    the first of them only."""
    files = list(_equal(ours.readable, "sha256", "file"))
    distinct = ours.readable.drop_duplicates("sha256")
    pixels = list(_equal(distinct, "pixels_sha256", "pixels"))
    single = distinct[~distinct.index.isin([pair.second for pair in pixels])]
    candidates = _neighbours(single, single)
    return sorted([*files, *pixels, *_verified(candidates, ours, ours, processes)])


def between(ours: Side, theirs: Side, processes: int) -> list[Pair]:
    """The pictures that two data sets share: pairs of (index in ours, index in theirs)."""
    first = ours.readable.reset_index().drop_duplicates("sha256").set_index("sha256")["index"]
    copies = theirs.readable["sha256"].map(first).dropna()
    files = [Pair(int(i), int(j), "file", 1.0) for i, j in zip(copies, copies.index, strict=True)]
    rest = theirs.readable[~theirs.readable.index.isin(copies.index)]
    candidates = _neighbours(ours.readable, rest)
    return sorted([*files, *_verified(candidates, ours, theirs, processes)])


def names_of(table: pd.DataFrame, shared: dict[str, list[Pair]]) -> pd.Series[str]:
    """For each image the names of the sets that hold it too, "" for none."""
    names = pd.Series("", index=table.index)
    for name, pairs in sorted(shared.items()):
        for index in sorted({pair.first for pair in pairs}):
            names[index] = f"{names[index]}; {name}".removeprefix("; ")
    return names


def overlap(ours: pd.DataFrame, theirs: pd.DataFrame, pairs: list[Pair]) -> pd.DataFrame:
    """The images of another set that ours holds too: their `key`, that of the image `of` ours, and
    by what they are known as the same."""
    rows = [
        (theirs["key"][pair.second], ours["key"][pair.first], pair.kind, pair.likeness)
        for pair in pairs
    ]
    return pd.DataFrame(rows, columns=["key", "of", "kind", "likeness"])


def _equal(table: pd.DataFrame, column: str, kind: str) -> Iterator[Pair]:
    known = table[(table[column] != "") & table.duplicated(column, keep=False)]
    for indices in known.groupby(column).groups.values():
        first, *others = (int(index) for index in indices)
        yield from (Pair(first, other, kind, 1.0) for other in others)


def _neighbours(ours: pd.DataFrame, theirs: pd.DataFrame) -> NDArray[np.int64]:
    """Pairs (n, 2) of indices in `ours` and `theirs` with similar fingerprints, each once."""
    inside = ours is theirs
    count = min(NEIGHBOURS + inside, len(ours))
    if count <= inside or theirs.empty:
        return np.empty((0, 2), np.int64)
    tree = KDTree(_points(ours))
    nearest = tree.query(_points(theirs), k=np.arange(1, count + 1), workers=-1)[1]
    pairs = np.stack(
        [ours.index.to_numpy()[nearest.ravel()], np.repeat(theirs.index.to_numpy(), count)], axis=1
    )
    if inside:
        pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def _points(table: pd.DataFrame) -> Float:
    """Fingerprints as points (n, 15) whose distance tells how different two images are."""
    data = np.frombuffer(bytes.fromhex("".join(table["fingerprint"])), np.uint8)
    weights = np.repeat([1.0, COLOUR_WEIGHT, COLOUR_WEIGHT], len(QUANTILES))
    points: Float = (data.reshape(len(table), -1) * weights).astype(np.float32)
    return points


def _verified(
    candidates: NDArray[np.int64], ours: Side, theirs: Side, processes: int
) -> list[Pair]:
    """The candidates that show one photograph, also without what many images have in common."""
    alike, _ = _alike(likeness, candidates, ours, theirs, processes)
    again = partial(likeness, common=_common(ours, theirs) if len(alike) else None)
    pairs, scores = _alike(again, alike, ours, theirs, processes)
    log.info(
        "near_duplicates candidates=%d alike=%d verified=%d",
        len(candidates),
        len(alike),
        len(pairs),
    )
    return [
        Pair(int(first), int(second), "near", round(float(score), 3))
        for (first, second), score in zip(pairs, scores, strict=True)
    ]


def _alike(
    look: Callable[[Images], Float],
    pairs: NDArray[np.int64],
    ours: Side,
    theirs: Side,
    processes: int,
) -> tuple[NDArray[np.int64], Float]:
    """The pairs whose likeness is that of copies, and how alike they are."""
    batches = [pairs[i : i + BATCH] for i in range(0, len(pairs), BATCH)]
    images = ((ours.images(part[:, 0]), theirs.images(part[:, 1])) for part in batches)
    scores = np.concatenate([np.empty(0, np.float32), *spread(look, images, processes)])
    return pairs[scores >= SAME], scores[scores >= SAME]


def _common(ours: Side, theirs: Side) -> Common:
    """A sample of the images of both sides."""
    sides = [ours] if ours is theirs else [ours, theirs]
    parts = [side.sample(SAMPLE // len(sides)) for side in sides]
    light = np.concatenate(parts)
    filled = surround.filled(light.astype(np.float32), surround.field(light))
    return Common(_half(filled).astype(np.float16))


# --- are two thumbnails one photograph? ----------------------------------------------------------


def likeness(images: Images, common: Common | None = None) -> Float:
    """How far pairs of thumbnails show the same picture: -1…1, and 0 where they clearly do not.

    Args:
        images: Two arrays (n, 64, 64) of luminance; one of a pair may be a crop of the other.
        common: Images of the set; what they have in common does not count.
    """
    first, second = (_Skin.of(part) for part in images)
    forward, backward = _search(first.light, second.light), _search(second.light, first.light)
    scores = np.zeros(len(first.light), np.float32)
    for swap, search in ((False, forward), (True, backward)):
        better = backward.score > forward.score
        chosen = np.flatnonzero((search.score >= LIKELY) & (better == swap))
        whole, part = (second, first) if swap else (first, second)
        fine = zip(_fine(whole, chosen, common), _fine(part, chosen, common), strict=True)
        for index, (a, b) in zip(chosen, fine, strict=True):
            scores[index] = _agreement(a, b, search.orientation[index], search.start[index])
    return scores


class _Skin(NamedTuple):
    """Thumbnails without a surround, and where there was none."""

    light: Float
    shown: Mask

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> _Skin:
        shown = surround.field(images)
        return cls(surround.filled(images.astype(np.float32), shown), shown)


class _Search(NamedTuple):
    """The best of all orientations, crops and shifts of one image against another, for n pairs."""

    score: Float
    orientation: NDArray[np.int64]
    start: Float  # (n, 4): scale and shift of rows, scale and shift of columns


def _search(whole: Float, part: Float) -> _Search:
    crops = [_orientations(_coarse(whole, crop)) for crop in CROPS]
    spectra = fft.rfft2(np.stack(crops, axis=1).reshape(len(whole), -1, COARSE, COARSE))
    other = fft.rfft2(_coarse(part, 1.0))
    found = fft.irfft2(spectra * np.conj(other)[:, None], s=(COARSE, COARSE))
    flat = found.reshape(len(whole), -1)
    best = flat.argmax(1)
    variant, place = np.divmod(best, COARSE * COARSE)
    crop, orientation = np.divmod(variant, 8)
    # A shift beyond half of the side is one in the other direction.
    shift = (np.stack(np.divmod(place, COARSE), 1) + COARSE // 2) % COARSE - COARSE // 2
    scale = np.array(CROPS, np.float32)[crop]
    rows, columns = (shift * 2 / COARSE * scale[:, None]).T
    start = np.stack([scale, rows, scale, columns], axis=1).astype(np.float32)
    return _Search(np.take_along_axis(flat, best[:, None], 1)[:, 0], orientation, start)


def _coarse(images: Float, crop: float) -> Float:
    """The centre of thumbnails at 24 pixels, without slow gradients, as unit vectors."""
    shrink = _shrinking(crop)
    small = shrink @ images @ shrink.T
    band: Any = (small - gaussian_filter(small, (0, 2, 2))) * _TAPER
    band -= band.mean((1, 2), keepdims=True)
    return _unit(band)


def _shrinking(crop: float) -> Float:
    """A matrix (24, 64) that averages the centre `crop` of 64 pixels to 24."""
    edges = THUMBNAIL * (0.5 + crop * (np.arange(COARSE + 1) / COARSE - 0.5))
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(THUMBNAIL)[None]
    covered = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, 1)
    return np.asarray(covered / covered.sum(1, keepdims=True), np.float32)


_TAPER = np.sqrt(np.outer(*2 * [np.hanning(COARSE + 2)[1:-1]])).astype(np.float32)


def _unit(images: Float) -> Float:
    norm = np.linalg.norm(images, axis=(1, 2), keepdims=True)
    return np.asarray(images / (norm + 1e-6), np.float32)


def _orientations(images: Float) -> Float:
    """(n, 8, side, side): all flips and quarter turns."""
    return np.stack([_oriented(images, number) for number in range(8)], axis=1)


def _oriented(images: Float, number: int) -> Float:
    turned = images.swapaxes(-1, -2) if number & 4 else images
    return turned[..., :: -1 if number & 1 else 1, :: -1 if number & 2 else 1]


class _Fine(NamedTuple):
    """One image's structure: at 32 and 64 pixels to align by, and finer to compare, and how much
    each pixel counts there."""

    half: Float
    full: Float
    compared: Float
    weight: Float

    def oriented(self, number: int) -> _Fine:
        return _Fine(*(np.ascontiguousarray(_oriented(layer, number)) for layer in self))


def _fine(skin: _Skin, chosen: NDArray[np.int64], common: Common | None) -> Iterator[_Fine]:
    images, shown = skin.light[chosen], skin.shown[chosen]
    half = _half(images)
    if common is not None and len(chosen):
        shown = common.elsewhere(half, shown)
    full, compared = _evened(images, 0.8, 4.0, 8.0, 3.0), _evened(images, 0.7, 2.5, 6.0, 1.0)
    return map(_Fine, half, full, compared, shown.astype(np.float32))


def _half(images: Float) -> Float:
    """Structure at half the size."""
    small = images.reshape(len(images), 32, 2, 32, 2).mean((2, 4))
    return _evened(small, 0.5, 3.0, 5.0, 3.0)


def _evened(images: Float, fine: float, rough: float, around: float, floor: float) -> Float:
    """Structure between two scales, divided by its own strength nearby, so that one dark spot does
    not outweigh all else. `floor`, in units of luminance, keeps noise small."""
    blur = partial(_blurred, images)
    band = blur(fine) - blur(rough)
    return np.asarray(band / np.sqrt(_blurred(band * band, around) + floor**2), np.float32)


def _blurred(images: Float, sigma: float) -> Float:
    return np.asarray(gaussian_filter(images, (0, sigma, sigma)), np.float32)


def _agreement(whole: _Fine, part: _Fine, orientation: int, start: Float) -> float:
    """Correlation of the finest structure after alignment."""
    turned = whole.oriented(orientation)
    view = _aligned(turned.half, part.half, start, steps=12)
    view = _aligned(turned.full, part.full, view, steps=5)
    seen, shown = _warped(turned.compared, view)
    weight = shown * _warped(turned.weight, view)[0] * part.weight
    return _block_correlation(seen, part.compared, weight)


def _block_correlation(seen: Float, part: Float, weight: Float) -> float:
    """The mean correlation in blocks, as far as they count: one strong edge, such as that of a
    round dark spot, is no evidence for the rest of the picture.

    The less of the picture there is to go by, the smaller are the blocks, and the more each
    difference weighs.
    """
    side = BLOCK if weight.mean() >= MOST else BLOCK // 2
    blocks = [_blocks(array, side) for array in (seen, part, weight)]
    shares = blocks[2].mean((1, 2))
    counted = shares >= LEAST_SHARE
    evidence = float(shares[counted].sum()) * side**2 / THUMBNAIL**2
    if evidence < LEAST_EVIDENCE:
        return 0.0
    pairs = zip(*(part[counted] for part in blocks), strict=True)
    scores = [_correlation(*block) for block in pairs]
    difference = 1 - float(np.average(scores, weights=shares[counted]))
    return 1 - difference * max(1.0, EVIDENCE / evidence)


def _blocks(array: NDArray[Any], side: int) -> NDArray[Any]:
    """A square array (64, 64) as blocks (n, side, side)."""
    count = THUMBNAIL // side
    return array.reshape(count, side, count, side).swapaxes(1, 2).reshape(-1, side, side)


def _correlation(a: Float, b: Float, weight: Float) -> float:
    total = weight.sum()
    a, b = (part - (part * weight).sum() / total for part in (a, b))
    both, first, second = ((x * y * weight).sum() for x, y in ((a, b), (a, a), (b, b)))
    return float(both / (np.sqrt(first * second) + 1e-6))


def _aligned(whole: Float, part: Float, view: Float, steps: int) -> Float:
    """The scale and shift of rows and columns by which `whole` shows what `part` shows."""
    side = len(whole)
    axis = _axis(side)
    slopes: Any = np.gradient(whole)
    for _ in range(steps):
        seen, shown = _warped(whole, view)
        if shown.mean() < OVERLAP:
            break
        down, across = (_warped(slope, view)[0] * (side / 2) for slope in slopes)
        gains = np.stack([down * axis[:, None], down, across * axis, across]) * shown
        jacobian = gains.reshape(4, -1)
        normal = jacobian @ jacobian.T
        normal += np.eye(4, dtype=np.float32) * (1e-3 * np.trace(normal) / 4 + 1e-9)
        change = np.linalg.solve(normal, jacobian @ ((part - seen) * shown).ravel())
        view = view + np.clip(change, -0.06, 0.06)
        if np.abs(change).max() < 3e-3:
            break
    return view


def _axis(side: int) -> Float:
    """Positions of pixels from -1 to 1."""
    return ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)


def _warped(image: Float, view: Float) -> tuple[Float, NDArray[np.bool_]]:
    """A square image seen under `view`, and where it has pixels to show."""
    side = len(image)
    places = [(view[i] * _axis(side) + view[i + 1] + 1) / 2 * side - 0.5 for i in (0, 2)]
    inside = [(place >= 0) & (place <= side - 1) for place in places]
    # Bilinear, one axis after the other.
    rows, columns = (np.clip(place, 0, side - 1.001) for place in places)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    rest = (rows - top)[:, None].astype(np.float32)
    seen = image[top] * (1 - rest) + image[top + 1] * rest
    rest = (columns - left).astype(np.float32)
    return seen[:, left] * (1 - rest) + seen[:, left + 1] * rest, np.outer(*inside)
