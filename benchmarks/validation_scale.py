"""How the time and memory of ingest and validate grow from 100,000 to 400,000 images.

The images are small and drawn here, each unlike the others but for one in a hundred, which is a
flipped, smaller copy of the one before it. Everything is measured that the two steps do: fetching,
decoding, packing, near-duplicates, groups, the shortcut audit and Great Expectations.

With --table-only there are no images but rows of a table, a million of them: the parts of the table
are merged, validated and split. What needs pixels (near-duplicates) is left out; copies of a file
are found as ever. The set is compared with one that was accepted before, of which one in fifty
images is gone and which lacked another fiftieth.
"""

from __future__ import annotations

import csv
import logging
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from unittest import mock

import pandas as pd
from drawing import COPY_EVERY, draw, rows
from measuring import apart, parser, report

from skin_pipeline import parquet, steps, tables
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import (
    RESULT,
    Dataset,
    DecodedRange,
    SourceListing,
    Split,
    Validation,
    dump,
    load,
)
from skin_pipeline.data import history, manifest, tasks
from skin_pipeline.job import Job
from skin_pipeline.parting import Parts
from skin_pipeline.storage import open_store
from skin_pipeline.versions import VERSIONS

sys.path.append(str(Path(__file__).parents[1] / "tests/support"))
import documents

SMALL, LARGE = 100_000, 400_000
ROWS = 1_000_000
BATCH = 500
PART = 4096  # rows of a part, as one of many tasks would write it
LISTING, BEFORE = "listing/drawn", "validate/before"
# What is known of an image beside its file.
FACTS = ("image_id", "patient_id", "lesion_id", "sex", "age", "site")


def generate(folder: Path, count: int) -> None:
    """Writes a folder with the class folders and a table of patients with two images each."""
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
    batches = [range(i, min(i + BATCH, count)) for i in range(0, count, BATCH)]
    with ProcessPoolExecutor() as processes:  # those of `workers` may not write files
        assert sum(processes.map(partial(draw, folder=folder), batches)) == count
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "patient_id", "age", "sex"])
        known = ((f"image{i:06}", f"P{i // 2}", 30 + i % 50, "female") for i in range(count))
        writer.writerows(known)


def job_of(store: str, **settings: object) -> Job:
    """Returns a job that works on a store."""
    known = {"weights": "imagenet", "image_size": 64, **settings}
    return Job(Settings(**known), Deployment(store=store), open_store(store))  # type: ignore[arg-type]


def validated(folder: Path, store: str) -> int:
    """Ingests and validates a folder; returns how many planted copies were found."""
    job = job_of(store, data=str(folder))
    key = steps.validate(job, steps.ingest(job).dataset)
    result = load(job.store, key, Validation)
    assert load(job.store, result.dataset, Dataset).unreadable == 0
    table = manifest.read(job.store, result.table, ["image_id", "duplicates"])
    found = table.set_index("image_id")["duplicates"]
    copies = range(COPY_EVERY - 1, len(table), COPY_EVERY)
    pairs = ((found[f"image{i:06}"], found[f"image{i - 1:06}"]) for i in copies)
    return sum(copy == original != "" for copy, original in pairs)


def of_images(large: int) -> None:
    """Measures both sizes of a set of images, and reports how they differ."""
    small, measured = large * SMALL // LARGE, []
    for count in (2_000, small, large):  # the first one: what is compiled and cached once
        with tempfile.TemporaryDirectory(prefix="skin-bench-") as scratch:
            generate(Path(scratch, "images"), count)
            measured.append(apart(validated, Path(scratch, "images"), f"file://{scratch}/store"))
    _, short, long = measured
    planted, found = (small + large) // COPY_EVERY, short.returned + long.returned
    report(
        [
            *(
                (f"{count} images", f"{took.seconds:.0f} s, {took.core_seconds:.0f} of a core")
                for count, took in ((small, short), (large, long))
            ),
            ("peak memory, all processes", f"{short.mib:.0f}, {long.mib:.0f} MiB"),
            ("peak memory, largest process", f"{short.largest:.0f}, {long.largest:.0f} MiB"),
            ("planted copies found", f"{found} of {planted}"),
            ("ratio", f"{long.seconds / short.seconds:.2f}"),
        ],
        name="validation_scale",
        value=round(long.seconds / short.seconds, 2),
        unit="ratio",
        against=f"time at {small} images",
        seconds=[round(short.seconds, 1), round(long.seconds, 1)],
        core_seconds=[round(short.core_seconds, 1), round(long.core_seconds, 1)],
        peak_mib=round(long.mib),
        largest_mib=round(long.largest),
        planted=planted,
        found=found,
    )


# --- rows without images --------------------------------------------------------------------------


def draw_rows(store: str, count: int) -> list[str]:
    """Writes a listing, its ranges, and a validation of before; returns the ranges' keys."""
    job = job_of(store)
    pieces = [rows(range(start, min(start + PART, count))) for start in range(0, count, PART)]
    table = tables.put(job.store, (part[part.index % 50 > 0] for part in pieces[:-1]))
    seen = parquet.read(job.store, table, ["sha256", "patient_id"]).drop_duplicates("sha256")
    anchors = seen.assign(anchor="patient_id:" + seen["patient_id"])[["sha256", "anchor"]]
    known = tables.put(job.store, anchors)
    before = documents.validation(BEFORE, "ingest/before", table=table, anchors=known)
    job.store.put(f"{BEFORE}/{RESULT}", dump(before))
    history.accept(job.store, job.settings.released_as, "ingest/before", BEFORE, job.moment)
    facts = tuple(tables.put(job.store, part[[*FACTS]]) for part in pieces)
    listed = SourceListing(
        **{"images": count, "shard_size": PART, "range_size": PART, "facts": facts},
        **{"files": (), "content": "", "labelling": ""},
    )
    job.store.put(f"{LISTING}/{RESULT}", dump(listed))
    return [_decoded(job, number, part) for number, part in enumerate(pieces)]


def _decoded(job: Job, number: int, drawn: pd.DataFrame) -> str:
    """Writes a decoded range without its pixels; returns its key."""
    key = f"decode/{number}"
    packed = drawn.drop(columns=[*FACTS]).assign(shard=drawn["shard"].clip(upper=0))
    table = tables.write(job.store, f"{key}/manifest.parquet", packed.reset_index(names="number"))
    decoded = DecodedRange(
        **{"table": table, "images": len(drawn), "content": str(number)},
        **{"shards": (key,), "thumbnails": (), "shard_images": (len(drawn),), "masks": ()},
        golden=dict.fromkeys(packed["key"], key),
    )
    job.store.put(f"{key}/{RESULT}", dump(decoded))
    return key


def merge(store: str, parts: list[str]) -> str:
    """Unites the ranges to a data set; returns its key."""
    return job_of(store).once(
        "ingest",
        VERSIONS["ingest"],
        {"parts": parts},
        lambda work: tasks.merge(work, "file:///drawn", "drawn", LISTING, parts, None),
    )


def validate(store: str, dataset: str) -> tuple[str, int]:
    """Validates the rows; returns the key, and how many copies were found."""
    job = job_of(store)
    with mock.patch.object(Parts, "all_near", return_value=[]):
        key = steps.validate(job, dataset)
    result = load(job.store, key, Validation)
    found = manifest.read(job.store, result.table, ["duplicates"])["duplicates"]
    return key, int((found != "").sum())


def split(store: str, validation: str) -> int:
    """Splits the rows into ten runs; returns how many test images there are."""
    job = job_of(store, runs=10)
    return load(job.store, steps.split(job, validation), Split).counts["run_0"]["test"]


def of_rows(count: int) -> None:
    """Measures the steps that work on the table, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="skin-bench-") as scratch:
        store = f"file://{scratch}/store"
        keys = apart(draw_rows, store, count).returned
        merged = apart(merge, store, keys)
        checked = apart(validate, store, merged.returned)
        key, found = checked.returned
        divided = apart(split, store, key)
    measured = {"merge": merged, "validate": checked, "split": divided}
    total = sum(item.seconds for item in measured.values())
    report(
        [
            *(
                (
                    name,
                    f"{took.seconds:.0f} s, {took.core_seconds:.0f} of a core, at most "
                    f"{took.largest:.0f} MiB a process",
                )
                for name, took in measured.items()
            ),
            ("copies found", f"{found} of {2 * (count // COPY_EVERY)}"),
            ("test images", str(divided.returned)),
            ("all", f"{total:.0f} s for {count} rows"),
        ],
        name="validation_scale",
        value=round(total, 1),
        unit="s",
        against=f"{count} rows without pixels",
        seconds=[round(item.seconds, 1) for item in measured.values()],
        core_seconds=[round(item.core_seconds, 1) for item in measured.values()],
        largest_mib=[round(item.largest) for item in measured.values()],
    )


def main() -> None:
    """Measures images, or rows of a table."""
    flags = parser(str(__doc__))
    flags.add_argument("--images", type=int, help=f"default: {LARGE}, or {ROWS} rows")
    flags.add_argument("--table-only", action="store_true", help="rows without pixels")
    given = flags.parse_args()
    logging.disable(logging.WARNING)
    if given.table_only:
        of_rows(given.images or ROWS)
    else:
        of_images(given.images or LARGE)


if __name__ == "__main__":
    main()
