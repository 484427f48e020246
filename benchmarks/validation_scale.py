"""How the time and memory of ingest and validate grow from 25,000 to 100,000 images.

The images are small and drawn here, each unlike the others but for one in a hundred, which is a
flipped, smaller copy of the one before it. Everything is measured that the two steps do: fetching,
decoding, packing, near-duplicates, groups, the shortcut audit and Great Expectations.
"""

from __future__ import annotations

import csv
import logging
import os
import tempfile
from functools import partial
from pathlib import Path

from drawing import COPY_EVERY, draw
from measuring import PeakMemory, parser, report, seconds

from skin_pipeline import steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Dataset, Validation, load
from skin_pipeline.data import manifest, workers
from skin_pipeline.job import Job
from skin_pipeline.storage import open_store

SMALL, LARGE = 25_000, 100_000
BATCH = 500


def generate(folder: Path, count: int) -> None:
    """Writes a folder with the class folders and a table of patients with two images each."""
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
    batches = [range(i, min(i + BATCH, count)) for i in range(0, count, BATCH)]
    assert sum(workers.spread(partial(draw, folder=folder), batches, os.cpu_count() or 1)) == count
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "patient_id", "age", "sex"])
        rows = ((f"image{i:06}", f"P{i // 2}", 30 + i % 50, "female") for i in range(count))
        writer.writerows(rows)


def validated(folder: Path, store: str) -> Job:
    """Ingests and validates a folder; returns the job that did."""
    settings = Settings(data=str(folder), weights="imagenet", image_size=64)
    deployment = Deployment(store=store)
    job = Job(settings, deployment, open_store(store))
    steps.validate(job, steps.ingest(job).dataset)
    return job


def pairs_found(job: Job) -> int:
    """Returns how many planted copies are in one cluster with their originals."""
    (key,) = (key for key in job.store.list("validate") if key.endswith("/result.json"))
    result = load(job.store, key.removesuffix("/result.json"), Validation)
    assert load(job.store, result.dataset, Dataset).unreadable == 0
    table = manifest.read(job.store, result.table).set_index("image_id")["duplicates"]
    copies = range(COPY_EVERY - 1, len(table), COPY_EVERY)
    pairs = ((table[f"image{i:06}"], table[f"image{i - 1:06}"]) for i in copies)
    return sum(copy == original != "" for copy, original in pairs)


def measure(count: int) -> tuple[float, float, int]:
    """Seconds, peak memory in MiB, and planted copies found."""
    with tempfile.TemporaryDirectory(prefix="skin-bench-") as scratch:
        folder, store = Path(scratch, "images"), f"file://{scratch}/store"
        generate(folder, count)
        with PeakMemory() as peak:
            took = seconds(partial(validated, folder, store))
        return took, peak.mib, pairs_found(validated(folder, store))


def main() -> None:
    """Measures both sides and reports the figure."""
    flags = parser(str(__doc__))
    flags.add_argument("--images", type=int, default=LARGE, help=f"default: {LARGE}")
    large = flags.parse_args().images
    small = large * SMALL // LARGE
    logging.disable(logging.WARNING)
    measure(2_000)  # what is imported and compiled once
    short, _, found_short = measure(small)
    long, peak, found_long = measure(large)
    planted = (small + large) // COPY_EVERY
    report(
        [
            (f"{small} images", f"{short:.0f} s"),
            (f"{large} images", f"{long:.0f} s, {large / long:.0f} images/s"),
            ("peak memory, all processes", f"{peak:.0f} MiB"),
            ("planted copies found", f"{found_short + found_long} of {planted}"),
            ("ratio", f"{long / short:.2f}"),
        ],
        name="validation_scale",
        value=round(long / short, 2),
        unit="ratio",
        against=f"time at {small} images",
        seconds=[round(short, 1), round(long, 1)],
        peak_mib=round(peak),
        planted=planted,
        found=found_short + found_long,
    )


if __name__ == "__main__":
    main()
