"""Activations of the frozen network, computed once and shared by all runs.

    forward = forward_of(network, ["pooled"])
    compute(forward, pixels, ids, cache, kinds=["pooled"], views=views, folder=folder)

The network sees each image in each of its views; what it gives goes to the cache.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.progress import reported
from skin_pipeline.training.ahead import read_ahead
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.cache import FeatureCache, Ids
from skin_pipeline.training.views import View

log = logging.getLogger(__name__)

BATCH = 16  # images that the network sees at once
MOST = np.finfo(np.float16).max  # above it, an activation would become infinite in float16

Forward = Callable[[Any], dict[str, Any]]
Values = dict[str, NDArray[Any]]  # activations of some images, by their kind


def forward_of(network: Network, kinds: Sequence[str]) -> Forward:
    """Returns a compiled function from squares (BATCH, size, size, 3) of uint8 to activations.

    Args:
        network: The network with its pretrained weights.
        kinds: `pooled`, the averages of the stages (n, channels) in float32; `maps`, what the
            third stage reads (n, height, width, channels) in float16; or both.
    """
    import tensorflow as tf

    compiled: Forward = tf.function(plain_of(network, kinds), jit_compile=network.jit)
    return compiled


def plain_of(network: Network, kinds: Sequence[str]) -> Forward:
    """Returns what `forward_of` compiles: a function of TensorFlow, for another engine, too."""
    import tensorflow as tf

    stages = network.stages()
    made: dict[str, Callable[[list[Any]], Any]] = {
        "pooled": lambda ends: tf.concat([tf.reduce_mean(end, axis=(1, 2)) for end in ends], 1),
        "maps": lambda ends: tf.cast(
            tf.clip_by_value(network.read_of(ends[1]), -MOST, MOST), tf.float16
        ),
    }

    def forward(batch: Any) -> dict[str, Any]:
        # Keras gives the only output of a model without a list.
        found = network.keras.tree.flatten(stages(tf.cast(batch, tf.float32), training=False))
        ends = [tf.cast(end, tf.float32) for end in found]  # which may be in half precision
        return {kind: made[kind](ends) for kind in kinds}

    return forward


def bytes_of(network: Network, kinds: Sequence[str], views: int, images: int) -> int:
    """Returns how many bytes the activations of so many images take in the cache."""
    sizes = {"pooled": 4 * network.channels}
    if "maps" in kinds:
        sizes["maps"] = 2 * math.prod(network.map_shape)
    return images * views * sum(sizes[kind] for kind in kinds)


def compute(
    forward: Forward,
    pixels: NDArray[np.uint8],
    ids: Ids,
    cache: FeatureCache,
    *,
    kinds: Sequence[str],
    views: Sequence[View],
    folder: Path,
) -> None:
    """Adds those activations of some images to the cache that it does not have yet.

    Args:
        forward: What `forward_of` returned for the same kinds.
        pixels: Packed images (n, size, size, 3).
        ids: Their ids (n,).
        cache: The cache. A view is written to it while the next view is computed.
        kinds: `pooled`, `maps`, or both.
        views: What the network is shown of each image.
        folder: A folder for files that are not in the cache yet.
    """
    wanted = _wanted(ids, cache, kinds, views)
    kept: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        by_view = groupby(_computed(forward, pixels, wanted), key=itemgetter(0))
        for number, found in by_view:
            one = wanted[number]
            files = _written((values for _, values in found), one, folder)
            _wait(kept)  # the files of at most two views are on the disk at a time
            kept.append(pool.submit(_keep, cache, files, ids[one.rows], one))
        _wait(kept)


class _Wanted(NamedTuple):
    """What is not in the cache yet of a view.

    Attributes:
        view: The view.
        place: Its place among all views, in words: `2/6`.
        missing: The ids of the images that are missing in each kind.
        rows: The rows of these images (m,); of equal images only the first.
    """

    view: View
    place: str
    missing: dict[str, Ids]
    rows: NDArray[np.int64]


def _wanted(
    ids: Ids, cache: FeatureCache, kinds: Sequence[str], views: Sequence[View]
) -> list[_Wanted]:
    """Returns what is missing of each view, without those that are complete."""
    found = []
    for number, view in enumerate(views, 1):
        missing = {kind: cache.missing(kind, view.name, ids) for kind in kinds}
        rows = _first_of_each(ids, np.concatenate(list(missing.values())))
        found.append(_Wanted(view, f"{number}/{len(views)}", missing, rows))
    return [one for one in found if len(one.rows)]


def _first_of_each(ids: Ids, missing: Ids) -> NDArray[np.int64]:
    """Returns the rows of the missing images, in order; of equal images only the first."""
    wanted = np.flatnonzero(np.isin(ids, missing))
    _, first = np.unique(ids[wanted], return_index=True)
    return wanted[np.sort(first)]


def _wait(kept: list[Future[None]]) -> None:
    """Waits until everything is written; raises the error of a write that failed."""
    while kept:
        kept.pop().result()


def _computed(
    forward: Forward, pixels: NDArray[np.uint8], wanted: Sequence[_Wanted]
) -> Iterator[tuple[int, Values]]:
    """Yields the number of a view, and the activations of some of its images, all in order.

    The squares of a batch may be of several views: so a few new images fill it, too.
    """
    squares = [(number, row) for number, one in enumerate(wanted) for row in one.rows]
    batches = [squares[start : start + BATCH] for start in range(0, len(squares), BATCH)]
    # A corrupted copy takes a core a quarter of the time that the network then needs for it.
    shown = zip(
        batches, read_ahead(_shown(wanted, pixels, batch) for batch in batches), strict=True
    )
    for batch, images in reported(shown, "batches computed", len(batches)):
        values, first = _padded(forward, images), 0
        for number, some in groupby(batch, key=itemgetter(0)):
            last = first + len(list(some))
            yield number, {kind: found[first:last] for kind, found in values.items()}
            first = last


def _shown(
    wanted: Sequence[_Wanted], pixels: NDArray[np.uint8], batch: Sequence[tuple[int, int]]
) -> NDArray[np.uint8]:
    """Returns the squares of a batch, which names a view and an image for each."""
    by_view = groupby(batch, key=itemgetter(0))
    return np.concatenate([
        wanted[number].view.of(pixels[[row for _, row in some]]) for number, some in by_view
    ])


def _written(found: Iterable[Values], one: _Wanted, folder: Path) -> dict[str, Path]:
    """Writes the activations of a view; returns a file of each kind.

    They are written as they come, so that the maps of a shard need not fit into memory.
    """
    started = time.monotonic()
    sinks: dict[str, BinaryIO] = {}
    with ExitStack() as files:
        for some in found:
            for kind, values in some.items():
                if kind not in sinks:
                    file = (folder / f"{kind}-{one.view.name}.npy").open("wb")
                    sinks[kind] = files.enter_context(file)
                    arrays.begin(file, values.dtype, (len(one.rows), *values.shape[1:]))
                sinks[kind].write(values.tobytes())
    rate = len(one.rows) / (time.monotonic() - started)
    log.info("features view=%s images=%d images_per_second=%.1f", one.place, len(one.rows), rate)
    return {kind: Path(sink.name) for kind, sink in sinks.items()}


def _padded(forward: Forward, batch: NDArray[np.uint8]) -> Values:
    """Returns the activations of a batch of at most `BATCH` images.

    The last batch is padded, so that all have one shape: the function is compiled once, and an
    image gets the same activations, to the bit, wherever it is in a shard.
    """
    full = np.zeros((BATCH, *batch.shape[1:]), np.uint8)
    full[: len(batch)] = batch
    return {kind: np.asarray(values)[: len(batch)] for kind, values in forward(full).items()}


def _keep(cache: FeatureCache, files: dict[str, Path], ids: Ids, one: _Wanted) -> None:
    """Adds the files of a view to the cache, without what it has already.

    An image may have been missing in one kind only; both were computed then.
    """
    for kind, path in files.items():
        new = np.isin(ids, one.missing[kind])
        if not new.any():
            continue
        if not new.all():
            np.save(path, np.load(path)[new])
        cache.add(kind, one.view.name, ids[new], path)
        path.unlink()
