"""What the search for near-duplicates finds in sets whose pictures all have one frame.

For each kind of frame the same different images are framed, and copies of them are added: of the
framed picture as the columns name them, and last one without the frame. `false` counts the pairs of
different pictures, the other columns how many of 100 copies were found.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from framing import COPIES, FRAMES, Frame, encoded, side_of
from measuring import folder_of, parser, report
from PIL import Image

from skin_pipeline.data import duplicates

CORES = os.cpu_count() or 1
UNFRAMED = "no frame"
KINDS = (*COPIES, UNFRAMED)


def different(folder: Path, count: int) -> list[Image.Image]:
    """Images of a folder, at even distances; one of each pair that is known to be alike."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    images = [Image.open(path).convert("RGB") for path in chosen]
    alike = {pair.second for pair in duplicates.within(side_of(images), CORES)}
    return [image for number, image in enumerate(images) if number not in alike]


def measure(images: Sequence[Image.Image], frame: Frame) -> tuple[int, dict[str, float]]:
    """Returns false pairs, and the share of each kind of copy that is found."""
    framed = [frame(image, number) for number, image in enumerate(images)]
    each = len(images) // len(KINDS)
    kinds = [kind for kind in KINDS for _ in range(each)]
    copies = [
        COPIES[kind](framed[number]) if kind in COPIES else encoded(images[number], 85)
        for number, kind in enumerate(kinds)
    ]
    pairs = duplicates.within(side_of([*framed, *copies]), CORES)
    true = [pair.first for pair in pairs if pair.second == pair.first + len(images)]
    found = Counter(kinds[number] for number in true)
    return len(pairs) - len(true), {kind: found[kind] / each for kind in KINDS}


def main() -> None:
    """Measures both sides and reports the figure."""
    flags = parser(str(__doc__))
    flags.add_argument("--images", type=int, default=300, help="different images; default: 300")
    flags.add_argument("--frames", nargs="*", default=list(FRAMES), help="default: all kinds")
    arguments = flags.parse_args()
    with folder_of(arguments.data) as (folder, name):
        images = different(folder, arguments.images)
        results = {kind: measure(images, FRAMES[kind]) for kind in arguments.frames}
    rows = [
        (kind, f"false {false:3d}   " + "   ".join(f"{k} {found[k]:.0%}" for k in KINDS))
        for kind, (false, found) in results.items()
    ]
    report(
        rows,
        name="near_duplicates",
        value=sum(false for false, _ in results.values()),
        unit="pairs",
        against="none",
        images=len(images),
        data=name,
        false={kind: false for kind, (false, _) in results.items()},
        found={
            kind: {name: round(share, 3) for name, share in found.items()}
            for kind, (_, found) in results.items()
        },
    )


if __name__ == "__main__":
    main()
