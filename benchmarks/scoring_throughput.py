"""Images a second of batch scoring, against `predict` on the same files.

Both load nothing within the measured time. `predict` gives a row for each image; batch scoring also
lists the folder, hashes each file, measures each image and places it in the space of the trunk's
features, and writes rows, ledger and batch into a store.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from measuring import folder_of, in_turn, parser, report
from predict_throughput import model_in

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import LABELS
from skin_pipeline.data import kinds
from skin_pipeline.evaluation import space
from skin_pipeline.job import Job
from skin_pipeline.monitoring import chunks, measures, reference, scoring
from skin_pipeline.release import Model, predict
from skin_pipeline.storage import digest_file, open_store

IMAGES = 192
MODEL, VERSION = "benchmark", "0" * 20


def some_reference(channels: int) -> reference.Reference:
    """Returns a reference of random features, of the size of a real one."""
    random = np.random.default_rng(0)
    pooled = random.normal(size=(400, channels)).astype(np.float32)
    made = space.fitted(pooled)
    return reference.Reference(
        measures=np.zeros((400, len(measures.NAMES)), np.float32),
        probability=random.random(400).astype(np.float32),
        malignant=random.integers(0, len(LABELS), 400).astype(np.uint8),
        group=np.arange(400),
        embedding=made.embed(pooled),
        abstained=np.zeros(400, np.uint8),
        space=made,
        threshold=0.5,
    )


def jobs_in(folder: Path) -> Iterator[Job]:
    """Yields jobs, each on an empty store."""
    for number in count():
        deployment = Deployment(store=f"file://{folder / str(number)}", paths="/")
        yield Job(Settings(), deployment, open_store(deployment.store), run_id=f"run {number}")


def batch_of(folder: Path, jobs: Iterator[Job]) -> Any:
    """Returns a call that scores the folder as `skin_scoring` does, as if all of it were new."""

    def run() -> None:
        job = next(jobs)
        batch = scoring.plan(job, scoring.Request(MODEL, VERSION, str(folder)))
        for chunk in scoring.chunks_of(job, batch):
            scoring.score(job, chunk)
        told = scoring.merge(job, batch)
        assert told.words.startswith(f"{len(list(folder.iterdir()))} images scored"), told.words

    return run


def rows_of(scorer: predict.Scorer, folder: Path) -> Any:
    """Returns a call that scores the folder as the command `predict` does."""

    def run() -> None:
        assert not any(row.problem for row in scorer.predict(sorted(folder.iterdir())))

    return run


def copied(data: Path, folder: Path) -> int:
    """Copies images of different bytes into a new folder; returns how many."""
    folder.mkdir()
    found = sorted(path for path in data.rglob("*") if path.suffix.lower() in kinds.SUFFIXES)
    different = {digest_file(path): path for path in found[: 2 * IMAGES]}
    for path in list(different.values())[:IMAGES]:
        shutil.copy(path, folder / f"{len(list(folder.iterdir()))}{path.suffix}")
    return len(list(folder.iterdir()))


@contextmanager
def nothing_loaded(
    scorer: predict.Scorer, known: reference.Reference
) -> Generator[None, None, None]:
    """Stands in for the loading of the model and of what is known of it, within the block."""
    with (
        mock.patch.object(chunks, "reference_of", return_value=known),
        mock.patch.object(predict.Scorer, "of", return_value=scorer),
        mock.patch.object(predict, "resolve"),
        mock.patch.object(Model, "release"),
    ):
        yield


def main() -> None:
    """Measures both sides and reports the figure."""
    arguments = parser(str(__doc__)).parse_args()
    logging.disable(logging.INFO)
    threads = os.cpu_count() or 1
    with folder_of(arguments.data) as (data, name), tempfile.TemporaryDirectory() as scratch:
        place, folder = Path(scratch), Path(scratch, "new")
        images = copied(data, folder)
        scorer = predict.Scorer.of(model_in(place, arguments.weights, threads), threads)
        look = next(scorer.look([next(folder.iterdir())]))
        assert look.features is not None
        with nothing_loaded(scorer, some_reference(len(look.features))):
            plain, ours = in_turn(
                rows_of(scorer, folder), batch_of(folder, jobs_in(place / "stores"))
            )
    report(
        [
            ("images", f"{images} ({name})"),
            ("predict", f"{images / plain:.2f} images/s"),
            ("batch scoring", f"{images / ours:.2f} images/s"),
            ("ratio", f"{plain / ours:.3f}"),
        ],
        name="scoring_throughput",
        value=round(plain / ours, 3),
        unit="ratio",
        against="the command predict on the same files",
        images_per_second={"predict": images / plain, "scoring": images / ours},
        data=name,
    )


if __name__ == "__main__":
    main()
