"""The feature cache: activations that were computed once, found by what an image shows.

```
activations/<recipe>/<kind>-<view>/<block>.npy       activations (n, …) of some images
activations/<recipe>/<kind>-<view>/<block>.ids.npy   those images, written last
```

The recipe names the network, its weights, the images' size and this version; an image is named by
the digest of its packed pixels. So whatever data set an image comes in, now or later, its
activations are computed once.
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


def ids_of(pixels: NDArray[np.uint8]) -> Ids:
    """What each packed image (n, size, size, 3) shows, as a digest of 32 hex characters (n,)."""
    digests = [hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in pixels]
    return np.array(digests, "S32")


class FeatureCache:
    """The cached activations of one recipe.

    Args:
        store: Where they lie.
        trunk: The network and its weights.
        image_size: Side of the packed images in pixels.
        ids: The only images that will be asked for, so that others take no memory; all by default.
    """

    def __init__(self, store: Store, trunk: Trunk, image_size: int, ids: Ids | None = None) -> None:
        recipe = {"version": VERSION, **trunk.model_dump(), "image_size": image_size}
        recipe |= signed_by(store)  # what nobody signed is never mixed with what is
        self._store, self._asked = store, None if ids is None else frozenset(ids.tolist())
        self._folder = f"activations/{address(recipe)}"
        self._known: dict[str, dict[bytes, tuple[str, int]]] = {}
        for key in store.list(self._folder):
            if key.endswith(IDS):
                self._learn(key, arrays.loaded(store, key))

    def missing(self, kind: str, view: int, ids: Ids) -> Ids:
        """Those of `ids` that have no activations yet, each once, in order."""
        known = self._known.get(self._place(kind, view), {})
        return np.array([one for one in dict.fromkeys(ids.tolist()) if one not in known], "S32")

    def add(self, kind: str, view: int, ids: Ids, path: Path) -> None:
        """Keep activations (n, …) of images `ids` (n,), an `.npy` file."""
        block = f"{self._place(kind, view)}/{address({'ids': ids.tobytes().hex()})}"
        self._store.put_file(f"{block}.npy", path)
        named = path.with_suffix(IDS)
        np.save(named, ids)
        self._store.put_file(f"{block}{IDS}", named)
        self._learn(f"{block}{IDS}", ids)

    def find(self, kind: str, view: int, ids: Ids) -> list[tuple[str, int]]:
        """The block and the row in it of each image; all of them must be there."""
        known = self._known[self._place(kind, view)]
        return [known[one] for one in ids.tolist()]

    def _place(self, kind: str, view: int) -> str:
        return f"{self._folder}/{kind}-{view}"

    def _learn(self, key: str, ids: Ids) -> None:
        block = f"{key.removesuffix(IDS)}.npy"
        known = self._known.setdefault(key.rsplit("/", 1)[0], {})
        rows = enumerate(ids.tolist())
        asked = self._asked
        known.update((one, (block, row)) for row, one in rows if asked is None or one in asked)


def index_of(places: list[list[tuple[str, int]]]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Blocks, each once, and for each view and image the number of its block and the row in it.

    Args:
        places: For each view, block and row of each image.

    Returns:
        Keys of blocks, and an array (views, n, 2).
    """
    blocks = list(dict.fromkeys(block for view in places for block, _ in view))
    number = {block: place for place, block in enumerate(blocks)}
    index = [[(number[block], row) for block, row in view] for view in places]
    return tuple(blocks), np.array(index, np.int64)


def check_disk(store: Store, needed: int, bound_gib: float) -> None:
    """Tell what the activations of a data set take before any is computed.

    Args:
        store: Where they go to.
        needed: Bytes of all activations of the data set.
        bound_gib: The setting `features_gib`.

    Raises:
        BadInput: more than the setting allows.
        Unavailable: more than the disk has left.
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
        folder = next(path for path in (store.root, *store.root.parents) if path.exists())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise Unavailable(
                f"the activations take {needed / GIB:.1f} GiB, and {folder} has "
                f"{free / GIB:.1f} GiB left. Free some, or lower views"
            )
