"""What it costs to verify a shard of packed images against the digest in its key, as a share of the
features step for the same images.

Both ways of reading end with all pixels in memory: the bare one maps the file and copies it, ours
reads it, compares its SHA-256 and looks at its header. The features are of one view, for `head`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from measuring import in_turn, parser, report

from skin_pipeline import arrays
from skin_pipeline.storage import FolderStore, digest_file
from skin_pipeline.training import backbone, features, pretrained, runtime

IMAGES, SIZE = 256, 224  # the usual shard
COMPUTED = 32  # images of it whose features are computed; the rest would take as long


def main() -> None:
    """Measures both sides and reports the figure."""
    parser(str(__doc__)).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, path = FolderStore(Path(folder) / "store"), Path(folder) / "shard.npy"
        np.save(path, np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8))
        key = f"images/{digest_file(path)}.npy"
        store.put_file(key, path)
        keras = runtime.keras_on(1)
        network = backbone.Network.load(keras, pretrained.trunk_of("ResNet50", "none"), SIZE, store)
        forward = features.forward_of(network, ["pooled"])
        pixels = arrays.loaded(store, key)[:COMPUTED]

        def compute() -> None:
            for start in range(0, COMPUTED, features.BATCH):
                forward(pixels[start : start + features.BATCH])["pooled"].numpy()

        bare, ours, forwards = in_turn(
            lambda: np.array(np.load(store.local(key), mmap_mode="r")),
            lambda: arrays.loaded(store, key),
            compute,
        )
    step = forwards * IMAGES / COMPUTED
    share = (ours - bare) / step
    report(
        [
            ("bare reading", f"{1000 * bare:.0f} ms"),
            ("verified reading", f"{1000 * ours:.0f} ms"),
            ("features of one view", f"{step:.1f} s"),
            ("share", f"{share:.4f}"),
        ],
        name="verification",
        value=round(share, 4),
        unit="share",
        against="forward passes of one view of the same shard",
        reading=round(ours / bare, 2),
    )


if __name__ == "__main__":
    main()
