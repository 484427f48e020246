"""Images a second of looking at every image, against a bare parallel PIL decode loop.

Both read and decode the same files completely, in as many processes as there are cores, in batches
of the same size through the same pool. Our side also guards, hashes and measures every image and
makes its fingerprint and thumbnail. Packing the working squares belongs to training and is shown
beside it (the centre alone, and as the workflow does by default: also the square around the
lesion), as is the search for near-duplicates. A table says what each stage takes of one core.

The smaller the images, the smaller the ratio: what is measured on 64x64 pixels takes the same time
for any image, and decoding does not.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

from measuring import bare_decoding, folder_of, in_turn, parser, report, seconds
from stages import CENTRE, DEFAULT, stages

from skin_pipeline.data import duplicates, manifest, sources, workers
from skin_pipeline.geometry import Geometry
from skin_pipeline.storage import FolderStore

CORES = os.cpu_count() or 1
STAGED = 300  # images of which each stage is timed alone


def decode_all(files: tuple[sources.Found, ...]) -> None:
    """Decodes all files with PIL, on all cores."""
    paths = [item.path for item in files]
    batches = [paths[i : i + workers.BATCH] for i in range(0, len(paths), workers.BATCH)]
    assert sum(workers.spread(bare_decoding, batches, CORES)) == len(files)


def inspect_all(files: tuple[sources.Found, ...], geometry: Geometry | None) -> None:
    """Inspects all files as `ingest` does."""
    assert sum(1 for _ in manifest.inspected(files, CORES, geometry)) == len(files)


def main() -> None:
    """Measures both sides and reports the figure."""
    arguments = parser(str(__doc__)).parse_args()
    with folder_of(arguments.data) as (folder, name), tempfile.TemporaryDirectory() as scratch:
        found = sources.find(folder)
        # Starting processes takes the same time on both sides, and would hide the ratio.
        files = found.files * max(1, 4_000 // len(found.files))
        (each,) = workers.spread(stages, [[item.path for item in found.files[:STAGED]]], 1)
        decoding, validating, packing, packing_both = in_turn(
            partial(decode_all, files),
            partial(inspect_all, files, None),
            partial(inspect_all, files, CENTRE),
            partial(inspect_all, files, DEFAULT),
        )
        store = FolderStore(Path(scratch, "store"))
        made = manifest.build(found, store, Geometry(64), shard_size=256, processes=CORES)
        side = duplicates.Side.read(store, made.table, made.thumbnails)
        searching = seconds(lambda: duplicates.within(side, CORES))
    rates = {
        "bare": len(files) / decoding,
        "ours": len(files) / validating,
        "packed": len(files) / packing,
        "packed_by_default": len(files) / packing_both,
    }
    report(
        [
            ("images", f"{len(found.files)} ({name}), {len(files)} a round"),
            ("bare PIL decode loop", f"{rates['bare']:.0f} images/s"),
            ("decode, guard, hash, measure", f"{rates['ours']:.0f} images/s"),
            ("the same and centres", f"{rates['packed']:.0f} images/s"),
            ("the same, centres and lesions", f"{rates['packed_by_default']:.0f} images/s"),
            *((f"  {name}", f"{taken:.3f} ms of a core") for name, taken in each.items()),
            ("search for near-duplicates", f"{searching:.1f} s for {len(found.files)} images"),
            ("ratio", f"{rates['ours'] / rates['bare']:.3f}"),
        ],
        name="validation_throughput",
        value=round(rates["ours"] / rates["bare"], 3),
        unit="ratio",
        against="bare parallel PIL decode loop over the same files, same cores",
        images=len(found.files),
        data=name,
        stage_ms={name: round(taken, 3) for name, taken in each.items()},
        images_per_second={key: round(rate, 1) for key, rate in rates.items()},
        near_duplicates_seconds=round(searching, 2),
    )


if __name__ == "__main__":
    main()
