"""The feature cache: activations that were computed once, found by what an image shows.

```
activations/<recipe>/<kind>-<view>/<block>.npy       activations (n, …) of some images
activations/<recipe>/<kind>-<view>/<block>.ids.npy   those images, written last
```

`<recipe>` is a digest of the network, its weights, the images' size and `VERSION`; the id of an
image is the digest of its packed pixels. So the activations of an image are computed once,
whichever data set contains it, now or later.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Trunk, address
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.provenance import ProvenStore, signed_by
from skin_pipeline.storage import FolderStore, Store

log = logging.getLogger(__name__)

VERSION = 1  # raised when the same images and weights give other activations
IDS = ".ids.npy"
GIB = 2**30

Ids = NDArray[np.bytes_]
Entry = tuple[str, int]  # the key of a block, and the row in it


def ids_of(pixels: NDArray[np.uint8]) -> Ids:
    """Returns the ids (n,) of packed images (n, height, width, 3): digests of 32 hex characters."""
    digests = [hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in pixels]
    return np.array(digests, "S32")


class FeatureCache:
    """The cached activations of one recipe.

    Args:
        store: The store of the cache.
        trunk: The network and its weights.
        image_size: Side of the packed images in pixels.
        ids: The only images that will be needed, so that others take no memory; all by default.
    """

    def __init__(self, store: Store, trunk: Trunk, image_size: int, ids: Ids | None = None) -> None:
        recipe = {"version": VERSION, **trunk.recipe, "image_size": image_size}
        recipe |= signed_by(store)  # signed activations are never mixed with others
        self._store, self._needed = store, None if ids is None else frozenset(ids.tolist())
        self._folder = f"activations/{address(recipe)}"
        self._known: dict[str, dict[bytes, Entry]] = {}
        for key in store.list(self._folder):
            if key.endswith(IDS):
                self._learn(key, arrays.loaded(store, key))

    def missing(self, kind: str, view: str, ids: Ids) -> Ids:
        """Returns those of `ids` that have no activations yet, each once, in order.

        Args:
            kind: `pooled` or `maps`.
            view: Name of the view.
            ids: Ids of images (n,).
        """
        known = self._known.get(self._group(kind, view), {})
        return np.array([one for one in dict.fromkeys(ids.tolist()) if one not in known], "S32")

    def add(self, kind: str, view: str, ids: Ids, path: Path) -> None:
        """Adds activations (n, …) of images `ids` (n,), an `.npy` file."""
        block = f"{self._group(kind, view)}/{address({'ids': ids.tobytes().hex()})}"
        self._store.put_file(f"{block}.npy", path)
        # The ids come last: a block without them does not count, nor does one that was cut short.
        named = path.with_suffix(IDS)
        np.save(named, ids)
        self._store.put_file(f"{block}{IDS}", named)
        self._learn(f"{block}{IDS}", ids)

    def find(self, kind: str, view: str, ids: Ids) -> list[Entry]:
        """Returns the block of each image and the row in it; no image may be missing."""
        known = self._known[self._group(kind, view)]
        return [known[one] for one in ids.tolist()]

    def _group(self, kind: str, view: str) -> str:
        return f"{self._folder}/{kind}-{view}"

    def _learn(self, key: str, ids: Ids) -> None:
        block = f"{key.removesuffix(IDS)}.npy"
        known = self._known.setdefault(key.rsplit("/", 1)[0], {})
        rows = enumerate(ids.tolist())
        needed = self._needed
        known.update((one, (block, row)) for row, one in rows if needed is None or one in needed)


def index_of(entries: list[list[Entry]]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Returns blocks, each once, and where in them each view of each image is.

    Args:
        entries: For each view the entries of the images.

    Returns:
        Keys of the blocks, and an array (views, n, 2) of a block's number and the row in it.
    """
    blocks = list(dict.fromkeys(block for view in entries for block, _ in view))
    numbers = {block: number for number, block in enumerate(blocks)}
    index = [[(numbers[block], row) for block, row in view] for view in entries]
    return tuple(blocks), np.array(index, np.int64)


def check_disk(store: Store, needed: int, bound_gib: float) -> None:
    """Logs how much disk space activations take; raises an error if it is too much.

    Args:
        store: The store of the cache.
        needed: Bytes of all activations of the data set.
        bound_gib: The setting `features_gib`.

    Raises:
        BadInput: They take more than the setting allows.
        Unavailable: They take more than the disk has left.
    """
    log.info("disk activations_gib=%.2f allowed_gib=%g", needed / GIB, bound_gib)
    if needed > bound_gib * GIB:
        raise BadInput(
            f"the activations would take {needed / GIB:.1f} GiB of the store, and "
            f"SKIN_FEATURES_GIB allows {bound_gib:g}. Raise it, lower views, or choose "
            "strategy=head, which keeps averages only"
        )
    store = store.inner if isinstance(store, ProvenStore) else store
    if isinstance(store, FolderStore):
        # The store's folder may not exist yet; a folder above it is on the same disk.
        folder = next(path for path in (store.root, *store.root.parents) if path.exists())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise Unavailable(
                f"the activations take {needed / GIB:.1f} GiB, and {folder} has "
                f"{free / GIB:.1f} GiB left. Free some, or lower views"
            )
