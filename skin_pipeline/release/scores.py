"""From places with images to a table of scores: the command `predict`.

score(job, ["lesions/"], model="champion", model_name="", output=Path("scores.csv"))
"""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from tqdm import tqdm

from skin_pipeline import config
from skin_pipeline.data.archive import appearing
from skin_pipeline.data.sources import files_at
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.release import loading
from skin_pipeline.release.predict import Prediction, Resolved, beside, predict, resolve
from skin_pipeline.release.signing import Keys

log = logging.getLogger(__name__)

TABLE = ".csv"


class Counts(NamedTuple):
    """How many images there were, and how many of them have no score."""

    images: int
    unreadable: int


def score(
    job: Job, places: Sequence[str], *, model: str, model_name: str, output: Path | None
) -> Counts:
    """Write a row (`image`, `probability`, `label`, `problem`) for each image, in order.

    Args:
        job: The store with the models; how S3 is reached.
        places: Files, folders, zips, `s3://BUCKET/PREFIX`, `@LIST`; see `sources.files_at`.
        model: A `.keras` file with its manifest beside it, a version, or an alias.
        model_name: Of the versions; "" for the one that the settings release to.
        output: A `.csv` file, which appears whole or not at all; None for the standard output.

    Raises:
        BadInput: there is no such model, a place holds no images, or the output does not fit.
        Unavailable: a server does not answer.
    """
    if output and output.suffix.lower() != TABLE:
        raise BadInput(
            f"--output: scores are written as {TABLE}; Parquet needs pyarrow, which is not among "
            f"the locked packages. Received: {output}"
        )
    resolved = _model(job, model, model_name or job.settings.released_as)
    log.info("model name=%s version=%s", resolved.release.model, resolved.release.version)
    with files_at(job, places) as files, _sink(output) as sink:
        scored = predict((item.path for item in files), resolved, threads=config.threads(job.place))
        rows = (row._replace(image=item.name) for item, row in zip(files, scored, strict=True))
        counts = _write(tqdm(rows, total=len(files), unit="image", disable=None), sink)
    log.info("predicted images=%d unreadable=%d", *counts)
    return counts


def _model(job: Job, model: str, name: str) -> Resolved:
    keys = Keys.of(job.place)
    if model.endswith(loading.SUFFIX):
        return beside(Path(model).expanduser(), keys)
    return resolve(job.store, name, model, keys)


@contextmanager
def _sink(output: Path | None) -> Generator[TextIO, None, None]:
    if output is None:
        yield sys.stdout
        return
    with appearing(output) as part, part.open("w", newline="", encoding="utf-8") as sink:
        yield sink


def _write(rows: Iterable[Prediction], sink: TextIO) -> Counts:
    table = csv.writer(sink, lineterminator="\n")
    table.writerow(Prediction._fields)
    images = unreadable = 0
    for row in rows:
        images += 1
        unreadable += row.probability is None
        probability = "" if row.probability is None else f"{row.probability:.6f}"
        table.writerow(map(_plain, (row.image, probability, row.label, row.problem)))
    return Counts(images, unreadable)


def _plain(text: str) -> str:
    """A file's name may have bytes that are no text."""
    return text.encode(errors="backslashreplace").decode()
