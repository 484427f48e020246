"""Retraining on unchanged data, and on data with a tenth of new images, against the first run.

Each is a process of its own that does the whole workflow on the command line, so that its start and
imports count. The first run has nine tenths of the images and an empty store, the second the same,
the third all images.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import folder_of, parser, report, seconds

IMAGES = {".jpg", ".jpeg", ".png"}
ENDED = {0, 3}  # promoted, or refused by the gate


def part_of(source: Path, target: Path, *, all_images: bool) -> None:
    """Links to the images, without every tenth unless all are wanted; tables are copied."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    images = [path for path in files if path.suffix.lower() in IMAGES]
    left_out = set() if all_images else set(images[::10])
    for path in files:
        if path in left_out:
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path in images:
            if not place.exists():
                place.symlink_to(path.resolve())
        else:
            shutil.copy(path, place)


def run(data: Path, store: Path, flags: list[str]) -> None:
    """Runs the whole workflow in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "skin_pipeline", "run", "--data", str(data), *flags],
        env={**os.environ, "SKIN_STORE": f"file://{store}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode in ENDED, done.stderr[-2000:]


def main() -> None:
    """Measures both sides and reports the figure."""
    flags = parser(str(__doc__))
    flags.add_argument("--strategy", default="head")
    arguments = flags.parse_args()
    knobs = [f"--strategy={arguments.strategy}", f"--weights={arguments.weights or 'imagenet'}"]
    with folder_of(arguments.data) as (folder, name), tempfile.TemporaryDirectory() as scratch:
        data, store = Path(scratch, "images"), Path(scratch, "store")
        part_of(folder, data, all_images=False)
        first = seconds(lambda: run(data, store, knobs))
        unchanged = seconds(lambda: run(data, store, knobs))
        part_of(folder, data, all_images=True)
        grown = seconds(lambda: run(data, store, knobs))
    report(
        [
            ("first run", f"{first:.0f} s"),
            ("unchanged", f"{unchanged:.1f} s, {unchanged / first:.1%}"),
            ("a tenth of new images", f"{grown:.1f} s, {grown / first:.1%}"),
        ],
        name="retraining",
        value=round(unchanged / first, 4),
        unit="ratio",
        against="the first run on nine tenths of the images",
        ten_percent_new=round(grown / first, 4),
        seconds=[round(first, 1), round(unchanged, 1), round(grown, 1)],
        strategy=arguments.strategy,
        data=name,
    )


if __name__ == "__main__":
    main()
