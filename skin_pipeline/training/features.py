"""Activations of the frozen network, computed once and shared by all runs.

    forward = forward_of(network, ["pooled"])
    compute(forward, pixels, ids, cache, kinds=["pooled"], views=views, folder=folder)

The network sees each image in each of its views; what it gives goes to the cache.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.progress import reported
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.batches import read_ahead
from skin_pipeline.training.cache import FeatureCache, Ids
from skin_pipeline.training.views import View

log = logging.getLogger(__name__)

BATCH = 16  # images that the network sees at once
MOST = np.finfo(np.float16).max  # above it, an activation would become infinite in float16

Forward = Callable[[Any], dict[str, Any]]


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
    kept: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        for number, view in enumerate(views, 1):
            missing = {kind: cache.missing(kind, view.name, ids) for kind in kinds}
            wanted = _first_of_each(ids, np.concatenate(list(missing.values())))
            if not len(wanted):
                continue
            place = f"{number}/{len(views)}"
            files = _one_view(forward, pixels, wanted, view, place, folder)
            _wait(kept)  # the files of at most two views are on the disk at a time
            kept.append(pool.submit(_keep, cache, files, ids[wanted], missing, view.name))
        _wait(kept)


def _first_of_each(ids: Ids, missing: Ids) -> NDArray[np.int64]:
    """Returns the rows of the missing images, in order; of equal images only the first."""
    wanted = np.flatnonzero(np.isin(ids, missing))
    _, first = np.unique(ids[wanted], return_index=True)
    return wanted[np.sort(first)]


def _wait(kept: list[Future[None]]) -> None:
    """Waits until everything is written; raises the error of a write that failed."""
    while kept:
        kept.pop().result()


def _one_view(
    forward: Forward,
    pixels: NDArray[np.uint8],
    wanted: NDArray[np.int64],
    view: View,
    place: str,
    folder: Path,
) -> dict[str, Path]:
    """Computes one view of the wanted images, at its place among all; returns a file of each kind.

    Each batch is written at once, so that the maps of a shard need not fit into memory.
    """
    started = time.monotonic()
    sinks: dict[str, BinaryIO] = {}
    starts = range(0, len(wanted), BATCH)
    with ExitStack() as files:
        # A corrupted copy takes a core a quarter of the time that the network then needs for it.
        shown = read_ahead(view.of(pixels[wanted[start : start + BATCH]]) for start in starts)
        for batch in reported(shown, f"batches of view {place}", len(starts)):
            for kind, values in _padded(forward, batch).items():
                if kind not in sinks:
                    file = (folder / f"{kind}-{view.name}.npy").open("wb")
                    sinks[kind] = files.enter_context(file)
                    arrays.begin(file, values.dtype, (len(wanted), *values.shape[1:]))
                sinks[kind].write(values.tobytes())
    rate = len(wanted) / (time.monotonic() - started)
    log.info("features view=%s images=%d images_per_second=%.1f", place, len(wanted), rate)
    return {kind: Path(sink.name) for kind, sink in sinks.items()}


def _padded(forward: Forward, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Returns the activations of a batch of at most `BATCH` images.

    The last batch is padded, so that all have one shape: the function is compiled once, and an
    image gets the same activations, to the bit, wherever it is in a shard.
    """
    full = np.zeros((BATCH, *batch.shape[1:]), np.uint8)
    full[: len(batch)] = batch
    return {kind: np.asarray(values)[: len(batch)] for kind, values in forward(full).items()}


def _keep(
    cache: FeatureCache, files: dict[str, Path], ids: Ids, missing: dict[str, Ids], view: str
) -> None:
    """Adds the files of one view to the cache, without what it has already.

    An image may have been missing in one kind only; both were computed then.
    """
    for kind, path in files.items():
        new = np.isin(ids, missing[kind])
        if not new.any():
            continue
        if not new.all():
            np.save(path, np.load(path)[new])
        cache.add(kind, view, ids[new], path)
        path.unlink()
